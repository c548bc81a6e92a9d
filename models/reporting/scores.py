"""Every metric of a task type for one set of predictions.

A metric that the data do not define (a ROC AUC of one class, an R2 of a constant) is left out
rather than reported as a number that means nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.database.schema import TaskType
from models.reporting.values import FloatArray, floats

METRIC_NAMES: dict[TaskType, tuple[str, ...]] = {
    TaskType.BINARY_CLASSIFICATION: (
        "roc_auc",
        "average_precision",
        "log_loss",
        "brier",
        "accuracy",
    ),
    TaskType.REGRESSION: ("mae", "rmse", "r2", "nmae"),
    TaskType.MULTICLASS_CLASSIFICATION: ("accuracy", "macro_f1", "log_loss"),
}
_LOWER_IS_BETTER = frozenset({"log_loss", "brier", "mae", "rmse", "nmae"})


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of the metric is a better score."""
    return metric not in _LOWER_IS_BETTER


def score(
    task_type: TaskType,
    labels: Any,
    predictions: Any,
    *,
    metrics: Collection[str] | None = None,
    classes: Sequence[Any] | None = None,
    train_labels: Any = None,
) -> dict[str, float]:
    """Scores of the rows whose label is known, by metric name, in a fixed order.

    Args:
        task_type: The kind of label.
        labels: One label a row; NULL or NaN where the future is not known.
        predictions: Probability of the positive class, predicted value, or (rows, classes)
            probabilities. A missing prediction is an error: leaving the row out would flatter.
        metrics: The metrics to return; all of the task type when None.
        classes: The class of each probability column; required for multiclass.
        train_labels: Labels of the training split, whose standard deviation normalises `nmae`.
    """
    if task_type == TaskType.BINARY_CLASSIFICATION:
        found = _binary(*_known(labels, predictions))
    elif task_type == TaskType.REGRESSION:
        found = _regression(*_known(labels, predictions), floats(train_labels))
    elif classes is None:
        raise ValueError("multiclass scores need the class of each column (got classes=None)")
    else:
        found = _multiclass(labels, predictions, list(classes))
    defined = METRIC_NAMES[task_type]
    wanted = defined if metrics is None else metrics
    if unknown := sorted(set(wanted) - set(defined)):
        raise ValueError(f"{task_type.value} has the metrics {defined} (got {unknown})")
    return {name: found[name] for name in defined if name in wanted and name in found}


def scores_by_cutoff(
    task_type: TaskType,
    cutoffs: Any,
    labels: Any,
    predictions: Any,
    metric: str,
    *,
    classes: Sequence[Any] | None = None,
    train_labels: Any = None,
) -> pl.DataFrame:
    """One row a cutoff where the metric is defined: `cutoff_time`, `score`, `rows`."""
    frame = pl.DataFrame({"cutoff_time": cutoffs}).with_row_index("position")
    truth, guess = np.asarray(labels), np.asarray(predictions)
    rows: list[tuple[Any, float, int]] = []
    for (cutoff,), group in frame.group_by("cutoff_time", maintain_order=True):
        at = group["position"].to_numpy()
        found = score(task_type, truth[at], guess[at], classes=classes, train_labels=train_labels)
        if metric in found:
            rows.append((cutoff, found[metric], len(at)))
    time = frame.schema["cutoff_time"]
    schema: dict[str, Any] = {"cutoff_time": time, "score": pl.Float64, "rows": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("cutoff_time")


def _known(labels: Any, predictions: Any) -> tuple[FloatArray, FloatArray]:
    truth, guess = floats(labels), floats(predictions)
    if len(truth) != len(guess):
        raise ValueError(
            f"labels and predictions differ in length (got {len(truth)}, {len(guess)})"
        )
    known = ~np.isnan(truth)
    missing = int(np.isnan(guess[known]).sum())
    if missing:
        raise ValueError(f"every labelled row needs a prediction (got {missing} without one)")
    return truth[known], guess[known]


def _binary(truth: FloatArray, guess: FloatArray) -> dict[str, float]:
    from sklearn import metrics

    if not len(truth):
        return {}
    if not np.isin(truth, (0.0, 1.0)).all():
        raise ValueError(f"binary labels must be 0 or 1 (got {np.unique(truth)[:5].tolist()})")
    found: dict[str, float] = {}
    if 0 < truth.sum() < len(truth):
        found["roc_auc"] = float(metrics.roc_auc_score(truth, guess))
    if truth.any():
        found["average_precision"] = float(metrics.average_precision_score(truth, guess))
    if guess.min() >= 0 and guess.max() <= 1:
        found["log_loss"] = float(metrics.log_loss(truth, guess, labels=[0.0, 1.0]))
        found["brier"] = float(np.mean((guess - truth) ** 2))
        found["accuracy"] = float(np.mean((guess >= 0.5) == (truth == 1)))
    return found


def _regression(truth: FloatArray, guess: FloatArray, train: FloatArray) -> dict[str, float]:
    if not len(truth):
        return {}
    errors = guess - truth
    mae = float(np.mean(np.abs(errors)))
    found = {"mae": mae, "rmse": float(np.sqrt(np.mean(errors**2)))}
    total = float(np.sum((truth - truth.mean()) ** 2))
    if total > 0:
        found["r2"] = 1 - float(np.sum(errors**2)) / total
    train = train[~np.isnan(train)]
    deviation = float(np.std(train, ddof=1)) if len(train) > 1 else 0.0
    if deviation > 0:
        found["nmae"] = mae / deviation
    return found


def _multiclass(labels: Any, predictions: Any, classes: list[Any]) -> dict[str, float]:
    from sklearn import metrics

    probabilities = np.asarray(predictions, dtype=np.float64)
    truth = class_positions(labels, classes)
    if probabilities.shape != (len(truth), len(classes)):
        expected = (len(truth), len(classes))
        raise ValueError(f"probabilities must have shape {expected} (got {probabilities.shape})")
    known = truth != UNKNOWN_LABEL
    truth, probabilities = truth[known], probabilities[known]
    if not np.isfinite(probabilities).all():
        raise ValueError("every labelled row needs a prediction (got probabilities that are NaN)")
    if not len(truth):
        return {}
    choice = probabilities.argmax(axis=1)
    found = {
        "accuracy": float(np.mean(choice == truth)),
        "macro_f1": float(metrics.f1_score(truth, choice, average="macro", zero_division=0)),
    }
    # A class that the model never saw has no probability, so no logarithm of one either.
    if (truth != UNSEEN_CLASS).all() and len(classes) > 1:
        columns = list(range(len(classes)))
        found["log_loss"] = float(metrics.log_loss(truth, probabilities, labels=columns))
    return found


UNSEEN_CLASS, UNKNOWN_LABEL = -1, -2


def class_positions(labels: Any, classes: Sequence[Any]) -> NDArray[np.int64]:
    """Position of each label in the class list; `UNSEEN_CLASS` or `UNKNOWN_LABEL` where none."""
    position = {value: index for index, value in enumerate(classes)}
    values = labels.to_list() if isinstance(labels, pl.Series) else np.asarray(labels).tolist()

    def locate(value: Any) -> int:
        if value is None or value != value:
            return UNKNOWN_LABEL
        return position.get(value, UNSEEN_CLASS)

    return np.array([locate(value) for value in values], dtype=np.int64)
