"""What labels look like to predictors that know next to nothing: gauges of a task's worth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from models.database.schema import TaskType
from models.synthetic.blueprint import TableKind
from models.synthetic.database import SyntheticDatabase
from models.synthetic.rows import Floats
from models.synthetic.tasks.task import SyntheticTask, TaskKind

EVALUATION = ("val", "test")


def constant_score(task: SyntheticTask, labels: pl.DataFrame) -> float:
    """The score of the best constant of the training labels on validation and test rows.

    Args:
        task: Its type decides the score: AUROC (0.5), accuracy of the most frequent class, or mean
            absolute error of the median.
        labels: The task's training table; labels are not null.
    """
    if task.task_type == TaskType.BINARY_CLASSIFICATION:
        return 0.5
    train = labels.filter(pl.col("split") == "train")["label"]
    found = labels.filter(pl.col("split").is_in(EVALUATION))["label"]
    if task.task_type == TaskType.MULTICLASS_CLASSIFICATION:
        return _share(found == train.mode().sort()[0])
    return _mean_absolute_error(found.to_numpy(), np.full(len(found), train.median()))


def history_score(
    task: SyntheticTask, labels: pl.DataFrame, groups: pl.Series | None = None
) -> float:
    """The score of the mean of earlier labels of the same entity, on validation and test rows.

    A label is earlier when its window closed by the cutoff; a completed column when its row is
    strictly older. Who has none gets the mean of the training labels; for classes it is the most
    frequent one (of the first, by value, among equals).

    Args:
        task: Its type decides the score, as in `constant_score`.
        labels: The task's training table; labels are not null.
        groups: Whose labels belong together, one a row of `labels`; the entity where None.
    """
    several = task.task_type == TaskType.MULTICLASS_CLASSIFICATION
    classes = sorted(labels["label"].unique().to_list()) if several else []
    numbers = [(pl.col("label") == value).cast(pl.Float64) for value in classes]
    numbers = numbers or [pl.col("label").cast(pl.Float64)]
    rows = labels.select(
        "cutoff_time",
        "split",
        "label",
        *(number.alias(f"mean_{i}") for i, number in enumerate(numbers)),
        group=groups if groups is not None else pl.col("entity"),
    )
    means = [f"mean_{i}" for i in range(len(numbers))]
    found = _earlier_means(rows, means, task.timedelta)
    if several:
        guess = np.argmax(found.select(means).to_numpy(), axis=1)
        return _share(pl.Series([classes[i] for i in guess]) == found["label"])
    predicted, actual = found["mean_0"].to_numpy(), found["label"].to_numpy()
    if task.task_type == TaskType.BINARY_CLASSIFICATION:
        return area(actual, predicted)
    return _mean_absolute_error(actual, predicted)


def _earlier_means(
    rows: pl.DataFrame, means: Sequence[str], window: timedelta | None
) -> pl.DataFrame:
    """Validation and test rows with the means of earlier labels instead of their own."""
    columns = [pl.col(name) for name in means]
    known = (
        rows.drop_nulls("group")
        .sort("cutoff_time", maintain_order=True)
        .with_columns(column.cum_sum().over("group") for column in columns)
        .with_columns(column / pl.int_range(1, pl.len() + 1).over("group") for column in columns)
        .select("group", *means, known_at=pl.col("cutoff_time") + (window or timedelta()))
        .group_by("group", "known_at", maintain_order=True)
        .last()
    )
    train = rows.filter(pl.col("split") == "train")
    return (
        rows.filter(pl.col("split").is_in(EVALUATION))
        .drop(means)
        .sort("cutoff_time", maintain_order=True)
        .join_asof(
            known,
            left_on="cutoff_time",
            right_on="known_at",
            by="group",
            # A row cannot help to complete rows of the same moment.
            allow_exact_matches=window is not None,
            check_sortedness=False,
        )
        .with_columns(pl.col(name).fill_null(train[name].mean()) for name in means)
    )


def recency_area(
    database: SyntheticDatabase, task: SyntheticTask, labels: pl.DataFrame
) -> float | None:
    """The AUROC, on validation and test rows, of the time since the entity's last activity.

    The activities are those that the task asks about, or else all that point at the entity. The
    direction is that of the training rows. A number as label counts as whether it is above the
    median of the training labels. None for an autocomplete task, and where no table has activities.
    """
    events = _activities(database, task)
    if task.kind == TaskKind.AUTOCOMPLETE or events is None:
        return None
    rows = labels.sort("cutoff_time", maintain_order=True).join_asof(
        events,
        left_on="cutoff_time",
        right_on="moment",
        by="entity",
        check_sortedness=False,
    )
    idle = (pl.col("cutoff_time") - pl.col("moment")).dt.total_seconds()
    # Those without any activity have been idle the longest.
    recent = -idle.fill_null(2**53).cast(pl.Float64)
    rows = rows.with_columns(recent=recent, above=above_median(task, rows))
    train = rows.filter(pl.col("split") == "train")
    found = rows.filter(pl.col("split").is_in(EVALUATION))
    sign = -1 if area(train["above"].to_numpy(), train["recent"].to_numpy()) < 0.5 else 1
    return area(found["above"].to_numpy(), sign * found["recent"].to_numpy())


def _activities(database: SyntheticDatabase, task: SyntheticTask) -> pl.DataFrame | None:
    """Rows entity and moment, ascending."""
    asked = (task.terms.get("activity"), task.terms.get("key"))
    keys = [
        (table, key.column)
        for table, key in database.blueprint.children(task.entity_table)
        if table.kind == TableKind.ACTIVITY
    ]
    chosen = [pair for pair in keys if (pair[0].name, pair[1]) == asked] or keys
    frames = [
        database.tables[table.name].select(entity=key, moment=table.time_column)
        for table, key in chosen
    ]
    return pl.concat(frames).drop_nulls("entity").sort("moment") if frames else None


def above_median(task: SyntheticTask, labels: pl.DataFrame) -> pl.Series:
    """The labels as yes or no: a number is yes above the median of the training labels.

    Classes that are names are yes where they are the most frequent one of the training labels.
    """
    label, train = labels["label"], labels.filter(pl.col("split") == "train")["label"]
    if task.task_type == TaskType.BINARY_CLASSIFICATION:
        return label == 1
    if not label.dtype.is_numeric():
        return label == train.mode().sort()[0]
    median = train.median()
    assert isinstance(median, (int, float))
    # Where half of the labels are equal and the greatest, none lies above them.
    return label > median if (train > median).any() else label >= median


def area(yes: Floats, scores: Floats) -> float:
    """The area under the ROC curve; not a number without both classes."""
    if len(yes) == 0 or yes.min() == yes.max():
        return float("nan")
    return float(roc_auc_score(yes, scores))


def _share(matches: pl.Series) -> float:
    return float(matches.cast(pl.Float64).to_numpy().mean()) if len(matches) else float("nan")


def _mean_absolute_error(actual: Floats, predicted: Floats) -> float:
    return float(np.abs(actual - predicted).mean()) if len(actual) else float("nan")
