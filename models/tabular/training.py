"""Trains the tabular learner on a feature table and saves the model bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl

from models.database.schema import Protocol, Task, TaskType
from models.dfs.feature_table import FeatureTable
from models.tabular.bundle import save_bundle
from models.tabular.encoding import FeatureEncoder, LabelEncoder
from models.tabular.lightgbm_learner import LightGBMConfig, importances, train


def train_bundle(
    task: Task,
    training_table: pl.DataFrame,
    table: FeatureTable,
    as_of: datetime,
    config: LightGBMConfig,
    folder: Path,
    threads: int,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Trains on the labelled rows of `train`, stops on those of `val`, saves the bundle.

    The validation rows are used as both protocols see them: under the frozen one from the first
    validation cutoff, as the test rows will be seen from `as_of`.

    Returns:
        Metadata: rows, kept features, validation scores and best rounds by seed, importances.
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
    feature_names = [feature.name for feature in table.definitions]
    encoder = FeatureEncoder.fit(parts["train"].select(feature_names), config.max_categories)
    if not encoder.columns:
        raise ValueError(
            f"task {task.name}: none of its {len(feature_names)} features varies in the "
            f"{parts['train'].height} training rows; declare more tables, columns or foreign keys"
        )
    is_classification = task.task_type != TaskType.REGRESSION
    labels = LabelEncoder.fit(splits["train"]["label"], is_classification)
    matrices = {name: encoder.transform(rows) for name, rows in parts.items()}
    targets = {name: labels.transform(rows["label"]) for name, rows in parts.items()}
    _drop_unknown_classes(matrices, targets)
    models = train(
        matrices,
        targets,
        encoder.categorical_columns,
        task.task_type,
        task.metric,
        len(labels.classes),
        config,
        threads,
        progress,
    )
    gains = importances([lightgbm.Booster(model_str=model.text) for model in models])
    record = {
        "rows": {name: rows.height for name, rows in splits.items()},
        "features": len(encoder.columns),
        "validation_scores": [model.validation_scores for model in models],
        "best_rounds": [model.best_rounds for model in models],
        "curves": [model.curve for model in models],
        "importances": dict(zip(encoder.columns, gains.tolist(), strict=True)),
        "parameters": asdict(config),
        "baseline": baseline(task.task_type, targets["train"], len(labels.classes)),
        "train_label_std": float(np.std(targets["train"], ddof=1)),
    }
    save_bundle(
        folder, table.schema, task, as_of, table.definitions, encoder, labels, models, record
    )
    return {name: value for name, value in record.items() if name != "curves"}


def baseline(task_type: TaskType, labels: np.ndarray, classes: int) -> list[float]:
    """What one would predict without any feature, from the training labels alone.

    The positive rate, the class shares, or the median (which minimises the absolute error).
    """
    if task_type == TaskType.REGRESSION:
        return [float(np.median(labels))]
    if task_type == TaskType.BINARY_CLASSIFICATION:
        return [float(labels.mean())]
    return (np.bincount(labels.astype(int), minlength=classes) / labels.size).tolist()


def _drop_unknown_classes(matrices: dict[str, np.ndarray], targets: dict[str, np.ndarray]) -> None:
    # A class that first appears in validation cannot be learned, nor scored.
    for protocol in Protocol:
        known = ~np.isnan(targets[protocol])
        matrices[protocol], targets[protocol] = matrices[protocol][known], targets[protocol][known]
