"""Labelled validation rows: scores of many models at once, and how uncertain their differences are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata

from models.database.schema import Metric, TaskType
from models.learning.labels import watched_score

DRAWS = 200


@dataclass(frozen=True, eq=False)
class ValidationRows:
    """Rows that models are chosen by.

    Attributes:
        task_type: The kind of label.
        metric: What the task is judged by.
        labels: Encoded, float64, shape (rows,), all of them known.
        cutoff_times: datetime64, shape (rows,).
        classes: Number of classes (multiclass only).
        entities: Of each row, any dtype that sorts, shape (rows,); None for one of its own each.
            Rows of an entity rise and fall together, those that are predicted from the same old
            news most of all: what varies are the entities.
        protocols: Of each row the number of the protocol that it is predicted under, shape (rows,);
            a score is the mean over them. None where all rows are of one.
    """

    task_type: TaskType
    metric: Metric
    labels: np.ndarray
    cutoff_times: np.ndarray
    classes: int = 0
    entities: np.ndarray | None = None
    protocols: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.labels.shape != self.cutoff_times.shape or np.isnan(self.labels).any():
            raise ValueError(
                "validation rows need a known label and a cutoff time each (got "
                f"{self.labels.size} labels, {int(np.isnan(self.labels).sum())} of them unknown, "
                f"and {self.cutoff_times.size} cutoff times)"
            )

    def take(self, positions: np.ndarray) -> ValidationRows:
        """The rows at these positions."""
        return replace(
            self,
            labels=self.labels[positions],
            cutoff_times=self.cutoff_times[positions],
            entities=None if self.entities is None else self.entities[positions],
            protocols=None if self.protocols is None else self.protocols[positions],
        )

    def under_each(self, protocols: int) -> ValidationRows:
        """All rows once for each of so many protocols, one protocol after the other."""
        rows = np.arange(self.labels.size)
        entities = rows if self.entities is None else self.entities
        return replace(
            replace(self, entities=entities).take(np.tile(rows, protocols)),
            protocols=np.repeat(np.arange(protocols), rows.size),
        )

    def scores(self, predictions: np.ndarray) -> np.ndarray:
        """The metric of each model, float64, shape (models,); NaN where it is not defined.

        Args:
            predictions: Shape (models, rows), or (models, rows, classes) for multiclass.
        """
        if predictions.shape[1] != self.labels.size:
            raise ValueError(
                f"there are {self.labels.size} validation rows, but predictions of "
                f"{predictions.shape[1]}; predict the labelled validation rows in their order"
            )
        if self.protocols is not None:
            parts = [np.flatnonzero(self.protocols == one) for one in np.unique(self.protocols)]
            rows = replace(self, protocols=None)
            return np.mean([rows.take(part).scores(predictions[:, part]) for part in parts], axis=0)
        # The two metrics that most tasks have, for all models in one go: a search for an ensemble
        # asks for thousands.
        if self.metric == Metric.ROC_AUC:
            return _areas_under_curve(self.labels, predictions)
        if self.metric == Metric.MAE:
            return np.asarray(np.abs(predictions - self.labels).mean(axis=1))
        kind, metric, classes = self.task_type, self.metric, self.classes
        return np.array(
            [watched_score(kind, metric, self.labels, one, classes) for one in predictions]
        )

    def resampled(self, predictions: np.ndarray, draws: int = DRAWS) -> np.ndarray:
        """The metric of one model on the rows of `drawn`, float64, shape (draws,).

        The draws are the same for all models, so the standard deviation of the difference of two
        models' is the paired bootstrap's standard error of the difference of their scores (Efron
        and Tibshirani, "An introduction to the bootstrap", 1993, chapter 6).

        Args:
            predictions: Shape (rows,) or (rows, classes).
            draws: How many.
        """
        return np.array(
            [self.take(rows).scores(predictions[None, rows])[0] for rows in self.drawn(draws)]
        )

    def drawn(self, draws: int) -> Iterator[np.ndarray]:
        """Positions of rows of entities that are drawn with replacement, the same each time.

        An entity that is drawn twice has its rows there twice (a cluster bootstrap: Davison and
        Hinkley, "Bootstrap methods and their application", 1997, Section 3.8).
        """
        generator = np.random.default_rng(0)
        rows = np.arange(self.labels.size)
        number = rows if self.entities is None else np.unique(self.entities, return_inverse=True)[1]
        count = int(number.max(initial=-1)) + 1
        for _ in range(draws):
            times = np.bincount(generator.integers(count, size=count), minlength=count)
            yield np.repeat(rows, times[number])

    def late(self, share: float = 1 / 3) -> np.ndarray:
        """Positions of the rows of the last cutoffs, ascending.

        Args:
            share: Of the cutoffs, rounded up.

        Raises:
            ValueError: There is one cutoff only, or the share is not between 0 and 1.
        """
        cutoffs = np.unique(self.cutoff_times)
        if cutoffs.size < 2 or not 0 < share < 1:
            raise ValueError(
                "the last slice of validation needs two cutoffs or more and a share between 0 and 1 "
                f"(got {cutoffs.size} and {share}); choose by another rule"
            )
        last = min(math.ceil(cutoffs.size * share), cutoffs.size - 1)
        return np.flatnonzero(self.cutoff_times >= cutoffs[-last])


def standard_error(resampled: np.ndarray) -> float:
    """The standard error of a score or of a difference from its bootstrap draws, float64.

    NaN where half of the draws or more have none.
    """
    defined = resampled[~np.isnan(resampled)]
    return float(defined.std(ddof=1)) if defined.size > resampled.size / 2 else math.nan


def _areas_under_curve(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """The rank form of the area (Mann and Whitney, 1947), ties counting half; shape (models,)."""
    is_positive = labels == 1
    positives = int(is_positive.sum())
    pairs = positives * (labels.size - positives)
    if pairs == 0:
        return np.full(len(predictions), np.nan)
    ranks = rankdata(predictions, axis=1)[:, is_positive].sum(axis=1)
    return np.asarray((ranks - positives * (positives + 1) / 2) / pairs)
