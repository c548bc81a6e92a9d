"""Whether synthetic tasks reach where real ones lie: ranges of their signals side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from models.fidelity.signals import SIGNALS, Signals

HULL = (0.025, 0.975)


def coverage(real: Sequence[Signals], synthetic: Sequence[Signals]) -> pl.DataFrame:
    """The ranges of each signal, and the share of real tasks inside the synthetic one.

    The synthetic range goes from the 2.5th to the 97.5th percentile, both included. Tasks for which
    a signal is not defined do not count for it.

    Returns:
        A row a signal: signal, real_tasks, real_low, real_median, real_high, synthetic_tasks,
        synthetic_low, synthetic_median, synthetic_high, inside (null without tasks on both sides).
    """
    rows = []
    for name in SIGNALS:
        ours, theirs = _known(synthetic, name), _known(real, name)
        low, middle, high = _range(ours, HULL[0], HULL[1])
        least, median, greatest = _range(theirs, 0.0, 1.0)
        inside = None
        if low is not None and high is not None and theirs.size:
            inside = float(((theirs >= low) & (theirs <= high)).mean())
        rows.append(
            {
                "signal": name,
                "real_tasks": theirs.size,
                "real_low": least,
                "real_median": median,
                "real_high": greatest,
                "synthetic_tasks": ours.size,
                "synthetic_low": low,
                "synthetic_median": middle,
                "synthetic_high": high,
                "inside": inside,
            }
        )
    schema = dict.fromkeys(rows[0], pl.Float64) | {
        "signal": pl.String,
        "real_tasks": pl.Int64,
        "synthetic_tasks": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema)


def share_inside(real: Signals, synthetic: Sequence[Signals]) -> float | None:
    """Of the signals that one real task has, the share inside the synthetic range."""
    shares = coverage([real], synthetic)["inside"].drop_nulls()
    return float(shares.to_numpy().mean()) if len(shares) else None


def _known(tasks: Sequence[Signals], name: str) -> np.ndarray:
    return np.array([value for task in tasks if (value := task.get(name)) is not None], float)


def _range(
    values: np.ndarray, low: float, high: float
) -> tuple[float, float, float] | tuple[None, None, None]:
    if not values.size:
        return None, None, None
    found = np.quantile(values, [low, 0.5, high])
    return float(found[0]), float(found[1]), float(found[2])
