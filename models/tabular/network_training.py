"""Trains networks on a feature table and saves the model bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.database.schema import Task
from models.dfs.feature_table import FeatureTable
from models.learning.bundle import BundleHead
from models.learning.device import choose_device
from models.learning.outcome import TargetScale
from models.learning.side_by_side import run_seeds
from models.tabular.network_bundle import save_network_bundle
from models.tabular.network_config import NetworkConfig
from models.tabular.network_encoding import NetworkEncoder
from models.tabular.network_learner import NetworkProblem, train_one_seed
from models.tabular.preparation import TrainingData, prepare, training_parts


def train_network_bundle(
    task: Task,
    training_table: pl.DataFrame,
    table: FeatureTable,
    as_of: datetime,
    config: NetworkConfig,
    folder: Path,
    threads: int,
    progress: Callable[[str], None] = lambda line: None,
    checkpoints: Path | None = None,
) -> dict[str, Any]:
    """Trains on the labelled rows of `train`, stops on those of `val`, saves the bundle.

    Args:
        task: The task.
        training_table: row_id, entity, cutoff_time, label, split.
        table: The features of its rows.
        as_of: The date of the run.
        config: The network's settings.
        folder: Receives the bundle.
        threads: Seeds trained at a time on a CPU; the result does not depend on it.
        progress: Receives a line per seed and epoch.
        checkpoints: Where to keep what a killed training goes on from; None for nowhere.

    Returns:
        Metadata: rows, kept features, validation scores and best epochs by seed.
    """
    table = table.within(config.depth, config.windows)
    with_stale = config.staleness > 0
    data = prepare(task, training_table, table, config.max_categories, with_stale=with_stale)
    if config.max_columns is not None:
        data = data.most_informative(task, config.max_columns)
    problem = make_problem(task, data, bent=config.architecture == "linear")
    models = run_seeds(
        train_one_seed,
        range(config.seeds),
        (problem, config, checkpoints),
        threads,
        choose_device(config.device),
        progress,
    )
    record = data.record(task) | {
        "family": config.architecture,
        "validation_scores": [model.validation_scores for model in models],
        "best_rounds": [model.best_rounds for model in models],
        "curves": [model.curve for model in models],
        "importances": {},
        "parameters": asdict(config),
        "columns": problem.encoder.numbers + len(problem.encoder.categorical),
    }
    seeds = tuple(model.seed for model in models)
    head = BundleHead(table.schema, task, as_of, data.used_features, data.labels, seeds, record)
    save_network_bundle(folder, head, data.encoder, problem.encoder, config, problem.scale, models)
    return {name: value for name, value in record.items() if name != "curves"}


def make_problem(task: Task, data: TrainingData, *, bent: bool = False) -> NetworkProblem:
    """The rows as a network's inputs; everything is fitted on training rows alone.

    Args:
        task: The task.
        data: The rows.
        bent: As for `TargetScale.fit`: for outputs that can't bend by themselves.
    """
    # One code more than there are values: the one of rare and unseen values.
    categories = {
        position: len(data.encoder.categories[name]) + 1
        for position, name in enumerate(data.encoder.columns)
        if name in data.encoder.categories
    }
    encoder = NetworkEncoder.fit(np.concatenate(training_parts(data.matrices)), categories)
    inputs = {name: encoder.transform(matrix) for name, matrix in data.matrices.items()}
    return NetworkProblem(
        encoder=encoder,
        numbers={name: numbers for name, (numbers, _) in inputs.items()},
        codes={name: codes for name, (_, codes) in inputs.items()},
        labels=data.targets,
        task_type=task.task_type,
        metric=task.metric,
        classes=len(data.labels.classes),
        scale=TargetScale.fit(task.task_type, data.targets["train"], bent=bent),
    )
