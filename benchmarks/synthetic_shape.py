"""What a synthetic database looks like in figures, whoever made it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import cross_val_predict

from benchmarks.made_databases import Made, MadeTable

Figures = dict[str, float]

RAREST = 0.05
"""Booleans whose rarer value has a smaller share count as rare."""
TREES, ROWS, COLUMNS, FOLDS = 20, 600, 4, 3
"""Effort of how much of a cell its own row tells: trees, rows, columns a database, folds."""


def shape(made: Made) -> Figures:
    """Counts and shares of one database; shares over nothing are NaN."""
    tables = list(made.values())
    columns = [table.rows[name] for table in tables for name in table.columns]
    booleans = [column for column in columns if column.dtype == pl.Boolean]
    numbers = [column for column in columns if column.dtype == pl.Float64]
    rarer = [min(column.mean() or 0, 1 - (column.mean() or 0)) for column in booleans]
    return {
        "tables": len(tables),
        "timed tables": sum(table.time_column is not None for table in tables),
        "foreign keys": sum(len(table.keys) for table in tables),
        "longest path": _longest_path(made),
        "self-references": sum(
            parent == name for name, table in made.items() for parent in table.keys.values()
        ),
        "nulls in keys": _mean(
            [
                table.rows[column].null_count() / len(table.rows)
                for table in tables
                for column in table.keys
            ]
        ),
        "rows": sum(len(table.rows) for table in tables),
        "columns": len(columns),
        "cells": sum(len(column) for column in columns),
        "booleans": len(booleans) / len(columns),
        "rare booleans": _mean([share < RAREST for share in rarer]),
        "nulls in numbers": _mean([column.null_count() / len(column) for column in numbers]),
        "numbers with few values": _mean(
            [column.n_unique() < 0.01 * len(column) for column in numbers]
        ),
        **_degrees(made),
    }


def _degrees(made: Made) -> Figures:
    """How children spread over parents, on average over the foreign keys, and over time."""
    found: dict[str, list[float]] = {
        "children, max / mean": [],
        "of the top tenth of parents": [],
        "childless": [],
        "span of a parent's children": [],
    }
    for table in made.values():
        for column, parent in table.keys.items():
            parents = table.rows[column].drop_nulls().to_numpy().astype(np.int64)
            counts = np.bincount(parents, minlength=len(made[parent].rows))
            tenth = np.sort(counts)[::-1][: max(1, round(len(counts) / 10))]
            found["children, max / mean"].append(counts.max() / counts.mean())
            found["of the top tenth of parents"].append(tenth.sum() / counts.sum())
            found["childless"].append(float((counts == 0).mean()))
            if table.time_column is not None:
                found["span of a parent's children"].append(
                    _span(table.rows.select(pl.col(column), pl.col(table.time_column)))
                )
    return {name: _mean(values) for name, values in found.items()}


def _span(rows: pl.DataFrame) -> float:
    """First to last child of parents with several, as a share of the table's own span."""
    key, time = rows.columns
    whole = rows.select(pl.col(time).max() - pl.col(time).min()).item()
    spans = (
        rows.drop_nulls()
        .group_by(key)
        .agg((pl.col(time).max() - pl.col(time).min()).alias("span"), pl.len())
        .filter(pl.col("len") > 1)
    )
    seconds = spans["span"].dt.total_seconds().mean()
    if seconds is None or not whole:
        return float("nan")
    return float(seconds) / whole.total_seconds()


def _longest_path(made: Made) -> int:
    depth: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in depth:
            parents = {parent for parent in made[name].keys.values() if parent != name}
            depth[name] = 1 + max(map(of, parents), default=-1)
        return depth[name]

    return max(map(of, made))


def own_row(made: Made, seed: int) -> list[float]:
    """How much of a cell the other cells of its row tell: R² of a small forest, a value a column.

    Columns are picked at random among the numbers and booleans that vary.
    """
    generator = np.random.default_rng(seed)
    places = [
        (name, column)
        for name, table in made.items()
        for column in table.columns
        if table.rows[column].dtype in (pl.Boolean, pl.Float64)
        and len(table.columns) > 1
        and (table.rows[column].cast(pl.Float64).std() or 0) > 1e-9
    ]
    chosen = generator.permutation(len(places))[:COLUMNS]
    return [_explained(made[places[at][0]], places[at][1], seed) for at in chosen]


def _explained(table: MadeTable, column: str, seed: int) -> float:
    rows = table.rows.filter(pl.col(column).is_not_null())
    rows = rows.sample(min(ROWS, len(rows)), seed=seed)
    others = [name for name in table.columns if name != column]
    inputs = rows.select(_as_numbers(rows, others)).fill_null(-9.0).to_numpy()
    wanted = rows[column].cast(pl.Float64).rank("average").to_numpy()
    forest = RandomForestRegressor(TREES, min_samples_leaf=5, random_state=seed, n_jobs=1)
    told = cross_val_predict(forest, inputs, wanted, cv=FOLDS)
    variance = float(np.var(wanted))
    return 1 - float(np.mean((told - wanted) ** 2)) / variance if variance > 0 else float("nan")


def _as_numbers(rows: pl.DataFrame, columns: Sequence[str]) -> list[pl.Expr]:
    """Columns as numbers between -5 and 5: ranks, which outliers do not dominate."""
    found = []
    for name in columns:
        values = pl.col(name)
        if rows[name].dtype == pl.String:
            values = values.cast(pl.Categorical).to_physical()
        found.append((values.cast(pl.Float64).rank("average") / len(rows)).alias(name))
    return found


def _mean(values: Sequence[float | bool]) -> float:
    known = [float(value) for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
