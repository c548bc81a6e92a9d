"""What supervised training starts from: seeds, labels and inputs of each split and protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from models.aggregation.features import Feature
from models.database.schema import Protocol, Task, TaskType
from models.dfs.feature_table import FeatureTable, seeds_of
from models.learning.labels import LabelEncoder, baseline
from models.rdl.seed_inputs import SeedInputs


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
    """The parts `train`, `frozen` and `rolling` (validation as each protocol sees it).

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
) -> Preparation:
    """The labelled rows of `train` and `val`; a class that training does not know is left out.

    Args:
        task: The task.
        training_table: row_id, entity, cutoff_time, label, split.
        as_of: The date of the run.
        features: DFS features to be read, scaled by the training rows; None for none.
    """
    labelled = training_table.filter(pl.col("label").is_not_null())
    train = labelled.filter(pl.col("split") == "train")
    validation = labelled.filter(pl.col("split") == "val")
    labels = LabelEncoder.fit(train["label"], task.task_type != TaskType.REGRESSION)
    inputs = None
    if features is not None:
        names = [feature.name for feature in features.definitions]
        joined = features_under(features, train, Protocol.ROLLING)
        inputs = SeedInputs.fit(joined.select(names))

    def part(rows: pl.DataFrame, protocol: Protocol) -> Part:
        rows = rows.filter(~np.isnan(labels.transform(rows["label"])))
        matrix = None
        if features is not None and inputs is not None:
            matrix = inputs.transform(features_under(features, rows, protocol))
        seeds = seeds_of(rows, task, as_of, protocol)
        return Part(seeds, labels.transform(rows["label"]), matrix)

    read = set(inputs.columns) if inputs else set()
    definitions = features.definitions if features else ()
    return Preparation(
        parts={
            "train": part(train, Protocol.ROLLING),
            **{str(protocol): part(validation, protocol) for protocol in Protocol},
        },
        labels=labels,
        seed_inputs=inputs,
        features=tuple(feature for feature in definitions if feature.name in read),
        # A refit trains on validation rows too, which are there twice.
        history=labelled.select("entity", "cutoff_time", "label").unique(maintain_order=True),
    )


def features_under(table: FeatureTable, rows: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
    """The features of rows under a protocol, in the rows' order."""
    return rows.select("row_id").join(
        table.under(protocol), on="row_id", how="left", maintain_order="left"
    )
