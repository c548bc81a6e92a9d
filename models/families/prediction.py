"""Predictions of a run: both protocols, and their scores where the future is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.database.quoting import quote
from models.database.schema import Protocol, RelationalSchema, Task, TaskType
from models.database.warehouse import Warehouse
from models.dfs.feature_table import seeds_of
from models.families.bundle import Bundle, RowsToPredict, attach_predictions
from models.reporting.scores import METRIC_NAMES, score

PREDICTIONS = "predictions.parquet"
SCORES = "scores.json"


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one split under one protocol.

    `mean` and `std` (sample) are over the seeds' models, `ensemble` is the score of their averaged
    predictions, which is what the predictions file holds; `baseline` that of the trivial predictor.
    """

    split: str
    protocol: str
    metric: str
    mean: float
    std: float
    seeds: int
    ensemble: float
    baseline: float | None
    rows: int


def predictions_file(protocol: Protocol) -> str:
    """The file that holds the predictions under a protocol."""
    return f"predictions_{protocol}.parquet"


@dataclass(frozen=True, slots=True)
class RunData:
    """What a run has at hand beside its training table and its features.

    `as_of` is the date of the run, which is later than the bundle's where an older model predicts;
    `tables` the staged Parquet by table name; `graph` the database as a temporal graph, if made.
    """

    as_of: datetime
    tables: Mapping[str, Path] = field(default_factory=dict)
    graph: Any = None
    threads: int = 2


def build_predictions(
    task: Task,
    bundle: Bundle,
    training_table: pl.DataFrame,
    features: Mapping[Protocol, pl.DataFrame] | None,
    folder: Path,
    data: RunData | None = None,
    validated: Bundle | None = None,
) -> dict[str, Any]:
    """Predicts every row from `as_of` on under both protocols and scores what can be scored.

    Args:
        task: The task; its protocol decides which predictions are the run's own.
        bundle: The trained model.
        training_table: row_id, entity, cutoff_time, label, split.
        features: By protocol, the features of (at least) the rows of val, test and predict; None
            leaves it to the bundle to make what it reads.
        folder: Receives predictions.parquet (the task's protocol), one file per protocol with the
            labels that are known, and scores.json.
        data: What else the run has at hand; None if the features are all that the bundle reads and
            it was trained in this run.
        validated: The model as it was before it was trained on the validation rows too; it is the
            one that is scored on them. None where the model never saw them.

    Returns:
        Metadata: rows, cutoffs, scores.
    """
    data = data or RunData(bundle.as_of)
    later = training_table.filter(pl.col("split").is_in(["test", "predict"]))
    validation = training_table.filter(pl.col("split") == "val")
    known = training_table.filter(pl.col("label").is_not_null())
    scores: list[Score] = []
    for split, rows in (("val", validation), ("test", later)):
        for protocol in Protocol:
            asked = RowsToPredict(
                seeds=seeds_of(rows, task, data.as_of, protocol),
                tables=data.tables,
                features=features[protocol] if features is not None else None,
                label_history=known.select("entity", "cutoff_time", "label"),
                graph=data.graph,
                threads=data.threads,
            )
            model = validated if validated is not None and split == "val" else bundle
            raw = model.predict(asked, protocol)
            scores += score_rows(task, bundle, rows, raw, split, protocol)
            if split == "test":
                _write(task, bundle, rows, raw, protocol, folder)
    (folder / SCORES).write_text(json.dumps([asdict(entry) for entry in scores], indent=1))
    return {
        "rows": later.height,
        "cutoffs": later["cutoff_time"].n_unique(),
        "scores": [asdict(entry) for entry in scores],
    }


def _write(
    task: Task,
    bundle: Bundle,
    rows: pl.DataFrame,
    raw: np.ndarray,
    protocol: Protocol,
    folder: Path,
) -> None:
    predicted = attach_predictions(rows.select("entity", "cutoff_time"), raw, bundle.labels)
    labelled = predicted.with_columns(rows["label"], rows["split"])
    labelled.write_parquet(folder / predictions_file(protocol))
    if protocol == task.protocol:
        predicted.write_parquet(folder / PREDICTIONS)


