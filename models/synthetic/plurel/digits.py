"""Numbers with few digits: the last bits of matrix products and logarithms differ by machine."""

from __future__ import annotations

import numpy as np

from models.synthetic.rows import Floats

DIGITS = 6
FARTHEST = 22
"""Powers of ten up to here are exact."""

_POWERS = np.array([float(f"1e{power}") for power in range(FARTHEST + 1)])


def significant(values: Floats) -> Floats:
    """The values to 6 significant digits, float64; those below 1e-17 to 22 decimals."""
    sizes = np.abs(values)
    exponents = np.floor(np.log10(np.where(sizes > 0, sizes, 1.0))).astype(np.int64)
    decimals = np.clip(DIGITS - 1 - exponents, -FARTHEST, FARTHEST)
    fine = _POWERS[np.maximum(decimals, 0)]
    coarse = _POWERS[np.maximum(-decimals, 0)]
    return np.rint(values / coarse * fine) / fine * coarse
