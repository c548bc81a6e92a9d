"""What happened to an owner before: aggregates over its rows strictly before a moment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from models.synthetic.rows import Floats, Indices

TICKS = 2**40
"""Moments of a span that are told apart; rows of one such moment are not before each other."""

FIXED_POINT = 2.0**24
"""Sums are of whole multiples of its inverse, so that they do not depend on the other owners' rows."""


class Aggregate(StrEnum):
    """What is computed of an owner's earlier rows."""

    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    LAST = "last"
    MAX = "max"
    DECAYED_MEAN = "decayed_mean"


@dataclass(frozen=True, slots=True)
class EarlierRows:
    """For each of some questions (an owner, a moment) the owner's rows strictly before it.

    Attributes:
        order: The rows by owner and time, int64 [rows]; rows of nobody are left out.
        group: Which owner each belongs to, ascending, int64 in that order.
        times: When they happened, float64 in that order.
        since: Where the owner's rows begin in that order, int64 [questions].
        until: Where the rows before the moment end, int64 [questions].
    """

    order: Indices
    group: Indices
    times: Floats
    since: Indices
    until: Indices

    @property
    def count(self) -> Indices:
        """The number of rows: int64 [questions]."""
        return self.until - self.since

    def aggregate(self, kind: Aggregate, values: Floats, half_life: float = 0.1) -> Floats:
        """An aggregate of the rows' values.

        Args:
            kind: Which one.
            values: float64 [rows], in the rows' own order; below 2^38 in size.
            half_life: After which a value counts half in a decayed mean, as a share of the span.

        Returns:
            float64 [questions]; NaN where there is no earlier row and the aggregate is neither a
            count nor a sum.
        """
        if kind == Aggregate.COUNT:
            return self.count.astype(np.float64)
        if kind == Aggregate.SUM:
            return self._sum(values)
        found = np.full(len(self.until), np.nan)
        asked = np.flatnonzero(self.count)
        last = self.until[asked] - 1
        match kind:
            case Aggregate.MEAN:
                found[asked] = self._sum(values)[asked] / self.count[asked]
            case Aggregate.LAST:
                found[asked] = values[self.order[last]]
            case Aggregate.MAX:
                found[asked] = self._running_max(values)[last]
            case Aggregate.DECAYED_MEAN:
                found[asked] = self._decayed_mean(values, half_life)[last]
        return found

    def _sum(self, values: Floats) -> Floats:
        whole = np.rint(values[self.order] * FIXED_POINT).astype(np.int64)
        sums = np.concatenate([[0], np.cumsum(whole)])
        return (sums[self.until] - sums[self.since]) / FIXED_POINT

    def _running_max(self, values: Floats) -> Floats:
        """The maximum of each row and the owner's rows before it, in the stored order."""
        ordered = values[self.order]
        by_value = np.argsort(ordered, kind="stable")
        rank = np.empty(len(ordered), dtype=np.int64)
        rank[by_value] = np.arange(len(ordered))
        # A later owner's ranks all lie above those of the owners before.
        highest = np.maximum.accumulate(self.group * len(ordered) + rank)
        return ordered[by_value[highest - self.group * len(ordered)]]

    def _decayed_mean(self, values: Floats, half_life: float) -> Floats:
        """The mean of each row and the owner's rows before it, older ones counting less.

        The recursion S_k = v_k + 2^(-(t_k - t_(k-1))/h)·S_(k-1) is solved by doubling: after the
        step s, S_k holds the terms of the last 2s rows. Later moments than the last row's own
        change no mean, since all weights decay alike.
        """
        place = np.arange(len(self.group)) - np.searchsorted(self.group, self.group)
        sums = values[self.order]
        weights = np.ones(len(sums))
        step, longest = 1, int(place.max(initial=0))
        while step <= longest:
            later = np.flatnonzero(place >= step)
            decay = np.exp2((self.times[later - step] - self.times[later]) / half_life)
            sums[later] += decay * sums[later - step]
            weights[later] += decay * weights[later - step]
            step *= 2
        return sums / weights


def earlier_rows(owners: Indices, times: Floats, whose: Indices, when: Floats) -> EarlierRows:
    """The rows before each question's moment.

    Args:
        owners: Whose row it is, int64 [rows], below 2^22; negative for nobody's.
        times: When it happened, as a share of the span, float64 [rows], ascending.
        whose: The owners asked about, int64 [questions]; negative for nobody, who has no rows.
        when: And the moments, float64 [questions].
    """
    known = np.flatnonzero(owners >= 0)
    order = known[np.argsort(owners[known], kind="stable")]
    group = owners[order]
    keys = group * TICKS + _ticks(times[order])
    nobody = np.maximum(whose, 0) * TICKS
    since = np.searchsorted(keys, nobody)
    until = np.searchsorted(keys, nobody + np.where(whose >= 0, _ticks(when), 0))
    return EarlierRows(order, group, times[order], since, np.where(whose >= 0, until, since))


def _ticks(times: Floats) -> Indices:
    """Moments as whole numbers from 0 to below TICKS, in the same order."""
    return (np.clip(times, 0.0, 1.0) * (TICKS - 1)).astype(np.int64)
