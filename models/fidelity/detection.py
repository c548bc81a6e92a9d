"""Whether a classifier tells the rows of a synthetic database from those of the real one it is like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import combinations

import numpy as np
import polars as pl

from models.database.schema import RelationalSchema, SemanticType, Table
from models.fidelity.databases import Database, sample_rows, span_of, values_of
from models.fidelity.estimator import (
    FEWEST_ROWS,
    Target,
    by_frequency,
    explained_share,
    halves_of,
    telling_columns,
)
from models.fidelity.relatives import child_aggregates
from models.synthetic.streams import Streams

TELLING = 3
PAIRED = 20
"""Products are made of the first so many columns; a row's own come first."""


@dataclass(frozen=True, slots=True)
class Detection:
    """How well real and synthetic rows of one table can be told apart.

    Attributes:
        table: The table.
        rows: Rows of each side.
        values: The AUROC of boosted trees over a row's values and aggregates of all its children,
            on rows that they were not fitted on; 0.5: cannot be told.
        ranks: The same with every column replaced by its rank within its own database, equal values
            in random order and missing ones first: every column is uniform on both sides, so that
            only how columns and relatives depend on each other tells. The products of two centred
            ranks are columns as well, because greedy trees cannot begin with a single uniform one.
        telling_values: The columns that tell the most by value, the best first.
        telling_ranks: And by rank.
    """

    table: str
    rows: int
    values: float
    ranks: float
    telling_values: tuple[str, ...]
    telling_ranks: tuple[str, ...]


def detection(
    real: Database, synthetic: Database, seed: int = 0, rows: int = 2000
) -> list[Detection]:
    """Tells the rows of two databases with the same tables and columns apart, table by table.

    Times are shares of their database's span, from its first event to its last, and categories are
    numbered from the most frequent to the rarest: dates and names are free for a generator to
    choose.
    What one of the two lacks is not looked at.

    Args:
        real: The one database.
        synthetic: The other; its columns are read as the types that they have in `real`.
        seed: Draws the rows and their halves.
        rows: At most so many rows of a table on each side; both sides have as many.

    Returns:
        One entry a table with at least 100 rows on both sides and a column to look at.
    """
    schema = _common(real, synthetic)
    sides = [replace(side, schema=schema) for side in (real, synthetic)]
    streams = Streams(seed).child("detection")
    spans = [_days(span_of(side)) for side in sides]
    found = []
    for table in schema.tables:
        generator = streams.generator("rows", table.name)
        frames = [sample_rows(side.tables[table.name], rows, generator) for side in sides]
        count = min(frame.height for frame in frames)
        if count < FEWEST_ROWS:
            continue
        frames = [frame[np.sort(generator.permutation(frame.height)[:count])] for frame in frames]
        columns = [
            _comparable(side, table, frame, span)
            for side, frame, span in zip(sides, frames, spans, strict=True)
        ]
        if columns[0].width:
            found.append(_compared(table.name, columns, generator))
    return found


def _compared(
    table: str, columns: Sequence[pl.DataFrame], generator: np.random.Generator
) -> Detection:
    count = columns[0].height
    truth = np.repeat([0.0, 1.0], count)
    target = Target(truth, True, halves_of(truth, generator))
    values = pl.concat(columns)
    ranks = _with_products(pl.concat([_ranks(side, generator) for side in columns]))
    return Detection(
        table,
        count,
        (1 + explained_share(target, values)) / 2,
        (1 + explained_share(target, ranks)) / 2,
        telling_columns(target, values, TELLING),
        telling_columns(target, ranks, TELLING),
    )


def _comparable(
    database: Database, table: Table, rows: pl.DataFrame, span: tuple[float, float]
) -> pl.DataFrame:
    """A row's values and its children's aggregates as Float64 that mean the same on both sides."""
    own = values_of(rows, database.schema, table)
    dates = [
        column.name
        for column in table.columns
        if column.semantic_type == SemanticType.TIMESTAMP and column.name in own.columns
    ]
    own = own.with_columns((pl.col(dates) - span[0]) / max(span[1] - span[0], 1e-9))
    children = child_aggregates(database, table, rows, whole=True)
    found = pl.concat([part for part in (own, children) if part.width], how="horizontal")
    return found.with_columns(
        _numbered(found[name]) for name, dtype in found.schema.items() if dtype == pl.String
    )


def _numbered(categories: pl.Series) -> pl.Series:
    """0 for the most frequent category, 1 for the next, and so on."""
    ordered = by_frequency(categories.drop_nulls())
    places = pl.int_range(len(ordered), eager=True)
    return categories.replace_strict(ordered, places, return_dtype=pl.Float64)


def _ranks(columns: pl.DataFrame, generator: np.random.Generator) -> pl.DataFrame:
    values = columns.fill_null(-np.inf).to_numpy()
    order = np.lexsort((generator.random(values.shape), values), axis=0)
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, np.arange(len(values), dtype=float)[:, None], axis=0)
    return pl.DataFrame(ranks / len(values), schema=columns.columns)


def _with_products(ranks: pl.DataFrame) -> pl.DataFrame:
    pairs = combinations(ranks.columns[:PAIRED], 2)
    return ranks.with_columns(
        ((pl.col(one) - 0.5) * (pl.col(other) - 0.5)).alias(f"{one} × {other}")
        for one, other in pairs
    )


def _days(span: tuple[datetime, datetime] | None) -> tuple[float, float]:
    """The ends of a span in days since 1970."""
    if span is None:
        return 0.0, 1.0
    first, last = ((moment - datetime(1970, 1, 1)) / timedelta(days=1) for moment in span)
    return first, last


def _common(real: Database, synthetic: Database) -> RelationalSchema:
    """What both databases have, as the real one describes it."""
    files = [
        {name: set(pl.read_parquet_schema(path)) for name, path in side.tables.items()}
        for side in (real, synthetic)
    ]
    shared = {name: columns & files[1].get(name, set()) for name, columns in files[0].items()}
    tables = []
    for table in real.schema.tables:
        has = shared.get(table.name, set())
        if has and has.issuperset(table.primary_key):
            tables.append(
                replace(
                    table,
                    columns=tuple(column for column in table.columns if column.name in has),
                    time_column=table.time_column if table.time_column in has else None,
                )
            )
    kept = {table.name for table in tables}
    keys = tuple(
        key
        for key in real.schema.foreign_keys
        if {key.table, key.parent} <= kept and shared[key.table].issuperset(key.columns)
    )
    return replace(real.schema, tables=tuple(tables), foreign_keys=keys, tasks=())
