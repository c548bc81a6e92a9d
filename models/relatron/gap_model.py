"""A gap between two branches, predicted from a task's signals by a Bayesian linear model.

gap_i = intercept + x_i · slopes + u_database(i) + ε_i,  u ~ N(0, c²),  ε_i ~ N(0, (e_i² + τ²) / w_i)

x are few standardised signals, e the measured standard errors and w the rows' weights. Tasks of one
database share its u, so that many alike tasks count little more than one. Slopes, u and ε are
normal given their scales; the scales are averaged over a grid, weighted by the marginal likelihood
(Gaussian process regression with a linear kernel: Rasmussen and Williams 2006, Sections 2.1 and
5.4). Without rows the prediction is the prior: no gap, give or take `PRIOR`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.relatron.nearness import spread

PRIOR = 0.05
"""Standard deviation of a relative gap before anything is known."""
LARGEST_GAP = 0.1
"""Gaps beyond it are cut to it: they decide no more, and would outweigh everything else."""
FEATURES = 5
_SLOPES, _DATABASE, _RESIDUAL = (0.2, 0.5, 1.0), (0.1, 0.3, 0.6, 1.0), (0.1, 0.3, 0.6, 1.0)
_CLIP = 3.0


@dataclass(frozen=True, slots=True)
class GapRows:
    """Tasks with a measured gap.

    Attributes:
        features: Float64 (rows, signals), NaN where unknown.
        gaps, errors: Float64 (rows,), relative gap and its standard error.
        databases: Int64 (rows,), the database of each row.
        real: Bool (rows,); of other rows only the differences between them count in full, their
            mean may be off by an offset of its own.
        weights: Float64 (rows,) in (0, 1].
    """

    features: np.ndarray
    gaps: np.ndarray
    errors: np.ndarray
    databases: np.ndarray
    real: np.ndarray
    weights: np.ndarray

    def take(self, rows: np.ndarray) -> GapRows:
        """Some of the rows (a mask or places)."""
        return GapRows(
            self.features[rows],
            self.gaps[rows],
            self.errors[rows],
            self.databases[rows],
            self.real[rows],
            self.weights[rows],
        )


@dataclass(frozen=True, slots=True)
class _Posterior:
    weight: float
    mean: np.ndarray
    covariance: np.ndarray
    variance: float


@dataclass(frozen=True, slots=True)
class GapModel:
    """A fitted model.

    Attributes:
        chosen: Columns of the features that it reads, the most informative first.
        centre, scale: Float64 (chosen,), median and spread of these among the rows.
        slopes: Float64 (chosen,), the gap's change with one spread.
        left_out: Float64 (rows,), what the model says of each row without the row's database.
        posteriors: One for each combination of scales that has any weight.
    """

    chosen: tuple[int, ...]
    centre: np.ndarray
    scale: np.ndarray
    slopes: np.ndarray
    left_out: np.ndarray
    posteriors: tuple[_Posterior, ...]

    def standardised(self, features: np.ndarray) -> np.ndarray:
        """The chosen features in spreads from the median, NaN where unknown."""
        return np.asarray((features[:, list(self.chosen)] - self.centre) / self.scale)

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the gaps of tasks of unseen databases.

        A chosen feature that is unknown counts as its median, and adds what it could have said to
        the variance.
        """
        raw = self.standardised(features)
        known = np.clip(np.nan_to_num(raw), -_CLIP, _CLIP)
        offset = np.zeros(len(raw))
        design = np.column_stack([np.ones(len(raw)), offset, known])
        missing = np.column_stack([np.zeros((len(raw), 2)), np.isnan(raw)])
        weights = np.array([one.weight for one in self.posteriors])
        means = np.stack([design @ one.mean for one in self.posteriors])
        variances = np.stack(
            [
                np.einsum("ni,ij,nj->n", design, one.covariance, design)
                + missing @ (one.mean**2 + np.diag(one.covariance))
                + one.variance
                for one in self.posteriors
            ]
        )
        mean = weights @ means
        return mean, np.sqrt(weights @ (variances + means**2) - mean**2)


