"""Stages 2 and 3 without any mechanism: valid rows and values, as few as a test needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from models.synthetic.blueprint import Blueprint, ColumnKind, TableKind
from models.synthetic.database import Columns, Mechanism, Place
from models.synthetic.generator import moments
from models.synthetic.rows import Rows
from models.synthetic.streams import Streams


@dataclass(frozen=True, slots=True)
class PlainRows:
    """Uniform times and uniform parents among those that are there by then."""

    def __call__(self, blueprint: Blueprint, streams: Streams) -> dict[str, Rows]:
        made: dict[str, Rows] = {}
        for table in blueprint.tables:
            generator = streams.generator(table.name)
            others = [key.parent for key in table.keys if key.parent != table.name]
            first = max([made[name].times_or(0.0)[0] for name in others], default=0.0)
            times = first + (1 - first) * np.sort(generator.random(table.rows))
            if table.kind == TableKind.ENTITY:
                times = np.where(np.arange(table.rows) < 3, min(first, 0.0), times)
            parents = {}
            for key in table.keys:
                there = np.arange(table.rows)
                if key.parent != table.name:
                    born = made[key.parent].times_or(0.0)
                    there = np.searchsorted(born, times, side="right")
                drawn = (generator.random(table.rows) * there).astype(np.int64)
                absent = (generator.random(table.rows) < key.null_share) | (there == 0)
                parents[key.column] = np.where(absent, -1, drawn)
            made[table.name] = Rows(times, parents, generator.normal(size=(table.rows, 1, 2)))
        return made


@dataclass(frozen=True, slots=True)
class PlainColumns:
    """Independent values; every seventh of a nullable column is missing."""

    def __call__(
        self,
        blueprint: Blueprint,
        rows: Mapping[str, Rows],
        streams: Streams,
        interventions: Mapping[Place, float],
    ) -> Columns:
        values: dict[str, dict[str, pl.Series]] = {}
        mechanisms = []
        for table in blueprint.tables:
            values[table.name] = {}
            for column in table.columns:
                x = streams.generator(table.name, column.name).normal(size=table.rows)
                series = _typed(blueprint, rows[table.name], column.kind, column.categories, x)
                if column.nullable:
                    index = pl.Series(np.arange(table.rows) % 7 == 6)
                    series = series.zip_with(~index, pl.Series([None], dtype=series.dtype))
                values[table.name][column.name] = series
                mechanisms.append(Mechanism(table.name, column.name, ("own:nothing",), 1 / 3))
        return Columns(values, tuple(mechanisms))


def _typed(
    blueprint: Blueprint, rows: Rows, kind: ColumnKind, categories: tuple[str, ...], x: np.ndarray
) -> pl.Series:
    if kind == ColumnKind.INTEGER:
        return pl.Series(np.round(10 * x).astype(np.int64))
    if kind == ColumnKind.BOOLEAN:
        return pl.Series(x > 0)
    if kind == ColumnKind.CATEGORICAL:
        return pl.Series(
            np.asarray(categories, object)[(10 * abs(x)).astype(int) % len(categories)]
        )
    if kind == ColumnKind.TEXT:
        return pl.Series(np.where(x > 0, "a few words of text", "some other words here"))
    if kind == ColumnKind.TIMESTAMP:
        times = pl.Series(moments(blueprint, rows.times_or(0.0)), dtype=pl.Datetime("us"))
        return times + timedelta(days=1)
    return pl.Series(x.round(4))
