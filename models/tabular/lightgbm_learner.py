"""LightGBM on feature tables: one model per seed, stopped early on the whole validation split.

Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightgbm
import numpy as np

from models.database.schema import Metric, TaskType
from models.reporting.scores import score

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LightGBMConfig:
    """Settings of the learner; everything not named here is LightGBM's default.

    `seeds` is the number of models, `early_stopping` the rounds without a better validation score
    after which a model stops, `rounds` the most trees it may have.
    """

    seeds: int = 5
    rounds: int = 2000
    early_stopping: int = 100
    learning_rate: float = 0.03
    num_leaves: int = 15
    min_data_in_leaf: int = 40
    feature_fraction: float = 0.5
    bagging_fraction: float = 0.8
    lambda_l2: float = 5.0
    max_categories: int = 100
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """One seed's model: its text form, the best round, its validation score and learning curve."""

    seed: int
    text: str
    best_round: int
    validation_score: float
    curve: dict[str, list[float]]

    def booster(self) -> lightgbm.Booster:
        """The LightGBM model."""
        return lightgbm.Booster(model_str=self.text)


def train(
    matrices: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    categorical: Sequence[int],
    task_type: TaskType,
    metric: Metric,
    classes: int,
    config: LightGBMConfig,
    threads: int,
    progress: Progress = lambda line: None,
) -> list[TrainedModel]:
    """Trains one model per seed on `train`, stopping on `val`.

    Args:
        matrices: Float32 matrices (rows, features) of the splits `train` and `val`.
        labels: Encoded labels of the same rows.
        categorical: Positions of categorical columns.
        task_type: Decides the objective.
        metric: What early stopping watches.
        classes: The number of classes (multiclass only).
        config: The learner's settings.
        threads: CPU threads; the result does not depend on it.
        progress: Receives a line per seed.
    """
    models = []
    for seed in range(config.seeds):
        model = _train_one(
            matrices, labels, categorical, task_type, metric, classes, config, threads, seed
        )
        progress(
            f"seed {seed}: {model.best_round} trees, validation {metric} "
            f"{model.validation_score:.4f}"
        )
        models.append(model)
    return models


def _train_one(
    matrices: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    categorical: Sequence[int],
    task_type: TaskType,
    metric: Metric,
    classes: int,
    config: LightGBMConfig,
    threads: int,
    seed: int,
) -> TrainedModel:
    parameters = _parameters(task_type, metric, classes, config, threads, seed)
    training = lightgbm.Dataset(
        matrices["train"],
        labels["train"],
        categorical_feature=list(categorical),
        params=parameters,
        free_raw_data=False,
    )
    validation = training.create_valid(matrices["val"], labels["val"])
    curve: dict[str, Any] = {}
    booster = lightgbm.train(
        parameters,
        training,
        num_boost_round=config.rounds,
        valid_sets=[training, validation],
        valid_names=["train", "val"],
        callbacks=[
            lightgbm.early_stopping(config.early_stopping, first_metric_only=True, verbose=False),
            lightgbm.record_evaluation(curve),
        ],
    )
    best = booster.best_iteration or booster.current_iteration()
    text = booster.model_to_string(num_iteration=best)
    predicted = predict_one(lightgbm.Booster(model_str=text), matrices["val"])
    scores = score(task_type, labels["val"], predicted, classes=list(range(classes)))
    watched = {split: next(iter(values.values())) for split, values in curve.items()}
    return TrainedModel(seed, text, best, float(scores.get(metric.value, np.nan)), watched)


def predict_one(booster: lightgbm.Booster, matrix: np.ndarray) -> np.ndarray:
    """Predictions of one model.

    Shape (rows,): probabilities of the positive class, or values; (rows, classes) for multiclass.
    """
    return np.asarray(booster.predict(matrix, num_threads=1))


def predict(models: Sequence[lightgbm.Booster], matrix: np.ndarray) -> np.ndarray:
    """Every model's predictions, stacked: shape (models, rows) or (models, rows, classes)."""
    return np.stack([predict_one(model, matrix) for model in models])


def importances(models: Sequence[lightgbm.Booster]) -> np.ndarray:
    """Total gain per feature, averaged over the models and scaled to sum to one."""
    gains = np.mean([model.feature_importance("gain") for model in models], axis=0)
    total = gains.sum()
    return np.asarray(gains / total if total > 0 else gains)


OBJECTIVES = {
    TaskType.BINARY_CLASSIFICATION: "binary",
    TaskType.MULTICLASS_CLASSIFICATION: "multiclass",
}
WATCHED = {
    Metric.ROC_AUC: "auc",
    Metric.AVERAGE_PRECISION: "average_precision",
    Metric.ACCURACY: "multi_error",
    Metric.MACRO_F1: "multi_logloss",
    Metric.MAE: "l1",
    Metric.RMSE: "l2",
    Metric.R2: "l2",
}


def _parameters(
    task_type: TaskType,
    metric: Metric,
    classes: int,
    config: LightGBMConfig,
    threads: int,
    seed: int,
) -> dict[str, Any]:
    watched = WATCHED[metric]
    if task_type == TaskType.BINARY_CLASSIFICATION and watched.startswith("multi"):
        watched = watched.replace("multi", "binary")
    if task_type == TaskType.REGRESSION:
        # The median minimises the absolute error, the mean the squared one.
        objective = "regression_l1" if metric == Metric.MAE else "regression"
    else:
        objective = OBJECTIVES[task_type]
    parameters = {
        "objective": objective,
        "metric": watched,
        "learning_rate": config.learning_rate,
        "num_leaves": config.num_leaves,
        "min_data_in_leaf": config.min_data_in_leaf,
        "feature_fraction": config.feature_fraction,
        "bagging_fraction": config.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": config.lambda_l2,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "verbosity": -1,
    }
    if task_type == TaskType.MULTICLASS_CLASSIFICATION:
        parameters["num_class"] = classes
    return parameters | config.extra