def fit_gap_model(rows: GapRows, always: Sequence[int] = (), most: int = FEATURES) -> GapModel:
    """Chooses the features, then fits.

    Features are added one by one, each time the one with which the left-out real databases are the
    most likely (all, where none is real). It stops where the gain in log-likelihood over these
    databases is below log(number of features): what the best of as many useless ones could gain.

    Args:
        rows: Measured gaps; there may be none.
        always: Columns of the features to start from, where they vary.
        most: The most features to choose.
    """
    order = np.argsort(rows.databases, kind="stable")
    sorted_rows = rows.take(order)
    gaps = np.clip(sorted_rows.gaps, -LARGEST_GAP, LARGEST_GAP)
    centre, scale, usable = spread(sorted_rows.features)
    values = np.clip(np.nan_to_num((sorted_rows.features - centre) / scale), -_CLIP, _CLIP)
    problem = _Problem(sorted_rows, gaps, values)

    chosen = [one for one in always if one in usable]
    usable = [one for one in usable if one not in chosen]
    best = problem.likely(chosen)
    likelihood = problem.left_out_likelihood(chosen, best)
    while len(chosen) < most and usable:
        tried = {one: problem.left_out_likelihood([*chosen, one], best) for one in usable}
        one = max(tried, key=lambda name: tried[name])
        candidate = problem.likely([*chosen, one])
        gained = problem.left_out_likelihood([*chosen, one], candidate)
        if gained - likelihood < np.log(len(usable) + len(chosen)):
            break
        chosen.append(one)
        usable.remove(one)
        best, likelihood = candidate, gained

    posteriors = problem.posteriors(chosen)
    slopes = sum((one.weight * one.mean[2:] for one in posteriors), np.zeros(len(chosen)))
    left_out = np.empty(len(order))
    left_out[order] = problem.left_out(chosen, best)[0]
    return GapModel(
        tuple(chosen), centre[chosen], scale[chosen], slopes, left_out, tuple(posteriors)
    )


