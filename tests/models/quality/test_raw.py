import polars as pl
import pytest

from models.quality.raw import check_raw_tables
from models.quality.results import Severity, raw_check_names
from tests.models.quality.shop import SCHEMA, only_failure, shop_frames, write


def test_raw_tables_with_rows_and_declared_columns_pass(tmp_path):
    report = check_raw_tables(SCHEMA, write(tmp_path, shop_frames()))
    assert report.failures == []
    names = [definition.name for definition in raw_check_names()]
    assert [(r.table, r.name) for r in report] == [
        (table, name) for table in SCHEMA.table_names for name in names
    ]


def test_a_table_without_rows_fails_not_empty(tmp_path, judge):
    frames = shop_frames()
    frames["lines"] = frames["lines"].clear()
    report = check_raw_tables(SCHEMA, write(tmp_path, frames))
    result = only_failure(report, "lines", "not_empty")
    assert result.severity is Severity.CRITICAL
    assert "0 rows" in result.message
    assert "source" in result.message


@pytest.mark.parametrize("column", ["order_id", "customer_id", "ordered_at", "status"])
def test_a_missing_key_time_or_declared_column_fails_columns_present(tmp_path, column, judge):
    frames = shop_frames()
    frames["orders"] = frames["orders"].drop(column)
    report = check_raw_tables(SCHEMA, write(tmp_path, frames))
    result = only_failure(report, "orders", "columns_present")
    assert result.severity is Severity.CRITICAL
    assert f"missing from 100 rows: {column} " in result.message
    assert "YAML" in result.message
    assert result.observed["missing"] == [column]


def test_an_undeclared_column_may_be_missing_and_case_does_not_matter(tmp_path):
    frames = shop_frames()
    frames["orders"] = frames["orders"].drop("amount").rename({"order_id": "Order_ID"})
    assert check_raw_tables(SCHEMA, write(tmp_path, frames)).failures == []


def test_a_table_that_the_schema_does_not_know_needs_rows_only(tmp_path):
    report = check_raw_tables(SCHEMA, write(tmp_path, {"audit": pl.DataFrame({"x": [1]})}))
    assert report.failures == []
    assert len(report.results) == 3


def test_a_missing_file_is_named_with_its_table(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'orders'.*nowhere\.parquet"):
        check_raw_tables(SCHEMA, {"orders": tmp_path / "nowhere.parquet"})


def test_text_that_is_no_time_fails_event_times_parse(tmp_path, judge):
    frames = shop_frames()
    text = frames["orders"].with_columns(pl.col("ordered_at").cast(pl.String))
    frames["orders"] = text
    assert check_raw_tables(SCHEMA, write(tmp_path, frames)).failures == []
    frames["orders"] = text.with_columns(
        ordered_at=pl.when(pl.col("order_id") == 5).then(pl.lit("soon")).otherwise("ordered_at")
    )
    report = check_raw_tables(SCHEMA, write(tmp_path, frames))
    result = only_failure(report, "orders", "event_times_parse")
    assert result.severity is Severity.CRITICAL
    assert "1 of 100 rows" in result.message
    assert "'soon'" in result.message
