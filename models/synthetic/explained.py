"""How much of a column's variance others explain, whatever the columns hold."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

BINS = 32
"""Numbers of more values than these are taken by their quantiles."""


def explained_share(values: pl.Series, inputs: Sequence[pl.Series]) -> float:
    """The share of the variance of some values that lies between groups of equal inputs.

    For numbers and times it is the correlation ratio, for all else its analogue for categories
    (Light and Margolin, JASA 66, 1971: variation is the chance that two rows differ), in both cases
    without what groups explain by chance (Kelley, PNAS 21, 1935). Missing values are left out; a
    missing input is a value of its own.

    Args:
        values: One a row.
        inputs: One a row each; numbers and times of many values are cut into BINS quantiles.

    Returns:
        From 0 to 1; 0 where the values do not differ or no group has a second row.
    """
    if values.dtype.is_temporal():
        values = values.to_physical()
    names = [f"input_{place}" for place in range(len(inputs))]
    frame = pl.DataFrame(
        [
            values.alias("value"),
            *(_binned(one).alias(name) for one, name in zip(inputs, names, strict=True)),
        ]
    ).drop_nulls("value")
    if not names or frame.is_empty():
        return 0.0
    groups = frame.group_by(names)
    if values.dtype.is_numeric():
        found = groups.agg(pl.len(), pl.col("value").var(ddof=0).alias("variance"))
        within = float((found["len"] * found["variance"]).sum())
        total = frame.height * float(frame.select(pl.col("value").var(ddof=0)).item())
    else:
        found = groups.agg(pl.len(), pl.col("value").unique_counts().pow(2).sum().alias("alike"))
        within = float((found["len"] - found["alike"] / found["len"]).sum())
        alike = frame["value"].unique_counts().cast(pl.Float64).pow(2).sum()
        total = frame.height - float(alike) / frame.height
    spare = frame.height - found.height
    if total <= 0 or spare <= 0:
        return 0.0
    share = 1 - (within / spare) / (total / (frame.height - 1))
    return float(min(max(share, 0.0), 1.0))


def _binned(values: pl.Series) -> pl.Series:
    ordered = values.dtype.is_numeric() or values.dtype.is_temporal()
    if not ordered or values.n_unique() <= BINS:
        return values
    return values.rank("ordinal").cast(pl.Int64) * BINS // (len(values) + 1)
