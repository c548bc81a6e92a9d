"""The learner: the same model from the same seed, and a number of trees for each protocol."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import lightgbm
import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from models.database.schema import Metric, Protocol, TaskType
from models.families.bundle import load_bundle
from models.learning.labels import baseline
from models.reporting.scores import score
from models.tabular import lightgbm_callbacks
from models.tabular.lightgbm_config import LightGBMConfig
from models.tabular.lightgbm_learner import importances, predict_one, train
from tests.models.dfs.shop import shop_frames
from tests.models.tabular.trained import make_task, train_small, training_table

CONFIG = LightGBMConfig(seeds=2, rounds=60, early_stopping=10, min_data_in_leaf=5)
TYPES = list(TaskType)


def problem(task_type, rows=400, seed=0):
    """Matrices and labels with a signal; the frozen rows have lost most of it."""
    random = np.random.default_rng(seed)
    found, labels = {}, {}
    for name in ("train", *Protocol):
        x = random.normal(size=(rows, 6)).astype(np.float32)
        value = x[:, 0] + 0.5 * x[:, 1] * x[:, 2] + random.normal(0, 0.5, rows)
        if name == Protocol.FROZEN:
            x[:, 0] = random.normal(size=rows)
        x[random.random(x.shape) < 0.05] = np.nan
        x[:, 5] = random.integers(0, 4, rows)
        found[name] = x
        if task_type == TaskType.REGRESSION:
            labels[name] = value
        else:
            bounds = [0.0] if task_type == TaskType.BINARY_CLASSIFICATION else [-0.5, 0.5]
            labels[name] = np.digitize(value, bounds).astype(float)
    return found, labels


def fit(task_type, metric=None, threads=1, config=CONFIG, seed=0, **changes):
    matrices, labels = problem(task_type, seed=seed)
    metric = metric or make_task(task_type).metric
    settings = {"categorical": [5], "classes": 3, "config": config, "threads": threads} | changes
    found = train(matrices, labels, task_type=task_type, metric=metric, **settings)
    return found, matrices, labels


@pytest.mark.parametrize("task_type", TYPES)
def test_one_seed_gives_one_model_whatever_the_threads(task_type):
    one, two, again = (fit(task_type, threads=threads)[0] for threads in (1, 2, 1))
    for models in (two, again):
        for a, b in zip(one, models, strict=True):
            assert trees(a) == trees(b)
            assert a.best_rounds == b.best_rounds
            assert a.validation_scores == b.validation_scores
    assert trees(one[0]) != trees(one[1])


def trees(model):
    """The models without their parameters, which name the threads."""
    return {protocol: text.split("parameters:")[0] for protocol, text in model.texts.items()}


@pytest.mark.parametrize("task_type", TYPES)
def test_each_protocol_has_the_trees_that_are_best_on_its_own_rows_over_the_seeds(task_type):
    models, matrices, labels = fit(task_type)
    metric = make_task(task_type).metric
    chosen = {protocol: {model.best_rounds[protocol] for model in models} for protocol in Protocol}
    for protocol in Protocol:
        boosters = [lightgbm.Booster(model_str=model.texts[protocol]) for model in models]
        (best,) = chosen[protocol]
        assert {booster.current_iteration() for booster in boosters} == {best}
        by_round = np.array(
            [
                [
                    score(
                        task_type,
                        labels[protocol],
                        predict_one(booster, matrices[protocol], rounds),
                        classes=[0, 1, 2],
                    )[metric.value]
                    for rounds in range(1, best + 1)
                ]
                for booster in boosters
            ]
        )
        for model, scores in zip(models, by_round, strict=True):
            assert model.validation_scores[protocol] == pytest.approx(scores[best - 1])
        mean = by_round.mean(axis=0)
        limit = mean.max() if metric.higher_is_better else mean.min()
        assert mean[best - 1] == pytest.approx(limit)
    assert chosen[Protocol.FROZEN] != chosen[Protocol.ROLLING]


def test_training_stops_when_neither_protocol_has_gained_for_so_long():
    config = replace(CONFIG, rounds=500, learning_rate=0.3)
    for model in fit(TaskType.REGRESSION, config=config)[0]:
        assert set(model.curve) == {"train", "frozen", "rolling"}
        waited = [
            len(model.curve[protocol]) - 1 - int(np.argmin(model.curve[protocol]))
            for protocol in Protocol
        ]
        assert min(waited) == config.early_stopping
        assert max(waited) > min(waited)


def with_stale(task_type=TaskType.REGRESSION, seed=0):
    """The problem, with training rows whose first column has gone stale as that of frozen rows has."""
    matrices, labels = problem(task_type, rows=1500, seed=seed)
    stale = matrices["train"].copy()
    stale[:, 0] = np.random.default_rng(9).normal(size=len(stale))
    return matrices | {"stale": stale}, labels | {"stale": labels["train"]}


def train_with(matrices, labels, threads=1, **changes):
    config = replace(CONFIG, learning_rate=0.2, **changes)
    return train(matrices, labels, [5], TaskType.REGRESSION, Metric.MAE, 3, config, threads)


def test_stale_rows_teach_the_frozen_protocol_alone():
    matrices, labels = with_stale()
    fresh = {name: rows for name, rows in matrices.items() if name != "stale"}
    models, without = train_with(matrices, labels), train_with(fresh, labels)
    for one, other in zip(models, without, strict=True):
        own, another = trees(one), trees(other)
        assert own[Protocol.ROLLING] == another[Protocol.ROLLING]
        assert one.best_rounds[Protocol.ROLLING] == other.best_rounds[Protocol.ROLLING]
        assert own[Protocol.FROZEN] != another[Protocol.FROZEN]
        # They have learned not to trust what will be stale.
        gain = other.validation_scores[Protocol.FROZEN] - one.validation_scores[Protocol.FROZEN]
        assert gain > 0
        assert set(one.curve) == {"train", "train_frozen", *Protocol}
    again = train_with(matrices, labels, threads=2)
    assert [trees(one) for one in again] == [trees(one) for one in models]


@pytest.mark.parametrize("staleness", [0.0, 1.0])
def test_none_and_all_of_the_weight_on_stale_rows(staleness):
    matrices, labels = with_stale()
    (first, *_) = train_with(matrices, labels, staleness=staleness)
    kept = {name: rows for name, rows in matrices.items() if name != "stale"}
    if staleness == 1:
        kept["train"] = matrices["stale"]
    (alone, *_) = train_with(kept, labels, staleness=0.0)
    asked = matrices[Protocol.FROZEN]
    rounds = 5
    one, other = (
        predict_one(lightgbm.Booster(model_str=m.texts[Protocol.FROZEN]), asked, rounds)
        for m in (first, alone)
    )
    assert_array_equal(one, other)


def test_the_frozen_protocol_takes_the_model_that_validates_better_under_it():
    matrices, labels = with_stale()
    # Stale rows that say the opposite: a model that learns from them too can only be worse.
    wrong = labels | {"stale": labels["train"].max() + labels["train"].min() - labels["train"]}
    fresh = {name: rows for name, rows in matrices.items() if name != "stale"}
    without = train_with(fresh, labels)
    for one, other in zip(train_with(matrices, wrong), without, strict=True):
        assert one.staleness == dict.fromkeys(Protocol, 0.0)
        assert trees(one) == trees(other)
        assert set(one.curve) == {"train", *Protocol}
    for one in train_with(matrices, labels, staleness=0.5):
        assert one.staleness == {Protocol.FROZEN: 0.5, Protocol.ROLLING: 0.0}


def test_fixed_numbers_of_trees_leave_nothing_to_choose():
    matrices, labels = with_stale()
    wrong = labels | {"stale": -labels["train"]}
    for one in train_with(matrices, wrong, trees={"frozen": 7, "rolling": 4}):
        assert one.best_rounds == {Protocol.FROZEN: 7, Protocol.ROLLING: 4}
        assert one.staleness[Protocol.FROZEN] == LightGBMConfig().staleness
        counts = {p: lightgbm.Booster(model_str=text).num_trees() for p, text in one.texts.items()}
        assert counts == one.best_rounds
    alone = train_with(matrices, labels, trees={"rolling": 4})
    assert [one.staleness for one in alone] == [dict.fromkeys(Protocol, 0.0)] * len(alone)
    for trees_asked in ({}, {"rolling": 0}, {"test": 3}):
        with pytest.raises(ValueError, match="a number above 0 for each protocol"):
            LightGBMConfig(trees=trees_asked)


def test_a_share_above_one_is_refused():
    with pytest.raises(ValueError, match=r"staleness is a share from 0 to 1 \(got 1.5\)"):
        LightGBMConfig(staleness=1.5)


def test_without_early_stopping_all_rounds_are_kept_for_both_protocols():
    config = replace(CONFIG, early_stopping=0, rounds=40)
    models, _, _ = fit(TaskType.REGRESSION, config=config)
    assert [model.best_rounds for model in models] == [dict.fromkeys(Protocol, 40)] * 2
    texts = [text for model in models for text in model.texts.values()]
    assert all(lightgbm.Booster(model_str=text).num_trees() == 40 for text in texts)


@pytest.mark.parametrize("early_stopping", [0, 50])
def test_a_budget_of_seconds_cuts_every_model_short(monkeypatch, early_stopping):
    clock = itertools.count()
    ticking = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr(lightgbm_callbacks, "time", ticking)
    config = replace(CONFIG, early_stopping=early_stopping, max_seconds=7.0)
    lines = []
    models, _, _ = fit(TaskType.REGRESSION, config=config, progress=lines.append)
    for model in models:
        # A second a tree, and one for the look at the clock before the first.
        assert {len(curve) for curve in model.curve.values()} == {7}
        assert all(1 <= rounds <= 7 for rounds in model.best_rounds.values())
        if not early_stopping:
            assert model.best_rounds == dict.fromkeys(Protocol, 7)
    assert lines[-1] == "2 of 2 models were cut short after 7 s"
    with pytest.raises(ValueError, match=r"max_seconds must be positive or None \(got 0\)"):
        LightGBMConfig(max_seconds=0)


def test_even_the_smallest_budget_grows_a_tree():
    models, _, _ = fit(TaskType.REGRESSION, config=replace(CONFIG, max_seconds=1e-9))
    assert [model.best_rounds for model in models] == [dict.fromkeys(Protocol, 1)] * 2


@pytest.mark.parametrize(
    ("task_type", "metric"),
    [
        (TaskType.BINARY_CLASSIFICATION, Metric.AVERAGE_PRECISION),
        (TaskType.BINARY_CLASSIFICATION, Metric.ACCURACY),
        (TaskType.MULTICLASS_CLASSIFICATION, Metric.MACRO_F1),
        (TaskType.REGRESSION, Metric.RMSE),
        (TaskType.REGRESSION, Metric.R2),
    ],
)
def test_every_metric_can_be_watched(task_type, metric):
    for model in fit(task_type, metric)[0]:
        assert all(np.isfinite(value) for value in model.validation_scores.values())


def test_the_absolute_error_is_minimised_by_another_model_than_the_squared_one():
    both = (fit(TaskType.REGRESSION, metric)[0][0] for metric in (Metric.MAE, Metric.RMSE))
    absolute, squared = (model.texts[Protocol.FROZEN] for model in both)
    assert "objective=regression_l1" in absolute
    assert "objective=regression\n" in squared


def test_importances_sum_to_one_and_find_the_signal():
    texts = [model.texts[Protocol.ROLLING] for model in fit(TaskType.REGRESSION)[0]]
    shares = importances([lightgbm.Booster(model_str=text) for text in texts])
    assert shares.sum() == pytest.approx(1)
    assert shares.argmax() == 0


def test_progress_is_told_seed_by_seed():
    lines = []
    fit(TaskType.BINARY_CLASSIFICATION, progress=lines.append)
    assert [line.split(":")[0] for line in lines] == ["seed 0", "seed 1"]
    assert "frozen roc_auc" in lines[0]
    assert "rolling roc_auc" in lines[0]


def test_the_baseline_knows_only_the_labels():
    regression = np.array([1.0, 2.0, 9.0])
    assert baseline(TaskType.REGRESSION, regression, 0) == [2.0]
    assert baseline(TaskType.BINARY_CLASSIFICATION, np.array([1.0, 0, 0, 0]), 2) == [0.25]
    shares = baseline(TaskType.MULTICLASS_CLASSIFICATION, np.array([0.0, 0, 2, 2]), 3)
    assert shares == [0.5, 0.0, 0.5]


@pytest.mark.parametrize("task_type", TYPES)
def test_a_small_model_beats_its_baseline_on_later_rows(trained, task_type):
    made = trained[task_type]
    bundle = load_bundle(made.folder)
    test = made.table.filter(pl.col("split") == "test")
    rows = test.join(made.features.features, on="row_id", maintain_order="left")
    guess = bundle.predict_features(rows, Protocol.ROLLING).mean(axis=0)
    labels = bundle.labels.transform(test["label"])
    classes = list(range(len(bundle.labels.classes)))
    metric = made.task.metric.value
    found = score(task_type, labels, guess, classes=classes)[metric]
    trivial = np.broadcast_to(bundle.record["baseline"], (len(labels), max(1, len(classes))))
    if task_type != TaskType.MULTICLASS_CLASSIFICATION:
        trivial = trivial[:, 0]
    base = score(task_type, labels, trivial, classes=classes)[metric]
    assert found > base if made.task.metric.higher_is_better else found < base


def test_encoders_and_first_trees_see_training_rows_only(tmp_path):
    """Other labels after training move no encoder, class or tree, only which and how many are kept."""
    task = make_task(TaskType.BINARY_CLASSIFICATION)
    frames = shop_frames(3, customers=12, orders=140)
    table = training_table(task, frames)
    later = pl.col("split") != "train"
    turned = table.with_columns(label=pl.when(later).then(~pl.col("label")).otherwise("label"))
    first = load_bundle(train_small(task, tmp_path / "a", frames, table).folder)
    second = load_bundle(train_small(task, tmp_path / "b", frames, turned).folder)
    assert first.encoder == second.encoder
    assert first.labels == second.labels
    assert first.record["baseline"] == second.record["baseline"]
    matrix = np.random.default_rng(0).normal(size=(20, len(first.encoder.columns)))
    # Which rows the frozen protocol's trees learn from is chosen on validation too.
    chosen = {p: [one.record["staleness"][p] for one in (first, second)] for p in Protocol}
    for own, other in zip(first.models, second.models, strict=True):
        assert chosen[Protocol.ROLLING][0] == chosen[Protocol.ROLLING][1]
        same = [protocol for protocol, (one, two) in chosen.items() if one == two]
        for one, two in ((own[protocol], other[protocol]) for protocol in same):
            common = min(one.current_iteration(), two.current_iteration())
            assert_array_equal(
                one.predict(matrix, num_iteration=common), two.predict(matrix, num_iteration=common)
            )
    assert first.best_rounds != second.best_rounds


def test_a_class_that_appears_after_training_is_neither_learned_nor_scored(tmp_path):
    task = make_task(TaskType.MULTICLASS_CLASSIFICATION)
    frames = shop_frames(3, customers=12, orders=140)
    table = training_table(task, frames)
    new = (pl.col("split") != "train") & (pl.col("entity") < 3) & pl.col("label").is_not_null()
    table = table.with_columns(label=pl.when(new).then(pl.lit("new")).otherwise("label"))
    bundle = load_bundle(train_small(task, tmp_path, frames, table).folder)
    assert bundle.labels.classes == ("few", "many", "none")
    for scores in bundle.record["validation_scores"]:
        assert all(np.isfinite(value) for value in scores.values())


def test_features_that_tell_nothing_are_an_error_with_a_mend(tmp_path):
    task = make_task(TaskType.REGRESSION)
    frames = {name: table.clear() for name, table in shop_frames(3).items()}
    frames["customers"] = shop_frames(3)["customers"].head(1)
    full = training_table(task, shop_frames(3)).filter(pl.col("entity") == 0)
    first = pl.col("cutoff_time") == full["cutoff_time"][0]
    one_day = full.filter(first | (pl.col("split") != "train"))
    with pytest.raises(ValueError, match=r"task custom: none of its \d+ features varies in the 1"):
        train_small(task, tmp_path, frames, one_day)
