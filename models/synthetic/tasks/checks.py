"""Whether a task is worth having: enough of it, neither trivial nor drifting away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

import polars as pl

from models.database.schema import TaskType
from models.synthetic.database import SyntheticDatabase
from models.synthetic.tasks.baselines import (
    above_median,
    constant_score,
    history_score,
    recency_area,
)
from models.synthetic.tasks.labels import SPLITS
from models.synthetic.tasks.task import SyntheticTask, TaskKind


class Reason(StrEnum):
    """Why there is no such task."""

    NO_TASK = "the choices drawn make no task"
    DUPLICATE = "drawn before"
    FEW_CUTOFFS = "too few training cutoffs"
    FEW_ROWS = "too few rows"
    FEW_ENTITIES = "too few entities"
    MISSING = "too many labels are missing"
    CLASS_RATE = "a class is too rare"
    CONSTANT = "a constant solves it"
    HISTORY = "the entity's earlier labels solve it"
    DRIFT = "labels are others over time"


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What the checks found.

    Attributes:
        faults: Why the task is refused, with the figures; empty for a good one.
        measures: rows_<split>; entities; training_cutoffs; missing (share of labels); rate_<split>
            (share of yes, of labels above the median of the training labels, or of the most
            frequent class); largest_share (of one label in training); constant_score,
            history_score (AUROC, accuracy or mean absolute error on validation and test rows);
            recency_area (AUROC). What cannot be computed is absent.
    """

    faults: Mapping[Reason, str]
    measures: Mapping[str, float]

    @property
    def accepted(self) -> bool:
        """Whether nothing was found."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class Checks:
    """What a task must have.

    Attributes:
        training_cutoffs: Cutoffs of the training split, for a forecast.
        rows: Labelled rows of the training split.
        evaluation_rows: Those of validation, and of the test.
        entities: Entities among the training rows.
        missing: At most this share of the labels is null.
        class_rate: Yes and no have at least this share of each split; of several classes, the two
            most frequent ones.
        same_value: At most this share of the training labels of a regression is one value.
        drift: Between training and another split, the shares of labels above and up to the median
            (of yes and no, of the most frequent class and the others) change by this factor at most.
        solved_area: With this AUROC, the earlier labels of the entity solve a yes-or-no task.
        solved_accuracy: With this accuracy, they, or one class, solve one with several classes.
        solved_error: With this share of the best constant's error, they solve a regression.
    """

    training_cutoffs: int = 3
    rows: int = 200
    evaluation_rows: int = 100
    entities: int = 50
    missing: float = 0.5
    class_rate: float = 0.03
    same_value: float = 0.9
    drift: float = 3.0
    solved_area: float = 0.98
    solved_accuracy: float = 0.97
    solved_error: float = 0.05

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value > 1 and isinstance(value, float) and field.name != "drift"):
                raise ValueError(
                    f"{field.name} must be a count from 0, or a share from 0 to 1 (got {value})"
                )
        if self.drift < 1:
            raise ValueError(f"drift is a factor from 1 (got {self.drift})")

    def __call__(
        self, database: SyntheticDatabase, task: SyntheticTask, table: pl.DataFrame
    ) -> TaskReport:
        """Checks a task by its training table, as `Labeller.table` makes it."""
        labels = table.drop_nulls("label")
        measures = _sizes(database, task, table, labels)
        faults = dict(self._too_little(task, measures))
        if not faults:
            measures |= _rates(task, labels) | _scores(database, task, labels)
            faults = dict(self._too_simple(task, labels, measures))
        return TaskReport(faults, measures)

    def _too_little(
        self, task: SyntheticTask, measures: Mapping[str, float]
    ) -> Iterator[tuple[Reason, str]]:
        cutoffs = measures["training_cutoffs"]
        if task.kind == TaskKind.FORECAST and cutoffs < self.training_cutoffs:
            yield Reason.FEW_CUTOFFS, f"{cutoffs:g} training cutoffs"
        wanted = {
            split: self.rows if split == "train" else self.evaluation_rows for split in SPLITS
        }
        few = [
            f"{measures[f'rows_{split}']:g} {split} rows"
            for split, least in wanted.items()
            # An empty split has no rates to compare.
            if measures[f"rows_{split}"] < max(least, 1)
        ]
        if few:
            yield Reason.FEW_ROWS, ", ".join(few)
        if measures["entities"] < self.entities:
            yield Reason.FEW_ENTITIES, f"{measures['entities']:g} entities"
        if measures["missing"] > self.missing:
            yield Reason.MISSING, f"{measures['missing']:.0%} of the labels are null"

    def _too_simple(
        self, task: SyntheticTask, labels: pl.DataFrame, measures: Mapping[str, float]
    ) -> Iterator[tuple[Reason, str]]:
        if task.task_type == TaskType.REGRESSION:
            if measures["largest_share"] > self.same_value:
                share = measures["largest_share"]
                yield Reason.CONSTANT, f"{share:.0%} of the training labels are one value"
        elif rare := list(_rare(labels, self.class_rate)):
            yield Reason.CLASS_RATE, ", ".join(rare)
        if not _within(measures, self.drift):
            rates = ", ".join(f"{split} {measures[f'rate_{split}']:.3g}" for split in SPLITS)
            yield Reason.DRIFT, f"rates: {rates}"
        constant, history = measures["constant_score"], measures["history_score"]
        if task.task_type == TaskType.BINARY_CLASSIFICATION:
            solved = history >= self.solved_area
        elif task.task_type == TaskType.MULTICLASS_CLASSIFICATION:
            solved = history >= self.solved_accuracy
            if constant >= self.solved_accuracy:
                yield Reason.CONSTANT, f"accuracy {constant:.3f} by one class"
        else:
            solved = history <= self.solved_error * constant
            if constant == 0:
                yield Reason.CONSTANT, "the median of the training labels has no error"
        if solved:
            yield Reason.HISTORY, f"score {history:.4g} (a constant: {constant:.4g})"


def _sizes(
    database: SyntheticDatabase, task: SyntheticTask, table: pl.DataFrame, labels: pl.DataFrame
) -> dict[str, float]:
    train = labels.filter(pl.col("split") == "train")
    # A row without a value to complete is not in the table.
    completed = task.kind == TaskKind.AUTOCOMPLETE
    rows = len(database.tables[task.entity_table]) if completed else len(table)
    return {
        **{f"rows_{split}": len(labels.filter(pl.col("split") == split)) for split in SPLITS},
        "entities": train["entity"].n_unique(),
        "training_cutoffs": train["cutoff_time"].n_unique(),
        "missing": 1 - len(labels) / max(rows, 1),
    }


def _rates(task: SyntheticTask, labels: pl.DataFrame) -> dict[str, float]:
    yes = labels.select("split", yes=above_median(task, labels).cast(pl.Float64))
    train = labels.filter(pl.col("split") == "train")["label"]
    counts = train.value_counts(name="count")["count"]
    rates = {f"rate_{split}": _mean(yes.filter(pl.col("split") == split)) for split in SPLITS}
    return {**rates, "largest_share": float(counts.to_numpy().max() / len(train))}


def _mean(yes: pl.DataFrame) -> float:
    return float(yes["yes"].to_numpy().mean())


def _scores(
    database: SyntheticDatabase, task: SyntheticTask, labels: pl.DataFrame
) -> dict[str, float]:
    owners = _owners(database, task, labels)
    found = {
        "constant_score": constant_score(task, labels),
        "history_score": history_score(task, labels, owners),
    }
    recency = recency_area(database, task, labels)
    return found if recency is None else {**found, "recency_area": recency}


def _owners(
    database: SyntheticDatabase, task: SyntheticTask, labels: pl.DataFrame
) -> pl.Series | None:
    """Whose rows belong together where a row is predicted but once: those of its first parent."""
    keys = database.blueprint.table(task.entity_table).keys
    if task.kind == TaskKind.FORECAST or not keys:
        return None
    rows = database.tables[task.entity_table].select(
        entity=task.entity_column, owner=keys[0].column
    )
    return labels.join(rows, on="entity", how="left", maintain_order="left")["owner"]


def _rare(labels: pl.DataFrame, rate: float) -> Iterator[str]:
    """The splits in which no second class reaches a rate."""
    for split in SPLITS:
        rows = labels.filter(pl.col("split") == split)["label"]
        shares = rows.value_counts(name="count", sort=True)["count"].to_numpy() / len(rows)
        second = shares[1] if len(shares) > 1 else 0.0
        if second < rate:
            yield f"{second:.1%} in {split}"


def _within(measures: Mapping[str, float], factor: float) -> bool:
    """Whether the rates of yes, and those of no, are about those of training in every split."""
    train = measures["rate_train"]
    pairs = [
        pair
        for split in SPLITS[1:]
        for rate in (measures[f"rate_{split}"],)
        for pair in ((train, rate), (1 - train, 1 - rate))
    ]
    return all(max(pair) <= factor * min(pair) for pair in pairs)
