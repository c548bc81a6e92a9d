"""What a node of a causal model makes of the embeddings of its causes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum

import numpy as np

from models.synthetic.rows import Floats, Indices

LARGEST_PRODUCT = 1e12
"""Products are clipped to plus and minus this."""
RANGE = 600.0
"""Exponentials of so much are numbers that can be added up, and so are those of as much below 0."""

Aggregator = Callable[[slice | Indices], Floats]
"""From rows to their aggregated embeddings."""


class Aggregation(StrEnum):
    """Element by element, over the causes."""

    SUM = "sum"
    MAX = "max"
    PRODUCT = "product"
    LOG_SUM_EXP = "logsumexp"


_PAIRS: dict[Aggregation, Callable[..., Floats]] = {
    Aggregation.SUM: np.add,
    Aggregation.MAX: np.maximum,
    Aggregation.PRODUCT: np.multiply,
    Aggregation.LOG_SUM_EXP: np.logaddexp,
}
_NOTHING = {
    Aggregation.SUM: 0.0,
    Aggregation.MAX: -np.inf,
    Aggregation.PRODUCT: 1.0,
    Aggregation.LOG_SUM_EXP: -np.inf,
}


def aggregator(
    how: Aggregation, tables: Sequence[Floats], places: Sequence[Indices], given: Sequence[Floats]
) -> Aggregator:
    """Aggregates embeddings that are looked up in tables, and others.

    Args:
        how: The function.
        tables: Embeddings by place, float64 [places, dimensions], of each cause.
        places: The place of every row in each table, int64 [rows].
        given: What is aggregated already, float64 [rows, dimensions].

    Returns:
        A function from rows to their aggregates, float64 [rows, dimensions]; products no larger than
        `LARGEST_PRODUCT`.
    """
    if how == Aggregation.LOG_SUM_EXP:
        return _log_sum_exp(tables, places, given)
    pair = _PAIRS[how]

    def aggregated(rows: slice | Indices) -> Floats:
        found = _combined(pair, tables, places, given, rows)
        if how == Aggregation.PRODUCT:
            # Beyond the range of numbers a zero may meet an infinity.
            np.nan_to_num(found, copy=False)
            np.clip(found, -LARGEST_PRODUCT, LARGEST_PRODUCT, out=found)
        return found

    return aggregated


def combine(how: Aggregation, one: Floats, other: Floats) -> Floats:
    """The aggregate of two aggregates."""
    return _PAIRS[how](one, other)


def of_nothing(how: Aggregation) -> float:
    """What leaves every aggregate as it is."""
    return _NOTHING[how]


def _log_sum_exp(
    tables: Sequence[Floats], places: Sequence[Indices], given: Sequence[Floats]
) -> Aggregator:
    """Adds up exponentials that are taken once a cell, relative to a level.

    Rows whose embeddings lie too high above the level have their highest one as the result.
    """
    highest = np.max([part.max(axis=0) for part in (*tables, *given)], axis=0)
    # Some cause is never lower than this.
    lowest = np.max([table.min(axis=0) for table in tables], axis=0)
    level = np.minimum(highest, lowest + RANGE)
    exponentials = [np.exp(np.minimum(part - level, RANGE)) for part in (*tables, *given)]
    ours, others = exponentials[: len(tables)], exponentials[len(tables) :]

    def aggregated(rows: slice | Indices) -> Floats:
        found = _combined(np.add, ours, places, others, rows)
        np.log(found, out=found)
        found += level
        if (highest - level > RANGE - 10).any():
            highest_of_rows = _combined(np.maximum, tables, places, given, rows)
            np.copyto(found, highest_of_rows, where=highest_of_rows - level > RANGE - 10)
        return found

    return aggregated


def _combined(
    pair: Callable[..., Floats],
    tables: Sequence[Floats],
    places: Sequence[Indices],
    given: Sequence[Floats],
    rows: slice | Indices,
) -> Floats:
    found = np.take(tables[0], places[0][rows], axis=0)
    looked_up = np.empty_like(found)
    for table, place in zip(tables[1:], places[1:], strict=True):
        np.take(table, place[rows], axis=0, out=looked_up, mode="clip")
        pair(found, looked_up, out=found)
    for part in given:
        pair(found, part[rows], out=found)
    return found
