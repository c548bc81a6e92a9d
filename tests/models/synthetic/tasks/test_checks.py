"""Each check refuses what it is there for, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from models.database.schema import TaskType
from models.synthetic.tasks import (
    Checks,
    Reason,
    autocomplete_task,
    label_table,
)
from models.synthetic.tasks.baselines import constant_score, history_score, recency_area
from models.synthetic.tasks.question import Aggregate, Question
from models.synthetic.tasks.routes import Route
from tests.models.synthetic.tasks.market import market

BINARY, SEVERAL = TaskType.BINARY_CLASSIFICATION, TaskType.MULTICLASS_CLASSIFICATION
CHURN = Question(
    Route("customers", "orders", "customer_id"),
    Aggregate.NONE,
    None,
    None,
    timedelta(days=16),
    2,
    evaluation_cutoffs=3,
    task_type=BINARY,
)


@pytest.fixture(scope="module")
def database():
    return market()


@pytest.fixture(scope="module")
def churn(database):
    return CHURN.task(database.blueprint)


@pytest.fixture(scope="module")
def labels(database, churn):
    return label_table(database, churn)


def of_type(task, task_type):
    return replace(task, task_type=task_type)


def faults(database, task, labels, **settings):
    return set(Checks(**settings)(database, task, labels).faults)


def test_a_good_task_is_accepted_and_measured(database, churn, labels):
    report = Checks()(database, churn, labels)
    assert report.accepted
    assert report.measures["rows_train"] == len(labels.filter(split="train"))
    assert (
        report.measures["training_cutoffs"]
        == labels.filter(split="train")["cutoff_time"].n_unique()
    )
    assert report.measures["rate_test"] == pytest.approx(
        labels.filter(split="test")["label"].mean()
    )
    assert report.measures["constant_score"] == 0.5
    assert all(isinstance(value, (int, float)) for value in report.measures.values())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"training_cutoffs": 99}, Reason.FEW_CUTOFFS),
        ({"rows": 10**6}, Reason.FEW_ROWS),
        ({"evaluation_rows": 10**6}, Reason.FEW_ROWS),
        ({"entities": 10**6}, Reason.FEW_ENTITIES),
        ({"class_rate": 0.48}, Reason.CLASS_RATE),
        ({"drift": 1.01}, Reason.DRIFT),
        ({"solved_area": 0.6}, Reason.HISTORY),
    ],
)
def test_a_stricter_setting_refuses_it_for_its_own_reason(
    database, churn, labels, settings, reason
):
    assert faults(database, churn, labels, **settings) == {reason}


def test_missing_labels_are_counted(database, churn, labels):
    some = pl.int_range(pl.len()) % 10 < 6
    holes = labels.with_columns(label=pl.when(some).then(None).otherwise("label"))
    report = Checks(evaluation_rows=50)(database, churn, holes)
    assert set(report.faults) == {Reason.MISSING}
    assert report.measures["missing"] == pytest.approx(0.6, abs=0.01)


def test_values_that_cannot_be_completed_count_as_missing(database):
    plan = database.blueprint.table("orders")
    task = autocomplete_task(database, plan, plan.columns[0])
    report = Checks(missing=0.05)(database, task, label_table(database, task))
    assert set(report.faults) == {Reason.MISSING}
    nulls = database.tables["orders"]["amount"].null_count()
    assert report.measures["missing"] == pytest.approx(nulls / 2500)


@pytest.mark.parametrize("rate", [0.01, 0.99])
def test_rare_classes_are_refused_in_any_split(database, churn, labels, rate):
    chance = np.random.default_rng(0).random(len(labels)) < rate
    for split in ("train", "val", "test"):
        rare = labels.with_columns(
            label=pl.when(pl.col("split") == split)
            .then(pl.Series(chance).cast(pl.Int64))
            .otherwise("label")
        )
        assert Reason.CLASS_RATE in faults(database, churn, rare, drift=1e9)


def test_of_many_classes_two_must_be_frequent(database, churn, labels):
    task = of_type(churn, SEVERAL)
    several = labels.with_columns(label=pl.col("row_id") * 7919 % 100)
    zipf = several.with_columns(label=pl.col("label") // 30)
    assert faults(database, task, zipf) == set()
    rare = several.with_columns(label=pl.when(pl.col("label") < 98).then(0).otherwise(1))
    assert Reason.CLASS_RATE in faults(database, task, rare)
    assert Reason.CONSTANT in faults(database, task, rare)


def test_a_number_that_hardly_ever_changes_is_refused(database, churn, labels):
    task = of_type(churn, TaskType.REGRESSION)
    random = np.random.default_rng(1)
    for zeros, found in ((0.95, {Reason.CONSTANT}), (0.7, set())):
        values = np.where(random.random(len(labels)) < zeros, 0.0, random.normal(size=len(labels)))
        changed = labels.with_columns(label=pl.Series(values))
        assert faults(database, task, changed) == found


def test_labels_that_the_entity_always_had_are_refused(database, churn, labels):
    fixed = labels.with_columns(label=pl.col("entity") % 2)
    assert faults(database, churn, fixed) == {Reason.HISTORY}
    numbers = labels.with_columns(label=(pl.col("entity") % 17).cast(pl.Float64))
    assert faults(database, of_type(churn, TaskType.REGRESSION), numbers) == {Reason.HISTORY}
    known = labels.filter(split="train")["entity"].unique().implode()
    classes = labels.filter(pl.col("entity").is_in(known)).with_columns(label=pl.col("entity") % 5)
    assert faults(database, of_type(churn, SEVERAL), classes) == {Reason.HISTORY}


def test_a_trend_is_refused(database, churn, labels):
    random = np.random.default_rng(2)
    later = labels["split"] != "train"
    rates = np.where(later, 0.9, 0.2)
    trend = labels.with_columns(label=pl.Series((random.random(len(labels)) < rates).astype(int)))
    assert faults(database, churn, trend) == {Reason.DRIFT}
    numbers = labels.with_columns(label=pl.Series(random.normal(size=len(labels)) + 2.0 * later))
    assert faults(database, of_type(churn, TaskType.REGRESSION), numbers) == {Reason.DRIFT}


def test_an_empty_split_is_too_few_rows_whatever_is_asked(database, churn, labels):
    none = labels.filter(pl.col("split") != "val")
    assert faults(database, churn, none, evaluation_rows=0) == {Reason.FEW_ROWS}


def test_the_history_score_reads_closed_windows_only(churn, labels):
    """Against the mean of earlier labels, one row after the other."""
    rows = labels.rows(named=True)
    train_mean = np.mean([row["label"] for row in rows if row["split"] == "train"])
    actual, guess = [], []
    for row in rows:
        if row["split"] != "train":
            known = [
                other["label"]
                for other in rows
                if other["entity"] == row["entity"]
                and other["cutoff_time"] + churn.timedelta <= row["cutoff_time"]
            ]
            actual.append(row["label"])
            guess.append(np.mean(known) if known else train_mean)
    assert history_score(churn, labels) == pytest.approx(roc_auc_score(actual, guess))
    regression = of_type(churn, TaskType.REGRESSION)
    error = np.abs(np.array(actual) - np.array(guess)).mean()
    assert history_score(regression, labels) == pytest.approx(error)


def test_rows_of_one_moment_do_not_help_to_complete_each_other(database):
    plan = database.blueprint.table("orders")
    task = autocomplete_task(database, plan, plan.columns[0])
    labels = label_table(database, task).with_columns(
        cutoff_time=pl.col("cutoff_time").dt.truncate("100d")
    )
    owners = pl.Series([0] * len(labels))
    found = history_score(task, labels, owners)
    numbers = labels.rows(named=True)
    errors = []
    for moment in sorted({row["cutoff_time"] for row in numbers if row["split"] != "train"}):
        known = [row["label"] for row in numbers if row["cutoff_time"] < moment]
        errors += [
            abs(row["label"] - np.mean(known))
            for row in numbers
            if row["cutoff_time"] == moment and row["split"] != "train"
        ]
    assert found == pytest.approx(np.mean(errors))


def test_constants_are_those_of_the_training_labels(churn, labels):
    regression = of_type(churn, TaskType.REGRESSION)
    values = labels.with_columns(
        label=pl.when(pl.col("split") == "train").then(pl.col("row_id") % 3).otherwise(5)
    )
    assert constant_score(regression, values) == 4.0
    classes = labels.with_columns(
        label=pl.when(pl.col("row_id") % 4 == 0).then(pl.lit("a")).otherwise(pl.lit("b"))
    )
    rest = classes.filter(pl.col("split") != "train")
    assert constant_score(of_type(churn, SEVERAL), classes) == pytest.approx(
        (rest["label"] == "b").mean()
    )


def test_recency_is_the_time_since_the_last_activity(database, churn, labels):
    orders = database.tables["orders"]
    actual, idle = [], []
    for row in labels.filter(pl.col("split") != "train").rows(named=True):
        times = orders.filter(
            (pl.col("customer_id") == row["entity"]) & (pl.col("ordered_at") <= row["cutoff_time"])
        )["ordered_at"]
        actual.append(row["label"])
        idle.append((row["cutoff_time"] - times.max()).total_seconds())
    expected = roc_auc_score(actual, idle)
    assert expected > 0.55
    assert recency_area(database, churn, labels) == pytest.approx(expected)


def test_a_completed_column_has_no_recency(database):
    plan = database.blueprint.table("orders")
    task = autocomplete_task(database, plan, plan.columns[1])
    measures = Checks()(database, task, label_table(database, task)).measures
    assert "recency_area" not in measures
    assert {"constant_score", "history_score"} <= measures.keys()


@pytest.mark.parametrize(("name", "value"), [("class_rate", 1.5), ("rows", -1), ("drift", 0.5)])
def test_impossible_settings_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        Checks(**{name: value})


def test_who_was_never_active_is_the_least_recent(database):
    """Everybody is asked about, also those who never ordered."""
    task = replace(CHURN, active_windows=0).task(database.blueprint)
    everybody = label_table(database, task)
    orders = database.tables["orders"].select("ordered_at", entity="customer_id")
    last = everybody.join(orders, on="entity", how="left").filter(
        pl.col("ordered_at") <= pl.col("cutoff_time")
    )
    last = last.group_by("row_id").agg(pl.col("ordered_at").max())
    idle = pl.col("cutoff_time") - pl.col("ordered_at") > timedelta(days=40)
    long_ago = everybody.join(last, on="row_id", how="left", maintain_order="left").with_columns(
        label=idle.fill_null(True).cast(pl.Int64), never=pl.col("ordered_at").is_null()
    )
    assert long_ago["never"].sum() > 100
    assert long_ago.filter(~pl.col("never"))["label"].sum() > 100
    assert recency_area(database, task, long_ago) == 1.0
