"""Signals of different tasks on one scale, and how far apart tasks are."""

from __future__ import annotations

import numpy as np

_CLIP = 3.0


def spread(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Median and spread of each feature, and which vary and are known for half of the rows.

    Args:
        features: Float64 (rows, features), NaN where unknown.

    Returns:
        Two Float64 (features,), 0 and 1 for those that aren't usable, and the usable columns. The
        spread is the distance of the outer deciles in units of the standard normal distribution's,
        or the standard deviation where they coincide.
    """
    count = features.shape[1]
    centre, scale = np.zeros(count), np.ones(count)
    usable = []
    for column in range(count):
        known = features[:, column][np.isfinite(features[:, column])]
        if known.size < 3 or known.size < len(features) / 2:
            continue
        low, middle, high = np.quantile(known, [0.1, 0.5, 0.9])
        width = (high - low) / 2.563 or known.std()
        if width > 1e-9:
            centre[column], scale[column] = middle, width
            usable.append(column)
    return centre, scale, usable


def distances(bank: np.ndarray, task: np.ndarray) -> np.ndarray:
    """Root mean square difference, in spreads, over the features that both know.

    Args:
        bank: Float64 (rows, features), NaN where unknown.
        task: Float64 (features,).

    Returns:
        Float64 (rows,); infinite where no feature is known of both.
    """
    centre, scale, usable = spread(bank)
    rows = np.clip((bank - centre) / scale, -_CLIP, _CLIP)[:, usable]
    own = np.clip((task - centre) / scale, -_CLIP, _CLIP)[usable]
    squares = (rows - own) ** 2
    known = np.isfinite(squares)
    count = known.sum(axis=1)
    mean = np.where(known, squares, 0.0).sum(axis=1) / np.maximum(count, 1)
    return np.asarray(np.where(count > 0, np.sqrt(mean), np.inf))
