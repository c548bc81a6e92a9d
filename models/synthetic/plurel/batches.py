"""Many values of a draw at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.synthetic.draws import Choice, Draw, Fixed, Integer, LogUniform, Uniform
from models.synthetic.rows import Floats, Indices


def batch(draw: Draw[float], generator: np.random.Generator, size: int) -> Floats:
    """Values of a draw of numbers, float64 [size]: whole arrays where the distribution is known."""
    match draw:
        case Fixed(value):
            return np.full(size, value, dtype=np.float64)
        case Uniform(low, high):
            return generator.uniform(low, high, size)
        case LogUniform(low, high):
            return low * (high / low) ** generator.random(size)
        case Integer(low, high):
            return generator.integers(low, high, size, endpoint=True).astype(np.float64)
        case Choice(values):
            return np.asarray(values, dtype=np.float64)[places(draw, generator, size)]
        case _:
            return np.array([draw.sample(generator) for _ in range(size)], dtype=np.float64)


def places(choice: Choice[object], generator: np.random.Generator, size: int) -> Indices:
    """Which of a choice's values came up, int64 [size]."""
    heights: NDArray[np.float64] = np.cumsum(choice.weights or np.ones(len(choice.values)))
    return np.searchsorted(heights, generator.random(size) * heights[-1], side="right")
