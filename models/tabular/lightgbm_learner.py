"""LightGBM on feature tables: per seed a model for each protocol, stopped early on all of validation.

Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import lightgbm
import numpy as np

from models.database.schema import Metric, Protocol, TaskType
from models.reporting.scores import score
from models.tabular.lightgbm_callbacks import StopWhenNoneGains, Tell
from models.tabular.lightgbm_config import LightGBMConfig
from models.tabular.preparation import STALE, TRAIN

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """One seed's models, in LightGBM's text form, with what was chosen for each protocol.

    `texts`, `best_rounds`, `staleness` (the weight of stale rows in training) and `validation_scores`
    are by protocol. `curve` is the watched metric by iteration, `train` and each protocol's validation
    rows; where the frozen protocol has a model of its own, that one's training is `train_frozen`.
    """

    seed: int
    texts: dict[Protocol, str]
    best_rounds: dict[Protocol, int]
    staleness: dict[Protocol, float]
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
    """Trains models per seed; each protocol takes one of them and a number of trees, for all seeds.

    A row that is predicted months after `as_of` from what was known then is another problem than one
    predicted from yesterday's rows. So the validation rows come as each protocol sees them, and a
    second model learns from stale rows too. The frozen protocol takes the one that validates better
    under it: where training rows are few, those that an earlier moment saw add more noise than they
    teach. Both choices are made on the validation curves averaged over the seeds: the best round of
    a single curve is mostly luck where rows are few.

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
    # Of two models for the frozen protocol the last one, made for it, is the one to watch.
    watched = {protocol: rows for rows in sets for protocol in rows.protocols}

    def grow(seed: int, rows: _Rows) -> _Grown:
        parameters = _parameters(task_type, metric, classes, config, rows, seed)
        told = [protocol for protocol, one in watched.items() if one is rows]
        tell = None if seed else Tell(metric, labels, told, _rounds(rows, config))
        return _grow(rows, matrices, labels, categorical, parameters, config, tell)

    # The first seed tells who watches this training; threads know nothing of their caller's context.
    jobs = [(copy_context(), seed, rows) for seed in range(config.seeds) for rows in sets]
    # A thread per model, one core each: LightGBM's own threads wait for each other at every split,
    # which a busy machine punishes, and models need not wait for each other at all.
    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        found = list(pool.map(lambda job: job[0].run(grow, *job[1:]), jobs))
    grown = [found[place :: len(sets)] for place in range(len(sets))]
    taken = {protocol: _taken(sets, grown, protocol, config) for protocol in Protocol}
    models = []
    for seed in range(config.seeds):
        own = {p: grown[one.place][seed] for p, one in taken.items()}
        model = TrainedModel(
            seed,
            texts={p: _text(own[p].booster, taken[p].rounds) for p in Protocol},
            best_rounds={p: one.rounds for p, one in taken.items()},
            staleness={p: sets[one.place].staleness for p, one in taken.items()},
            validation_scores={},
            curve=_curves(own),
        )
        scored = _validation_scores(model, matrices, labels, task_type, metric, classes)
        models.append(replace(model, validation_scores=scored))
        told = ", ".join(
            f"{p} {metric} {scored[p]:.4f} with {one.rounds} trees"
            + (", stale rows too" if sets[one.place].staleness else "")
            for p, one in taken.items()
        )
        progress(f"seed {seed}: validation {told}")
    if short := sum(one.cut_short for one in found):
        progress(f"{short} of {len(found)} models were cut short after {config.max_seconds:g} s")
    return models


class _Rows(NamedTuple):
    """The training rows of a model that these protocols may take."""

    protocols: tuple[Protocol, ...]
    staleness: float
    matrix: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None
    copies: int


