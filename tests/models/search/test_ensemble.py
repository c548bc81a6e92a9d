"""Weights chosen on validation predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata

from models.database.schema import Metric, TaskType
from models.families.ensemble import Combination, quantiles_of, ranks_of
from models.search.ensemble import (
    TAIL,
    SelectionConfig,
    greedy_selection,
    shared_weights,
    steadied_selection,
    top_average,
    without_tail,
)
from models.search.validation import ValidationRows

START = np.datetime64("2024-01-01", "us")


@pytest.fixture(scope="module")
def values():
    """A regression whose first two models err independently; the third errs more."""
    random = np.random.default_rng(0)
    labels = random.normal(0, 2, 400)
    rows = ValidationRows(TaskType.REGRESSION, Metric.MAE, labels, np.full(400, START))
    errors = (1.0, 1.05, 3.0)
    return rows, [labels + random.normal(0, error, 400) for error in errors]


def test_the_top_average_is_of_the_best(values):
    rows, models = values
    assert top_average(rows, models[::-1], 2).tolist() == [0, 0.5, 0.5]
    assert top_average(rows, models, 9) == pytest.approx(np.full(3, 1 / 3))


def test_greedy_selection_balances_what_is_good_and_leaves_out_what_is_not(values):
    rows, models = values
    every = SelectionConfig(bags=1, share=1.0)
    weights = greedy_selection(rows, models, every)
    assert weights.sum() == pytest.approx(1)
    assert weights[:2].min() > 0.35
    assert weights[2] < 0.1
    combined = np.tensordot(weights, np.stack(models), axes=1)
    assert rows.scores(combined[None])[0] < 0.8 * rows.scores(np.stack(models)).min()


def test_a_selection_never_scores_worse_than_its_best_model():
    random = np.random.default_rng(3)
    labels = (random.random(200) < 0.4).astype(float)
    rows = ValidationRows(
        TaskType.BINARY_CLASSIFICATION, Metric.ROC_AUC, labels, np.full(200, START)
    )
    good = labels + random.normal(0, 0.1, 200)
    models = [random.random(200), good, random.random(200)]
    weights = greedy_selection(rows, models, SelectionConfig(bags=1, share=1.0))
    assert rows.scores(np.tensordot(weights, np.stack(models), axes=1)[None])[0] >= rows.scores(
        good[None]
    )


def test_bags_are_of_some_models_and_repeat_themselves(values):
    rows, models = values
    config = SelectionConfig(bags=8, share=0.05)
    many = [*models] * 8
    weights = greedy_selection(rows, many, config)
    # One model a bag: the weights count how often each was drawn.
    assert (weights * 8) == pytest.approx(np.round(weights * 8))
    assert np.count_nonzero(weights) > 3
    models = many
    assert np.array_equal(weights, greedy_selection(rows, models, config))


def test_a_model_that_suits_one_entity_of_few_is_not_trusted():
    random = np.random.default_rng(4)
    entities = np.repeat(np.arange(6), 50)
    labels = random.normal(0, 1, 300)
    rows = ValidationRows(
        TaskType.REGRESSION, Metric.MAE, labels, np.full(300, START), entities=entities
    )
    # By far the best for entity 0, and so on average; the other one for the five others.
    lucky = labels + np.where(entities == 0, 0, 1.05)
    steady = labels - np.where(entities == 0, 6, 0.15)
    assert rows.scores(np.stack([lucky, steady])).argmin() == 0
    plain = greedy_selection(rows, [lucky, steady], SelectionConfig(start=1, bags=1))
    bagged = greedy_selection(rows, [lucky, steady], SelectionConfig(start=1, bags=20))
    assert bagged.sum() == pytest.approx(1)
    assert bagged[1] > plain[1] + 0.05
    on_rows = greedy_selection(
        replace(rows, entities=None), [lucky, steady], SelectionConfig(start=1, bags=20)
    )
    assert bagged[1] > on_rows[1] + 0.05
    # A draw may have no positive label; then all rows decide.
    single = (entities == 0).astype(float)
    binary = replace(
        rows, task_type=TaskType.BINARY_CLASSIFICATION, metric=Metric.ROC_AUC, labels=single
    )
    guesses = [single + random.normal(0, error, 300) for error in (0.2, 2.0)]
    assert greedy_selection(binary, guesses).sum() == pytest.approx(1)


def test_ranks_make_models_of_other_scales_equal():
    random = np.random.default_rng(3)
    labels = (random.random(500) < 0.4).astype(float)
    rows = ValidationRows(
        TaskType.BINARY_CLASSIFICATION, Metric.ROC_AUC, labels, np.full(500, START)
    )
    first, second = (labels + random.normal(0, 1, 500) for _ in range(2))
    models = [first, second / 1000]
    ranked = greedy_selection(
        rows, models, SelectionConfig(bags=1, share=1.0, combination=Combination.RANKS)
    )
    assert ranked.min() > 0.3
    ranks = ranks_of(first, quantiles_of(first))
    assert ranks == pytest.approx((rankdata(first) - 0.5) / 500, abs=0.01)
    assert ranks_of(np.array([-9.0, 9.0]), quantiles_of(first)).tolist() == [0, 1]
    tied = np.array([0.0, 0.0, 0.0, 1.0])
    assert ranks_of(tied, quantiles_of(tied)) == pytest.approx([0.37, 0.37, 0.37, 1], abs=0.05)


def test_models_without_a_score_are_left_out_and_none_at_all_is_an_error(values):
    rows, models = values
    with_gap = [*models, np.full(400, np.nan)]
    assert greedy_selection(rows, with_gap)[3] == 0
    assert top_average(rows, with_gap, 4)[3] == 0
    with pytest.raises(ValueError, match="none of 1 models has a validation mae"):
        top_average(rows, with_gap[3:], 1)
    with pytest.raises(ValueError, match="at least one model"):
        greedy_selection(rows, [])


def test_models_that_validation_cannot_tell_apart_share_half_of_the_weight(values):
    rows, _ = values
    random = np.random.default_rng(5)
    alike = [rows.labels + random.normal(0, 1, rows.labels.size) for _ in range(6)]
    hopeless = random.normal(0, 50, rows.labels.size)
    weights = steadied_selection(rows, [*alike, hopeless])
    assert weights.sum() == pytest.approx(1)
    assert weights[-1] == 0
    assert (weights[:-1] >= 0.5 / 6 - 1e-9).sum() >= 4


def test_a_tail_of_small_weights_is_left_out():
    weights = np.array([0.03, 0.4, 0.0, 0.06, 0.05, 0.46])
    kept = without_tail(weights, 0.1)
    # 0.03 and 0.05 come to 0.08, with 0.06 to more than a tenth.
    np.testing.assert_allclose(kept, [0, 0.4 / 0.92, 0, 0.06 / 0.92, 0, 0.46 / 0.92])
    np.testing.assert_allclose(without_tail(np.full(20, 0.05), 0.1), [0, 0, *[1 / 18] * 18])
    np.testing.assert_allclose(without_tail(np.array([1.0])), [1.0])


def test_no_model_of_the_tail_is_in_the_model(values):
    rows, _ = values
    random = np.random.default_rng(5)
    many = [rows.labels + random.normal(0, 1 + k / 4, rows.labels.size) for k in range(12)]
    weights = steadied_selection(rows, many)
    greedy = greedy_selection(rows, many)
    left_out = (greedy > 0) & (weights == 0)
    assert left_out.any()
    assert greedy[left_out].sum() / 2 <= TAIL
    kept = weights > 0
    assert 1 < kept.sum() < 12
    # One more would not have fitted into the tail.
    assert greedy[left_out].sum() / 2 + weights[kept].min() > TAIL
    assert weights.sum() == pytest.approx(1)


def test_weights_under_several_protocols_are_of_models_that_are_good_under_both(values):
    rows, _ = values
    random = np.random.default_rng(6)

    def off(error):
        return rows.labels + random.normal(0, error, rows.labels.size)

    # One that is best where it is fresh and bad where it is stale, and one that is good at both.
    frozen, rolling = np.stack([off(4), off(1)]), np.stack([off(0.8), off(1)])
    weights = shared_weights(rows, [frozen, rolling])
    assert weights[1] > 0.6
    np.testing.assert_allclose(shared_weights(rows, [rolling, frozen]), weights, atol=0.05)
    assert steadied_selection(rows, list(rolling))[0] > 0.5
    # Where both protocols see the same, they are one.
    alone = steadied_selection(rows, list(rolling))
    np.testing.assert_array_equal(shared_weights(rows, [rolling, rolling]), alone)
