"""What is known of a task before any model is trained: size, balance, and three plain predictors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from models.database.relbench_import import load_dataset
from models.database.schema import Task, TaskType
from models.fidelity.databases import Database, times_of

SIGNALS = (
    "rows",
    "entities",
    "cutoffs",
    "positive rate",
    "label skewness",
    "drift",
    "recency AUROC",
    "history AUROC",
    "autocorrelation",
    "degree",
)
FEWEST = 30
"""Fewer rows, or pairs of rows, give no signal."""
NEVER = 1e12
"""Seconds since the last row of an entity that has none."""

Signals = dict[str, float | None]


def shipped_tasks(folder: Path, database: Database) -> Iterator[tuple[Task, pl.DataFrame]]:
    """The forecast tasks of a RelBench folder with the label tables that lie in it.

    Yields:
        The task and its rows: row_id, entity, cutoff_time, label, split (train or val). Tasks
        without label tables are left out.
    """
    tasks = load_dataset(str(folder)).dataset_dir / "tasks"
    for task in database.schema.tasks:
        paths = {split: tasks / task.title / f"{split}.parquet" for split in ("train", "val")}
        if all(path.exists() for path in paths.values()):
            rows = pl.concat(
                pl.read_parquet(path).select(
                    entity=task.entity_column,
                    cutoff_time=pl.col(task.time_column).cast(pl.Datetime("us")),
                    label=task.label_column,
                    split=pl.lit(split),
                )
                for split, path in paths.items()
            ).sort("cutoff_time", "entity")
            yield task, rows.with_row_index("row_id").with_columns(pl.col("row_id").cast(pl.Int64))


def task_signals(database: Database, task: Task, training_table: pl.DataFrame) -> Signals:
    """The signals of a task, by the names in `SIGNALS`; None where one is not defined.

    rows, entities, cutoffs: of the training split. positive rate: of a binary label; of a class
    label the rate of the most frequent class. label skewness: of a number. drift: how far the
    label's mean moves from training to validation, in standard deviations. recency AUROC: of the
    time since the entity's last row in a table that points at it, in whichever direction tells
    more. history AUROC: of the mean of the entity's labels whose windows had closed by the cutoff.
    autocorrelation: the correlation of a label with the entity's label one cutoff earlier. degree:
    rows at or before the cutoff in the tables that point at the entity, on average.

    AUROCs are about a number being above its training median, or a class being the most frequent.

    Args:
        database: The database.
        task: The task.
        training_table: entity, cutoff_time, label, split; rows of the test split and rows without
            a label are not looked at.
    """
    rows = _with_numbers(training_table, task)
    training = rows.filter(pl.col("split") == "train")
    if training.height < FEWEST:
        return dict.fromkeys(SIGNALS)
    validation = rows.filter(pl.col("split") == "val")
    seen = _activity(database, task, rows)
    earlier = _earlier_labels(rows, task)
    positive = rows["positive"]
    spread = _number(training["value"].std())
    moved = abs(
        (_number(validation["value"].mean()) or 0.0) - (_number(training["value"].mean()) or 0.0)
    )
    recency = None if seen is None else _auroc(positive, -seen["idle"].fill_null(NEVER))
    is_number = task.task_type == TaskType.REGRESSION
    return {
        "rows": float(training.height),
        "entities": float(training["entity"].n_unique()),
        "cutoffs": float(training["cutoff_time"].n_unique()),
        "positive rate": None if is_number else _number(training["positive"].mean()),
        "label skewness": _number(training["value"].skew()) if is_number else None,
        "drift": moved / spread if spread and not validation.is_empty() else None,
        "recency AUROC": None if recency is None else max(recency, 1 - recency),
        "history AUROC": _auroc(positive, earlier),
        "autocorrelation": _autocorrelation(training),
        "degree": None if seen is None else _number(seen["rows"].mean()),
    }


def _with_numbers(training_table: pl.DataFrame, task: Task) -> pl.DataFrame:
    """Known labels as `value` (numbers; classes as 0 and 1) and `positive`, by entity and time."""
    known = (
        training_table.filter(pl.col("split").is_in(["train", "val"]))
        .drop_nulls("label")
        .sort("cutoff_time", "entity")
    )
    labels = known.filter(pl.col("split") == "train")["label"]
    if task.task_type == TaskType.REGRESSION:
        value = pl.col("label").cast(pl.Float64)
        middle = _number(labels.cast(pl.Float64).median()) or 0.0
        return known.with_columns(value=value, positive=value > middle)
    if task.task_type == TaskType.BINARY_CLASSIFICATION:
        positive = pl.col("label").cast(pl.Int64) == 1
    else:
        most = labels.mode().sort().head(1)
        positive = pl.col("label").is_in(most.implode())
    return known.with_columns(value=positive.cast(pl.Float64), positive=positive)


def _activity(database: Database, task: Task, rows: pl.DataFrame) -> pl.DataFrame | None:
    """Of every row, `rows` of the entity's children by the cutoff and `idle` seconds since the last.

    None where no table with times points at the entity table.
    """
    asked = rows.select("entity", "cutoff_time")
    last, counts = [], []
    for place, key in enumerate(database.schema.children(task.entity_table)):
        child = database.schema.table(key.table)
        if child.time_column is None or len(key.columns) != 1:
            continue
        frame = pl.read_parquet(
            database.tables[child.name], columns=sorted({*key.columns, child.time_column})
        )
        times = times_of(frame, child)
        assert times is not None
        events = (
            pl.DataFrame({"entity": frame[key.columns[0]], f"last {place}": times})
            .drop_nulls()
            .cast({"entity": rows.schema["entity"]})
            .sort(f"last {place}")
            .with_columns((pl.int_range(pl.len()) + 1).over("entity").alias(f"rows {place}"))
        )
        asked = asked.join_asof(
            events,
            left_on="cutoff_time",
            right_on=f"last {place}",
            by="entity",
            coalesce=False,
            check_sortedness=False,
        )
        last.append(f"last {place}")
        counts.append(f"rows {place}")
    if not last:
        return None
    idle = (pl.col("cutoff_time") - pl.max_horizontal(last)).dt.total_seconds()
    return asked.select(idle=idle.cast(pl.Float64), rows=pl.sum_horizontal(counts))


def _earlier_labels(rows: pl.DataFrame, task: Task) -> pl.Series:
    """Of every row, the mean of the entity's labels that were known by the cutoff."""
    labels = rows.select(
        "entity",
        known_at=pl.col("cutoff_time") + task.window,
        mean=(pl.col("value").cum_sum() / (pl.int_range(pl.len()) + 1)).over("entity"),
    )
    joined = rows.select("entity", "cutoff_time").join_asof(
        labels, left_on="cutoff_time", right_on="known_at", by="entity", check_sortedness=False
    )
    return joined["mean"].fill_null(rows["value"].mean())


def _autocorrelation(training: pl.DataFrame) -> float | None:
    pairs = training.select(
        "value", previous=pl.col("value").shift().over("entity", order_by="cutoff_time")
    ).drop_nulls()
    if pairs.height < FEWEST:
        return None
    found = _number(pairs.select(pl.corr("value", "previous")).item())
    return found if found is not None and np.isfinite(found) else None


def _auroc(positive: pl.Series, score: pl.Series) -> float | None:
    if positive.all() or not positive.any():
        return None
    return float(roc_auc_score(positive.to_numpy(), score.to_numpy()))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
