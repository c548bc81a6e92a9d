"""Raw tables: what they hold, whether they changed, and where they are read from."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from models.database.dbt_folder import DeclarationError
from models.database.relbench_import import read_relbench
from models.database.schema import RelationalSchema, SourceDeclaration, SourceTable, Table
from models.database.source import (
    DemoSource,
    RelBenchSource,
    check_tables,
    last_event,
    location_variable,
    newest_event,
    open_database_source,
    parquet_rows,
    write_raw_tables,
)
from models.synthetic.shop import ShopConfig, generate_shop
from tests.fixtures import club_tables, day, write_relbench_folder

OPTIONS = (("customers", "40"), ("days", "90"), ("seed", "3"))


def club_source(folder, tables=None):
    location = write_relbench_folder(folder, tables)
    schema = read_relbench(str(location)).schema
    names = ("People", "Club Visits", "rating__train", "rating__val", "rating__test")
    tables = tuple(SourceTable(name) for name in names)
    schema = replace(schema, source=replace(schema.source, tables=tables))
    return schema, RelBenchSource(schema)


def test_the_demo_is_generated_from_its_options(tmp_path):
    source = DemoSource(SourceDeclaration("demo", options=OPTIONS))
    expected = generate_shop(ShopConfig(**{name: int(value) for name, value in OPTIONS}))
    assert source.columns() == {name: frame.columns for name, frame in expected.items()}
    source.write("orders", tmp_path / "orders.parquet")
    assert_frame_equal(pl.read_parquet(tmp_path / "orders.parquet"), expected["orders"])


def test_the_demos_fingerprint_follows_its_options():
    tables = ("orders", "customers")
    one, same, other = (
        DemoSource(SourceDeclaration("demo", options=options)).fingerprints(tables)
        for options in (OPTIONS, OPTIONS[::-1], (*OPTIONS[:2], ("seed", "4")))
    )
    assert one == same
    assert set(one) == set(tables)
    assert one["orders"] != other["orders"]


def test_relbenchs_fingerprint_changes_with_a_tables_rows_only(tmp_path):
    tables = club_tables()
    _, source = club_source(tmp_path / "one", tables)
    _, same = club_source(tmp_path / "same", tables)
    changed = tables | {"People": tables["People"].with_columns(Tier=pl.lit("gold"))}
    _, other = club_source(tmp_path / "other", changed)
    names = ("People", "Club Visits", "rating__val")
    one, two, three = (found.fingerprints(names) for found in (source, same, other))
    assert one == two
    assert [name for name in names if one[name] != three[name]] == ["People"]


def test_raw_tables_are_copied_in_key_order_with_nan_as_null(tmp_path):
    tables = club_tables()
    visits = tables["Club Visits"].with_columns(pl.col("Amount Paid").fill_null(float("nan")))
    tables["Club Visits"] = visits.sample(fraction=1, shuffle=True, seed=1)
    schema, source = club_source(tmp_path / "club", tables)
    (tmp_path / "raw").mkdir()
    counts = write_raw_tables(schema, source, tmp_path / "raw")
    assert counts == {
        "People": 6,
        "Club Visits": visits.height,
        "rating__train": 32,
        "rating__val": 12,
        "rating__test": 12,
    }
    written = pl.read_parquet(tmp_path / "raw" / "Club Visits.parquet")
    assert_frame_equal(written, club_tables()["Club Visits"])
    assert parquet_rows(tmp_path / "raw" / "People.parquet") == 6


def test_missing_tables_and_columns_are_all_named(tmp_path):
    schema, _ = club_source(tmp_path / "club")
    declared = (
        SourceTable("People", ("PersonId", "shoe")),
        SourceTable("Dogs"),
        SourceTable("rating__val", ("stars",)),
    )
    schema = replace(schema, source=replace(schema.source, tables=declared))
    with pytest.raises(DeclarationError) as raised:
        check_tables(schema, RelBenchSource(schema))
    told = str(raised.value)
    assert "table Dogs: missing (the source has: Club Visits, People" in told
    assert "table People: column 'shoe' is missing (it has: PersonId, JoinedAt, Tier)" in told
    assert len(told.splitlines()) == 3


def test_the_environment_moves_a_database_elsewhere(tmp_path, monkeypatch):
    schema, _ = club_source(tmp_path / "here")
    tables = club_tables()
    moved = write_relbench_folder(tmp_path / "there", tables | {"People": tables["People"].head(1)})
    assert location_variable("the_club") == "RELFORGE_SOURCE_THE_CLUB"
    monkeypatch.setenv("RELFORGE_SOURCE_THE_CLUB", str(moved))
    open_database_source(schema).write("People", tmp_path / "people.parquet")
    assert parquet_rows(tmp_path / "people.parquet") == 1


def test_the_newest_event_is_that_of_any_table(tmp_path):
    schema, source = club_source(tmp_path / "club")
    newest = club_tables()["Club Visits"]["at"].max()
    assert newest > day(130)
    assert source.newest_event(schema) == newest
    assert newest_event(schema) == newest


def test_the_last_event_reads_times_that_are_text(tmp_path):
    pl.DataFrame({"at": ["2020-01-02", "never", None]}).write_parquet(tmp_path / "a.parquet")
    schema = RelationalSchema("x", (Table("a", (), (), "at"), Table("b")))
    assert last_event({"a": tmp_path / "a.parquet"}, schema) == datetime(2020, 1, 2)
    assert last_event({}, schema) is None


def test_an_unknown_kind_of_source_is_refused():
    schema = RelationalSchema("x", (), source=SourceDeclaration("telepathy"))
    with pytest.raises(
        DeclarationError, match="'telepathy'; one of demo, synthetic, relbench, attached"
    ):
        open_database_source(schema)
