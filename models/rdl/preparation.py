"""What supervised training starts from: seeds, labels and inputs of each split and protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from models.aggregation.features import Feature
from models.database.schema import Protocol, Task, TaskType
from models.dfs.feature_table import FeatureTable, seeds_of, stale_seeds_of
from models.learning.labels import LabelEncoder, baseline
from models.rdl.seed_inputs import SeedInputs
from models.tabular.preparation import STALE, TRAIN, training_parts


@dataclass(frozen=True, slots=True)
class Part:
    """Labelled rows of a split as a protocol sees them.

    `seeds` has row_id, entity, cutoff_time and visible_until; `labels` are encoded, float64 [rows];
    `features` is the matrix of their DFS features, float32, None where none are read.
    """

    seeds: pl.DataFrame
    labels: np.ndarray
    features: np.ndarray | None


@dataclass(frozen=True, slots=True)
class Preparation:
    """The parts `train`, `frozen` and `rolling` (validation as each protocol sees it), and `stale`.

    `stale`, where it was asked for and validation has several cutoffs, has the rows of `train`, in
    the same order, as earlier moments saw them.
    `features` are the definitions that `seed_inputs` reads; `history` has entity, cutoff_time and
    label of every row with a label.
    """

    parts: Mapping[str, Part]
    labels: LabelEncoder
    seed_inputs: SeedInputs | None
    features: tuple[Feature, ...]
    history: pl.DataFrame

    def record(self, task: Task) -> dict[str, object]:
        """The entries of a bundle's record that follow from the data alone."""
        targets = self.parts["train"].labels
        return {
            "rows": {"train": len(targets), "val": len(self.parts["rolling"].labels)},
            "features": len(self.features),
            "baseline": baseline(task.task_type, targets, len(self.labels.classes)),
            "train_label_std": float(np.std(targets, ddof=1)),
        }


def prepare(
    task: Task,
    training_table: pl.DataFrame,
    as_of: datetime,
    features: FeatureTable | None,
    *,
    with_stale: bool = False,
) -> Preparation:
    """The labelled rows of `train` and `val`; a class that training does not know is left out.

    Args:
        task: The task.
        training_table: row_id, entity, cutoff_time, label, split.
        as_of: The date of the run.
        features: DFS features to be read, scaled by the training rows; None for none.
        with_stale: Whether the training rows are also wanted as earlier moments saw them.
    """
    labelled = training_table.filter(pl.col("label").is_not_null())
    train = labelled.filter(pl.col("split") == "train")
    validation = labelled.filter(pl.col("split") == "val")
    labels = LabelEncoder.fit(train["label"], task.task_type != TaskType.REGRESSION)
    known_validation = validation.filter(~np.isnan(labels.transform(validation["label"])))
    rows = {TRAIN: train} | {str(protocol): known_validation for protocol in Protocol}
    seeds = {TRAIN: seeds_of(train, task, as_of, Protocol.ROLLING)}
    seeds |= {str(p): seeds_of(known_validation, task, as_of, p) for p in Protocol}
    if with_stale and not (stale := stale_seeds_of(training_table, task, as_of)).is_empty():
        rows[STALE] = train
        # A refit trains on validation rows too, which then are there twice.
        seeds[STALE] = _of_rows(stale, train)
    inputs = None
    read: dict[str, pl.DataFrame] = {}
    if features is not None:
        names = [feature.name for feature in features.definitions]
        read = {name: features_seen(features, name, part) for name, part in rows.items()}
        inputs = SeedInputs.fit(pl.concat(part.select(names) for part in training_parts(read)))

    def part(name: str) -> Part:
        matrix = inputs.transform(read[name]) if inputs else None
        return Part(seeds[name], labels.transform(rows[name]["label"]), matrix)

    columns = set(inputs.columns) if inputs else set()
    definitions = features.definitions if features else ()
    return Preparation(
        parts={name: part(name) for name in rows},
        labels=labels,
        seed_inputs=inputs,
        features=tuple(feature for feature in definitions if feature.name in columns),
        # A refit trains on validation rows too, which are there twice.
        history=labelled.select("entity", "cutoff_time", "label").unique(maintain_order=True),
    )


def features_seen(table: FeatureTable, part: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The features of rows as those of a part are seen, in the rows' order."""
    if part == STALE:
        return _of_rows(table.stale, rows)
    return _of_rows(table.under(Protocol.ROLLING if part == TRAIN else Protocol(part)), rows)


def _of_rows(frame: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("row_id").join(frame, on="row_id", how="left", maintain_order="left")
