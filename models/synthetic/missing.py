"""Which values are missing: at random, because of another column, or because of the value itself.

A selection model (Heckman, "Sample selection bias as a specification error", Econometrica 1979): a
value is missing where ρ·z + √(1-ρ²)·ε falls below a bound, ε being standard normal noise and z the
cause. The bound is the quantile of the wanted rate, so that a cause that is standard normal keeps
the rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np

from models.synthetic.draws import Choice, Draw, LogUniform, Uniform, sample_within
from models.synthetic.rows import Floats

MOST_MISSING = 0.99
"""No column lacks a larger share of its values."""


class MissingKind(StrEnum):
    """What makes a value be missing (Rubin, "Inference and missing data", Biometrika 1976)."""

    COMPLETELY_AT_RANDOM = "completely at random"
    AT_RANDOM = "at random"
    NOT_AT_RANDOM = "not at random"


@dataclass(frozen=True, slots=True)
class Gaps:
    """How the values of a column come to be missing.

    Attributes:
        kind: What causes it: nothing, another column, the value itself.
        rate: The share of values that are missing.
        strength: ρ, from -1 to 1; below 0 large causes make values be missing.
    """

    kind: MissingKind
    rate: float
    strength: float

    def __call__(self, cause: Floats, generator: np.random.Generator) -> np.ndarray:
        """Which rows lack a value: bool [rows].

        Args:
            cause: About standard normal, float64 [rows]; 0 where nothing causes it.
            generator: Draws the noise.
        """
        strength = 0.0 if self.kind == MissingKind.COMPLETELY_AT_RANDOM else self.strength
        noise = generator.standard_normal(len(cause))
        bound = NormalDist().inv_cdf(self.rate) if self.rate else -np.inf
        return strength * cause + np.sqrt(1 - strength**2) * noise < bound


@dataclass(frozen=True, slots=True)
class MissingValues:
    """Settings of missing values; a column that is not nullable has none.

    Attributes:
        columns: The share of a table's nullable columns that lack values, drawn once a table.
        rate: The share of values that a column lacks.
        kind: What causes it.
        strength: How strongly, from 0 to 1; the sign is even.
    """

    columns: Draw[float] = Uniform(0.0, 0.4)
    rate: Draw[float] = LogUniform(0.005, 0.4)
    kind: Draw[MissingKind] = Choice(tuple(MissingKind))
    strength: Draw[float] = Uniform(0.3, 0.8)

    def gaps(self, generator: np.random.Generator) -> Gaps:
        """How the values of one column come to be missing."""
        kind = self.kind.sample(generator)
        rate = sample_within("rate of missing values", self.rate, generator, 0.0, MOST_MISSING)
        strength = sample_within("strength of missing values", self.strength, generator, 0.0, 1.0)
        return Gaps(kind, rate, float(generator.choice((-1.0, 1.0))) * strength)
