from __future__ import annotations

import numpy as np
import pytest

from models.synthetic.history import Aggregate, earlier_rows

HALF_LIFE = 0.07


@pytest.fixture
def events():
    """Owners (some rows have none), ascending times with ties, values; and questions."""
    generator = np.random.default_rng(5)
    owners = generator.integers(-1, 12, 400)
    times = np.sort(generator.integers(0, 200, 400) / 200)
    values = generator.standard_normal(400)
    whose = generator.integers(-1, 14, 300)
    when = generator.integers(0, 201, 300) / 200
    return owners, times, values, whose, when


def by_hand(aggregate: Aggregate, values: np.ndarray, age: np.ndarray) -> float:
    if aggregate == Aggregate.COUNT:
        return len(values)
    if aggregate == Aggregate.SUM:
        return values.sum()
    if not len(values):
        return np.nan
    weights = 0.5 ** (age / HALF_LIFE)
    return {
        Aggregate.MEAN: values.mean(),
        Aggregate.LAST: values[-1],
        Aggregate.MAX: values.max(),
        Aggregate.DECAYED_MEAN: (weights * values).sum() / weights.sum(),
    }[aggregate]


@pytest.mark.parametrize("aggregate", list(Aggregate))
def test_aggregates_are_those_of_the_rows_strictly_before(aggregate, events):
    owners, times, values, whose, when = events
    found = earlier_rows(owners, times, whose, when).aggregate(aggregate, values, HALF_LIFE)
    expected = []
    for owner, moment in zip(whose, when, strict=True):
        before = (owners == owner) & (times < moment) & (owner >= 0)
        expected.append(by_hand(aggregate, values[before], moment - times[before]))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (whose == -1).any()
    assert (whose > 11).any()


@pytest.mark.parametrize("aggregate", list(Aggregate))
def test_later_rows_and_other_owners_change_not_a_bit(aggregate, events):
    owners, times, values, whose, when = events
    asked = (when <= 0.4) & (whose < 6)
    kept = (times < 0.4) & (owners < 6)

    def aggregates(rows: np.ndarray) -> np.ndarray:
        earlier = earlier_rows(owners[rows], times[rows], whose[asked], when[asked])
        return earlier.aggregate(aggregate, values[rows], HALF_LIFE)

    np.testing.assert_array_equal(aggregates(kept), aggregates(np.ones(len(owners), bool)))


def test_nothing_happened_to_anybody():
    nobody = np.zeros(0, np.int64)
    earlier = earlier_rows(nobody, np.zeros(0), np.array([0, -1]), np.array([0.5, 0.5]))
    for aggregate in Aggregate:
        found = earlier.aggregate(aggregate, np.zeros(0))
        if aggregate in (Aggregate.COUNT, Aggregate.SUM):
            assert found.tolist() == [0, 0]
        else:
            assert np.isnan(found).all()
