from dataclasses import replace

import polars as pl
import pytest

from models.database.schema import TaskType
from models.quality.results import Severity, training_table_check_names
from models.quality.training import check_training_table
from tests.models.quality.shop import (
    DAY,
    LAST_TRAIN,
    NOW,
    TASK,
    TICK,
    VAL,
    failed,
    only_failure,
    training_frame,
    training_rows,
    write,
)

REGRESSION = replace(TASK, task_type=TaskType.REGRESSION)
MULTICLASS = replace(TASK, task_type=TaskType.MULTICLASS_CLASSIFICATION)


def check(tmp_path, frame, task=TASK, as_of=NOW, last_event=NOW):
    path = write(tmp_path, {task.name: frame})[task.name]
    return check_training_table(task, path, as_of=as_of, last_event=last_event)


def relabelled(frame, labels):
    """Train and val rows get these labels, in turn."""
    known = pl.col("split").is_in(["train", "val"])
    series = pl.Series([labels[i % len(labels)] for i in range(frame.height)])
    return frame.with_columns(label=pl.when(known).then(series))


def test_a_clean_table_passes_every_check_once(tmp_path, judge):
    # Its last train, val and (below) test windows close exactly at their limits.
    report = check(tmp_path, training_frame())
    assert report.failures == []
    assert [r.name for r in report] == [d.name for d in training_table_check_names()]
    assert {r.table for r in report} == {"churn"}


def test_test_rows_whose_window_has_closed_in_the_data_pass(tmp_path):
    frame = training_frame(predict=training_rows("test", NOW, [0, 1] * 10))
    assert check(tmp_path, frame, last_event=NOW + 10 * DAY).failures == []


def test_a_train_window_that_closes_a_tick_late_fails(tmp_path, judge):
    # Everything later moves by the tick too, so that the splits stay disjoint.
    frame = training_frame(
        train=training_rows("train", LAST_TRAIN + TICK, [0, 1] * 20),
        val=training_rows("val", VAL + TICK, [1, 0] * 20),
        predict=training_rows("predict", NOW + TICK, [None] * 20),
    )
    assert check(tmp_path, frame, as_of=NOW + TICK).failures == []
    task = replace(TASK, validation_span=10 * DAY + TICK)
    result = only_failure(
        check(tmp_path, frame, task, as_of=NOW + TICK), "churn", "labels_inside_window"
    )
    assert result.severity is Severity.CRITICAL
    expected = "40 of 40 (100 %) train rows have a window (10 days, 0:00:00) that closes after"
    assert f"{expected} as_of - validation_span (2024-12-22 00:00:00)" in result.message
    assert "training_table macro" in result.message


def test_a_validation_window_that_closes_a_tick_late_fails(tmp_path, judge):
    frame = training_frame(
        val=training_rows("val", VAL + TICK, [1, 0] * 20),
        predict=training_rows("predict", NOW + TICK, [None] * 20),
    )
    result = only_failure(check(tmp_path, frame), "churn", "labels_inside_window")
    assert "40 of 40 (100 %) val rows" in result.message
    assert result.observed["violations"]["val"] == {"late": 40}


def test_a_labelled_test_window_that_closes_a_tick_after_the_last_event_fails(tmp_path, judge):
    frame = training_frame(predict=training_rows("test", NOW, [0, 1] * 10))
    result = only_failure(
        check(tmp_path, frame, last_event=NOW + 10 * DAY - TICK), "churn", "labels_inside_window"
    )
    assert "20 of 20 (100 %) test rows have a label though" in result.message


def test_a_labelled_row_to_predict_fails(tmp_path, judge):
    frame = training_frame(predict=training_rows("predict", NOW, [None] * 19 + [1]))
    result = only_failure(check(tmp_path, frame), "churn", "labels_inside_window")
    assert "1 of 20 (5 %) predict rows have a label though they are open" in result.message


@pytest.mark.parametrize("split", ["test", "predict"])
def test_a_prediction_cutoff_before_as_of_fails(tmp_path, split, judge):
    early = training_rows(split, NOW - TICK, [None] * 20)
    span = 10 * DAY + 2 * TICK  # train and val a little earlier, so that only as_of is violated
    frame = training_frame(
        train=training_rows("train", LAST_TRAIN - 2 * TICK, [0, 1] * 20),
        val=training_rows("val", VAL - 2 * TICK, [0, 1] * 20),
        predict=early,
    )
    report = check(tmp_path, frame, replace(TASK, validation_span=span))
    result = next(r for r in report if r.name == "labels_inside_window")
    assert not result.passed
    assert f"20 of 20 (100 %) {split} rows have a cutoff before as_of" in result.message
    # A test row without a label also draws the warning of label_present.
    assert {name for _, name in failed(report)} <= {"labels_inside_window", "label_present"}


