"""Series of the nodes of a causal model that have no causes: PluRel's five families.

Kothapalli et al. 2026 (arXiv:2602.04029), and the `plurel` package. All are by row number, which in
an activity table is time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.signal import lfilter

from models.synthetic.draws import Choice, Draw, Fixed, Integer, Uniform
from models.synthetic.plurel.activations import sine
from models.synthetic.plurel.laws import beta_quantiles
from models.synthetic.rows import Floats, Indices

BETA_STEPS = 1024


class Family(StrEnum):
    """What a source's values are drawn from."""

    SERIES = "series"
    UNIFORM = "uniform"
    GAUSSIAN = "gaussian"
    BETA = "beta"
    MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How series run in one kind of table.

    Attributes:
        trend: The height of the trend.
        cycle: The height of the cycle.
        noise: Standard deviation of a step of the noise.
    """

    trend: Draw[float]
    cycle: Draw[float]
    noise: float


ACTIVITY_RHYTHM = Rhythm(Choice((-1.0, 1.0)), Choice((-1.0, 1.0)), 0.05)
ENTITY_RHYTHM = Rhythm(Fixed(0.0), Fixed(0.0), 1.0)


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """What sources are drawn from; every field is drawn once a source.

    Attributes:
        families: The family.
        scale: Values lie between two uniform numbers from 0 to this.
        activity: How series run in activity tables.
        entity: How they run in entity tables.
        bend: The exponent of a series' trend over the rows.
        half_cycle: Half the length of its cycle, as a share of the rows.
        persistence: What its noise keeps of the row before.
        alpha: First parameter of the beta family.
        beta: Second one.
        parts: Families that a mixture consists of, each row being drawn from one of them.
    """

    families: Draw[Family] = Choice(tuple(Family))
    scale: Draw[float] = Choice((0.01, 0.1, 1.0, 10.0, 100.0))
    activity: Rhythm = ACTIVITY_RHYTHM
    entity: Rhythm = ENTITY_RHYTHM
    bend: Draw[float] = Uniform(0.0, 2.0)
    half_cycle: Draw[float] = Choice(tuple(tenth / 10 for tenth in range(1, 11)))
    persistence: Draw[float] = Uniform(0.0, 0.9)
    alpha: Draw[float] = Uniform(0.5, 5.0)
    beta: Draw[float] = Uniform(0.5, 5.0)
    parts: Draw[int] = Integer(2, 3)

    def numbers(
        self, family: Family, rows: int, activity: bool, generator: np.random.Generator
    ) -> Floats:
        """A numerical source, float64 [rows]."""
        if family == Family.MIXED:
            return self._mixture(rows, activity, generator)
        scale = self.scale.sample(generator)
        low, high = np.sort(generator.random(2) * scale).tolist()
        if family == Family.SERIES:
            return self._series(rows, activity, low, high, generator)
        if family == Family.UNIFORM:
            return generator.uniform(low, high, rows)
        if family == Family.GAUSSIAN:
            spread = max((high - low) / 4, 1e-6)
            return np.clip(generator.normal((low + high) / 2, spread, rows), low, high)
        alpha, beta = (np.array([draw.sample(generator)]) for draw in (self.alpha, self.beta))
        (quantiles,) = beta_quantiles(alpha, beta, BETA_STEPS)
        shares = np.interp(generator.random(rows) * (BETA_STEPS - 1), range(BETA_STEPS), quantiles)
        return low + (high - low) * shares

    def categories(
        self, family: Family, count: int, rows: int, activity: bool, generator: np.random.Generator
    ) -> Indices:
        """A categorical source, int64 [rows] from 0 to count - 1.

        Of series the category is drawn by the softmax of one series each; of the other families by
        the same Dirichlet(1) probabilities in every row.
        """
        if family == Family.SERIES:
            heights = np.stack(
                [self.numbers(family, rows, activity, generator) for _ in range(count)]
            )
            weights = np.exp(heights - heights.max(axis=0))
        else:
            weights = generator.standard_exponential(count)[:, None]
        line = np.cumsum(weights / weights.sum(axis=0), axis=0)
        return np.minimum((line <= generator.random(rows)).sum(axis=0), count - 1)

    def _series(
        self, rows: int, activity: bool, low: float, high: float, generator: np.random.Generator
    ) -> Floats:
        """A third each of a trend, a cycle and autoregressive noise, all cut off at the bounds."""
        rhythm = self.activity if activity else self.entity
        row = np.arange(rows)
        bend, height = self.bend.sample(generator), rhythm.trend.sample(generator)
        trend = np.minimum(height * (row / rows) ** bend + low, high)
        half = np.ceil(rows * self.half_cycle.sample(generator))
        cycle = rhythm.cycle.sample(generator) * sine(np.pi * row / half)
        steps = rhythm.noise * generator.standard_normal(rows)
        noise = lfilter([1.0], [1.0, -self.persistence.sample(generator)], steps)
        return (trend + np.clip(cycle, low, high) + np.clip(noise, low, high)) / 3

    def _mixture(self, rows: int, activity: bool, generator: np.random.Generator) -> Floats:
        simple = (Family.UNIFORM, Family.GAUSSIAN, Family.BETA)
        parts = np.stack(
            [
                self.numbers(simple[generator.integers(3)], rows, activity, generator)
                for _ in range(self.parts.sample(generator))
            ]
        )
        return parts[generator.integers(len(parts), size=rows), np.arange(rows)]
