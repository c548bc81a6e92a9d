"""Scores of many models at once, the paired bootstrap, the last slice of validation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models.database.schema import Metric, TaskType
from models.search.validation import ValidationRows, standard_error

START = np.datetime64("2024-01-01", "us")


def rows(metric=Metric.ROC_AUC, size=300, seed=0, cutoffs=6):
    random = np.random.default_rng(seed)
    is_value = metric in (Metric.MAE, Metric.RMSE)
    kind = TaskType.REGRESSION if is_value else TaskType.BINARY_CLASSIFICATION
    labels = random.normal(0, 2, size) if is_value else (random.random(size) < 0.3).astype(float)
    days = np.arange(size) % cutoffs
    return ValidationRows(kind, metric, labels, START + days.astype("timedelta64[D]"))


def test_the_area_under_the_curve_is_sklearns_with_ties():
    known, random = rows(), np.random.default_rng(1)
    guesses = random.integers(0, 7, (5, 300)) / 7
    expected = [roc_auc_score(known.labels, guess) for guess in guesses]
    assert known.scores(guesses) == pytest.approx(expected, abs=1e-12)
    one_class = known.take(np.flatnonzero(known.labels == 1))
    assert np.isnan(one_class.scores(guesses[:, known.labels == 1])).all()


def test_other_metrics_are_those_of_the_reports():
    random = np.random.default_rng(1)
    for metric in (Metric.MAE, Metric.RMSE):
        known = rows(metric)
        guesses = random.normal(0, 1, (2, 300))
        errors = guesses - known.labels
        expected = np.abs(errors).mean(1) if metric == Metric.MAE else np.sqrt((errors**2).mean(1))
        assert known.scores(guesses) == pytest.approx(expected)
    classes = ValidationRows(
        TaskType.MULTICLASS_CLASSIFICATION,
        Metric.ACCURACY,
        np.array([0.0, 1.0, 2.0]),
        np.full(3, START),
        classes=3,
    )
    right, half = np.eye(3), np.tile([0.2, 0.5, 0.3], (3, 1))
    assert classes.scores(np.stack([right, half])) == pytest.approx([1, 1 / 3])


def test_a_score_under_several_protocols_is_the_mean_of_theirs():
    known, random = rows(), np.random.default_rng(1)
    frozen, rolling = random.random((2, 5, 300))
    both = known.under_each(2)
    together = np.concatenate([frozen, rolling], axis=1)
    expected = (known.scores(frozen) + known.scores(rolling)) / 2
    assert both.scores(together) == pytest.approx(expected, abs=1e-12)
    few = np.arange(50)
    expected = (
        known.take(few).scores(frozen[:, :50]) + known.take(few).scores(rolling[:, :50])
    ) / 2
    part = np.concatenate([few, few + 300])
    assert both.take(part).scores(together[:, part]) == pytest.approx(expected)


def test_draws_under_several_protocols_hold_an_entitys_rows_under_all_of_them():
    for known in (rows(), replace(rows(), entities=np.arange(300) // 5)):
        for one, two in zip(known.drawn(3), known.under_each(2).drawn(3), strict=True):
            assert sorted(two) == sorted([*one, *(one + 300)])


def test_a_pair_differs_more_surely_than_its_scores_are_known():
    known, random = rows(Metric.MAE), np.random.default_rng(1)
    first = known.labels + random.normal(0, 1, 300)
    second = first + random.normal(0, 0.05, 300)
    draws = [known.resampled(guess) for guess in (first, second)]
    assert standard_error(draws[0]) == pytest.approx(
        np.abs(first - known.labels).std() / 300**0.5, rel=0.2
    )
    assert standard_error(draws[0] - draws[1]) < standard_error(draws[0]) / 5
    assert np.array_equal(draws[0], known.resampled(first))
    assert np.isnan(standard_error(np.array([np.nan, np.nan, 1.0, 2.0])))


def test_draws_are_of_whole_entities():
    # Five entities of 20, 40, ... 100 rows, in no order.
    known = rows(Metric.MAE)
    random = np.random.default_rng(2)
    entities = random.permutation(np.repeat(["d", "a", "c", "e", "b"], [20, 40, 60, 80, 100]))
    grouped = replace(known, entities=entities)
    draws = list(grouped.drawn(20))
    for positions in draws:
        times = np.bincount(positions, minlength=300)
        by_entity = {name: set(times[entities == name]) for name in "abcde"}
        assert all(len(found) == 1 for found in by_entity.values())
        assert sum(found.pop() for found in by_entity.values()) == 5
    assert len({positions.size for positions in draws}) > 3
    assert all(np.array_equal(a, b) for a, b in zip(draws, grouped.drawn(20), strict=True))
    taken = grouped.take(draws[0])
    assert taken.entities is not None
    assert set(taken.entities) == set(entities[draws[0]])
    # A guess that is as wrong for all rows of an entity is known less surely than its rows suggest.
    shift = dict(zip("abcde", (0.0, 1.0, 2.0, 3.0, 4.0), strict=True))
    guess = known.labels + np.array([shift[name] for name in entities])
    errors = [standard_error(one.resampled(guess)) for one in (known, grouped)]
    assert errors[1] > 3 * errors[0]


def test_the_last_slice_is_whole_cutoffs():
    known = rows(cutoffs=7)
    late = known.late(1 / 3)
    assert np.unique(known.cutoff_times[late]).size == 3
    assert known.cutoff_times[late].min() > np.delete(known.cutoff_times, late).max()
    assert np.unique(rows(cutoffs=2).take(rows(cutoffs=2).late(0.9)).cutoff_times).size == 1
    with pytest.raises(ValueError, match="needs two cutoffs or more"):
        rows(cutoffs=1).late()


def test_rows_without_labels_or_predictions_are_refused():
    known = rows()
    with pytest.raises(ValueError, match="300 validation rows, but predictions of 299"):
        known.scores(np.zeros((1, 299)))
    with pytest.raises(ValueError, match="1 of them unknown"):
        ValidationRows(
            known.task_type, known.metric, np.array([1.0, np.nan]), known.cutoff_times[:2]
        )
