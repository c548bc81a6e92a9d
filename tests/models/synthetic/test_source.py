"""A synthetic database as a source of raw tables."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from models.database.schema import RelationalSchema, Table
from models.synthetic import presets
from models.synthetic.database import Generator
from models.synthetic.draws import Fixed, Integer
from models.synthetic.generator import generate
from models.synthetic.layered_layout import LayeredLayout
from models.synthetic.options import SyntheticOptions
from models.synthetic.source import SyntheticSource
from tests.models.synthetic.plain_stages import PlainColumns, PlainRows

SQL = """create table "The People" (id int primary key, joined_at date not null, colour text);
create table visits (id int primary key, person int references "The People", at timestamp not null);"""
PLAIN = Generator(
    LayeredLayout(Integer(3, 4), entity_rows=Fixed(20), activity_rows=Fixed(30), columns=Fixed(2)),
    PlainRows(),
    PlainColumns(),
)


@pytest.fixture(autouse=True)
def plain_presets(monkeypatch):
    """Presets without mechanisms, so that only the source is looked at."""
    monkeypatch.setattr(presets, "PRESETS", {"relforge": PLAIN, "plurel": PLAIN})


def source(options: str) -> SyntheticSource:
    return SyntheticSource(SyntheticOptions.from_location(f"synthetic:{options}").declaration())


def test_the_tables_are_the_generators(tmp_path):
    expected = generate(PLAIN, 7).tables
    found = source("seed=7")
    assert found.columns() == {name: frame.columns for name, frame in expected.items()}
    for name, frame in expected.items():
        found.write(name, tmp_path / f"{name}.parquet")
        assert_frame_equal(pl.read_parquet(tmp_path / f"{name}.parquet"), frame)


def test_equal_options_write_equal_bytes_and_another_seed_others(tmp_path):
    written = []
    for number, seed in enumerate((7, 7, 8)):
        made = source(f"seed={seed}")
        path = tmp_path / f"{number}.parquet"
        made.write(next(iter(made.columns())), path)
        written.append(path.read_bytes())
    assert written[0] == written[1] != written[2]


def test_the_fingerprint_follows_seed_preset_and_schema(tmp_path):
    file = tmp_path / "club.sql"
    file.write_text(SQL)
    schema = f"schema={file}"
    options = ["seed=7", "seed=8", "preset=plurel", schema, f"{schema},rows=visits=9"]
    one = [source(given).fingerprints(("a", "b")) for given in options]
    assert one == [source(given).fingerprints(("a", "b")) for given in options]
    assert [set(tables) for tables in one] == [{"a", "b"}] * len(options)
    assert len({tables["a"] for tables in one}) == len(options)
    file.write_text(SQL + "\n-- only a comment")
    assert source(schema).fingerprints(("a", "b")) == one[3]
    file.write_text(SQL.replace("colour", "hue"))
    assert source(schema).fingerprints(("a", "b")) != one[3]


def test_the_newest_event_is_found_under_the_staged_names(tmp_path):
    (tmp_path / "club.sql").write_text(SQL)
    made = source(f"schema={tmp_path / 'club.sql'},seed=2")
    for name in ("The People", "visits"):
        made.write(name, tmp_path / f"{name}.parquet")
    newest = [
        pl.read_parquet(tmp_path / f"{name}.parquet")[column].max()
        for name, column in (("The People", "joined_at"), ("visits", "at"))
    ]
    people = Table("the_people", time_column="joined_at")
    assert made.newest_event(RelationalSchema("club", (people,))) == newest[0]
    both = RelationalSchema("club", (people, Table("visits", time_column="at")))
    assert made.newest_event(both) == max(newest)
    assert isinstance(newest[0], datetime)
    assert made.newest_event(RelationalSchema("club", (Table("visits"),))) is None
