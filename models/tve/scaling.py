"""Scaling of targets, fitted on training rows alone: median and interquartile range, clipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from models.artifacts.recipe import canonical_json, digest
from models.tve.derived import UNSCALED
from models.tve.targets import Kind, Target
from models.tve.timeline import TRAIN

LIMIT = 5.0
CONSTANT = 1e-6
COPY = 0.999
# Copies are looked for among this many training rows, taken at regular steps.
ROWS_COMPARED = 4_000


@dataclass(frozen=True, slots=True)
class Scale:
    """A target's scaling: (x - center) / scale, clipped to +-5 unless it is unscaled (0 and 1)."""

    target: str
    center: float
    scale: float
    clipped: bool


@dataclass(frozen=True, slots=True)
class Scaling:
    """The targets that are kept with their scales, and those dropped with the reason.

    `digest` identifies the parameters and the rows that they were fitted on.
    """

    scales: tuple[Scale, ...]
    dropped: tuple[tuple[str, str], ...]
    digest: str

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "scales": [asdict(scale) for scale in self.scales],
            "dropped": [{"target": name, "reason": reason} for name, reason in self.dropped],
            "digest": self.digest,
        }


def fit_scaling(rows: pl.DataFrame, values: pl.DataFrame, targets: Sequence[Target]) -> Scaling:
    """Fits the scaling on the training rows where a target is neither masked nor censored.

    Dropped are targets without a known training value, those whose training values hardly vary
    (standard deviation below 1e-6; of a distribution over categories all or none), and copies:
    the later of two targets with the same mask and a correlation above 0.999 either way.

    Args:
        rows: cutoff_time, entity and split of every row.
        values: `derived_targets` of the same rows.
        targets: The definitions of the columns of `values`.
    """
    train = rows["split"] == TRAIN
    fitted = values.filter(train)
    reasons = _without_information(fitted, targets)
    reasons |= _copies(fitted, [target for target in targets if target.name not in reasons])
    kept = [target for target in targets if target.name not in reasons]
    scales = tuple(_scale(fitted[target.name], target) for target in kept)
    used = rows.filter(train).select("cutoff_time", "entity")
    content = {
        "scales": [asdict(scale) for scale in scales],
        "rows": [digest(used.write_csv()), {name: fitted[name].count() for name in fitted.columns}],
    }
    dropped = tuple(
        (target.name, reasons[target.name]) for target in targets if target.name in reasons
    )
    return Scaling(scales, dropped, digest(canonical_json(content)))


def scaled(values: pl.DataFrame, scaling: Scaling) -> pl.DataFrame:
    """The kept targets as Float32, scaled and clipped; NULL stays NULL."""
    columns = []
    for scale in scaling.scales:
        value = (pl.col(scale.target) - scale.center) / scale.scale
        value = value.clip(-LIMIT, LIMIT) if scale.clipped else value
        columns.append(value.cast(pl.Float32))
    return values.select(columns)


def _scale(values: pl.Series, target: Target) -> Scale:
    if target.kind in UNSCALED:
        return Scale(target.name, 0.0, 1.0, clipped=False)
    known = values.drop_nulls().to_numpy()
    low, center, high = (float(x) for x in np.quantile(known, (0.25, 0.5, 0.75)))
    # Rare events have an interquartile range of 0; their deviation is what is left.
    spread = high - low if high - low > CONSTANT else float(np.std(known))
    return Scale(target.name, center, spread, clipped=True)


def _without_information(values: pl.DataFrame, targets: Sequence[Target]) -> dict[str, str]:
    """The reason for each target that is unknown or constant in training."""
    deviation = {
        name: 0.0 if known < 1 else float(std or 0.0)
        for name, known, std in zip(
            values.columns,
            values.select(pl.all().count()).row(0),
            values.select(pl.all().std(ddof=0)).row(0),
            strict=True,
        )
    }
    varying = {target.group for target in targets if deviation[target.name] >= CONSTANT}
    reasons = {}
    for target in targets:
        whole = target.kind is Kind.CATEGORY and target.group in varying
        if values[target.name].count() == 0:
            reasons[target.name] = "no training row has a value"
        elif deviation[target.name] < CONSTANT and not whole:
            reasons[target.name] = "constant in training"
    return reasons


def _copies(values: pl.DataFrame, targets: Sequence[Target]) -> dict[str, str]:
    """The reason for each target that repeats an earlier one.

    Shares of categories are left out: the members of a distribution depend on each other anyway.
    """
    names = [target.name for target in targets if target.kind is not Kind.CATEGORY]
    sample = values.select(names).gather_every(max(values.height // ROWS_COMPARED, 1))
    if not names or sample.is_empty():
        return {}
    known = sample.select(pl.all().is_not_null()).to_numpy()
    numbers = np.nan_to_num(sample.fill_null(np.nan).to_numpy().astype(float))
    correlation = _correlation(numbers, known)
    weight = known.astype(float)
    both = weight.T @ weight
    either = known.sum(axis=0)[:, None] + known.sum(axis=0)[None, :] - both
    alike = (np.abs(correlation) > COPY) & (both > COPY * either)
    reasons: dict[str, str] = {}
    for at, name in enumerate(names):
        earlier = [other for other in np.flatnonzero(alike[at, :at]) if names[other] not in reasons]
        if earlier:
            reasons[name] = f"a copy of {names[earlier[0]]}"
    return reasons


def _correlation(
    numbers: np.ndarray[Any, np.dtype[np.float64]], known: np.ndarray[Any, np.dtype[np.bool_]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Pearson's correlation of every two columns over the rows where both are known.

    `numbers` are 0 where unknown. Undefined correlations are 0.
    """
    weight = known.astype(float)
    rows = np.maximum(weight.T @ weight, 1.0)
    # Sums of squares cancel less when every column is centred first.
    centred = (numbers - numbers.sum(axis=0) / np.maximum(weight.sum(axis=0), 1.0)) * weight
    sums, squares = centred.T @ weight, (centred**2).T @ weight
    covariance = centred.T @ centred / rows - sums * sums.T / rows**2
    variance = np.maximum(squares / rows - (sums / rows) ** 2, 0.0)
    scale = np.sqrt(variance * variance.T)
    return np.where(scale > CONSTANT**2, covariance / np.maximum(scale, CONSTANT**2), 0.0)
