"""The contents of a task's report: plain, frozen data, gathered by the stages and rendered once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from models.database.schema import Task, TaskType
from models.reporting.figure import ordered_splits
from models.reporting.scores import higher_is_better
from models.reporting.wording import figure, label_name, percent


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One score, with all that is needed to compare it with another.

    Args:
        split: The rows that were scored: `validation`, `test`.
        protocol: `frozen` or `rolling`.
        metric: The metric's name, as in `models.reporting.scores`.
        mean: Mean over the seeds.
        std: Sample standard deviation over the seeds; None for a single seed.
        seeds: Number of seeds.
        ensemble: Score of the mean prediction of the seeds, where there is one.
        rows: Number of labelled rows that were scored.
        baseline: Score of the trivial predictor on the same rows.
    """

    split: str
    protocol: str
    metric: str
    mean: float
    std: float | None = None
    seeds: int = 1
    ensemble: float | None = None
    rows: int | None = None
    baseline: float | None = None

    @property
    def spread(self) -> str:
        """The spread over seeds in words."""
        if self.seeds < 2 or self.std is None or not math.isfinite(self.std):
            return "1 seed, no spread" if self.seeds == 1 else f"{self.seeds} seeds"
        # Two digits of a spread say all there is to say, however small it is.
        spread = f"{self.std:.2g}" if self.std < 1 else figure(self.std, 3)
        return f"± {spread} over {self.seeds} seeds"

    @property
    def gain(self) -> float | None:
        """How much better than the trivial predictor, in the metric's units; negative if worse."""
        if self.baseline is None or not math.isfinite(self.baseline + self.mean):
            return None
        return (self.mean - self.baseline) * (1 if higher_is_better(self.metric) else -1)

    @property
    def verdict(self) -> str:
        """The comparison with the trivial predictor in words, cautious within the seeds' spread."""
        if self.gain is None:
            return "no baseline"
        if abs(self.gain) <= (self.std or 0.0) or self.gain == 0:
            return "no different"
        return f"{'better' if self.gain > 0 else 'worse'} by {figure(abs(self.gain), 3)}"


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """The rows of one split of a training table.

    `label` is the positive rate (binary), mean (regression) or share of the most frequent class
    (multiclass) of the labelled rows; None where no label is known.
    """

    split: str
    rows: int
    labelled: int
    entities: int
    cutoffs: int
    first_cutoff: datetime | None
    last_cutoff: datetime | None
    label: float | None


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """A feature that the model uses; `importance` is its share of the total."""

    name: str
    importance: float
    description: str = ""


@dataclass(frozen=True, slots=True)
class CheckRow:
    """The outcome of a quality check; `severity` is `critical`, `warning` or `info`."""

    name: str
    table: str
    severity: str
    passed: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class TaskReport:
    """Everything that a task's report shows; empty parts are left out of the page.

    `task` carries the metric and protocol in force. `baseline` names the trivial predictor, such
    as `median of the training labels`. `plots` maps a title to PNG bytes and a caption;
    `leakage` are sentences, usually from `wording.leakage_statement`.
    """

    database_title: str
    task: Task
    as_of: datetime
    question: str = ""
    source: str = ""
    model: str = ""
    baseline: str = "the trivial predictor"
    scores: tuple[ScoreRow, ...] = ()
    notes: tuple[str, ...] = ()
    splits: tuple[SplitSummary, ...] = ()
    leakage: tuple[str, ...] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)
    features: tuple[FeatureRow, ...] = ()
    checks: tuple[CheckRow, ...] = ()
    plots: Mapping[str, tuple[bytes, str]] = field(default_factory=dict)
    er_diagram: bytes | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)


def summarize_splits(
    training_table: pl.DataFrame,
    task: Task,
    *,
    split_column: str = "split",
) -> tuple[SplitSummary, ...]:
    """A summary of each split of a training table, in the order of time."""
    table = training_table.with_columns(pl.col(split_column).cast(pl.String).fill_null("no split"))
    label = pl.col(task.label_column)
    if task.task_type == TaskType.MULTICLASS_CLASSIFICATION:
        label_figure = label.drop_nulls().cast(pl.String).unique_counts().max() / label.count()
    else:
        # NaN is how other libraries write a missing label.
        label = label.cast(pl.Float64).fill_nan(None)
        label_figure = label.mean()
    time = pl.col(task.time_column)
    found = table.group_by(split_column).agg(
        pl.len().alias("rows"),
        label.count().alias("labelled"),
        pl.col(task.entity_column).n_unique().alias("entities"),
        time.n_unique().alias("cutoffs"),
        time.min().cast(pl.Datetime("us")).alias("first_cutoff"),
        time.max().cast(pl.Datetime("us")).alias("last_cutoff"),
        label_figure.alias("label"),
    )
    rows = {row[split_column]: row for row in found.to_dicts()}
    return tuple(_summary(name, rows[name]) for name in ordered_splits(rows))


def _summary(split: str, row: dict[str, Any]) -> SplitSummary:
    label = row["label"]
    return SplitSummary(
        split=split,
        rows=row["rows"],
        labelled=row["labelled"],
        entities=row["entities"],
        cutoffs=row["cutoffs"],
        first_cutoff=row["first_cutoff"],
        last_cutoff=row["last_cutoff"],
        label=None if label is None or not math.isfinite(label) else float(label),
    )


def label_heading(task_type: TaskType) -> str:
    """What `SplitSummary.label` is for a task type."""
    return {
        TaskType.BINARY_CLASSIFICATION: "positive rate",
        TaskType.MULTICLASS_CLASSIFICATION: "largest class",
        TaskType.REGRESSION: "mean label",
    }[task_type]


def label_value(task_type: TaskType, value: float | None) -> str:
    """`SplitSummary.label` for reading: a share in percent, a mean as a number."""
    return figure(value) if task_type == TaskType.REGRESSION else percent(value)


def headline(report: TaskReport) -> str:
    """The main result in one or two sentences: the task's metric on the latest scored split."""
    metric = report.task.metric.value
    rows = [row for row in report.scores if row.metric == metric and math.isfinite(row.mean)]
    if not rows:
        return "There is no score yet: no split with known labels has been scored."
    latest = ordered_splits(row.split for row in rows)[-1]
    candidates = [row for row in rows if row.split == latest]
    same = [row for row in candidates if row.protocol == report.task.protocol.value]
    row = (same or candidates)[0]
    sentence = (
        f"{label_name(metric)} {figure(row.mean)} ({row.spread}) on the {row.split} split "
        f"under the {row.protocol} protocol"
    )
    if row.baseline is None:
        return f"{sentence}."
    against = f"{report.baseline}, which scores {figure(row.baseline)}"
    if row.verdict == "no different":
        return f"{sentence}: within the seeds' spread no different from {against}."
    return f"{sentence}: {row.verdict} than {against}."
