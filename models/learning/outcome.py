"""What a network's outputs mean for each task type: loss, predictions, validation score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.database.schema import Metric, TaskType

PERCENTILES = (2.0, 98.0)
QUARTILES = (25.0, 75.0)
LARGEST = 15.0
"""The hyperbolic sine of larger outputs is of no use (it is 1.6 million here) and soon not finite."""
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class TargetScale:
    """What an output of a network stands for in a regression, from the training labels.

    A value is `centre + spread · output`; with a knee it is `centre + knee · sinh(output)`: even
    steps near the centre, factors far from it. So a sum of inputs reaches amounts with a long tail,
    while the loss stays that of the values themselves.

    Attributes:
        centre: The mean, or with a knee the median; label units, as all others.
        spread: The standard deviation.
        lowest: The 2nd percentile; nothing below it is predicted.
        highest: The 98th percentile; nothing above it is predicted.
        knee: Where even steps turn into factors; 0 for nowhere.
    """

    centre: float = 0.0
    spread: float = 1.0
    lowest: float = -np.inf
    highest: float = np.inf
    knee: float = 0.0

    @classmethod
    def fit(cls, task_type: TaskType, labels: np.ndarray, *, bent: bool = False) -> TargetScale:
        """The scale of the encoded training labels, shape (rows,); the identity for classes.

        Args:
            task_type: The kind of label.
            labels: NaN where unknown.
            bent: With a knee, half the distance of the quartiles.
        """
        known = labels[~np.isnan(labels)]
        if task_type != TaskType.REGRESSION or known.size == 0:
            return cls()
        lowest, highest = np.percentile(known, PERCENTILES)
        bounds = (float(known.std()) or 1.0, float(lowest), float(highest))
        if not bent:
            return cls(float(known.mean()), *bounds)
        median = float(np.median(known))
        low, high = np.percentile(known, QUARTILES)
        # Where most labels are the same, their mean distance from it.
        knee = float(high - low) / 2 or float(np.abs(known - median).mean()) or 1.0
        return cls(median, *bounds, knee)

    def standardised(self, outputs: Tensor) -> Tensor:
        """The distance from the centre that outputs stand for, in spreads, shape as given."""
        if not self.knee:
            return outputs
        return self.knee / self.spread * outputs.clamp(-LARGEST, LARGEST).sinh()

    def to_plain(self) -> dict[str, float]:
        """JSON-ready form (infinite bounds, those of no bound, are left out)."""
        found = {"centre": self.centre, "spread": self.spread, "knee": self.knee}
        bounds = {"lowest": self.lowest, "highest": self.highest}
        return found | {name: bound for name, bound in bounds.items() if np.isfinite(bound)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> TargetScale:
        """The scale whose `to_plain` this is."""
        return cls(**plain)


def outputs_of(task_type: TaskType, classes: int) -> int:
    """Outputs of a head: one per class for multiclass (`classes` of them), one for the others."""
    return classes if task_type == TaskType.MULTICLASS_CLASSIFICATION else 1


def make_loss(task_type: TaskType, metric: Metric, scale: TargetScale | None = None) -> Loss:
    """The loss of raw outputs (rows, outputs) against encoded labels (rows,), averaged over rows.

    Binary cross-entropy with logits; cross-entropy; for regression the absolute error where the
    metric is MAE, else Huber's loss with a bend at one standard deviation (Huber, "Robust estimation
    of a location parameter", 1964), both of values in spreads from the centre. In float32 whatever
    the precision of the outputs.

    Args:
        task_type: Decides the loss.
        metric: What the task is judged by.
        scale: Of a regression's labels; None leaves them as they are.
    """
    if task_type == TaskType.BINARY_CLASSIFICATION:
        return lambda raw, labels: functional.binary_cross_entropy_with_logits(
            raw.float().squeeze(-1), labels.float()
        )
    if task_type == TaskType.MULTICLASS_CLASSIFICATION:
        return lambda raw, labels: functional.cross_entropy(raw.float(), labels.long())
    known = scale or TargetScale()
    distance = functional.l1_loss if metric == Metric.MAE else functional.huber_loss

    def regression(raw: Tensor, labels: Tensor) -> Tensor:
        target = ((labels - known.centre) / known.spread).float()
        return distance(known.standardised(raw.float().squeeze(-1)), target)

    return regression


def to_predictions(
    raw: Tensor, task_type: TaskType, scale: TargetScale | None = None, *, clamp: bool = True
) -> np.ndarray:
    """Predictions of raw outputs (rows, outputs), float64.

    Probabilities of the positive class (rows,), probabilities (rows, classes), or values (rows,) in
    label units, held within the scale's range if `clamp`: a network extrapolates without limit, and
    one absurd value outweighs a thousand good ones.
    """
    raw = raw.detach().to("cpu", torch.float64)
    if task_type == TaskType.BINARY_CLASSIFICATION:
        return np.asarray(torch.sigmoid(raw.squeeze(-1)).numpy())
    if task_type == TaskType.MULTICLASS_CLASSIFICATION:
        return np.asarray(torch.softmax(raw, dim=-1).numpy())
    known = scale or TargetScale()
    values = known.standardised(raw.squeeze(-1)).numpy() * known.spread + known.centre
    return np.asarray(values.clip(known.lowest, known.highest) if clamp else values)
