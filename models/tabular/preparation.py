"""What a tabular learner starts from: labelled rows with their features, under both protocols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import polars as pl

from models.aggregation.engine import compute_features
from models.aggregation.features import Feature
from models.aggregation.primitives import VISIBLE_COLUMN
from models.database.schema import Protocol, Task, TaskType
from models.dfs.feature_table import FeatureTable
from models.learning.bundle import BundleHead
from models.learning.labels import LabelEncoder, baseline
from models.learning.rows import RowsToPredict
from models.tabular.column_choice import most_informative
from models.tabular.encoding import FeatureEncoder

TRAIN, STALE = "train", "stale"
Rows = TypeVar("Rows")


def training_parts(parts: Mapping[str, Rows]) -> list[Rows]:
    """Of what is kept by part, that of the training rows: fresh, then stale if there are any."""
    return [parts[name] for name in (TRAIN, STALE) if name in parts]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Encoded rows of `train`, and of the validation split as each protocol sees it.

    `matrices` (float32, shape (rows, columns of the encoder), gaps are NaN) and `targets` (encoded
    labels) are by `train`, `frozen` and `rolling`, and `stale` where the training rows, in their
    order, are there as earlier moments saw them too; `rows` counts the labelled rows by split.
    """

    matrices: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray]
    encoder: FeatureEncoder
    labels: LabelEncoder
    rows: Mapping[str, int]
    definitions: tuple[Feature, ...]

    @property
    def used_features(self) -> tuple[Feature, ...]:
        """The definitions of the features that the encoder kept."""
        kept = set(self.encoder.columns)
        return tuple(feature for feature in self.definitions if feature.name in kept)

    def most_informative(self, task: Task, count: int) -> TrainingData:
        """The same rows with the columns alone that tell most about the training labels."""
        kept = most_informative(
            np.concatenate(training_parts(self.matrices)),
            self.encoder.categorical_columns,
            np.concatenate(training_parts(self.targets)),
            count,
            is_classification=task.task_type != TaskType.REGRESSION,
        )
        return replace(
            self,
            matrices={name: matrix[:, kept] for name, matrix in self.matrices.items()},
            encoder=self.encoder.only(kept),
        )

    def record(self, task: Task) -> dict[str, Any]:
        """The entries of a bundle's record that follow from the data alone."""
        return {
            "rows": dict(self.rows),
            "features": len(self.encoder.columns),
            "baseline": baseline(task.task_type, self.targets["train"], len(self.labels.classes)),
            "train_label_std": float(np.std(self.targets["train"], ddof=1)),
        }


def prepare(
    task: Task,
    training_table: pl.DataFrame,
    table: FeatureTable,
    max_categories: int,
    *,
    with_stale: bool = False,
) -> TrainingData:
    """Joins the labelled rows with their features and encodes them; fitted on training rows alone.

    The validation rows come as both protocols see them: under the frozen one from the first
    validation cutoff, as the test rows will be seen from `as_of`. A class that first appears in
    validation can be neither learned nor scored: its rows are left out. With `with_stale` the
    training rows are also there as earlier moments saw them, if validation asks for that.

    Raises:
        ValueError: No feature varies in the training rows.
    """
    splits = {
        split: training_table.filter((pl.col("split") == split) & pl.col("label").is_not_null())
        for split in ("train", "val")
    }
    parts = {
        "train": splits["train"].join(table.features, on="row_id", maintain_order="left"),
        **{
            str(protocol): splits["val"].join(
                table.under(protocol), on="row_id", maintain_order="left"
            )
            for protocol in Protocol
        },
    }
    names = [feature.name for feature in table.definitions]
    if with_stale and not table.stale.is_empty():
        parts[STALE] = splits["train"].join(table.stale, on="row_id", maintain_order="left")
    fitted = pl.concat(part.select(names) for part in training_parts(parts))
    encoder = FeatureEncoder.fit(fitted, max_categories)
    # For how long nothing was seen varies by what was drawn: it tells nothing by itself.
    drawn = {feature.name for feature in table.definitions if feature.column == VISIBLE_COLUMN}
    if not set(encoder.columns) - drawn:
        raise ValueError(
            f"task {task.name}: none of its {len(names)} features varies in the "
            f"{splits['train'].height} training rows; declare more tables, columns or foreign keys"
        )
    labels = LabelEncoder.fit(splits["train"]["label"], task.task_type != TaskType.REGRESSION)
    matrices, targets = {}, {}
    for name, rows in parts.items():
        target = labels.transform(rows["label"])
        known = ~np.isnan(target)
        matrices[name], targets[name] = encoder.transform(rows)[known], target[known]
    counts = {name: rows.height for name, rows in splits.items()}
    return TrainingData(matrices, targets, encoder, labels, counts, table.definitions)


def features_of(head: BundleHead, rows: RowsToPredict) -> pl.DataFrame:
    """The features that a bundle reads, one row per seed in their order.

    They are taken from `rows.features`, or computed from the tables where these are None.
    """
    found = rows.features
    if found is None:
        found = compute_features(
            head.schema,
            head.features,
            rows.tables,
            rows.seeds,
            entity_table=head.task.entity_table,
            threads=rows.threads,
        )
    return rows.seeds.select("row_id").join(found, on="row_id", how="left", maintain_order="left")
