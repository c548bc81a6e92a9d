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
from models.reporting.scores import score

PERCENTILES = (2.0, 98.0)
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class TargetScale:
    """Location and spread of the training labels of a regression task, in label units.

    `lowest` and `highest` are their 2nd and 98th percentile, the range of what is predicted.
    """

    centre: float = 0.0
    spread: float = 1.0
    lowest: float = -np.inf
    highest: float = np.inf

    @classmethod
    def fit(cls, task_type: TaskType, labels: np.ndarray) -> TargetScale:
        """The scale of the encoded training labels, shape (rows,); the identity for classes."""
        known = labels[~np.isnan(labels)]
        if task_type != TaskType.REGRESSION or known.size == 0:
            return cls()
        lowest, highest = np.percentile(known, PERCENTILES)
        spread = float(known.std())
        return cls(
            float(known.mean()), spread if spread > 0 else 1.0, float(lowest), float(highest)
        )

    def to_plain(self) -> dict[str, float]:
        """JSON-ready form (infinite bounds, those of no bound, are left out)."""
        found = {"centre": self.centre, "spread": self.spread}
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
    of a location parameter", 1964), both on standardised labels. In float32 whatever the precision
    of the outputs.

    Args:
        task_type: Decides the loss.
        metric: What the task is judged by.
        scale: Standardises the labels of a regression; None leaves them as they are.
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
        return distance(raw.float().squeeze(-1), target)

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
    values = raw.squeeze(-1).numpy() * known.spread + known.centre
    return np.asarray(values.clip(known.lowest, known.highest) if clamp else values)


def watched_score(
    task_type: TaskType, metric: Metric, labels: np.ndarray, predictions: np.ndarray, classes: int
) -> float:
    """The task's metric for encoded labels (rows,) and predictions; NaN where it is not defined."""
    found = score(task_type, labels, predictions, classes=list(range(classes)))
    return float(found.get(metric.value, np.nan))
