from __future__ import annotations

import numpy as np
import pytest
from scipy.stats.contingency import association

from models.relatron.agreement import Pairs, Resampling, agreement, correlation, cramer


def pairs_of(first, second, entity=None) -> tuple[Pairs, Resampling]:
    first, second = np.asarray(first, float), np.asarray(second, float)
    entity = np.arange(len(first)) if entity is None else entity
    pairs = Pairs(entity, first, second, np.ones(len(first)))
    return pairs, Resampling.of(int(entity.max()) + 1, entity, 200, 0)


def test_agreement_of_classes_is_what_chance_does_not_explain():
    first, second = [0] * 60 + [1] * 40, [0] * 50 + [1] * 10 + [0] * 10 + [1] * 30
    pairs, resampling = pairs_of(first, second)
    chance = 0.6 * 0.6 + 0.4 * 0.4
    found = agreement(pairs, 2, resampling)
    assert found.value == pytest.approx((0.8 - chance) / (1 - chance))
    assert 0.03 < found.error < 0.15


def test_agreement_of_numbers_is_pearsons_correlation_whatever_their_size():
    generator = np.random.default_rng(0)
    first = generator.normal(1e6, 1, 500)
    second = first + generator.normal(0, 1, 500)
    pairs, resampling = pairs_of(first, second)
    found = agreement(pairs, 0, resampling)
    assert found.value == pytest.approx(np.corrcoef(first, second)[0, 1])
    # The textbook's error of a correlation.
    assert found.error == pytest.approx((1 - found.value**2) / 500**0.5, rel=0.4)


def test_a_row_of_many_pairs_makes_the_error_larger_not_the_value():
    generator = np.random.default_rng(0)
    first = generator.integers(0, 2, 100).repeat(20)
    second = generator.integers(0, 2, 100).repeat(20)
    apart = agreement(*pairs_of(first, second)[:1], 2, pairs_of(first, second)[1])
    pairs, resampling = pairs_of(first, second, np.arange(100).repeat(20))
    together = agreement(pairs, 2, resampling)
    assert together.value == pytest.approx(apart.value)
    assert together.error > 2 * apart.error


def test_cramers_v_is_the_textbooks_for_many_pairs_and_zero_for_independence():
    generator = np.random.default_rng(0)
    first = generator.integers(0, 3, 20000)
    second = np.where(
        generator.random(20000) < 0.5, (first + 1) % 3, generator.integers(0, 3, 20000)
    )
    pairs, resampling = pairs_of(first, second)
    table = np.histogram2d(first, second, 3)[0].astype(int)
    assert cramer(pairs, 3, resampling).value == pytest.approx(association(table), abs=1e-3)
    pairs, resampling = pairs_of(first, generator.permutation(second))
    assert cramer(pairs, 3, resampling).value < 0.03


@pytest.mark.parametrize("measure", [correlation, lambda p, r: agreement(p, 2, r)])
def test_constant_labels_and_few_pairs_have_no_agreement(measure):
    for first in (np.ones(100), np.array([0.0, 1.0] * 5)):
        found = measure(*pairs_of(first, first))
        assert np.isnan(found.value)
        assert np.isnan(found.error)