def test_two_rows_of_an_entity_at_a_cutoff_fail(tmp_path, judge):
    frame = training_frame()
    result = only_failure(
        check(tmp_path, pl.concat([frame, frame.head(1)])),
        "churn",
        "one_row_per_entity_and_cutoff",
    )
    assert "2 of 141 (1.42 %) rows share their (entity, cutoff_time)" in result.message
    assert "Group by" in result.message


@pytest.mark.parametrize("column", ["entity", "cutoff_time"])
def test_a_row_without_entity_or_cutoff_fails(tmp_path, column, judge):
    frame = training_frame().with_columns(
        pl.when(pl.int_range(pl.len()) > 0).then(pl.col(column)).alias(column)
    )
    result = only_failure(check(tmp_path, frame), "churn", "one_row_per_entity_and_cutoff")
    assert "1 of 140" in result.message


def test_validation_cutoffs_inside_the_last_training_window_fail(tmp_path, judge):
    frame = training_frame(val=training_rows("val", VAL - TICK, [1, 0] * 20))
    result = only_failure(check(tmp_path, frame), "churn", "splits_disjoint")
    assert "the last train window closes at 2024-12-22 00:00:00, after the first val cutoff" in (
        result.message
    )
    assert "Move the cutoff_time" in result.message


def test_a_prediction_inside_the_last_validation_window_fails(tmp_path, judge):
    # as_of itself lies earlier here, so that the prediction cutoff is not before it.
    frame = training_frame(predict=training_rows("predict", NOW - TICK, [None] * 20))
    report = check(tmp_path, frame)
    message = next(r.message for r in report.failures if r.name == "splits_disjoint")
    assert (
        "the last val window closes at 2025-01-01 00:00:00, after the first prediction" in message
    )


def test_an_unknown_split_fails(tmp_path, judge):
    odd = training_rows("holdout", LAST_TRAIN - 30 * DAY, [0, 1])
    result = only_failure(check(tmp_path, training_frame(odd=odd)), "churn", "splits_disjoint")
    assert "2 of 142" in result.message


@pytest.mark.parametrize("split", ["train", "val", "predict"])
def test_an_empty_split_fails(tmp_path, split, judge):
    frame = training_frame().filter(pl.col("split") != split)
    result = only_failure(check(tmp_path, frame), "churn", "splits_not_empty")
    assert f"of {frame.height} rows" in result.message
    assert "Choose another as_of" in result.message
    assert ("nothing to predict" if split == "predict" else split) in result.message


def test_a_table_without_rows_fails_one_check(tmp_path):
    only_failure(check(tmp_path, training_frame().clear()), "churn", "splits_not_empty")


def test_validation_without_a_label_fails_splits_not_empty(tmp_path):
    frame = training_frame(val=training_rows("val", VAL, [None] * 40))
    report = check(tmp_path, frame)
    graded = {r.name: r.severity for r in report.failures}
    assert graded == {
        "splits_not_empty": Severity.CRITICAL,
        "label_present": Severity.WARNING,
    }


def test_labels_that_are_all_null_fail_label_present_alone(tmp_path, judge):
    frame = training_frame().with_columns(label=pl.lit(None, dtype=pl.Int64))
    result = only_failure(check(tmp_path, frame), "churn", "label_present")
    assert result.severity is Severity.CRITICAL
    assert "120 of 120 (100 %)" in result.message
    assert "coalesce" in result.message


def test_some_null_labels_are_a_warning_with_their_share(tmp_path, judge):
    frame = training_frame(val=training_rows("val", VAL, [1, 0] * 17 + [None] * 6))
    result = only_failure(check(tmp_path, frame), "churn", "label_present")
    assert result.severity is Severity.WARNING
    assert "6 of 120 (5 %) rows with a closed window have a NULL label (val 6)" in result.message
    assert result.observed["null_share"] == 0.05


@pytest.mark.parametrize("split", ["train", "val"])
def test_one_class_only_fails(tmp_path, split, judge):
    # 29 labels: too few for the drift check to speak up as well.
    cutoff = {"train": LAST_TRAIN, "val": VAL}[split]
    frame = training_frame(**{split: training_rows(split, cutoff, [1] * 29)})
    result = only_failure(check(tmp_path, frame), "churn", "two_classes")
    assert result.severity is Severity.CRITICAL
    assert f"all 29 {split} labels are 1, so roc_auc can't be computed" in result.message


