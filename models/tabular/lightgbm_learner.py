"""LightGBM on feature tables: one model per seed, stopped early on the whole validation split.

Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import lightgbm
import numpy as np

from models.database.schema import Metric, Protocol, TaskType
from models.learning.watching import tell_watcher
from models.reporting.scores import score

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LightGBMConfig:
    """Settings of the learner; everything not named here is LightGBM's default.

    `seeds` is the number of models, `early_stopping` the rounds without a better validation score
    under either protocol after which a model stops (0: none, all rounds are kept), `rounds` the most
    trees it may have. Categories are held back (`max_categories`, `cat_smooth`, `cat_l2`,
    `min_data_per_group`): in a relational database most of them name rows elsewhere, and LightGBM's
    defaults learn those by heart. A leaf
    has at least `min_data_in_leaf` rows, or a tenth of them where there are few. `depth` is the longest
    path of the features that are read (None: all that there are).
    """

    seeds: int = 5
    rounds: int = 1500
    early_stopping: int = 100
    learning_rate: float = 0.03
    num_leaves: int = 15
    min_data_in_leaf: int = 100
    feature_fraction: float = 0.5
    bagging_fraction: float = 0.8
    lambda_l2: float = 5.0
    max_categories: int = 30
    cat_smooth: float = 50.0
    cat_l2: float = 50.0
    min_data_per_group: int = 200
    depth: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """One seed's model, in LightGBM's text form, with what was chosen for each protocol.

    `best_rounds` and `validation_scores` are by protocol; `curve` is the watched metric by
    iteration of `train` and of each protocol's validation rows.
    """

    seed: int
    text: str
    best_rounds: dict[Protocol, int]
    validation_scores: dict[Protocol, float]
    curve: dict[str, list[float]]


def train(
    matrices: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    categorical: Sequence[int],
    task_type: TaskType,
    metric: Metric,
    classes: int,
    config: LightGBMConfig,
    threads: int,
    progress: Progress = lambda line: None,
) -> list[TrainedModel]:
    """Trains one model per seed; the number of trees is chosen for each protocol, for all seeds.

    The validation rows come as each protocol sees them: a row that is predicted months after
    `as_of` from what was known then is another problem than one predicted from yesterday's rows,
    and more trees are worth having for the second. The choice is made on the validation curve
    averaged over the seeds: the best round of a single curve is mostly luck where rows are few.

    Args:
        matrices: Float32 matrices (rows, features) of `train`, `frozen` and `rolling` (the
            validation rows under both protocols).
        labels: Encoded labels of the same rows.
        categorical: Positions of categorical columns.
        task_type: Decides the objective.
        metric: What early stopping watches.
        classes: The number of classes (multiclass only).
        config: The learner's settings.
        threads: Seeds trained at a time; the result does not depend on it.
        progress: Receives a line per seed.
    """

    def grow(seed: int) -> _Grown:
        parameters = _parameters(task_type, metric, classes, config, len(labels["train"]), seed)
        tell = None if seed else _Tell(metric, labels, config.rounds)
        return _grow(matrices, labels, categorical, parameters, config, tell)

    # The first seed tells who watches this training; threads know nothing of their caller's context.
    contexts = [copy_context() for _ in range(config.seeds)]
    # A thread per seed, one core each: LightGBM's own threads wait for each other at every split,
    # which a busy machine punishes, and seeds need not wait for each other at all.
    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        grown = list(pool.map(lambda seed: contexts[seed].run(grow, seed), range(config.seeds)))
    best = {
        protocol: _best_round(grown, protocol) if config.early_stopping else config.rounds
        for protocol in Protocol
    }
    models = []
    for seed, one in enumerate(grown):
        text = one.booster.model_to_string(num_iteration=max(best.values()))
        model = TrainedModel(seed, text, best, {}, one.curve)
        scored = _validation_scores(model, matrices, labels, task_type, metric, classes)
        models.append(replace(model, validation_scores=scored))
        found = ", ".join(
            f"{protocol} {metric} {scored[protocol]:.4f} with {best[protocol]} trees"
            for protocol in Protocol
        )
        progress(f"seed {seed}: validation {found}")
    return models


class _Grown(NamedTuple):
    """A booster with every tree that was grown, and the watched metric by iteration and rows."""

    booster: lightgbm.Booster
    curve: dict[str, list[float]]
    higher_is_better: bool


def _grow(
    matrices: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    categorical: Sequence[int],
    parameters: dict[str, Any],
    config: LightGBMConfig,
    tell: _Tell | None,
) -> _Grown:
    training = lightgbm.Dataset(
        matrices["train"],
        labels["train"],
        categorical_feature=list(categorical),
        params=parameters,
        free_raw_data=False,
    )
    validation = [
        training.create_valid(matrices[protocol], labels[protocol]) for protocol in Protocol
    ]
    stopping = _StopWhenNoneGains(config.early_stopping or config.rounds)
    booster = lightgbm.train(
        parameters,
        training,
        num_boost_round=config.rounds,
        valid_sets=[training, *validation],
        valid_names=["train", *Protocol],
        callbacks=[stopping, *([tell] if tell else [])],
    )
    return _Grown(booster, stopping.curve, stopping.higher_is_better)


def _best_round(grown: Sequence[_Grown], protocol: Protocol) -> int:
    """The number of trees with the best mean score over the seeds, the first of equals."""
    length = min(len(one.curve[protocol]) for one in grown)
    mean = np.mean([one.curve[protocol][:length] for one in grown], axis=0)
    return _position_of_best(mean, grown[0].higher_is_better) + 1


def _position_of_best(values: np.ndarray, higher_is_better: bool) -> int:
    return int(values.argmax() if higher_is_better else values.argmin())


class _StopWhenNoneGains:
    """A LightGBM callback: stops when no protocol's validation score has gained for so long."""

    order = 30

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.curve: dict[str, list[float]] = {}
        self.higher_is_better = False

    def __call__(self, environment: lightgbm.callback.CallbackEnv) -> None:
        for name, _, value, higher_is_better, *_ in environment.evaluation_result_list or []:
            self.curve.setdefault(name, []).append(float(value))
            self.higher_is_better = higher_is_better
        if all(self._rounds_since_best(protocol) >= self.patience for protocol in Protocol):
            raise lightgbm.callback.EarlyStopException(environment.iteration, [])

    def _rounds_since_best(self, protocol: Protocol) -> int:
        values = np.asarray(self.curve[protocol])
        return len(values) - 1 - _position_of_best(values, self.higher_is_better)


