from datetime import date

import pytest

from models.quality.results import Severity
from models.quality.staged import check_staged_tables
from models.quality.training import check_training_table
from models.quality.validation import QualityError
from tests.models.quality.shop import (
    NOW,
    SCHEMA,
    TASK,
    only_failure,
    shop_frames,
    training_frame,
    write,
)

BETWEEN = "expect_column_values_to_be_between"


def expect(kind, severity="critical", **kwargs):
    return {"type": kind, "kwargs": kwargs, "severity": severity}


def check(tmp_path, *entries, table="orders"):
    tables = write(tmp_path, shop_frames())
    return check_staged_tables(SCHEMA, tables, now=NOW, user_expectations={table: list(entries)})


def test_expectations_that_hold_pass(tmp_path):
    report = check(
        tmp_path,
        expect(BETWEEN, column="amount", min_value=0, max_value=99),
        expect(BETWEEN, column="amount", min_value=0, max_value=99),
        expect(BETWEEN, column="ordered_at", min_value="2020-01-01", max_value=date(2025, 1, 1)),
        expect("expect_column_to_exist", column="amount"),
        expect("expect_table_row_count_to_equal", value=100),
        expect("expect_table_columns_to_match_set", column_set=shop_frames()["orders"].columns),
        expect("expect_compound_columns_to_be_unique", column_list=["order_id", "status"]),
        expect(
            "expect_column_values_to_not_be_null",
            column="status",
            row_condition="amount > 5",
            condition_parser="pandas",
        ),
    )
    assert report.failures == []
    (result,) = [r for r in report if (r.table, r.name) == ("orders", "user_expectations")]
    assert "8 expectations hold" in result.message
    assert len(result.observed["expectations"]) == 8


@pytest.mark.parametrize("severity", list(Severity))
def test_an_expectation_that_does_not_hold_fails_with_its_severity(tmp_path, severity):
    bad = expect(BETWEEN, severity, column="amount", max_value=97)
    good = expect(BETWEEN, "critical", column="amount", max_value=99)
    result = only_failure(check(tmp_path, bad, good), "orders", "user_expectations")
    assert result.severity is severity
    assert f"{BETWEEN}(column=amount, max_value=97): 2 of 100 rows are unexpected" in result.message
    assert "e.g. 98.0, 99.0" in result.message
    assert "meta block" in result.message


@pytest.mark.parametrize(
    "entry",
    [
        expect("expect_table_row_count_to_be_between", max_value=99),
        expect("expect_column_to_exist", column="nothing"),
        expect("expect_column_max_to_be_between", column="amount", max_value=98),
        expect("expect_table_columns_to_match_set", column_set=["amount"]),
        expect(BETWEEN, column="ordered_at", max_value="2024-12-31"),
    ],
)
def test_expectations_on_the_table_aggregates_and_times_can_fail(tmp_path, entry):
    only_failure(check(tmp_path, entry), "orders", "user_expectations")


def test_large_tables_are_sampled_but_counted_in_full(tmp_path, monkeypatch):
    monkeypatch.setattr("models.quality.relation.ROW_LIMIT", 50)
    monkeypatch.setattr("models.quality.plan.ROW_LIMIT", 50)
    count = expect("expect_table_row_count_to_equal", value=100)
    report = check(tmp_path, count, expect(BETWEEN, column="amount", max_value=99))
    assert report.failures == []
    report = check(tmp_path, count, expect(BETWEEN, column="amount", max_value=-1))
    result = only_failure(report, "orders", "user_expectations")
    assert "in a sample of the table's 100 rows" in result.message
    seen = result.observed["expectations"][1]["element_count"]
    assert 20 < seen < 80


def test_training_tables_take_expectations_under_the_task_name(tmp_path):
    path = write(tmp_path, {"churn": training_frame()})["churn"]
    entries = {"churn": [expect(BETWEEN, column="entity", max_value=38)]}
    report = check_training_table(TASK, path, as_of=NOW, last_event=NOW, user_expectations=entries)
    result = only_failure(report, "churn", "user_expectations")
    assert "3 of 140" in result.message


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            expect("expect_column_values_to_be_betwen", column="amount", max_value=1),
            "'orders'.*be_betwen'.*did you mean expect_column_values_to_be_between",
        ),
        (expect(BETWEEN, column="amout", max_value=1), "'orders'.*'amout'; did you mean amount"),
        (
            expect(BETWEEN, column="amount", max_valu=1),
            "'orders'.*between'.*'max_valu'; did you mean max_value",
        ),
        (expect(BETWEEN, column="amount"), "'orders'.*between'.*cannot both be None"),
        (expect(BETWEEN, max_value=1), "'orders'.*between'.*column: field required"),
        (expect(BETWEEN, column="amount", max_value=1, mostly=3), "mostly: .*less than or equal"),
        (expect(BETWEEN, column="ordered_at", max_value="soon"), "'orders'.*ISO.*'soon'"),
        (expect(BETWEEN, "fatal", column="amount", max_value=1), "critical or warning.*'fatal'"),
        ({"type": BETWEEN, "kwargs": [1]}, "kwargs is a mapping"),
        ({"type": BETWEEN, "column": "amount"}, "unknown keys.*column"),
        ("amount > 0", "'orders'.*mapping with type"),
        (expect("unexpected_rows_expectation", unexpected_rows_query="x"), "needs an SQL"),
    ],
)
def test_what_is_wrong_with_an_expectation_is_said_before_anything_runs(tmp_path, entry, message):
    with pytest.raises(ValueError, match=message):
        check(tmp_path, entry)


def test_expectations_for_an_unknown_table_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="'order'; did you mean orders"):
        check(tmp_path, table="order")


def test_an_expectation_that_great_expectations_can_not_evaluate_is_an_error(tmp_path):
    entry = expect("expect_column_mean_to_be_between", column="status", min_value=0)
    with pytest.raises(QualityError, match=r"'orders' \(100 rows\).*mean_to_be_between.*evaluated"):
        check(tmp_path, entry)
