"""Trains LightGBM on a feature table and saves the model bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import lightgbm
import polars as pl

from models.database.schema import Task
from models.dfs.feature_table import FeatureTable
from models.learning.bundle import BundleHead
from models.tabular.lightgbm_bundle import save_lightgbm_bundle
from models.tabular.lightgbm_config import LightGBMConfig
from models.tabular.lightgbm_learner import importances, train
from models.tabular.preparation import prepare


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

    Returns:
        Metadata: rows, kept features, validation scores and best rounds by seed, importances.
    """
    table = table.within(config.depth, config.windows)
    with_stale = config.staleness > 0
    data = prepare(task, training_table, table, config.max_categories, with_stale=with_stale)
    models = train(
        data.matrices,
        data.targets,
        data.encoder.categorical_columns,
        task.task_type,
        task.metric,
        len(data.labels.classes),
        config,
        threads,
        progress,
    )
    texts = [text for model in models for text in model.texts.values()]
    gains = importances([lightgbm.Booster(model_str=text) for text in texts])
    record = data.record(task) | {
        "family": "lightgbm",
        "validation_scores": [model.validation_scores for model in models],
        "best_rounds": [model.best_rounds for model in models],
        "staleness": models[0].staleness,
        "curves": [model.curve for model in models],
        "importances": dict(zip(data.encoder.columns, gains.tolist(), strict=True)),
        "parameters": asdict(config),
    }
    seeds = tuple(model.seed for model in models)
    head = BundleHead(table.schema, task, as_of, data.used_features, data.labels, seeds, record)
    save_lightgbm_bundle(folder, head, data.encoder, models)
    return {name: value for name, value in record.items() if name != "curves"}
