import math
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from models.database.schema import Metric, TaskType
from models.reporting.scores import higher_is_better, score, scores_by_cutoff

BINARY, REGRESSION = TaskType.BINARY_CLASSIFICATION, TaskType.REGRESSION
MULTICLASS = TaskType.MULTICLASS_CLASSIFICATION


def test_binary_scores_equal_hand_computed_ones():
    found = score(BINARY, [0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9])
    # Of the four (positive, negative) pairs, only (0.5, 0.6) is in the wrong order.
    assert found["roc_auc"] == pytest.approx(3 / 4)
    # Recall 1/2 is reached at precision 1, recall 1 at precision 2/3.
    assert found["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.25 + 0.01) / 4)
    assert found["accuracy"] == pytest.approx(3 / 4)
    losses = [math.log(0.9), math.log(0.4), math.log(0.5), math.log(0.9)]
    assert found["log_loss"] == pytest.approx(-sum(losses) / 4)


def test_regression_scores_equal_hand_computed_ones():
    found = score(REGRESSION, [1.0, 2.0, 6.0], [2.0, 2.0, 4.0], train_labels=[0.0, 2.0, None])
    assert found["mae"] == pytest.approx(1.0)
    assert found["rmse"] == pytest.approx(math.sqrt(5 / 3))
    assert found["r2"] == pytest.approx(1 - 5 / 14)
    # The sample standard deviation of (0, 2) is the root of 2.
    assert found["nmae"] == pytest.approx(1 / math.sqrt(2))


def test_multiclass_scores_equal_hand_computed_ones():
    probabilities = [[0.6, 0.4], [0.3, 0.7], [0.8, 0.2]]
    found = score(MULTICLASS, ["a", "b", "b"], probabilities, classes=["a", "b"])
    assert found["accuracy"] == pytest.approx(2 / 3)
    # Class a: precision 1/2, recall 1. Class b: precision 1, recall 1/2.
    assert found["macro_f1"] == pytest.approx(2 / 3)
    assert found["log_loss"] == pytest.approx(-(math.log(0.6) + math.log(0.7) + math.log(0.2)) / 3)


def test_undefined_metrics_are_left_out():
    assert set(score(BINARY, [0, 0], [0.2, 0.3])) == {"log_loss", "brier", "accuracy"}
    assert set(score(BINARY, [0, 1], [-3.0, 4.0])) == {"roc_auc", "average_precision"}
    assert set(score(REGRESSION, [2.0, 2.0], [1.0, 2.0])) == {"mae", "rmse"}
    unseen = score(MULTICLASS, ["a", "new"], [[1, 0], [0, 1]], classes=["a", "b"])
    assert set(unseen) == {"accuracy", "macro_f1"}
    assert unseen["accuracy"] == 0.5


def test_rows_without_a_label_are_not_scored():
    assert score(REGRESSION, [1.0, None], [1.0, 9.0]) == {"mae": 0.0, "rmse": 0.0}
    assert score(BINARY, pl.Series([None, None], dtype=pl.Boolean), [0.1, 0.2]) == {}
    assert score(MULTICLASS, [None], [[1.0, 0.0]], classes=["a", "b"]) == {}


def test_a_missing_prediction_is_an_error_and_not_a_dropped_row():
    with pytest.raises(ValueError, match="got 1 without"):
        score(REGRESSION, [1.0, 2.0], [1.0, None])
    with pytest.raises(ValueError, match="NaN"):
        score(MULTICLASS, ["a"], [[np.nan, 1.0]], classes=["a", "b"])


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="got 2, 1"):
        score(BINARY, [0, 1], [0.5])
    with pytest.raises(ValueError, match="binary labels"):
        score(BINARY, [0, 2], [0.5, 0.5])
    with pytest.raises(ValueError, match="shape"):
        score(MULTICLASS, ["a"], [[0.5, 0.5]], classes=["a"])
    with pytest.raises(ValueError, match="roc_auc"):
        score(REGRESSION, [1.0], [1.0], metrics=["roc_auc"])


def test_only_the_wanted_metrics_are_returned():
    assert score(REGRESSION, [1.0], [3.0], metrics=["mae"]) == {"mae": 2.0}


def test_direction_agrees_with_the_schema():
    assert all(higher_is_better(metric.value) == metric.higher_is_better for metric in Metric)


def test_scores_by_cutoff_leave_out_cutoffs_without_a_defined_score():
    early, late = datetime(2020, 1, 1), datetime(2021, 1, 1)
    found = scores_by_cutoff(
        REGRESSION, [late, early, late], [None, 3.0, None], [1.0, 1.0, 1.0], "mae"
    )
    assert found.rows() == [(early, 2.0, 1)]