class _Problem:
    """The rows, and sums over databases for given scales (slopes b, database c, residual τ)."""

    def __init__(self, rows: GapRows, gaps: np.ndarray, values: np.ndarray) -> None:
        self.rows, self.gaps, self.values = rows, gaps, values
        self.names, self.starts, self.codes = np.unique(
            rows.databases, return_index=True, return_inverse=True
        )
        self.real = np.zeros(len(self.names), dtype=bool)
        self.real[self.codes] = rows.real
        if not self.real.any():
            self.real[:] = True
        count = len(self.names)
        squares = float(np.mean(gaps**2)) if count else 0.0
        self.unit = float(np.sqrt((count * squares + 3 * PRIOR**2) / (count + 3)))
        self.grid = [
            (self.unit * b, self.unit * c, self.unit * tau)
            for b, c, tau in itertools.product(_SLOPES, _DATABASE, _RESIDUAL)
        ]

    def likely(self, chosen: Sequence[int]) -> tuple[float, float, float]:
        """The scales with the largest marginal likelihood."""
        found = [self._solve(chosen, scales)[2] for scales in self.grid]
        return self.grid[int(np.argmax(found))]

    def posteriors(self, chosen: Sequence[int]) -> list[_Posterior]:
        """Of all scales that are not negligible, with weights that add up to 1."""
        solved = [self._solve(chosen, scales) for scales in self.grid]
        likelihoods = np.array([likelihood for _, _, likelihood in solved])
        weights = np.exp(likelihoods - likelihoods.max())
        weights[weights < 0.01 * weights.max()] = 0.0
        weights /= weights.sum()
        return [
            _Posterior(float(weight), mean, covariance, c**2 + tau**2)
            for weight, (mean, covariance, _), (_, c, tau) in zip(
                weights, solved, self.grid, strict=True
            )
            if weight > 0
        ]

    def left_out_likelihood(
        self, chosen: Sequence[int], scales: tuple[float, float, float]
    ) -> float:
        """Sum over the real databases of the log density of their rows' gaps (mean of the rows)."""
        if not len(self.gaps):
            return 0.0
        means, variances = self.left_out(chosen, scales)
        densities = -0.5 * (np.log(variances) + (self.gaps - means) ** 2 / variances)
        by_database = np.bincount(self.codes, densities) / np.bincount(self.codes)
        return float(by_database[self.real].sum())

    def left_out(
        self, chosen: Sequence[int], scales: tuple[float, float, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each row's gap without the rows of its database."""
        if not len(self.gaps):
            return np.empty(0), np.empty(0)
        design, precisions, products, prior = self._sums(chosen, scales)
        precision = prior + precisions.sum(axis=0) - precisions
        covariance = np.linalg.inv(precision)
        means = np.einsum("dij,dj->di", covariance, products.sum(axis=0) - products)
        variances = (
            np.einsum("ni,nij,nj->n", design, covariance[self.codes], design)
            + scales[1] ** 2
            + scales[2] ** 2
            + self.rows.errors**2
        )
        return np.einsum("ni,ni->n", design, means[self.codes]), variances

    def _solve(
        self, chosen: Sequence[int], scales: tuple[float, float, float]
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Posterior mean and covariance of the coefficients, and the log marginal likelihood."""
        _, precisions, products, prior = self._sums(chosen, scales)
        precision = prior + precisions.sum(axis=0)
        product = products.sum(axis=0)
        covariance = np.linalg.inv(precision)
        mean = covariance @ product
        variances, shares = self._noise(scales)
        totals = self._by_database(self.gaps / variances)
        squares = (self.gaps**2 / variances).sum() - (shares * totals**2).sum()
        determinant = (
            np.log(variances).sum()
            + np.log1p(scales[1] ** 2 * self._by_database(1 / variances)).sum()
            + np.linalg.slogdet(precision)[1]
            - np.linalg.slogdet(prior)[1]
        )
        return mean, covariance, float(-0.5 * (determinant + squares - product @ mean))

    def _sums(
        self, chosen: Sequence[int], scales: tuple[float, float, float]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Design, each database's part of precision and product, and the prior's precision.

        The inverse of a database's covariance, diag(v) + c² 11ᵀ, is by Sherman and Morrison
        diag(1/v) - s (1/v)(1/v)ᵀ with s = c² / (1 + c² Σ 1/v).
        """
        offset = (~self.rows.real).astype(float)
        design = np.column_stack([np.ones(len(self.gaps)), offset, self.values[:, list(chosen)]])
        spreads = np.array([2 * self.unit, self.unit, *[scales[0]] * len(chosen)])
        variances, shares = self._noise(scales)
        weighted = design / variances[:, None]
        sums = self._by_database(weighted)
        precisions = self._by_database(weighted[:, :, None] * design[:, None, :])
        precisions -= shares[:, None, None] * sums[:, :, None] * sums[:, None, :]
        totals = self._by_database(self.gaps / variances)
        products = self._by_database(weighted * self.gaps[:, None])
        products -= (shares * totals)[:, None] * sums
        return design, precisions, products, np.diag(spreads**-2)

    def _noise(self, scales: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
        variances = (self.rows.errors**2 + scales[2] ** 2) / self.rows.weights
        inverse = self._by_database(1 / variances)
        return variances, scales[1] ** 2 / (1 + scales[1] ** 2 * inverse)

    def _by_database(self, values: np.ndarray) -> np.ndarray:
        """Sums over each database's rows, which are neighbours."""
        if not len(values):
            return np.zeros((0, *values.shape[1:]))
        return np.asarray(np.add.reduceat(values, self.starts, axis=0))
