"""What the columns of a database look like one by one, and how large it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow.parquet

from models.database.schema import Column, SemanticType
from models.fidelity.databases import Database, sample_rows, values_of
from models.synthetic.streams import Streams

KINDS = (
    SemanticType.NUMERICAL,
    SemanticType.CATEGORICAL,
    SemanticType.BOOLEAN,
    SemanticType.TIMESTAMP,
    SemanticType.TEXT,
    SemanticType.IDENTIFIER,
)
RARE = 0.05
SKEWED = 2.0


def size(database: Database) -> dict[str, float]:
    """Tables, rows, columns, foreign keys, and the shares of tables with times and of self-keys."""
    schema = database.schema
    rows = [pyarrow.parquet.read_metadata(database.tables[t.name]).num_rows for t in schema.tables]
    keys = schema.foreign_keys
    return {
        "tables": float(len(schema.tables)),
        "rows": float(sum(rows)),
        "columns": float(sum(len(_plain_columns(database, t.name)) for t in schema.tables)),
        "foreign keys": float(len(keys)),
        "tables with times": float(np.mean([t.time_column is not None for t in schema.tables])),
        "keys to the same table as another": float(
            len(keys) - len({(k.table, k.parent) for k in keys})
        ),
        "self-references": float(sum(k.table == k.parent for k in keys)),
    }


def marginals(database: Database, seed: int = 0, rows: int = 2000) -> dict[str, float | None]:
    """Figures of the columns that are neither keys nor event times; None where there is no such column.

    Each from at most `rows` rows of its table, drawn by `seed`, so that numbers of distinct values
    can be compared. Skewness is the moment coefficient; a minority class is a boolean's rarer value.
    """
    kinds: list[SemanticType | None] = []
    missing: list[float] = []
    values: dict[SemanticType | None, list[pl.Series]] = {}
    for table in database.schema.tables:
        generator = Streams(seed).generator("marginals", table.name)
        frame = sample_rows(database.tables[table.name], rows, generator)
        known = values_of(frame, database.schema, table)
        for column in _plain_columns(database, table.name):
            kinds.append(column.semantic_type)
            missing.append(frame[column.name].null_count() / max(frame.height, 1))
            if column.name in known.columns:
                found = known[column.name].drop_nulls()
                if not found.is_empty():
                    values.setdefault(column.semantic_type, []).append(found)
    if not kinds:
        return {}
    figures: dict[str, float | None] = {
        f"share of {kind} columns": kinds.count(kind) / len(kinds) for kind in KINDS
    }
    return figures | {
        "missing: mean share": float(np.mean(missing)),
        "missing: share of columns with any": float(np.mean(np.array(missing) > 0)),
        **_of_numbers(values.get(SemanticType.NUMERICAL, [])),
        **_of_categories(values.get(SemanticType.CATEGORICAL, [])),
        **_of_booleans(values.get(SemanticType.BOOLEAN, [])),
    }


def _plain_columns(database: Database, name: str) -> list[Column]:
    """A table's columns besides keys and the event time."""
    table = database.schema.table(name)
    left_out = {*database.schema.key_columns(name), table.time_column}
    return [column for column in table.columns if column.name not in left_out]


def _of_numbers(columns: Sequence[pl.Series]) -> dict[str, float | None]:
    # A constant has no skewness.
    skewness = [abs(found) for column in columns if (found := column.skew()) is not None]
    defined = [found for found in skewness if np.isfinite(found)]
    return {
        "numbers: median |skewness|": _median(defined),
        "numbers: share with |skewness| > 2": _mean([found > SKEWED for found in defined]),
        "numbers: median share of distinct values": _median(
            [column.n_unique() / column.len() for column in columns]
        ),
        "numbers: median share of the most frequent value": _median(_top_shares(columns)),
    }


def _of_categories(columns: Sequence[pl.Series]) -> dict[str, float | None]:
    return {
        "categories: median number": _median([column.n_unique() for column in columns]),
        "categories: median share of the most frequent": _median(_top_shares(columns)),
    }


def _of_booleans(columns: Sequence[pl.Series]) -> dict[str, float | None]:
    minority = [1 - share for share in _top_shares(columns)]
    return {
        "booleans: median minority rate": _median(minority),
        "booleans: share with a minority < 5 %": _mean([rate < RARE for rate in minority]),
    }


def _top_shares(columns: Sequence[pl.Series]) -> list[float]:
    return [
        float(column.unique_counts().cast(pl.Float64).to_numpy().max()) / column.len()
        for column in columns
    ]


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if len(values) else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
