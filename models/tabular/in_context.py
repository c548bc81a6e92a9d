"""TabPFN on feature tables: a pretrained network that reads the training rows with each question.

Hollmann et al., "Accurate predictions on small data with a tabular foundation model", Nature 2025.
The package `tabpfn` is optional and its weights are a file that must be at hand: nothing is
downloaded here. A bundle keeps the training rows; the weights it names by their path.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.database.schema import Metric, Protocol, Task, TaskType
from models.dfs.feature_table import FeatureTable
from models.learning.bundle import BundleBase, BundleHead, read_bundle, write_bundle
from models.learning.config import known_settings
from models.learning.labels import watched_score
from models.learning.rows import RowsToPredict
from models.tabular.encoding import FeatureEncoder
from models.tabular.preparation import TrainingData, features_of, prepare

KIND = "in_context"
ROWS = "training_rows.npz"


@dataclass(frozen=True, slots=True)
class InContextConfig:
    """Settings of the in-context learner.

    `weights` is the file of pretrained weights, for classification or for regression as the task
    needs. Each of the `seeds` reads `max_rows` training rows drawn by the seed (all if there are
    fewer) and the `max_columns` columns with the most mutual information with the labels, averaging
    over `estimators` orders of columns and classes. `device` is `auto`, `cpu` or `cuda`.
    """

    weights: str = ""
    seeds: int = 5
    max_rows: int = 10_000
    max_columns: int = 500
    max_categories: int = 30
    estimators: int = 8
    device: str = "auto"

    def __post_init__(self) -> None:
        for what in ("seeds", "max_rows", "max_columns", "estimators"):
            if getattr(self, what) < 1:
                raise ValueError(f"{what} must be at least 1 (got {getattr(self, what)})")


@dataclass(frozen=True)
class InContextBundle(BundleBase):
    """The training rows that TabPFN reads; a seed is a choice of rows and TabPFN's own seed."""

    encoder: FeatureEncoder
    config: InContextConfig
    matrix: np.ndarray
    targets: np.ndarray

    def predict(self, rows: RowsToPredict, protocol: Protocol) -> np.ndarray:
        """Predictions of every seed: shape (seeds, rows) or (seeds, rows, classes)."""
        asked = {"asked": self.encoder.transform(features_of(self, rows))}
        categorical = self.encoder.categorical_columns
        found = [
            answer(self.task, self.matrix, self.targets, categorical, asked, self.config, seed)
            for seed in self.seeds
        ]
        return np.stack([answers["asked"] for answers in found])


def train_in_context_bundle(
    task: Task,
    training_table: pl.DataFrame,
    table: FeatureTable,
    as_of: datetime,
    config: InContextConfig,
    folder: Path,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Saves a bundle with the labelled rows of `train`, and scores it on those of `val`.

    Nothing is fitted, so nothing is chosen on validation: both protocols use the same rows.

    Returns:
        Metadata: rows, kept features, validation scores by seed.

    Raises:
        ModuleNotFoundError: `tabpfn` is not installed.
        FileNotFoundError: the weights are not at hand.
    """
    data = prepare(task, training_table, table, config.max_categories)
    data = data.most_informative(task, config.max_columns)
    scores = []
    for seed in range(config.seeds):
        scores.append(_validation_scores(task, data, config, seed))
        found = ", ".join(f"{name} {task.metric} {value:.4f}" for name, value in scores[-1].items())
        progress(f"seed {seed}: validation {found}")
    record = data.record(task) | {
        "family": "tabpfn",
        "validation_scores": scores,
        "best_rounds": [{str(protocol): 0 for protocol in Protocol} for _ in scores],
        "curves": [],
        "importances": {},
        "parameters": asdict(config),
    }
    seeds = tuple(range(config.seeds))
    head = BundleHead(table.schema, task, as_of, data.used_features, data.labels, seeds, record)
    content = {"encoder": data.encoder.to_plain(), "in_context": asdict(config)}
    write_bundle(folder, KIND, head, content)
    np.savez(folder / ROWS, matrix=data.matrices["train"], targets=data.targets["train"])
    return {name: value for name, value in record.items() if name != "curves"}


def load_in_context_bundle(folder: Path) -> InContextBundle:
    """The in-context bundle in a folder.

    Raises:
        FileNotFoundError: the folder holds no bundle.
    """
    head, content = read_bundle(folder)
    with np.load(folder / ROWS) as rows:
        matrix, targets = rows["matrix"], rows["targets"]
    return InContextBundle(
        **head,
        encoder=FeatureEncoder.from_plain(content["encoder"]),
        config=InContextConfig(**known_settings(InContextConfig, content["in_context"])),
        matrix=matrix,
        targets=targets,
    )


def answer(
    task: Task,
    matrix: np.ndarray,
    targets: np.ndarray,
    categorical: list[int],
    asked: dict[str, np.ndarray],
    config: InContextConfig,
    seed: int,
) -> dict[str, np.ndarray]:
    """What TabPFN says of each matrix of rows after reading the training rows.

    Probabilities of the positive class, values (the median where the metric is MAE, else the mean),
    or (rows, classes) probabilities.

    Raises:
        ModuleNotFoundError: `tabpfn` is not installed.
        FileNotFoundError: the weights are not at hand.
    """
    package = _package()
    if not config.weights or not Path(config.weights).exists():
        raise FileNotFoundError(
            f"TabPFN's weights are not at hand (weights: {config.weights!r}); fetch the checkpoint "
            f"for {task.task_type} and name its file in the setting `weights`"
        )
    is_regression = task.task_type == TaskType.REGRESSION
    kind = package.TabPFNRegressor if is_regression else package.TabPFNClassifier
    model = kind(
        n_estimators=config.estimators,
        categorical_features_indices=categorical,
        model_path=config.weights,
        device=config.device,
        ignore_pretraining_limits=True,
        random_state=seed,
    )
    rows = np.random.default_rng(seed).permutation(len(targets))[: config.max_rows]
    model.fit(matrix[rows], targets[rows])
    if is_regression:
        output = "median" if task.metric == Metric.MAE else "mean"
        return {
            name: np.asarray(model.predict(part, output_type=output), dtype=np.float64)
            for name, part in asked.items()
        }
    probabilities = {
        name: np.asarray(model.predict_proba(part), dtype=np.float64)
        for name, part in asked.items()
    }
    if task.task_type == TaskType.BINARY_CLASSIFICATION:
        return {name: part[:, -1] for name, part in probabilities.items()}
    return probabilities


def _package() -> Any:
    try:
        return importlib.import_module("tabpfn")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the family tabpfn needs the package tabpfn, which is not installed: "
            "pip install 'relforge[in-context]'"
        ) from error


def _validation_scores(
    task: Task, data: TrainingData, config: InContextConfig, seed: int
) -> dict[str, float]:
    asked = {str(protocol): data.matrices[protocol] for protocol in Protocol}
    train, labels = data.matrices["train"], data.targets["train"]
    answers = answer(task, train, labels, data.encoder.categorical_columns, asked, config, seed)
    classes = len(data.labels.classes)
    return {
        name: watched_score(task.task_type, task.metric, data.targets[name], predicted, classes)
        for name, predicted in answers.items()
    }
