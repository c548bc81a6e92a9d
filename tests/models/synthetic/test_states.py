"""Latent states: standard, drifting, inherited and remembered as much as asked for."""

import numpy as np
import pytest

from models.synthetic.draws import Fixed
from models.synthetic.states import (
    INPUTS,
    Influence,
    States,
    autoregressive,
    drifting,
    earlier_mean,
    random_map,
)
from models.synthetic.streams import Streams


def test_random_maps_are_sparse_standard_and_not_straight():
    normal = np.random.default_rng(0).standard_normal((4000, 8))
    straight = []
    for seed in range(8):
        found = random_map(8, Streams(seed).generator("map"))
        outputs = found(normal)
        assert (np.count_nonzero(found.first, axis=0) <= INPUTS).all()
        assert (np.count_nonzero(found.second, axis=0) <= INPUTS).all()
        assert np.abs(outputs.mean(axis=0)).max() < 0.25
        assert np.abs(outputs.std(axis=0) - 1).max() < 0.25
        fitted = normal @ np.linalg.lstsq(normal, outputs, rcond=None)[0]
        straight.append((fitted.std(axis=0) ** 2).mean())
    assert 0.2 < np.mean(straight) < 0.9


def test_random_maps_take_any_shape():
    found = random_map(3, Streams(1).generator("map"))
    states = np.random.default_rng(0).standard_normal((5, 4, 3))
    np.testing.assert_allclose(found(states)[2, 1], found(states[2, 1]))


@pytest.mark.parametrize("drift", [0.0, 0.5, 1.0, 3.0])
def test_drift_is_how_fast_states_forget_where_they_began(drift):
    found = drifting(3000, 9, 2, drift, np.random.default_rng(3))
    assert np.abs(found.std(axis=0) - 1).max() < 0.06
    for knot, moment in [(2, 0.25), (4, 0.5), (8, 1.0)]:
        seen = np.mean([np.corrcoef(found[:, 0, d], found[:, knot, d])[0, 1] for d in range(2)])
        assert seen == pytest.approx(1 / np.sqrt(1 + drift**2 * (moment + moment**2) / 2), abs=0.04)


def test_trend_moves_all_entities_together():
    def means(trend):
        settings = States(trend=Fixed(trend), drift=Fixed(0.5))
        return settings.of_entities(2000, [], Streams(2)).mean(axis=0)

    assert np.abs(means(0.0)).max() < 0.1
    np.testing.assert_allclose(means(2.0)[8] - means(0.0)[8], 2 * (means(1.0) - means(0.0))[8])
    assert np.abs(means(2.0)[8]).mean() > 0.5


@pytest.mark.parametrize("influence", [0.0, 0.5, 2.0])
def test_children_of_one_parent_are_alike_by_their_influence(influence):
    parents = np.repeat(np.arange(800), 4)
    above = np.random.default_rng(5).standard_normal((800, 8))
    passed = [Influence(above[parents], np.ones(len(parents), bool), "parent_id")]
    settings = States(influence=Fixed(influence), noise=Fixed(1.0), memory=Fixed(0.0))
    owners = np.arange(len(parents))
    found = settings.of_activities(len(parents), owners, passed, Streams(4))[:, 0]
    assert np.abs(found.std(axis=0) - 1).max() < 0.15
    siblings = found.reshape(800, 4, 8)
    seen = np.mean([np.corrcoef(siblings[:, 0, d], siblings[:, 1, d])[0, 1] for d in range(8)])
    assert seen == pytest.approx(influence**2 / (1 + influence**2), abs=0.08)


def test_a_parent_that_is_not_there_passes_nothing_on():
    present = np.arange(4000) % 2 == 0
    passed = Influence(np.full((4000, 1, 8), 2.0), present, "parent_id")
    settings = States(influence=Fixed(2.0), drift=Fixed(0.0), trend=Fixed(0.0))
    found = settings.of_entities(4000, [passed], Streams(4))[:, 0]
    alone = settings.of_entities(4000, [], Streams(4))[:, 0]
    np.testing.assert_allclose(found[~present], alone[~present])
    assert found[present].std(axis=0).mean() < 0.6


def test_an_entity_follows_its_parents_drift():
    above = drifting(3000, 9, 8, 3.0, np.random.default_rng(1))
    settings = States(influence=Fixed(2.0), drift=Fixed(0.0), trend=Fixed(0.0))
    passed = Influence(above, np.ones(3000, bool), "parent_id")
    found = settings.of_entities(3000, [passed], Streams(0))
    still = settings.of_entities(3000, [Influence(above[:, :1], passed.present, "x")], Streams(0))
    assert np.corrcoef(found[:, 0, 0], found[:, 8, 0])[0, 1] < 0.8
    np.testing.assert_allclose(still[:, 0], still[:, 8])


@pytest.mark.parametrize("memory", [0.3, 0.9])
def test_memory_equals_the_recursion_row_by_row(memory):
    random = np.random.default_rng(2)
    fresh, owners = random.standard_normal((600, 2)), random.integers(0, 7, 600)
    last: dict[int, np.ndarray] = {}
    expected = []
    for row, owner in zip(fresh, owners.tolist(), strict=True):
        before = last.get(owner)
        last[owner] = row if before is None else memory * before + np.sqrt(1 - memory**2) * row
        expected.append(last[owner])
    np.testing.assert_allclose(autoregressive(fresh, owners, memory), expected, atol=1e-9)


@pytest.mark.parametrize("memory", [-0.5, 0.0, 0.4, 0.8])
def test_memory_is_the_correlation_with_the_owners_previous_row(memory):
    owners = np.arange(6000) % 60
    settings = States(memory=Fixed(memory))
    found = settings.of_activities(6000, owners, [], Streams(1))[:, 0].reshape(100, 60, 8)
    seen = np.corrcoef(found[1:].ravel(), found[:-1].ravel())[0, 1]
    assert seen == pytest.approx(max(memory, 0.0), abs=0.03)
    assert found.std() == pytest.approx(1.0, abs=0.05)


def test_earlier_mean_looks_strictly_back_at_the_own_rows_only():
    random = np.random.default_rng(0)
    owners, times = random.integers(-1, 5, 300), np.sort(random.integers(1, 41, 300) / 40)
    values = random.standard_normal(300)
    whose, when = random.integers(0, 6, 200), random.integers(0, 41, 200) / 40
    expected = [
        values[(owners == o) & (times < t)].sum() / (((owners == o) & (times < t)).sum() + 1)
        for o, t in zip(whose, when, strict=True)
    ]
    np.testing.assert_allclose(earlier_mean(owners, times, values, whose, when), expected)


def test_settings_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="knots"):
        States(knots=1)
    with pytest.raises(ValueError, match="memory must be from"):
        States(memory=Fixed(1.0)).of_activities(5, np.zeros(5, int), [], Streams(0))
    with pytest.raises(ValueError, match="drift must be from 0"):
        States(drift=Fixed(-1.0)).of_entities(5, [], Streams(0))
