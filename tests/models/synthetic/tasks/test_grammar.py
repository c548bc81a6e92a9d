"""Tasks drawn from the grammar follow its settings."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from datetime import timedelta

import numpy as np
import pytest

from models.database.schema import TaskType
from models.synthetic.draws import Choice, Fixed, Uniform
from models.synthetic.streams import Streams
from models.synthetic.tasks import Grammar, Labeller, NoTask, TaskKind
from models.synthetic.tasks.question import Aggregate
from models.synthetic.tasks.thresholds import split_points
from tests.models.synthetic.tasks.market import market

BINARY, SEVERAL = TaskType.BINARY_CLASSIFICATION, TaskType.MULTICLASS_CLASSIFICATION


@pytest.fixture(scope="module")
def labeller():
    with Labeller(market()) as found:
        yield found


def draw(labeller, grammar, count, seed=0):
    """The tasks of so many draws, without those that make none."""
    found = []
    for number in range(count):
        try:
            found.append(grammar(labeller, Streams(seed).generator(str(number))))
        except NoTask:
            continue
    return found


@pytest.fixture(scope="module")
def drawn(labeller):
    return draw(labeller, Grammar(), 250)


def test_every_part_of_the_grammar_is_used(drawn):
    forecasts = [task for task in drawn if task.kind == TaskKind.FORECAST]
    assert 0.15 < 1 - len(forecasts) / len(drawn) < 0.3
    terms = [task.terms for task in forecasts]
    assert {term["aggregate"] for term in terms} == set(Aggregate)
    assert {term["entity"] for term in terms} == {"customers", "products"}
    assert {term["hops"] for term in terms} == {1, 2}
    assert {term.get("second_hop", {}).get("to") for term in terms} == {None, "child", "parent"}
    assert {term["active_windows"] for term in terms} == {0, 1, 2, 3, 4}
    assert {type(term["condition"][1]) for term in terms if term["condition"]} == {bool, str, float}
    assert {task.task_type for task in forecasts} == set(TaskType)


def test_yes_or_no_questions_are_binary_and_need_no_threshold(drawn):
    asked = [task for task in drawn if task.terms.get("aggregate") in ("exists", "none")]
    assert {task.task_type for task in asked} == {BINARY}
    assert all(task.terms["thresholds"] == [] for task in asked)


def test_windows_are_whole_days_within_their_settings(drawn):
    span = market().blueprint.span
    windows = [task.timedelta for task in drawn if task.timedelta]
    assert all(window % timedelta(days=1) == timedelta(0) for window in windows)
    assert 0.02 * span - timedelta(days=1) < min(windows) < 0.03 * span
    assert 0.09 * span < max(windows) <= 0.1 * span


def test_a_long_window_is_cut_to_what_validation_and_test_hold(labeller):
    grammar = Grammar(autocomplete=Fixed(False), window=Fixed(0.5))
    windows = {task.timedelta for task in draw(labeller, grammar, 20)}
    longest = labeller.longest_window
    assert windows == {timedelta(days=longest.days)}
    assert longest <= timedelta(days=50)


@pytest.mark.parametrize("quantile", [0.3, 0.6, 0.9])
def test_a_threshold_leaves_its_quantile_of_training_labels_below(labeller, quantile):
    grammar = Grammar(
        autocomplete=Fixed(False),
        aggregate=Choice((Aggregate.MEAN, Aggregate.MAX)),
        task_type=Fixed(BINARY),
        quantile=Fixed(quantile),
        window=Uniform(0.05, 0.1),
    )
    rates = []
    for task in draw(labeller, grammar, 12):
        labels = labeller.table(task).filter(split="train")["label"]
        if len(labels) > 200 and "quantity" not in task.name:
            rates.append(labels.mean())
    assert len(rates) > 3
    assert np.abs(np.array(rates) - (1 - quantile)).max() < 0.06


def test_bins_of_several_classes_are_about_equally_frequent(labeller):
    grammar = Grammar(
        autocomplete=Fixed(False),
        aggregate=Fixed(Aggregate.MEAN),
        hops=Fixed(1),
        task_type=Fixed(SEVERAL),
        classes=Fixed(4),
    )
    shares = []
    for task in draw(labeller, grammar, 8):
        labels = labeller.table(task).filter(split="train")["label"].to_list()
        if "quantity" not in task.name:
            assert set(labels) == {0, 1, 2, 3}
            shares += [count / len(labels) for count in Counter(labels).values()]
    assert len(shares) >= 12
    assert 0.2 < min(shares) <= max(shares) < 0.3


def test_split_points_lie_between_values_and_near_their_quantiles():
    values = np.array([0.0] * 6 + [1.0, 2.0, 3.0, 4.0])
    assert split_points(values, [0.5]) == (0.5,)
    assert split_points(values, [0.9]) == (3.5,)
    assert split_points(values, [0.1, 0.5, 0.8]) == (0.5, 2.5)
    assert split_points(np.full(9, 2.5), [0.5]) == ()
    assert split_points(np.array([np.nan, 1.0, 1.0]), [0.5]) == ()
    # The same sum in another order is no other value.
    assert split_points(np.array([0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1]), [0.5]) == ()
    close = split_points(np.array([1.0000001, 1.0000002]), [0.5])
    assert 1.0000001 < close[0] < 1.0000002


def test_draws_are_the_same_again_and_others_with_another_seed(labeller, drawn):
    assert draw(labeller, Grammar(), 20) == drawn[: len(draw(labeller, Grammar(), 20))]
    assert draw(labeller, Grammar(), 20, seed=1) != draw(labeller, Grammar(), 20)


@pytest.mark.parametrize("field", [field.name for field in fields(Grammar)])
def test_every_setting_matters(labeller, drawn, field):
    """Another distribution of one choice gives other tasks."""
    other = {
        "autocomplete": Fixed(True),
        "hops": Fixed(2),
        "aggregate": Fixed(Aggregate.SUM),
        "conditional": Fixed(True),
        "window": Uniform(0.02, 0.03),
        "active_windows": Fixed(7),
        "task_type": Fixed(BINARY),
        "quantile": Fixed(0.55),
        "classes": Fixed(9),
        "condition_quantile": Fixed(0.99),
        "evaluation_cutoffs": Fixed(9),
    }[field]
    assert draw(labeller, replace(Grammar(), **{field: other}), 60) != drawn[:60]


def test_a_database_without_activities_has_no_forecast():
    database = market()
    plan = database.blueprint
    entities = tuple(table for table in plan.tables if table.kind == "entity")
    bare = replace(database, blueprint=replace(plan, tables=entities))
    with Labeller(bare) as labeller, pytest.raises(NoTask, match="no activity table"):
        Grammar(autocomplete=Fixed(False))(labeller, np.random.default_rng(0))
