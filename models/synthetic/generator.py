"""From a seed to a database: the three stages in order, and their results as tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl

from models.synthetic.blueprint import Blueprint, TablePlan
from models.synthetic.database import Columns, Generator, Place, SyntheticDatabase
from models.synthetic.rows import Floats, Rows
from models.synthetic.streams import Streams

SECOND = 1_000_000


def generate(
    generator: Generator, seed: int, interventions: Mapping[Place, float] | None = None
) -> SyntheticDatabase:
    """Makes a database.

    Every stage draws from streams of its own, so that another third stage, or an intervention,
    leaves tables, keys and times as they were.

    Args:
        generator: The stages and their settings.
        seed: Equal seeds and stages give equal tables.
        interventions: By (table, column) a constant that is added to a numerical column, in standard
            deviations, before anything is computed from it.

    Raises:
        ValueError: The settings contradict each other, or an intervention names no numerical column.
    """
    streams = Streams(seed)
    blueprint = generator.layout(streams.child("layout"))
    rows = generator.rows(blueprint, streams.child("rows"))
    columns = generator.columns(blueprint, rows, streams.child("columns"), interventions or {})
    return assemble(blueprint, rows, columns, seed)


def assemble(
    blueprint: Blueprint, rows: Mapping[str, Rows], columns: Columns, seed: int
) -> SyntheticDatabase:
    """The database of what the three stages made; its tables hold keys, times and columns."""
    blueprint = _without(blueprint, columns.dropped)
    tables = {
        table.name: _frame(blueprint, table, rows[table.name], columns)
        for table in blueprint.tables
    }
    return SyntheticDatabase(blueprint, tables, rows, columns.mechanisms, seed)


def _without(blueprint: Blueprint, dropped: Collection[Place]) -> Blueprint:
    """The blueprint without some columns."""
    tables = [
        replace(
            table, columns=tuple(c for c in table.columns if (table.name, c.name) not in dropped)
        )
        for table in blueprint.tables
    ]
    return replace(blueprint, tables=tuple(tables)) if dropped else blueprint


def _frame(blueprint: Blueprint, table: TablePlan, rows: Rows, columns: Columns) -> pl.DataFrame:
    found = [pl.Series(table.primary_key, np.arange(len(rows)), pl.Int64)]
    for key in table.keys:
        parents = pl.Series(key.column, rows.parents[key.column], pl.Int64)
        found.append(parents.replace(-1, None))
    if table.time_column:
        times = moments(blueprint, rows.times_or(0.0))
        found.append(pl.Series(table.time_column, times, pl.Datetime("us")))
    values = columns.values[table.name]
    found += [values[column.name].alias(column.name) for column in table.columns]
    return pl.DataFrame(found)


def moments(blueprint: Blueprint, shares: Floats) -> np.ndarray:
    """Shares of the database's span as whole seconds: int64 microseconds since 1970.

    What was there before the start gets the first moment; nothing lies after the last.
    """
    start = (blueprint.start - datetime(1970, 1, 1)).total_seconds()
    seconds = np.floor(np.clip(shares, 0.0, 1.0) * blueprint.span.total_seconds())
    return (start + seconds).astype(np.int64) * SECOND
