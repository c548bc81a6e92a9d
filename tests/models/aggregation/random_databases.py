"""Random small databases with everything that is hard about real ones.

Schemas: tables with and without event times; integer, string and composite keys; several foreign
keys between the same two tables, references of a table to itself, cycles. Rows: NULLs, ties in
values and times, rows exactly at a cutoff and a microsecond beside it, references to nothing,
columns of NULLs only, numbers that are not finite or lie far from zero, empty tables. Seeds: any
row's key and an unknown one, cutoffs before all data, last visible instants before the cutoff.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from models.database.schema import Column, ForeignKey, RelationalSchema, SemanticType, Table
from tests.models.aggregation.brute_force import Row, Seed

S = SemanticType
MICROSECOND = timedelta(microseconds=1)
START = datetime(2024, 2, 26)  # a Monday, shortly before a leap day
CUTOFFS = (START + timedelta(days=10), START + timedelta(days=16, hours=7))
LONG_AGO = START - timedelta(days=1000)
WINDOW = timedelta(days=6)  # windows end at, and begin after, rows of the pool of times
MANY_ROWS = 12

TIME = "at"
_TIMES = sorted(
    {START, CUTOFFS[0] - timedelta(days=3), CUTOFFS[1] - timedelta(days=2, hours=3)}
    | {
        cutoff + days * WINDOW + offset
        for cutoff in CUTOFFS
        for days in (-1, 0, 1)
        for offset in (-MICROSECOND, timedelta(0), MICROSECOND)
    }
)

_NUMBERS: dict[str, list[float | None]] = {
    "plain": [0.0, 0.1, 0.2, 0.3, 1.0, 2.5, -7.75, 3.0, None],
    "offset": [1e9 + 0.1, 1e9 + 0.2, 1e9 + 0.7, 1e9, None],
    "wide": [1e9 + 0.1, 1e9 + 0.2, -1e9, 0.1, None],
    "not finite": [1.5, 2.0, float("nan"), float("inf"), -float("inf"), 1e300, None],
    "constant": [0.1, 0.1, None],
    "empty": [None],
}
_COLUMNS: dict[str, tuple[SemanticType | None, Any, list[list[Any]]]] = {
    "number": (S.NUMERICAL, pl.Float64, list(_NUMBERS.values())),
    "whole": (
        S.NUMERICAL,
        pl.Int32,
        [[0, 1, 2, -3, 7, None], [2_000_000_000, -2_000_000_000, 1], [None]],
    ),
    "Colour": (S.CATEGORICAL, pl.String, [["red", "rød", "Ω'x", "", None], ["red"], [None]]),
    "code": (S.CATEGORICAL, pl.Int64, [[1, 2, 10, -1, None]]),
    "flag": (S.BOOLEAN, pl.Boolean, [[True, False, None], [True, None], [None]]),
    "since": (
        S.TIMESTAMP,
        pl.Datetime("us"),
        [[*_TIMES, datetime(1969, 7, 20, 20, 17), datetime(2024, 2, 29, 23, 59, 59), None]],
    ),
    "note": (
        S.TEXT,
        pl.String,
        [["two words", "a  b\nc\t-", "", "  ", "né? Ω!", None], [None]],
    ),
}
TYPES = {name: dtype for name, (_, dtype, _) in _COLUMNS.items()}


@dataclass(frozen=True, repr=False)
class RandomDatabase:
    """A schema, the rows of its tables, an entity table and seeds."""

    schema: RelationalSchema
    rows: Mapping[str, list[dict[str, Any]]]
    entity_table: str
    seeds: tuple[Seed, ...]

    def store(self, folder: Path) -> dict[str, Path]:
        """Write the tables as Parquet files; what `compute_features` takes."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {}
        for table in self.schema.tables:
            files[table.name] = folder / f"{len(files)}.parquet"
            self._frame(table).write_parquet(files[table.name])
        return files

    def _frame(self, table: Table) -> pl.DataFrame:
        types = {column.name: _type_of(column) for column in table.columns}
        return pl.DataFrame(self.rows[table.name], schema=types, orient="row")

    def __repr__(self) -> str:
        lines = []
        for table in self.schema.tables:
            keys = [str(key) for key in self.schema.parents(table.name)]
            lines.append(f"{table.name} {table.primary_key} {keys}")
            lines += [f"    {row}" for row in self.rows[table.name]]
        return "\n".join(line.replace("datetime.datetime", "") for line in lines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What hypothesis prints of a failure."""
        printer.text(repr(self))

    @property
    def seed_frame(self) -> pl.DataFrame:
        """The seeds as `compute_features` takes them."""
        return seed_frame(self.seeds)

    def altered(self, alter: Callable[[Table, Row], Sequence[Row]]) -> RandomDatabase:
        """The database with every row of the tables with times replaced by other rows."""
        rows = {
            table.name: [
                dict(new)
                for row in self.rows[table.name]
                for new in (alter(table, row) if table.time_column else [row])
            ]
            for table in self.schema.tables
        }
        return replace(self, rows=rows)


def examples(count: int) -> settings:
    """Settings of a test with so many random examples, the same in every run."""
    return settings(
        max_examples=count * int(os.environ.get("RELFORGE_EXAMPLES", "1")),
        derandomize="RELFORGE_EXAMPLES" not in os.environ,
        # Making a failure smaller takes minutes: add Phase.shrink when there is one.
        phases=(Phase.generate,),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def seed_frame(seeds: Sequence[Seed]) -> pl.DataFrame:
    """Seeds in the columns row_id, entity, cutoff_time, visible_until."""
    times = pl.Datetime("us")
    return pl.DataFrame(
        {
            "row_id": range(len(seeds)),
            "entity": [seed.entity for seed in seeds],
            "cutoff_time": pl.Series([seed.cutoff for seed in seeds], dtype=times),
            "visible_until": pl.Series([seed.visible for seed in seeds], dtype=times),
        }
    )


def _type_of(column: Column) -> Any:
    if column.name in TYPES:
        return TYPES[column.name]
    if column.semantic_type is not None:
        return next(dtype for kind, dtype, _ in _COLUMNS.values() if kind is column.semantic_type)
    return pl.String if column.name.endswith("name") else pl.Int64


@st.composite
def databases(draw: st.DrawFn) -> RandomDatabase:
    """Random databases; most tables have several rows, some none."""
    schema = draw(_schemas())
    rows = {table.name: draw(_rows(schema, table)) for table in schema.tables}
    single = [table for table in schema.tables if len(table.primary_key) == 1]
    # A table that others refer to says most.
    referred = [table for table in single if any(schema.children(table.name))]
    entity = draw(st.sampled_from(referred or single))
    return RandomDatabase(schema, rows, entity.name, draw(_seeds(entity, rows[entity.name])))


@st.composite
def _seeds(draw: st.DrawFn, entity: Table, rows: list[dict[str, Any]]) -> tuple[Seed, ...]:
    (column,) = entity.primary_key
    known = [row[column] for row in rows]
    unknown = "nobody" if column.endswith("name") else 999
    entities = [*known[:3], unknown]
    early = draw(st.sampled_from(CUTOFFS))
    seeds = [Seed(key, cutoff, cutoff) for key in entities for cutoff in CUTOFFS]
    seeds += [Seed(key, max(CUTOFFS) + WINDOW, early) for key in entities[:2]]
    return (*seeds, Seed(entities[0], LONG_AGO, LONG_AGO))


@st.composite
def _schemas(draw: st.DrawFn) -> RelationalSchema:
    count = draw(st.integers(2, 5))
    names = ["people", 'My "Orders"', "items", "select", "places"][:count]
    keys: list[ForeignKey] = []
    tables: list[Table] = []
    for position, name in enumerate(names):
        primary, inherited = draw(_primary_keys(name, position, tables))
        if inherited:
            keys.append(inherited)
        tables.append(Table(name, (), primary, draw(st.sampled_from([TIME, TIME, None]))))
    for position in range(1, count):
        keys += draw(_references(tables, position))
    if draw(st.booleans()):  # a table may refer to itself
        keys += draw(_references(tables, draw(st.integers(0, count - 1)), itself=True))
    for key in draw(st.lists(st.sampled_from(range(count - 1)), max_size=1)):  # or to a later one
        keys += draw(_references(tables, key, later=True))
    keys = [key for number, key in enumerate(keys) if key not in keys[:number]]
    described = []
    for table in tables:
        values = draw(st.lists(st.sampled_from(sorted(_COLUMNS)), min_size=3, unique=True))
        own = [*table.primary_key]
        own += [part for key in keys if key.table == table.name for part in key.columns]
        times = [TIME] if table.time_column else []
        columns = [Column(key) for key in dict.fromkeys(own)]
        columns += [Column(time, "", S.TIMESTAMP) for time in times]
        columns += [Column(value, "", _COLUMNS[value][0]) for value in values]
        described.append(replace(table, columns=tuple(columns)))
    return RelationalSchema("random", tuple(described), tuple(keys))


@st.composite
def _primary_keys(
    draw: st.DrawFn, table: str, position: int, earlier: Sequence[Table]
) -> tuple[tuple[str, ...], ForeignKey | None]:
    """The primary key's columns; a part of a composite key may refer to an earlier table."""
    kind = draw(st.sampled_from(["id", "name", "id", "both"])) if position else "id"
    if kind != "both":
        return (kind,), None
    owners = [other for other in earlier if other.primary_key == ("id",)]
    if owners and draw(st.booleans()):
        owner = draw(st.sampled_from(owners))
        return ("owner", "name"), ForeignKey(table, ("owner",), owner.name, ("id",))
    return draw(st.sampled_from([("id", "name"), ("name", "id")])), None


@st.composite
def _references(
    draw: st.DrawFn,
    tables: Sequence[Table],
    position: int,
    itself: bool = False,
    later: bool = False,
) -> list[ForeignKey]:
    """One or two foreign keys of a table to one other table."""
    table = tables[position]
    others = list(tables[position + 1 :] if later else tables[:position])
    parent = table if itself else draw(st.sampled_from(others))
    keys = []
    for number in range(draw(st.sampled_from([1, 1, 2]))):
        prefix = f"{'self' if itself else 'back' if later else 'to'}{number}_"
        parts = parent.primary_key
        if draw(st.booleans()):  # the order of a key's parts is free
            parts = parts[::-1]
        columns = tuple(prefix + ("name" if part.endswith("name") else "number") for part in parts)
        keys.append(ForeignKey(table.name, columns, parent.name, parts))
    return keys


def _key_values(table: Table) -> list[dict[str, Any]]:
    """Primary keys, not in the order of the rows."""
    numbers = [(7 * position + 3) % 23 for position in range(MANY_ROWS)]
    alone = len(table.primary_key) == 1
    return [
        {
            part: f"é{number}" if part.endswith("name") else number if alone else number % 4
            for part in table.primary_key
        }
        for number in numbers
    ]


@st.composite
def _rows(draw: st.DrawFn, schema: RelationalSchema, table: Table) -> list[dict[str, Any]]:
    most = MANY_ROWS if any(schema.parents(table.name)) else 4
    least = draw(st.sampled_from([most - 3, most - 3, most - 3, 0]))
    columns = {}
    for column in table.columns:
        if column.name == TIME:
            columns[TIME] = st.sampled_from([*_TIMES, None, None])
        elif column.name in _COLUMNS:
            _, _, pools = _COLUMNS[column.name]
            # The first pool is the usual one.
            pool = draw(st.sampled_from([*(pools[:1] * len(pools)), *pools]))
            columns[column.name] = st.sampled_from(pool)
    strategy = st.fixed_dictionaries(columns)
    values = draw(st.lists(strategy, min_size=least, max_size=most))
    found = []
    for row, key in zip(values, _key_values(table), strict=False):
        found.append({**key, **draw(_foreign_keys(schema, table)), **row, **key})
    return found


@st.composite
def _foreign_keys(draw: st.DrawFn, schema: RelationalSchema, table: Table) -> dict[str, Any]:
    """The parts of a row's foreign keys: mostly of the first few rows, else of none, or NULL."""
    values: dict[str, Any] = {}
    for key in schema.parents(table.name):
        parent = schema.table(key.parent)
        if not set(key.columns) & set(values):
            few = _key_values(parent)[:3]
            target = draw(st.sampled_from([*few, *few[:1], *few, _key_values(parent)[-1], {}]))
            values |= {
                column: target.get(part)
                for column, part in zip(key.columns, key.parent_columns, strict=True)
            }
    return values
