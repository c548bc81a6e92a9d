"""Rows as simple as they can be, to try columns on: random parents, even times, random states."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from models.synthetic.blueprint import (
    Blueprint,
    ColumnKind,
    ColumnPlan,
    KeyPlan,
    TableKind,
    TablePlan,
)
from models.synthetic.rows import Rows
from models.synthetic.streams import Streams

START, END = datetime(2020, 1, 1), datetime(2022, 1, 1)


def columns(*kinds: ColumnKind, nullable: bool = True) -> tuple[ColumnPlan, ...]:
    """Columns `c1`, `c2`, … of these kinds; categorical ones have six categories."""
    return tuple(
        ColumnPlan(
            f"c{number}",
            kind,
            tuple("abcdef") if kind == ColumnKind.CATEGORICAL else (),
            nullable,
        )
        for number, kind in enumerate(kinds, 1)
    )


def shop(
    customer: tuple[ColumnPlan, ...],
    order: tuple[ColumnPlan, ...],
    review: tuple[ColumnPlan, ...] = (),
    scale: int = 1,
) -> Blueprint:
    """Customers without a time, products with one, orders of customers, reviews of both."""
    tables = (
        TablePlan("customer", TableKind.ENTITY, 200 * scale, "id", columns=customer),
        TablePlan("product", TableKind.ENTITY, 100 * scale, "id", (), customer, "created_at"),
        TablePlan(
            "order",
            TableKind.ACTIVITY,
            1500 * scale,
            "id",
            (KeyPlan("customer_id", "customer"), KeyPlan("product_id", "product", 0.3)),
            order,
            "happened_at",
        ),
        TablePlan(
            "review",
            TableKind.ACTIVITY,
            800 * scale,
            "id",
            (KeyPlan("order_id", "order"), KeyPlan("product_id", "product")),
            review,
            "happened_at",
        ),
    )
    validation, test = datetime(2021, 6, 1), datetime(2021, 9, 1)
    return Blueprint("shop", tables, START, END, validation, test)


@dataclass(frozen=True, slots=True)
class PlainRows:
    """A `RowSampler`; a row's parents are any that were there at its time."""

    dimensions: int = 4

    def __call__(self, blueprint: Blueprint, streams: Streams) -> dict[str, Rows]:
        """See `RowSampler`."""
        made: dict[str, Rows] = {}
        for table in blueprint.tables:
            generator = streams.generator(table.name)
            entity = table.kind == TableKind.ENTITY
            times = np.sort(generator.uniform(-0.5 if entity else 0.1, 0.95, table.rows))
            parents = {}
            for key in table.keys:
                there = made[key.parent].times
                assert there is not None
                times = np.maximum(times, there[0] + 1e-3)
                born = np.searchsorted(there, times)
                found = (generator.random(table.rows) * born).astype(np.int64)
                found[generator.random(table.rows) < key.null_share] = -1
                parents[key.column] = found
            steps = generator.standard_normal((table.rows, 3 if entity else 1, self.dimensions))
            states = np.cumsum(steps, axis=1) / np.sqrt(np.arange(1, steps.shape[1] + 1))[:, None]
            made[table.name] = Rows(times, parents, states)
        return made


def until(rows: dict[str, Rows], moment: float) -> dict[str, Rows]:
    """The rows up to a moment."""
    kept = {}
    for name, table in rows.items():
        assert table.times is not None
        count = int(np.searchsorted(table.times, moment, side="right"))
        parents = {key: found[:count] for key, found in table.parents.items()}
        kept[name] = Rows(table.times[:count], parents, table.states[:count])
    return kept