def _training_sets(
    matrices: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], config: LightGBMConfig
) -> list[_Rows]:
    """Fresh rows, then fresh and stale ones."""
    asked = tuple(p for p in Protocol if config.trees is None or p in config.trees)
    fresh = _Rows(asked, 0.0, matrices[TRAIN], labels[TRAIN], None, 1)
    if STALE not in matrices or config.staleness == 0 or Protocol.FROZEN not in asked:
        return [fresh]
    shares = {TRAIN: 1 - config.staleness, STALE: config.staleness}
    read = [name for name, share in shares.items() if share > 0]
    both = _Rows(
        (Protocol.FROZEN,),
        config.staleness,
        np.concatenate([matrices[name] for name in read]),
        np.concatenate([labels[name] for name in read]),
        np.repeat([shares[name] for name in read], len(labels[TRAIN])),
        len(read),
    )
    if config.trees is None:
        return [fresh, both]
    # Nothing is left to choose.
    others = tuple(p for p in asked if p != Protocol.FROZEN)
    return [fresh._replace(protocols=others), both] if others else [both]


def _rounds(rows: _Rows, config: LightGBMConfig) -> int:
    """The most trees that a model on these rows has."""
    trees = config.trees
    return max(trees[p] for p in rows.protocols) if trees is not None else config.rounds


class _Taken(NamedTuple):
    """What a protocol takes: the model's place among those of a seed, and its number of trees."""

    place: int
    rounds: int


def _taken(
    sets: Sequence[_Rows],
    grown: Sequence[Sequence[_Grown]],
    protocol: Protocol,
    config: LightGBMConfig,
) -> _Taken:
    """The model and number of trees with the best mean score over the seeds, the first of equals.

    A protocol for which nothing was asked takes the first model as it is.
    """
    open_to_it = [place for place, rows in enumerate(sets) if protocol in rows.protocols]
    if config.trees is not None or not config.early_stopping:
        place = open_to_it[-1] if open_to_it else 0
        asked = (config.trees or {}).get(protocol, _rounds(sets[place], config))
        return _Taken(place, min(asked, *(len(one.curve[TRAIN]) for one in grown[place])))
    best = []
    for place in open_to_it:
        curves = [one.curve[protocol] for one in grown[place]]
        length = min(len(curve) for curve in curves)
        mean = np.mean([curve[:length] for curve in curves], axis=0)
        sign = 1 if grown[place][0].higher_is_better else -1
        best.append((sign * mean, place))
    curve, place = max(best, key=lambda found: found[0].max())
    return _Taken(place, int(curve.argmax()) + 1)


def _text(booster: lightgbm.Booster, rounds: int) -> str:
    return str(booster.model_to_string(num_iteration=rounds))


def _curves(own: Mapping[Protocol, _Grown]) -> dict[str, list[float]]:
    """The curves of one seed's models, of what each protocol takes."""
    frozen, rolling = own[Protocol.FROZEN], own[Protocol.ROLLING]
    found = {str(p): one.curve[p] for p, one in own.items() if p in one.curve}
    found[TRAIN] = rolling.curve[TRAIN]
    if frozen is not rolling:
        found[f"{TRAIN}_{Protocol.FROZEN}"] = frozen.curve[TRAIN]
    return found


class _Grown(NamedTuple):
    """A booster with every tree that was grown, and the watched metric by iteration and rows."""

    booster: lightgbm.Booster
    curve: dict[str, list[float]]
    higher_is_better: bool
    cut_short: bool


def _grow(
    rows: _Rows,
    matrices: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    categorical: Sequence[int],
    parameters: dict[str, Any],
    config: LightGBMConfig,
    tell: Tell | None,
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
    rounds = _rounds(rows, config)
    patience = rounds if config.trees is not None else config.early_stopping or rounds
    stopping = StopWhenNoneGains(rows.protocols, patience, config.max_seconds)
    booster = lightgbm.train(
        parameters,
        training,
        num_boost_round=rounds,
        valid_sets=[training, *validation],
        valid_names=[TRAIN, *rows.protocols],
        callbacks=[stopping, *([tell] if tell else [])],
    )
    return _Grown(booster, stopping.curve, stopping.higher_is_better, stopping.cut_short)


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
