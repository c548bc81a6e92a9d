"""Labels as numbers, what one would predict from them alone, and scores of such labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from models.database.schema import Metric, TaskType
from models.reporting.scores import score


@dataclass(frozen=True, slots=True)
class LabelEncoder:
    """Labels as float64: 0/1, class positions, or the value itself. `classes` is empty for values."""

    classes: tuple[Any, ...] = ()

    @classmethod
    def fit(cls, labels: pl.Series, is_classification: bool) -> LabelEncoder:
        """The encoder of the training labels; classes in ascending order."""
        if not is_classification:
            return cls()
        values = labels.drop_nulls()
        if values.dtype == pl.Boolean:
            values = values.cast(pl.Int8)
        return cls(tuple(values.unique().sort().to_list()))

    def transform(self, labels: pl.Series) -> np.ndarray:
        """Encoded labels, float64, shape (rows,); NaN for a null or for a class never trained on."""
        if not self.classes:
            return labels.cast(pl.Float64).fill_null(np.nan).to_numpy()
        if labels.dtype == pl.Boolean:
            labels = labels.cast(pl.Int8)
        positions: Sequence[int] = range(len(self.classes))
        encoded = labels.replace_strict(
            list(self.classes), list(positions), default=None, return_dtype=pl.Float64
        )
        return encoded.fill_null(np.nan).to_numpy()


def baseline(task_type: TaskType, labels: np.ndarray, classes: int) -> list[float]:
    """What one would predict without any feature, from the encoded training labels alone.

    The positive rate, the class shares, or the median (which minimises the absolute error).
    """
    if task_type == TaskType.REGRESSION:
        return [float(np.median(labels))]
    if task_type == TaskType.BINARY_CLASSIFICATION:
        return [float(labels.mean())]
    return (np.bincount(labels.astype(int), minlength=classes) / labels.size).tolist()


def watched_score(
    task_type: TaskType, metric: Metric, labels: np.ndarray, predictions: np.ndarray, classes: int
) -> float:
    """The task's metric for encoded labels (rows,) and predictions; NaN where it is not defined."""
    found = score(task_type, labels, predictions, classes=list(range(classes)))
    return float(found.get(metric.value, np.nan))