@pytest.mark.parametrize("labels", [[0, 2], [0.0, 0.5], [0.0, 1.0, float("nan")], ["0", "1"]])
def test_binary_labels_other_than_0_and_1_fail(tmp_path, labels, judge):
    result = only_failure(
        check(tmp_path, relabelled(training_frame(), labels)), "churn", "label_type"
    )
    expected = {2: 60, 3: 40}[len(labels)] if labels[0] == 0 else 120
    assert f"{expected} of 140" in result.message
    assert "not 0 or 1" in result.message
    assert "Cast the label" in result.message


@pytest.mark.parametrize("labels", [[False, True], [0.0, 1.0]])
def test_booleans_and_floats_may_be_binary_labels(tmp_path, labels):
    assert check(tmp_path, relabelled(training_frame(), labels)).failures == []


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_regression_labels_must_be_finite(tmp_path, bad, judge):
    frame = relabelled(training_frame(), [1.5, 2.5])
    assert check(tmp_path, frame, REGRESSION).failures == []
    first = pl.int_range(pl.len()) == 0
    frame = frame.with_columns(label=pl.when(first).then(bad).otherwise("label"))
    result = only_failure(check(tmp_path, frame, REGRESSION), "churn", "label_type")
    assert "1 of 140" in result.message
    assert "finite numbers" in result.message


def test_text_is_no_regression_label_but_a_class(tmp_path):
    frame = relabelled(training_frame(), ["a", "b", "c"])
    result = only_failure(check(tmp_path, frame, REGRESSION), "churn", "label_type")
    assert "VARCHAR" in result.message
    assert check(tmp_path, frame, MULTICLASS).failures == []


def test_a_class_under_one_percent_is_a_warning_and_one_percent_passes(tmp_path, judge):
    val = training_rows("val", VAL, [0] * 28 + [1])
    at_limit = training_frame(
        train=training_rows("train", LAST_TRAIN, [0] * 198 + [1] * 2), val=val
    )
    assert check(tmp_path, at_limit).failures == []
    below = training_frame(train=training_rows("train", LAST_TRAIN, [0] * 199 + [1] * 2), val=val)
    result = only_failure(
        check(tmp_path, below.filter(pl.col("entity") != 200)), "churn", "class_rate"
    )
    assert result.severity is Severity.WARNING
    assert "the rarest class, 1, has 1 of 200 (0.5 %) train labels" in result.message
    assert "Widen the window" in result.message


def test_a_class_rate_that_changes_is_a_warning(tmp_path, judge):
    frame = training_frame(val=training_rows("val", VAL, [0] * 36 + [1] * 4))
    result = only_failure(check(tmp_path, frame), "churn", "label_drift")
    assert result.severity is Severity.WARNING
    assert "of 80 train and" in result.message
    assert "population stability index" in result.message
    assert "Check the load" in result.message


def test_class_rates_that_differ_by_chance_are_no_drift(tmp_path):
    frame = training_frame(val=training_rows("val", VAL, [0] * 24 + [1] * 16))
    assert check(tmp_path, frame).failures == []


@pytest.mark.parametrize(("shift", "drifts"), [(0.49, False), (0.51, True)])
def test_regression_labels_drift_beyond_half_a_deviation(tmp_path, shift, drifts, judge):
    frame = relabelled(training_frame(), [0.0, 1.0])
    deviation = frame.filter(pl.col("split") == "train")["label"].std()
    val = frame.filter(pl.col("split") == "val")["label"].std()
    shift *= ((deviation**2 + val**2) / 2) ** 0.5
    frame = frame.with_columns(
        label=pl.when(pl.col("split") == "val").then(pl.col("label") + shift).otherwise("label")
    )
    report = check(tmp_path, frame, REGRESSION)
    assert failed(report) == ([("churn", "label_drift")] if drifts else [])


def test_a_missing_column_and_a_text_cutoff_are_errors(tmp_path):
    with pytest.raises(ValueError, match=r"'churn'.*lacks split.*training_table macro"):
        check(tmp_path, training_frame().drop("split"))
    with pytest.raises(ValueError, match=r"'churn'.*cutoff_time is VARCHAR"):
        check(tmp_path, training_frame().with_columns(pl.col("cutoff_time").cast(pl.String)))
