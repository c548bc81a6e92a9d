"""What the relatives of some rows say: parents' columns, aggregates of children, earlier rows.

A row sees parents that were there at its time, and children and siblings strictly before it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from models.aggregation.engine import compute_features
from models.aggregation.paths import Hop
from models.database.schema import ForeignKey, RelationalSchema, Table
from models.dfs.config import FeatureConfig
from models.dfs.enumeration import offer_features
from models.fidelity.databases import Database, times_of, values_of

PRIMITIVES = ("count", "mean", "percent_true", "mode", "last")
MOST_COLUMNS = 80
"""Of the aggregates along one key, at most so many are made."""
ASKED, ROW, TIME = "asked rows", "row_id", "time"
TICK = timedelta(microseconds=1)
END_OF_TIME = datetime(9999, 1, 1)


def parent_columns(database: Database, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """The columns of every parent of some rows; missing where there is none at the row's time.

    Returns:
        As many rows, Float64 and String, named `<key columns>.<column>`.
    """
    found = []
    for key in database.schema.parents(table.name):
        parent = database.schema.table(key.parent)
        frame = pl.read_parquet(database.tables[key.parent])
        values = values_of(frame, database.schema, parent)
        values = values.rename({name: f"{_columns(key)}.{name}" for name in values.columns})
        places = [f"key {place}" for place in range(len(key.columns))]
        theirs = _renamed(frame, key.parent_columns, places).with_columns(
            *values, _times(frame, parent).alias(TIME)
        )
        ours = _renamed(rows, key.columns, places).with_columns(_times(rows, table).alias(ASKED))
        joined = ours.join(theirs, on=places, how="left", maintain_order="left")
        born = (pl.col(TIME) <= pl.col(ASKED)).fill_null(True)
        found.append(joined.select(pl.when(born).then(pl.col(name)) for name in values.columns))
    return pl.concat(found, how="horizontal") if found else pl.DataFrame()


def child_aggregates(
    database: Database, table: Table, rows: pl.DataFrame, *, whole: bool = False
) -> pl.DataFrame:
    """Aggregates of the children of some rows that lie strictly before each row's time.

    All children count for the rows of a table without times, and with `whole`.

    Returns:
        As many rows, Float64 and String; no columns where the table has no children, or no primary
        key of one column.
    """
    keys = list(database.schema.children(table.name))
    if not keys or len(table.primary_key) != 1:
        return pl.DataFrame()
    # The rows stand in a table of their own without times, so that each of them is always there.
    primary = table.column(table.primary_key[0])
    asked = Table(ASKED, (primary,), table.primary_key)
    from_asked = [replace(key, parent=ASKED) for key in keys]
    children = [database.schema.table(name) for name in dict.fromkeys(key.table for key in keys)]
    schema = replace(
        database.schema, tables=(asked, *children), foreign_keys=tuple(from_asked), tasks=()
    )
    timeless = whole or table.time_column is None
    until = pl.repeat(END_OF_TIME, rows.height, dtype=pl.Datetime("us"), eager=True)
    with tempfile.TemporaryDirectory() as folder:
        tables = {**database.tables, ASKED: Path(folder) / "asked.parquet"}
        rows.select(primary.name).write_parquet(tables[ASKED])
        found = [
            _aggregates(
                replace(schema, foreign_keys=(key,)),
                key,
                rows[primary.name],
                until if timeless else _times(rows, table) - TICK,
                tables,
            )
            for key in from_asked
        ]
    return pl.concat(found, how="horizontal")


def earlier_rows(database: Database, table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """Aggregates of the rows of the same table that share a parent and lie strictly before.

    Returns:
        As many rows, Float64 and String; no columns where the table has no time or no parent with a
        primary key of one column.
    """
    if table.time_column is None:
        return pl.DataFrame()
    found = []
    for key in database.schema.parents(table.name):
        if len(key.columns) == 1:
            parent = database.schema.table(key.parent)
            tables = (table,) if parent == table else (_without_columns(parent), table)
            schema = replace(database.schema, tables=tables, foreign_keys=(key,), tasks=())
            until = _times(rows, table) - TICK
            found.append(_aggregates(schema, key, rows[key.columns[0]], until, database.tables))
    return pl.concat(found, how="horizontal") if found else pl.DataFrame()


def _aggregates(
    schema: RelationalSchema,
    key: ForeignKey,
    entities: pl.Series,
    until: pl.Series,
    tables: Mapping[str, Path],
) -> pl.DataFrame:
    """Aggregates of the children by one key of some entities, up to a time for each."""
    step = (Hop(key, forward=False),)
    config = FeatureConfig(1, PRIMITIVES, MOST_COLUMNS)
    features = [
        replace(feature, name=f"{_columns(key)}: {feature.name}")
        for feature in offer_features(schema, key.parent, config).features
        if feature.path == step
    ]
    seeds = pl.DataFrame(
        {
            ROW: range(len(entities)),
            "entity": entities,
            "cutoff_time": until,
            "visible_until": until,
        }
    ).drop_nulls()
    values = compute_features(
        schema, features, tables, seeds, entity_table=key.parent, threads=1
    ).with_columns(pl.col(pl.Boolean).cast(pl.Float64))
    every = pl.DataFrame({ROW: pl.int_range(len(entities), eager=True)})
    return every.join(values, on=ROW, how="left", maintain_order="left").drop(ROW)


def _without_columns(table: Table) -> Table:
    kept = [*table.primary_key, *([table.time_column] if table.time_column else [])]
    return replace(table, columns=tuple(map(table.column, kept)))


def _renamed(frame: pl.DataFrame, columns: Sequence[str], names: Sequence[str]) -> pl.DataFrame:
    return frame.select(
        pl.col(column).alias(name) for column, name in zip(columns, names, strict=True)
    )


def _times(rows: pl.DataFrame, table: Table) -> pl.Series:
    found = times_of(rows, table)
    return pl.Series(TIME, [None] * rows.height, pl.Datetime("us")) if found is None else found


def _columns(key: ForeignKey) -> str:
    return ",".join(key.columns)
