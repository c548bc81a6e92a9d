"""The share of a column that others explain."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models.synthetic.explained import explained_share

ROWS = 20_000


@pytest.fixture
def random():
    return np.random.default_rng(3)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_numbers_explained_by_a_number(random, share):
    known, noise = random.standard_normal((2, ROWS))
    values = pl.Series(np.sqrt(share) * known + np.sqrt(1 - share) * noise)
    assert explained_share(values, [pl.Series(known)]) == pytest.approx(share, abs=0.02)


def test_a_function_of_a_category_is_explained_whole(random):
    names = pl.Series(["a", "b", "c"]).gather(random.integers(0, 3, ROWS))
    assert explained_share(names.replace_strict({"a": 1, "b": 5, "c": 2}), [names]) == 1.0
    assert explained_share(names + "!", [names]) == 1.0


def test_categories_explained_in_part(random):
    """Right with probability q + (1 - q)/2: a share of q² of the variation of two equal halves."""
    known = random.random(ROWS) < 0.5
    shown = np.where(random.random(ROWS) < 0.6, known, random.random(ROWS) < 0.5)
    assert explained_share(pl.Series(shown), [pl.Series(known)]) == pytest.approx(0.36, abs=0.03)


def test_times_are_numbers(random):
    days = pl.Series(random.integers(0, 1000, ROWS))
    times = pl.Series(days + random.integers(3, 15, ROWS)).cast(pl.Datetime("us"))
    assert 0.99 < explained_share(times, [days]) < 1.0


def test_two_inputs_explain_together_what_neither_does_alone(random):
    left, right = (pl.Series(random.random(ROWS) < 0.5) for _ in range(2))
    either = left ^ right
    assert explained_share(either, [left]) < 0.01
    assert explained_share(either, [left, right]) == 1.0


def test_many_groups_explain_nothing_by_chance(random):
    groups = pl.Series(random.integers(0, 400, 1000)).cast(pl.String)
    shares = [explained_share(pl.Series(random.standard_normal(1000)), [groups]) for _ in range(20)]
    assert np.mean(shares) < 0.05


def test_missing_values_are_left_out_and_missing_inputs_are_a_value(random):
    values = pl.Series([1.0, 1.0, None, 4.0, 4.0])
    assert explained_share(values, [pl.Series(["a", "a", "a", None, None])]) == 1.0


@pytest.mark.parametrize(
    ("values", "inputs"),
    [
        ([], [[]]),
        ([1.0, 2.0], []),
        ([None, None], [["a", "b"]]),
        ([3.0, 3.0, 3.0], [["a", "a", "b"]]),
        ([1.0, 2.0], [["a", "b"]]),
    ],
)
def test_where_nothing_can_be_said_the_share_is_zero(values, inputs):
    inputs = [pl.Series(one, dtype=pl.String) for one in inputs]
    assert explained_share(pl.Series(values, dtype=pl.Float64), inputs) == 0.0
