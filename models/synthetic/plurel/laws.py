"""Distributions by look-up: random bytes pick among values at even distances of probability."""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from models.synthetic.draws import Choice, Draw
from models.synthetic.plurel.batches import batch, places
from models.synthetic.rows import Floats, Indices

STEPS = 1024
"""Values that a weight is picked from."""
GRID = 512
"""Points at which a beta density is summed up."""

_MIDDLES = (np.arange(STEPS) + 0.5) / STEPS
_BEYOND = float(ndtr(-2.0))
_VALUES = np.concatenate(
    [ndtri(_MIDDLES), 2 * _MIDDLES - 1, ndtri(_BEYOND + (1 - 2 * _BEYOND) * _MIDDLES)]
)
_NORMAL, _UNIFORM, _TRUNCATED = range(3)

_ANGLES = np.linspace(0, np.pi / 2, GRID + 1)
_LOG_SINES = np.log(np.sin((_ANGLES[1:] + _ANGLES[:-1]) / 2))
_LOG_COSINES = _LOG_SINES[::-1]


class Initialisation(StrEnum):
    """How a matrix of weights is filled; the names and scales of torch.nn.init."""

    KAIMING_NORMAL = "kaiming_normal"
    KAIMING_UNIFORM = "kaiming_uniform"
    XAVIER_NORMAL = "xavier_normal"
    XAVIER_UNIFORM = "xavier_uniform"
    TRUNCATED_NORMAL = "truncated_normal"
    SPARSE = "sparse"


_TABLES = {
    Initialisation.KAIMING_NORMAL: _NORMAL,
    Initialisation.KAIMING_UNIFORM: _UNIFORM,
    Initialisation.XAVIER_NORMAL: _NORMAL,
    Initialisation.XAVIER_UNIFORM: _UNIFORM,
    Initialisation.TRUNCATED_NORMAL: _TRUNCATED,
    Initialisation.SPARSE: _NORMAL,
}


def matrices(
    shape: tuple[int, int, int],
    initialisations: Choice[Initialisation],
    density: Draw[float] | None,
    generator: np.random.Generator,
    rows: Indices | None = None,
) -> Floats:
    """Random matrices, each by a law of its own.

    Args:
        shape: How many, their rows (inputs) and columns (outputs).
        initialisations: The law, drawn once a matrix.
        density: The share of weights that are not zero, drawn once a matrix; the others grow by as
            much, so that the expected sum stays. None keeps all.
        generator: Where weights come from.
        rows: Rows that count in each matrix where some are only there to fill up, int64 [count].

    Returns:
        float64, of the shape.
    """
    count, height, width = shape
    laws = places(initialisations, generator, count)
    heights = np.full(count, height) if rows is None else rows
    scales, kept, tables = np.empty(count), np.ones(count), np.empty(count, dtype=np.int64)
    for law, name in enumerate(initialisations.values):
        own = laws == law
        scales[own], tables[own] = _scale(name, heights[own], width), _TABLES[name]
        if name == Initialisation.SPARSE:
            # Half of the rows of every column, rounded up, are zero: of a single row all.
            kept[own] = heights[own] // 2 / heights[own]
    if density is not None:
        shares = np.maximum(batch(density, generator, count), 1e-6)
        scales, kept = scales / shares, kept * shares
    scales[kept == 0] = 0.0
    size = height * width
    codes = np.frombuffer(generator.bytes(2 * count * size), dtype="<u2").reshape(count, size)
    index = (codes >> 6).astype(np.intp)
    index += (tables * STEPS)[:, None]
    found = np.take(_VALUES, index)
    found *= scales[:, None]
    if (kept < 1).any():
        limits = np.clip(np.rint(kept * 256) - 1, 0, 255).astype(np.uint8)
        coins = np.frombuffer(generator.bytes(count * size), dtype=np.uint8).reshape(count, size)
        found *= coins <= limits[:, None]
    return found.reshape(shape)


def _scale(initialisation: Initialisation, rows: Indices, columns: int) -> Floats | float:
    """What the values of a table are multiplied with, float64 [matrices] or one number.

    A matrix has inputs in its rows, so that torch's fan in is the number of columns.
    """
    match initialisation:
        case Initialisation.KAIMING_NORMAL:
            return math.sqrt(2 / columns)
        case Initialisation.KAIMING_UNIFORM:
            return math.sqrt(6 / columns)
        case Initialisation.XAVIER_NORMAL:
            return np.sqrt(2 / (rows + columns))
        case Initialisation.XAVIER_UNIFORM:
            return np.sqrt(6 / (rows + columns))
        case Initialisation.TRUNCATED_NORMAL:
            return 1.0
        case Initialisation.SPARSE:
            return 0.01


def beta_quantiles(alphas: Floats, betas: Floats, steps: int) -> Floats:
    """The middles of equally likely steps of beta distributions, float64 [distributions, steps].

    With x = sin² θ the density over θ is sin^(2α-1) θ cos^(2β-1) θ, which is finite from α, β = 1/2
    on; its sums over a grid are inverted in straight lines.
    """
    logs = (2 * alphas[:, None] - 1) * _LOG_SINES + (2 * betas[:, None] - 1) * _LOG_COSINES
    heights = np.cumsum(np.exp(logs - logs.max(axis=1, keepdims=True)), axis=1)
    heights = np.concatenate([np.zeros((len(heights), 1)), heights], axis=1) / heights[:, -1:]
    wanted = (np.arange(steps) + 0.5) / steps
    angles = np.stack([np.interp(wanted, line, _ANGLES) for line in heights])
    return np.sin(angles) ** 2


def picks(values: Floats, shape: tuple[int, int], generator: np.random.Generator) -> Floats:
    """Values out of 256 equally likely ones, float64 of the shape."""
    codes: NDArray[np.uint8] = np.frombuffer(generator.bytes(shape[0] * shape[1]), dtype=np.uint8)
    return np.take(values, codes).reshape(shape)