def score_rows(
    task: Task,
    bundle: Bundle,
    rows: pl.DataFrame,
    raw: np.ndarray,
    split: str,
    protocol: Protocol,
) -> list[Score]:
    """Scores of the labelled rows: each metric over the seeds, and of their mean prediction.

    Args:
        task: The task.
        bundle: The model, for its label encoding and its baseline.
        rows: The rows with their labels.
        raw: The seeds' predictions, shape (seeds, rows) or (seeds, rows, classes).
        split: Name of the split.
        protocol: Name of the protocol.
    """
    labels = bundle.labels.transform(rows["label"])
    known = ~np.isnan(labels)
    if not known.any():
        return []
    labels, raw = labels[known], raw[:, known]
    classes = list(range(len(bundle.labels.classes)))
    trivial = trivial_predictions(bundle, labels.size)

    def measure(predictions: np.ndarray) -> dict[str, float]:
        measured = score(task.task_type, labels, predictions, classes=classes)
        if task.task_type == TaskType.REGRESSION:
            measured["nmae"] = measured["mae"] / bundle.record["train_label_std"]
        return measured

    seeds = [measure(predictions) for predictions in raw]
    ensemble, base = measure(raw.mean(axis=0)), measure(trivial)
    return [
        Score(
            split=split,
            protocol=str(protocol),
            metric=name,
            mean=float(np.mean([seed[name] for seed in seeds])),
            std=float(np.std([seed[name] for seed in seeds], ddof=1)) if len(seeds) > 1 else 0.0,
            seeds=len(seeds),
            ensemble=ensemble[name],
            baseline=base.get(name),
            rows=int(labels.size),
        )
        for name in METRIC_NAMES[task.task_type]
        if name in ensemble
    ]


def trivial_predictions(bundle: Bundle, rows: int) -> np.ndarray:
    """The baseline's prediction for so many rows: shape (rows,), or (rows, classes)."""
    base = np.asarray(bundle.record["baseline"])
    found = np.broadcast_to(base, (rows, base.size))
    is_multiclass = bundle.task.task_type == TaskType.MULTICLASS_CLASSIFICATION
    return found if is_multiclass else found[:, 0]


def write_submission(schema: RelationalSchema, task: Task, folder: Path) -> Path:
    """Writes the frozen test predictions as RelBench's submission file, `<dataset>__<task>.csv`.

    Its columns are the task's own entity, time and label column; `relbench.submit` scores it.
    """
    rows = pl.read_parquet(folder / predictions_file(Protocol.FROZEN))
    rows = rows.filter(pl.col("split") == "test")
    path = folder / f"{schema.title}__{task.title or task.name}.csv"
    rows.select(
        pl.col("entity").alias(task.entity_column),
        pl.col("cutoff_time").alias(task.time_column),
        pl.col("prediction").alias(task.label_column),
    ).write_csv(path)
    return path


def write_to_warehouse(
    warehouse: Warehouse,
    schema: RelationalSchema,
    task: Task,
    as_of: datetime,
    path: Path,
    fingerprint: str,
) -> None:
    """Replaces the predictions of this `as_of` in `<database>_predictions.<task>`, in one write.

    The table has the columns of the predictions file and, before them, as_of and the fingerprint of
    the artifact. Nothing is written if it is there already.
    """
    relation = f"{quote(f'{schema.database}_predictions')}.{quote(task.name)}"
    select = "select cast(? as timestamp) as as_of, ? as fingerprint, * from read_parquet(?)"
    values = [as_of, fingerprint, str(path)]
    with warehouse.turn() as turn, turn.connect() as connection:
        connection.execute(f"create schema if not exists {quote(f'{schema.database}_predictions')}")
        connection.execute(f"create table if not exists {relation} as {select} limit 0", values)
        found = connection.execute(
            f"select count(*) from {relation} where as_of = ? and fingerprint = ?",
            [as_of, fingerprint],
        ).fetchone()
        if found and found[0]:
            return
        connection.begin()
        connection.execute(f"delete from {relation} where as_of = ?", [as_of])
        connection.execute(f"insert into {relation} by name {select}", values)
        connection.commit()
