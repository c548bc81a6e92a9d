"""What a network takes from a table's visible rows: scales, known categories, columns that vary."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from torch import Tensor

from models.rdl.graph import MISSING_TIME, NodeTable, TemporalGraph

MAX_CATEGORIES = 100
MIN_ROWS = 5
"""A category of fewer rows is not told apart from the other rare ones."""


@dataclass(frozen=True, slots=True)
class NumberScale:
    """A numerical column's median and spread; whether some of its values are missing."""

    column: str
    centre: float
    scale: float
    has_gaps: bool


@dataclass(frozen=True, slots=True)
class TableStatistics:
    """What is known of a table's columns; columns that do not vary are left out.

    `categories` are the known values by column, most frequent first; `timestamps` the columns with
    times besides the event time; `text` the text columns with their dimensions.
    """

    table: str
    is_timed: bool
    numbers: tuple[NumberScale, ...]
    categories: Mapping[str, tuple[str, ...]]
    timestamps: tuple[str, ...]
    text: Mapping[str, int]

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "table": self.table,
            "is_timed": self.is_timed,
            "numbers": [[n.column, n.centre, n.scale, n.has_gaps] for n in self.numbers],
            "categories": {name: list(values) for name, values in self.categories.items()},
            "timestamps": list(self.timestamps),
            "text": dict(self.text),
        }


def statistics_from_plain(plain: Mapping[str, Any]) -> TableStatistics:
    """The statistics whose `to_plain` this is."""
    return TableStatistics(
        plain["table"],
        plain["is_timed"],
        tuple(NumberScale(*entry) for entry in plain["numbers"]),
        {name: tuple(values) for name, values in plain["categories"].items()},
        tuple(plain["timestamps"]),
        dict(plain["text"]),
    )


def graph_statistics(
    graph: TemporalGraph, until: int, hidden: Collection[tuple[str, str]] = ()
) -> dict[str, TableStatistics]:
    """The statistics of all tables over rows up to a time.

    Args:
        graph: The graph, on the CPU.
        until: Microseconds; no later row is looked at.
        hidden: (table, column) pairs that are not to be used.
    """
    limit = int(graph.visible_rank(torch.tensor([until])))
    return {
        name: _table_statistics(table, limit, {c for t, c in hidden if t == name})
        for name, table in graph.tables.items()
    }


def _table_statistics(table: NodeTable, limit: int, hidden: set[str]) -> TableStatistics:
    visible = table.time_rank <= limit
    numbers = [
        scale
        for i, column in enumerate(table.numerical_columns)
        if column not in hidden
        and (scale := _number_scale(column, table.numerical[visible, i])) is not None
    ]
    categories = {
        column: known
        for column, values in table.categorical.items()
        if column not in hidden and (known := _categories(values.codes[visible], values.values))
    }
    stamps = [
        column
        for i, column in enumerate(table.timestamp_columns)
        if column not in hidden and bool((table.timestamps[visible, i] != MISSING_TIME).any())
    ]
    text = {
        column: values.embeddings.shape[1]
        for column, values in table.text.items()
        if column not in hidden
        and values.embeddings is not None
        and bool((values.codes[visible] >= 0).any())
    }
    return TableStatistics(
        table.name, table.time is not None, tuple(numbers), categories, tuple(stamps), text
    )


def _number_scale(column: str, values: Tensor) -> NumberScale | None:
    known = values[~values.isnan()].double()
    has_gaps = len(known) < len(values)
    if len(known) == 0 or (not has_gaps and bool((known == known[0]).all())):
        return None
    ordered = known.sort().values
    quarter, middle, three = (
        float(ordered[int(share * (len(ordered) - 1))]) for share in (0.25, 0.5, 0.75)
    )
    # The spread of a normal distribution with these quartiles; columns that are mostly one value
    # have none, so they take the standard deviation.
    spread = (three - quarter) / 1.349
    if spread <= 0:
        spread = float(known.std()) if len(known) > 1 else 1.0
    return NumberScale(column, middle, spread if spread > 0 else 1.0, has_gaps)


def _categories(codes: Tensor, values: pl.Series) -> tuple[str, ...]:
    known = codes[codes >= 0].long()
    counts = torch.bincount(known, minlength=len(values))
    order = torch.sort(counts, descending=True, stable=True)
    frequent = order.indices[(order.values >= MIN_ROWS)][:MAX_CATEGORIES]
    return tuple(values.gather(frequent.tolist()).to_list())
