"""LightGBM on feature tables: per seed a model for each protocol, stopped early on all of validation.

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
from models.learning.config import check_staleness
from models.learning.watching import tell_watcher
from models.reporting.scores import score
from models.tabular.preparation import STALE, TRAIN

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
    path of the features that are read (None: all that there are). `staleness` is the weight of the
    training rows as earlier moments saw them, against one minus it of the same rows as their cutoffs
    see them; the frozen protocol's model alone learns from them.
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
    staleness: float = 0.5
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_staleness(self.staleness)


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """One seed's models, in LightGBM's text form, with what was chosen for each protocol.

    `texts`, `best_rounds` and `validation_scores` are by protocol; without stale rows both have one
    model, of which they take numbers of trees of their own. `curve` is the watched metric by
    iteration, `train` and each protocol's validation rows; the frozen protocol's own model has its
    training curve under `train_frozen`.
    """

    seed: int
    texts: dict[Protocol, str]
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
    """Trains a model per seed and protocol; the number of trees is chosen by protocol, for all seeds.

    A row that is predicted months after `as_of` from what was known then is another problem than one
    predicted from yesterday's rows. So the validation rows come as each protocol sees them, and the
    frozen protocol has a model of its own, which learns from stale rows too; where there are none it
    differs in the number of trees alone. That is chosen on the validation curve averaged over the
    seeds: the best round of a single curve is mostly luck where rows are few.

    Args:
        matrices: Float32 matrices (rows, features) of `train`, `frozen` and `rolling` (the
            validation rows under both protocols), and `stale` if the training rows are there, in
            the same order, as earlier moments saw them.
        labels: Encoded labels of the same rows.
        categorical: Positions of categorical columns.
        task_type: Decides the objective.
        metric: What early stopping watches.
        classes: The number of classes (multiclass only).
        config: The learner's settings.
        threads: Seeds trained at a time; the result does not depend on it.
        progress: Receives a line per seed.
    """
    sets = _training_sets(matrices, labels, config)

    def grow(seed: int, rows: _Rows) -> _Grown:
        parameters = _parameters(task_type, metric, classes, config, rows, seed)
        tell = None if seed else _Tell(metric, labels, rows.protocols, config.rounds)
        return _grow(rows, matrices, labels, categorical, parameters, config, tell)

    # The first seed tells who watches this training; threads know nothing of their caller's context.
    jobs = [(copy_context(), seed, rows) for seed in range(config.seeds) for rows in sets]
    # A thread per model, one core each: LightGBM's own threads wait for each other at every split,
    # which a busy machine punishes, and models need not wait for each other at all.
    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        found = list(pool.map(lambda job: job[0].run(grow, *job[1:]), jobs))
    seeds = [found[at : at + len(sets)] for at in range(0, len(found), len(sets))]
    grown = {
        protocol: [own[place] for own in seeds]
        for place, rows in enumerate(sets)
        for protocol in rows.protocols
    }
    best = {
        protocol: _best_round(grown[protocol], protocol) if config.early_stopping else config.rounds
        for protocol in Protocol
    }
    models = []
    for seed, own in enumerate(seeds):
        texts = {p: _text(grown[p][seed].booster, best[p]) for p in Protocol}
        model = TrainedModel(seed, texts, best, {}, _curves(sets, own))
        scored = _validation_scores(model, matrices, labels, task_type, metric, classes)
        models.append(replace(model, validation_scores=scored))
        told = ", ".join(
            f"{protocol} {metric} {scored[protocol]:.4f} with {best[protocol]} trees"
            for protocol in Protocol
        )
        progress(f"seed {seed}: validation {told}")
    return models


class _Rows(NamedTuple):
    """The training rows of the model that serves these protocols."""

    protocols: tuple[Protocol, ...]
    matrix: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None
    copies: int


def _training_sets(
    matrices: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], config: LightGBMConfig
) -> list[_Rows]:
    fresh = (matrices[TRAIN], labels[TRAIN])
    if STALE not in matrices or config.staleness == 0:
        return [_Rows(tuple(Protocol), *fresh, None, 1)]
    shares = {TRAIN: 1 - config.staleness, STALE: config.staleness}
    read = [name for name, share in shares.items() if share > 0]
    frozen = _Rows(
        (Protocol.FROZEN,),
        np.concatenate([matrices[name] for name in read]),
        np.concatenate([labels[name] for name in read]),
        np.repeat([shares[name] for name in read], len(labels[TRAIN])),
        len(read),
    )
    return [_Rows((Protocol.ROLLING,), *fresh, None, 1), frozen]


def _text(booster: lightgbm.Booster, rounds: int) -> str:
    return str(booster.model_to_string(num_iteration=rounds))


def _curves(sets: Sequence[_Rows], grown: Sequence[_Grown]) -> dict[str, list[float]]:
    """The curves of one seed's models."""
    found: dict[str, list[float]] = {}
    for rows, one in zip(sets, grown, strict=True):
        own = TRAIN if Protocol.ROLLING in rows.protocols else f"{TRAIN}_{Protocol.FROZEN}"
        found |= {own if name == TRAIN else name: curve for name, curve in one.curve.items()}
    return found


