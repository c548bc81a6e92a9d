"""Figures of foreign keys against what was planted."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models.fidelity.degrees import degrees, tail_index
from tests.models.fidelity.made import made_database, moments


def of_key(folder, parents, child_parents, days=None):
    child = {"child_id": np.arange(len(child_parents)), "parent_id": child_parents}
    frame = pl.DataFrame(child, schema_overrides={"parent_id": pl.Int64}, strict=False)
    times = {}
    if days is not None:
        frame = frame.with_columns(at=moments(days))
        times = {"child": "at"}
    frames = {"parent": pl.DataFrame({"parent_id": np.arange(parents)}), "child": frame}
    (found,) = degrees(made_database(folder, frames, [("child", "parent_id", "parent")], times))
    return found


@pytest.mark.parametrize("exponent", [0.8, 1.5, 2.5])
def test_a_planted_tail_exponent_is_found(exponent):
    uniform = np.random.default_rng(1).random(20_000)
    found = tail_index(np.round(2 * uniform ** (-1 / exponent)))
    assert found == pytest.approx(exponent, rel=0.1)


def test_a_tail_index_needs_ten_parents_and_is_great_for_equal_degrees():
    assert tail_index(np.ones(9)) is None
    assert tail_index(np.full(500, 30.0)) > 20


def test_shares_are_counted(tmp_path):
    # Ten parents: one with 11 children, eight with one, one with none; a fifth of 25 has no parent.
    parents = [0] * 11 + list(range(1, 9)) + [None] * 5 + [99]
    found = of_key(tmp_path, 10, parents)
    assert found.null_share == pytest.approx(5 / 25)
    assert found.mean == pytest.approx(1.9)
    assert found.max_over_mean == pytest.approx(11 / 1.9)
    assert found.top_decile_share == pytest.approx(11 / 19)
    assert found.childless_share == pytest.approx(0.1)
    assert (found.span, found.burstiness, found.still_active) == (None, None, None)
    assert found.quantiles[-1] == pytest.approx(11 / 1.9)
    assert found.key == "child(parent_id) -> parent"


def test_a_parent_without_children_at_all_gives_no_ratios(tmp_path):
    found = of_key(tmp_path, 3, [None, None])
    assert (found.mean, found.max_over_mean, found.top_decile_share) == (0, None, None)
    assert (found.childless_share, found.quantiles) == (1, ())


@pytest.mark.parametrize(
    ("clock", "low", "high"), [("metronome", 0.0, 0.01), ("poisson", 0.9, 1.05), ("bursts", 2, 9)]
)
def test_burstiness_tells_clocks_apart(tmp_path, clock, low, high):
    generator = np.random.default_rng(2)
    gaps = {
        "metronome": np.ones((50, 40)),
        "poisson": generator.exponential(1.0, (50, 40)),
        "bursts": generator.pareto(1.2, (50, 40)),
    }[clock]
    days = np.cumsum(gaps, axis=1).ravel()
    found = of_key(tmp_path, 50, np.repeat(np.arange(50), 40), days)
    assert low <= found.burstiness <= high


def test_spans_and_continued_activity(tmp_path):
    # Two parents over the whole timeline; one in its first half; one at its end alone.
    rows = [(0, 0), (0, 100), (1, 10), (1, 95), (2, 0), (2, 50), (3, 99)]
    parents, days = zip(*rows, strict=True)
    found = of_key(tmp_path, 4, np.array(parents), np.array(days))
    assert found.span == pytest.approx((1 + 0.85 + 0.5) / 3)
    assert found.still_active == pytest.approx(2 / 3)