class _Tell:
    """A LightGBM callback: every tenth round tells who watches the task's metric by protocol.

    Macro F1, for which LightGBM watches the log loss, is not told.
    """

    order = 20
    every = 10

    def __init__(self, metric: Metric, labels: Mapping[str, np.ndarray], rounds: int) -> None:
        self.metric, self.rounds = metric, rounds
        self.variance = {protocol: float(np.var(labels[protocol])) for protocol in Protocol}

    def __call__(self, environment: lightgbm.callback.CallbackEnv) -> None:
        done = environment.iteration + 1
        if done % self.every or self.metric == Metric.MACRO_F1:
            return
        found = {entry[0]: float(entry[2]) for entry in environment.evaluation_result_list or []}
        metrics = {str(protocol): self._of(found[protocol], protocol) for protocol in Protocol}
        tell_watcher(done / self.rounds, metrics)

    def _of(self, value: float, protocol: Protocol) -> float:
        """The task's metric of what LightGBM watches for it."""
        if self.metric == Metric.ACCURACY:
            return 1 - value
        if self.metric == Metric.RMSE:
            return value**0.5
        if self.metric == Metric.R2:
            variance = self.variance[protocol]
            return 1 - value / variance if variance > 0 else np.nan
        return value


def _validation_scores(
    model: TrainedModel,
    matrices: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    task_type: TaskType,
    metric: Metric,
    classes: int,
) -> dict[Protocol, float]:
    booster = lightgbm.Booster(model_str=model.text)
    found = {}
    for protocol in Protocol:
        predicted = predict_one(booster, matrices[protocol], model.best_rounds[protocol])
        scored = score(task_type, labels[protocol], predicted, classes=list(range(classes)))
        found[protocol] = float(scored.get(metric.value, np.nan))
    return found


def predict_one(booster: lightgbm.Booster, matrix: np.ndarray, rounds: int) -> np.ndarray:
    """Predictions of one model with its first `rounds` trees.

    Shape (rows,): probabilities of the positive class, or values; (rows, classes) for multiclass.
    """
    return np.asarray(booster.predict(matrix, num_iteration=rounds, num_threads=1))


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
    rows: int,
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
        "min_data_in_leaf": min(config.min_data_in_leaf, max(rows // 10, 1)),
        "feature_fraction": config.feature_fraction,
        "bagging_fraction": config.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": config.lambda_l2,
        "cat_smooth": config.cat_smooth,
        "cat_l2": config.cat_l2,
        "min_data_per_group": config.min_data_per_group,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    if task_type == TaskType.MULTICLASS_CLASSIFICATION:
        parameters["num_class"] = classes
    return parameters | config.extra