class _Grown(NamedTuple):
    """A booster with every tree that was grown, and the watched metric by iteration and rows."""

    booster: lightgbm.Booster
    curve: dict[str, list[float]]
    higher_is_better: bool


def _grow(
    rows: _Rows,
    matrices: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    categorical: Sequence[int],
    parameters: dict[str, Any],
    config: LightGBMConfig,
    tell: _Tell | None,
) -> _Grown:
    training = lightgbm.Dataset(
        rows.matrix,
        rows.labels,
        weight=rows.weights,
        categorical_feature=list(categorical),
        params=parameters,
        free_raw_data=False,
    )
    validation = [
        training.create_valid(matrices[protocol], labels[protocol]) for protocol in rows.protocols
    ]
    stopping = _StopWhenNoneGains(rows.protocols, config.early_stopping or config.rounds)
    booster = lightgbm.train(
        parameters,
        training,
        num_boost_round=config.rounds,
        valid_sets=[training, *validation],
        valid_names=[TRAIN, *rows.protocols],
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

    def __init__(self, protocols: Sequence[Protocol], patience: int) -> None:
        self.protocols, self.patience = protocols, patience
        self.curve: dict[str, list[float]] = {}
        self.higher_is_better = False

    def __call__(self, environment: lightgbm.callback.CallbackEnv) -> None:
        for name, _, value, higher_is_better, *_ in environment.evaluation_result_list or []:
            self.curve.setdefault(name, []).append(float(value))
            self.higher_is_better = higher_is_better
        if all(self._rounds_since_best(protocol) >= self.patience for protocol in self.protocols):
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

    def __init__(
        self,
        metric: Metric,
        labels: Mapping[str, np.ndarray],
        protocols: Sequence[Protocol],
        rounds: int,
    ) -> None:
        self.metric, self.protocols, self.rounds = metric, protocols, rounds
        self.variance = {protocol: float(np.var(labels[protocol])) for protocol in Protocol}

    def __call__(self, environment: lightgbm.callback.CallbackEnv) -> None:
        done = environment.iteration + 1
        if done % self.every or self.metric == Metric.MACRO_F1:
            return
        found = {entry[0]: float(entry[2]) for entry in environment.evaluation_result_list or []}
        metrics = {
            str(protocol): self._of(found[protocol], protocol) for protocol in self.protocols
        }
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
    found = {}
    for protocol in Protocol:
        booster = lightgbm.Booster(model_str=model.texts[protocol])
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


def _least_in_leaf(config: LightGBMConfig, rows: _Rows) -> int:
    """Fresh or stale, a row is one witness: a leaf has as many different ones."""
    different = len(rows.labels) // rows.copies
    return rows.copies * min(config.min_data_in_leaf, max(different // 10, 1))


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
    rows: _Rows,
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
        "min_data_in_leaf": _least_in_leaf(config, rows),
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
