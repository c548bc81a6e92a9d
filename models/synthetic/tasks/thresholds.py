"""Thresholds that cut numbers into classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.synthetic.rows import Floats


def split_points(values: Floats, quantiles: Sequence[float]) -> tuple[float, ...]:
    """Constants between neighbouring values that leave about those shares of the values below.

    They lie in the middle between two values, so that the last bits of a sum decide nothing.

    Returns:
        Ascending, without repetition; fewer than asked for where values are few.
    """
    # Sums of the same numbers in another order are the same value.
    rounded = _significant(values, 9)
    distinct, counts = np.unique(rounded[np.isfinite(rounded)], return_counts=True)
    if len(distinct) < 2:
        return ()
    below = np.cumsum(counts)[:-1] / counts.sum()
    places = sorted({int(np.argmin(np.abs(below - quantile))) for quantile in quantiles})
    return tuple(_between(float(distinct[i]), float(distinct[i + 1])) for i in places)


def _between(low: float, high: float) -> float:
    middle = (low + high) / 2
    short = float(f"{middle:.6g}")
    return short if low < short < high else middle


def _significant(values: Floats, digits: int) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** (digits - 1 - np.where(np.isfinite(size), size, 0.0))
    return np.round(values * scale) / scale
