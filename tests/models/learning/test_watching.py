"""Watched trainings: networks after each epoch, trees every tenth round; a watcher can stop them."""

from __future__ import annotations

import pytest
import torch

from models.database.schema import Metric, Protocol, TaskType
from models.learning.config import LoopConfig
from models.learning.loop import fit
from models.learning.watching import watching
from tests.models.learning.small import Line, errors
from tests.models.tabular.test_learner import CONFIG
from tests.models.tabular.test_learner import fit as fit_trees

CPU = torch.device("cpu")


class Enough(Exception):
    pass


def test_a_network_tells_its_watched_metrics_after_every_epoch():
    told = []
    with watching(lambda share, metrics: told.append((share, dict(metrics)))):
        found = fit(Line(), LoopConfig(epochs=4), CPU)
    assert [share for share, _ in told] == [0.25, 0.5, 0.75, 1.0]
    assert [metrics["error"] for _, metrics in told] == errors(found)
    assert all(metrics.keys() == {"error", "negated"} for _, metrics in told)
    fit(Line(), LoopConfig(epochs=1), CPU)
    assert len(told) == 4


def test_a_stopped_network_goes_on_where_it_was(tmp_path):
    def stop(share, metrics):
        if share == 0.5:
            raise Enough

    config = LoopConfig(epochs=4, seed=3)
    with watching(stop), pytest.raises(Enough):
        fit(Line(3), config, CPU, tmp_path)
    resumed = fit(Line(3), config, CPU, tmp_path)
    assert errors(resumed) == errors(fit(Line(3), config, CPU))


@pytest.mark.parametrize(
    ("task_type", "metric"),
    [
        (TaskType.BINARY_CLASSIFICATION, Metric.ROC_AUC),
        (TaskType.BINARY_CLASSIFICATION, Metric.ACCURACY),
        (TaskType.MULTICLASS_CLASSIFICATION, Metric.ACCURACY),
        (TaskType.REGRESSION, Metric.MAE),
        (TaskType.REGRESSION, Metric.RMSE),
        (TaskType.REGRESSION, Metric.R2),
    ],
)
def test_trees_tell_the_tasks_metric(task_type, metric):
    told = {}
    # Thirty trees for both protocols, so that the last figure told is the model's score.
    config = CONFIG.__class__(seeds=1, rounds=30, early_stopping=30, min_data_in_leaf=5)
    with watching(lambda share, metrics: told.update({round(share * 30): dict(metrics)})):
        (model,), *_ = fit_trees(task_type, metric, config=config)
    assert list(told) == [10, 20, 30]
    checked = 0
    for protocol in Protocol:
        if (rounds := model.best_rounds[protocol]) in told:
            checked += 1
            assert told[rounds][protocol] == pytest.approx(model.validation_scores[protocol])
        better = max if metric.higher_is_better else min
        best = better(metrics[protocol] for metrics in told.values())
        sign = 1 if metric.higher_is_better else -1
        assert sign * (model.validation_scores[protocol] - best) >= -1e-6


@pytest.mark.parametrize("threads", [1, 2])
def test_a_watcher_stops_trees(threads):
    def stop(share, metrics):
        raise Enough

    with watching(stop), pytest.raises(Enough):
        fit_trees(TaskType.REGRESSION, threads=threads)


def test_trees_are_the_same_watched_or_not():
    with watching(lambda share, metrics: None):
        (one, _), *_ = fit_trees(TaskType.REGRESSION)
    (two, _), *_ = fit_trees(TaskType.REGRESSION)
    assert one.texts == two.texts
