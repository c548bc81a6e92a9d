"""Skill: one unit for how good predictions are, whatever the task.

0 is what one gets without looking at the rows, 1 is perfect. For classes 2 AUC - 1 (Somers' D, with
more than two classes its mean over each class against the rest); for numbers 1 - MAE / MAE of the
training labels' median.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from models.database.schema import TaskType
from models.learning.labels import baseline
from models.relatron.agreement import Estimate
from models.relatron.inputs import NAN


def median_or_mean(task_type: TaskType, labels: np.ndarray, classes: int) -> np.ndarray:
    """What one predicts of any row: the training labels' median, or the classes' shares."""
    return np.array(baseline(task_type, labels, classes))


def skill(
    task_type: TaskType, labels: np.ndarray, predictions: np.ndarray, trivial: np.ndarray
) -> float:
    """The skill of predictions; NaN where it is not defined.

    Args:
        task_type: The kind of label.
        labels: Encoded, float64 [rows].
        predictions: Probability of the label 1, or values, [rows]; or probabilities [rows, classes].
        trivial: The prediction of any row (`median_or_mean`).
    """
    if task_type == TaskType.REGRESSION:
        room = np.abs(labels - trivial).mean()
        return float(1 - np.abs(labels - predictions).mean() / room) if room > 0 else NAN
    if task_type == TaskType.BINARY_CLASSIFICATION:
        return 2 * _auc(labels == 1, predictions) - 1
    each = [_auc(labels == code, predictions[:, code]) for code in range(predictions.shape[1])]
    defined = [one for one in each if np.isfinite(one)]
    return 2 * float(np.mean(defined)) - 1 if defined else NAN


def skill_samples(
    task_type: TaskType,
    labels: np.ndarray,
    predictions: np.ndarray,
    trivial: np.ndarray,
    draws: int,
    seed: int,
) -> Estimate:
    """The skill over all rows, then over bootstrap samples of them.

    Samples are the same for all predictions of the same rows: differences are paired.
    """
    generator = np.random.default_rng(seed)
    samples = [np.arange(labels.size), *generator.integers(labels.size, size=(draws, labels.size))]
    return Estimate(
        np.array([skill(task_type, labels[one], predictions[one], trivial) for one in samples])
    )


def _auc(positive: np.ndarray, scores: np.ndarray) -> float:
    """The area under the ROC curve by the rank sum, a fraction of scikit-learn's time."""
    ones = int(positive.sum())
    zeros = positive.size - ones
    if not ones or not zeros:
        return NAN
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - ones * (ones + 1) / 2) / (ones * zeros))
