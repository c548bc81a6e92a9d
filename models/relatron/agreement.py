"""How much more alike the labels of pairs are than chance would have them, with its error.

Classes: r = (h - Z) / (1 - Z), where h is the share of pairs of one class, and Z the share that the
classes of first and second members, drawn independently, would give: Newman's assortativity
("Mixing patterns in networks", Physical Review E 67, 2003, eq. 2), which takes into account how many
pairs a row is in. Numbers: Pearson's correlation over the pairs. Both are 0 for labels that have
nothing to do with each other, and 1 for equal ones.

Errors are by a bootstrap over entities, as the rows of one entity depend on each other; entities are
taken together in at most `GROUPS` groups of equal chances, so that any number of rows costs the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.relatron.inputs import NAN

GROUPS = 250
FEWEST = 30
"""Fewer pairs say nothing."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """Bootstrap samples of entities.

    Attributes:
        group: int64 [entities], the group of each.
        weights: float64 [1 + draws, groups]: how often each group is there; in the first row once.
    """

    group: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, entities: int, present: np.ndarray, draws: int, seed: int) -> Resampling:
        """Samples of the entities that are present.

        Args:
            entities: How many there are.
            present: int64, row numbers of those with labels, repeated or not.
            draws: Bootstrap samples.
            seed: Of groups and samples.
        """
        generator = np.random.default_rng(seed)
        known = np.unique(present)
        groups = min(GROUPS, len(known))
        group = np.zeros(entities, dtype=np.int64)
        group[known] = generator.permutation(len(known)) % groups
        drawn = generator.multinomial(groups, np.full(groups, 1 / groups), size=draws)
        return cls(group, np.vstack([np.ones(groups), drawn]))

    def sums(self, entity: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Sums of the rows' values over the samples, float64 [1 + draws].

        Args:
            entity: int64 [rows].
            values: float64 [rows].
        """
        groups = self.weights.shape[1]
        return self.weights @ np.bincount(self.group[entity], values, minlength=groups)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure of all entities, then of each bootstrap sample: float64 [1 + draws]."""

    samples: np.ndarray

    @property
    def value(self) -> float:
        """Of all entities."""
        return float(self.samples[0])

    @property
    def error(self) -> float:
        """The standard deviation over samples, NaN where it is rarely defined."""
        defined = self.samples[1:][np.isfinite(self.samples[1:])]
        enough = np.isfinite(self.value) and defined.size > self.samples.size // 2
        return float(defined.std(ddof=1)) if enough else NAN


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of labels; every array is [pairs].

    `entity` is that of the first member, `first` and `second` are labels, `weight` how much a pair
    counts.
    """

    entity: np.ndarray
    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


def agreement(pairs: Pairs, classes: int, resampling: Resampling) -> Estimate:
    """How much more alike pairs are than by chance; NaN for fewer than `FEWEST` pairs.

    Args:
        pairs: The pairs.
        classes: How many classes there are; 0 where labels are numbers.
        resampling: Of the entities.
    """
    if len(pairs) < FEWEST:
        return Estimate(np.full(len(resampling.weights), NAN))
    if not classes:
        return correlation(pairs, resampling)
    tables = class_tables(pairs, classes, resampling)
    total = tables.sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        alike = np.trace(tables, axis1=1, axis2=2) / total
        chance = (tables.sum(axis=2) * tables.sum(axis=1)).sum(axis=1) / total**2
        return Estimate(np.where(chance < 1 - 1e-12, (alike - chance) / (1 - chance), NAN))


def correlation(pairs: Pairs, resampling: Resampling) -> Estimate:
    """Pearson's correlation of pairs of numbers; NaN for fewer than `FEWEST` pairs."""
    if len(pairs) < FEWEST:
        return Estimate(np.full(len(resampling.weights), NAN))
    # Near zero, so that the differences of sums below lose no digits.
    x, y = pairs.first - pairs.first.mean(), pairs.second - pairs.second.mean()

    def mean(values: np.ndarray) -> np.ndarray:
        return resampling.sums(pairs.entity, pairs.weight * values) / total

    with np.errstate(divide="ignore", invalid="ignore"):
        total = resampling.sums(pairs.entity, pairs.weight)
        mean_x, mean_y = mean(x), mean(y)
        spread = (mean(x * x) - mean_x**2) * (mean(y * y) - mean_y**2)
        found = (mean(x * y) - mean_x * mean_y) / np.sqrt(spread)
    # Rounding leaves a constant a little spread.
    flat = spread <= 1e-12 * float(x.var() * y.var())
    return Estimate(np.where(flat, NAN, found))


def cramer(pairs: Pairs, classes: int, resampling: Resampling) -> Estimate:
    """Cramér's V between two labels, corrected for the bias of small samples.

    The correction is Bergsma's ("A bias-correction for Cramér's V and Tschuprow's T", Journal of the
    Korean Statistical Society 42, 2013). NaN for fewer than `FEWEST` pairs.
    """
    if len(pairs) < FEWEST:
        return Estimate(np.full(len(resampling.weights), NAN))
    tables = class_tables(pairs, classes, resampling)
    total = tables.sum(axis=(1, 2))
    rows, columns = tables.sum(axis=2), tables.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = tables**2 / (rows[:, :, None] * columns[:, None, :])
        square = np.nansum(shares, axis=(1, 2)) - 1
        free = [(side > 0).sum(axis=1) for side in (rows, columns)]
        bias = (free[0] - 1) * (free[1] - 1) / (total - 1)
        left = np.minimum(*(count - (count - 1) ** 2 / (total - 1) for count in free)) - 1
        return Estimate(np.where(left > 0, np.sqrt(np.maximum(square - bias, 0) / left), NAN))


def class_tables(pairs: Pairs, classes: int, resampling: Resampling) -> np.ndarray:
    """The weight of pairs by their two classes, float64 [1 + draws, classes, classes]."""
    groups = resampling.weights.shape[1]
    cell = pairs.first.astype(np.int64) * classes + pairs.second.astype(np.int64)
    place = resampling.group[pairs.entity] * classes**2 + cell
    counts = np.bincount(place, pairs.weight, minlength=groups * classes**2)
    return (resampling.weights @ counts.reshape(groups, -1)).reshape(-1, classes, classes)
