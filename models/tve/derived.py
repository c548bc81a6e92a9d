"""From raw aggregates to targets: the function of each kind, and where a target is masked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from models.tve.targets import Kind, Target
from models.tve.timeline import Timeline

DAY = timedelta(days=1)
# Kinds that already lie in [0, 1] and mean what they say: they are not scaled.
UNSCALED = (Kind.ANY, Kind.SHARE, Kind.CATEGORY)


def derived_targets(
    raw: pl.DataFrame, targets: Sequence[Target], timeline: Timeline
) -> pl.DataFrame:
    """The targets of every row before scaling, Float64, NULL where masked or censored.

    A target is censored where its window is not closed within the row's split. It is masked where
    it has no meaning: mean, min and max of no number, the deviation of fewer than two, shares and
    categories of no row. ANY, COUNT, SUM, DISTINCT and NEXT are never masked.

    Counts are log(1 + x); sums, means, minima and maxima sign(x) log(1 + |x|), deviations
    log(1 + x); the time to the next row is log(1 + days), at most that of the window's length.

    Args:
        raw: The universe's rows (cutoff_time, split, ...) with a column per feature.
        targets: What to derive.
        timeline: The tile, and what is known by when.
    """
    columns = []
    for target in targets:
        value = _FUNCTIONS[target.kind](target, timeline)
        known = timeline.is_complete(target.horizon) & value.is_finite()
        columns.append(pl.when(known).then(value).cast(pl.Float64).alias(target.name))
    return raw.select(columns)


def _any(target: Target, timeline: Timeline) -> pl.Expr:
    return (pl.col(target.reads[0]) > 0).cast(pl.Float64)


def _count(target: Target, timeline: Timeline) -> pl.Expr:
    return pl.col(target.reads[0]).fill_null(0.0).log1p()


def _signed_log(target: Target, timeline: Timeline) -> pl.Expr:
    value = pl.col(target.reads[0])
    return value.sign() * value.abs().log1p()


def _log(target: Target, timeline: Timeline) -> pl.Expr:
    return pl.col(target.reads[0]).log1p()


def _share(target: Target, timeline: Timeline) -> pl.Expr:
    return pl.col(target.reads[0])


def _category(target: Target, timeline: Timeline) -> pl.Expr:
    total, *counts = map(pl.col, target.reads)
    count = pl.sum_horizontal(counts)
    return pl.when(total > 0).then((total - count if target.value is None else count) / total)


def _distinct(target: Target, timeline: Timeline) -> pl.Expr:
    if len(target.reads) == 1:
        return _count(target, timeline)
    counts = target.reads[1:]
    return pl.sum_horizontal(pl.col(name) > 0 for name in counts).cast(pl.Float64).log1p()


def _time_to_next(target: Target, timeline: Timeline) -> pl.Expr:
    # TIME_SINCE_FIRST is the time from the first row to the cutoff, negative after the cutoff.
    longest = target.horizon * timeline.tile / DAY
    days = -pl.col(target.reads[0]) / DAY.total_seconds()
    return days.fill_null(longest).clip(upper_bound=longest).log1p()


_FUNCTIONS = {
    Kind.ANY: _any,
    Kind.COUNT: _count,
    Kind.SUM: _signed_log,
    Kind.MEAN: _signed_log,
    Kind.MIN: _signed_log,
    Kind.MAX: _signed_log,
    Kind.STD: _log,
    Kind.SHARE: _share,
    Kind.CATEGORY: _category,
    Kind.DISTINCT: _distinct,
    Kind.NEXT: _time_to_next,
}
