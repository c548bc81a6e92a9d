"""Settings of a study: one dial at a time, all at once, and the same for the same seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from models.synthetic.dials.dials import FACTORS, Aggregate, Dials
from models.synthetic.dials.sweep import CENTRE, moved_dials, one_dial_sweep, settings


@pytest.fixture(scope="module")
def study() -> list[Dials]:
    return settings(260, 0)


def test_equal_seeds_give_equal_settings_and_others_others(study):
    assert settings(260, 0) == study
    other = settings(260, 1)
    assert other[::2] == study[::2]
    assert all(mine != theirs for mine, theirs in zip(other[1::2], study[1::2], strict=True))


@pytest.mark.parametrize("count", [1, 2, 27, 64])
def test_a_longer_study_begins_with_the_shorter_one(study, count):
    assert settings(count, 0) == study[:count]


def test_half_of_a_study_moves_one_dial_at_a_time(study):
    moved = Counter(moved_dials(dials) for dials in study[::2])
    assert max(map(len, moved)) == 1
    # Each of 13 dials has 10 settings, of which those at the centre's value move nothing.
    assert len(moved) == 14
    assert min(moved.values()) >= 5


def test_the_rest_fills_the_space(study):
    spread = study[1::2]
    for name, low, high in (
        ("noise", 0.05, 0.55),
        ("rows", 300, 6000),
        ("degree", 2, 20),
        ("positive_rate", 0.1, 0.45),
        ("homophily", 0.02, 0.5),
        ("autocorrelation", 0.02, 0.5),
        ("interaction", 0.02, 0.5),
        ("plain", 0.02, 0.5),
    ):
        values = np.array([getattr(dials, name) for dials in spread])
        assert values.min() <= low, name
        assert values.max() >= high, name
    assert {(dials.depth, dials.order) for dials in spread} == set(FACTORS)
    assert {dials.aggregate for dials in spread} == set(Aggregate)
    # Dials that are drawn apart are not correlated.
    columns = np.array([[d.noise, d.rows, d.degree, d.positive_rate] for d in spread])
    assert np.abs(np.corrcoef(columns.T) - np.eye(4)).max() < 0.15


def test_a_sweep_goes_through_its_range_in_even_steps():
    values = [dials.homophily for dials in one_dial_sweep("homophily", 6)]
    assert np.allclose(np.diff(values), 0.1)
    assert values[-1] == pytest.approx(CENTRE.homophily + CENTRE.plain)
    assert [dials.rows for dials in one_dial_sweep("rows", 2)] == [250, 8000]


def test_a_wrong_study_is_refused():
    with pytest.raises(ValueError, match="at least 1 task"):
        settings(0, 0)
    with pytest.raises(ValueError, match="no sweep over 'seed'"):
        one_dial_sweep("seed", 3)
