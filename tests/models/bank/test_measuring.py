from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, roc_auc_score

from models.bank.measuring import BOOTSTRAPS, bootstrap_error
from models.database.schema import Metric


def expected(measure, labels, predictions):
    draws = np.random.default_rng(0).integers(labels.size, size=(BOOTSTRAPS, labels.size))
    return np.std([measure(labels[rows], predictions[rows]) for rows in draws], ddof=1)


@pytest.mark.parametrize("decimals", [1, 6])
def test_all_draws_at_once_are_what_they_are_one_by_one(decimals):
    random = np.random.default_rng(3)
    labels = (random.random(300) < 0.3).astype(float)
    predictions = np.round(labels + random.normal(0, 1, 300), decimals)
    found = bootstrap_error(roc_auc_score, Metric.ROC_AUC, labels, predictions)
    assert found == pytest.approx(expected(roc_auc_score, labels, predictions), rel=1e-9)
    # Hanley and McNeil's formula gives about 0.03 for such a sample.
    assert 0.01 < found < 0.06
    error = bootstrap_error(mean_absolute_error, Metric.MAE, labels, predictions)
    assert error == pytest.approx(expected(mean_absolute_error, labels, predictions), rel=1e-9)


def test_other_metrics_are_measured_draw_by_draw():
    random = np.random.default_rng(3)
    labels = random.normal(size=200)
    predictions = labels + random.normal(size=200)

    def squared(truth, predicted):
        return float(((truth - predicted) ** 2).mean() ** 0.5)

    found = bootstrap_error(squared, Metric.RMSE, labels, predictions)
    assert found == pytest.approx(expected(squared, labels, predictions))


def test_one_class_alone_has_no_error():
    error = bootstrap_error(roc_auc_score, Metric.ROC_AUC, np.ones(20), np.arange(20.0))
    assert math.isnan(error)
