from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from models.database.schema import TaskType
from models.relatron.inputs import LabelledRows
from models.relatron.labels import label_signals
from tests.models.relatron.planted_task import QUICK, by_name, inputs_of, planted, shuffled


def signals_of(inputs):
    return by_name(label_signals(inputs, LabelledRows.of(inputs), QUICK))


@pytest.fixture(scope="module")
def persistent(tmp_path_factory):
    return inputs_of(planted(autocorrelation=0.6), tmp_path_factory.mktemp("persistent"))


def regression(inputs, label):
    task = replace(inputs.task, task_type=TaskType.REGRESSION)
    table = inputs.training_table.with_columns(label=label)
    return replace(inputs, task=task, training_table=table)


def test_memory_that_is_planted_is_found_and_shuffling_destroys_it(persistent, tmp_path):
    found, lost = signals_of(persistent), signals_of(shuffled(persistent))
    without = signals_of(inputs_of(planted(), tmp_path))
    for name in ("autocorrelation_1", "past_mean_rolling", "past_mean_frozen"):
        assert found[name].value > without[name].value + 3 * found[name].error
        assert abs(lost[name].value) < 3 * lost[name].error
    assert found["autocorrelation_1"].value > found["autocorrelation_3"].value


def test_the_lag_is_counted_among_labels_whose_windows_had_closed(persistent):
    # With a window of two strides the label before the newest is the first that is known.
    wide = replace(persistent, task=replace(persistent.task, window=timedelta(days=60)))
    table = (
        persistent.training_table.filter(pl.col("split") == "train")
        .sort("entity", "cutoff_time")
        .with_columns(
            earlier=pl.struct("entity", cutoff_time=pl.col("cutoff_time") - timedelta(days=60))
        )
    )
    known = table.select(earlier=pl.struct("entity", "cutoff_time"), before="label")
    pairs = table.join(known, on="earlier")
    only = replace(wide, training_table=table.drop("earlier"))
    everyone = table["entity"].value_counts().filter(pl.col("count") == 5)["entity"]
    full = replace(
        only, training_table=only.training_table.filter(pl.col("entity").is_in(everyone))
    )
    expected = pairs.filter(pl.col("entity").is_in(everyone)).select(pl.corr("label", "before"))
    assert signals_of(full)["autocorrelation_1"].value == pytest.approx(expected.item())


def test_drift_newcomers_and_balance_are_counted(persistent):
    table = persistent.training_table
    is_val = pl.col("split") == "val"
    moved = regression(
        persistent, pl.col("label").cast(pl.Float64) + pl.when(is_val).then(3).otherwise(0)
    )
    train = table.filter(pl.col("split") == "train")["label"]
    val = table.filter(is_val)["label"]
    found = signals_of(moved)
    expected = abs(val.mean() + 3 - train.mean()) / train.std(ddof=0)
    assert found["drift"].value == pytest.approx(expected)
    assert found["drift_distance"].value == 1
    assert np.isfinite(found["label_skew"].value)
    plain = signals_of(persistent)
    assert plain["positive_rate"].value == pytest.approx(train.mean())
    assert plain["drift_distance"].value == pytest.approx(abs(val.mean() - train.mean()))
    assert plain["newcomers"].value == 0
    first = table["entity"].min()
    gone = replace(persistent, training_table=table.filter(is_val | (pl.col("entity") != first)))
    assert signals_of(gone)["newcomers"].value == pytest.approx(1 / val.len())


def test_minus_one_is_a_label_like_any_other(persistent):
    lower = signals_of(regression(persistent, pl.col("label").cast(pl.Float64) - 1))
    higher = signals_of(regression(persistent, pl.col("label").cast(pl.Float64)))
    for name, one in higher.items():
        assert lower[name].value == pytest.approx(one.value, nan_ok=True)


def test_several_classes_have_all_signals(persistent):
    task = replace(persistent.task, task_type=TaskType.MULTICLASS_CLASSIFICATION)
    letters = (
        pl.when(pl.col("label") == 1)
        .then(pl.lit("a"))
        .otherwise(pl.when(pl.col("entity") % 2 == 0).then(pl.lit("b")).otherwise(pl.lit("c")))
    )
    table = persistent.training_table.with_columns(label=letters)
    found = signals_of(replace(persistent, task=task, training_table=table))
    assert found["autocorrelation_1"].value > 0.4
    assert found["past_mean_rolling"].value > 0.4
    assert 0 <= found["drift"].value < 0.2
    assert 1 / 3 < found["majority_rate"].value < 1


def test_without_training_labels_one_is_told_what_to_do(persistent):
    early = replace(persistent, as_of=persistent.training_table["cutoff_time"].min())
    with pytest.raises(ValueError, match=r"no labelled training row .* choose a date"):
        LabelledRows.of(early)
