"""Scales and categories come from visible rows alone."""

import json

import numpy as np
import polars as pl
import pytest
import torch

from models.rdl.statistics import (
    MAX_CATEGORIES,
    MIN_ROWS,
    graph_statistics,
    statistics_from_plain,
)
from tests.models.rdl.futures import with_another_future
from tests.models.rdl.league import (
    HALF_DAYS,
    half_day,
    league_frames,
    league_graph,
    microseconds,
)

UNTIL = half_day(35)
FRAMES = league_frames()


def statistics_at(graph, until=UNTIL, hidden=()):
    return graph_statistics(graph, microseconds(until).item(), hidden)


def numbers_of(statistics):
    return {number.column: number for number in statistics.numbers}


def test_the_future_moves_nothing(league, tmp_path):
    other = league_graph(tmp_path, with_another_future(FRAMES, UNTIL))
    assert statistics_at(other) == statistics_at(league)
    # The same change would move what looks at all rows.
    end = half_day(20 * HALF_DAYS)
    assert statistics_at(other, end) != statistics_at(league, end)


def test_medians_and_spreads(league):
    plays = FRAMES["plays"].filter(pl.col("at") <= UNTIL)
    points = plays["points"]
    known = np.sort([value for value in points if value is not None and np.isfinite(value)])
    found = numbers_of(statistics_at(league)["plays"])["points"]
    # Order statistics: the lower of two middle values.
    quarter, middle, three = (known[int(share * (len(known) - 1))] for share in (0.25, 0.5, 0.75))
    assert found.centre == middle
    assert found.scale == pytest.approx((three - quarter) / 1.349)
    assert found.has_gaps
    fair = plays["fair"].drop_nulls().cast(pl.Float64)
    assert numbers_of(statistics_at(league)["plays"])["fair"].centre == pytest.approx(
        np.sort(fair)[int(0.5 * (len(fair) - 1))]
    )


def test_a_column_without_quartile_spread_takes_its_deviation(tmp_path):
    plays = FRAMES["plays"].with_columns(
        points=pl.when(pl.col("id") % 9 == 0).then(8.0).otherwise(2.0)
    )
    graph = league_graph(tmp_path, {**FRAMES, "plays": plays})
    found = numbers_of(statistics_at(graph)["plays"])["points"]
    visible = plays.filter(pl.col("at") <= UNTIL)["points"]
    assert (found.centre, found.has_gaps) == (2.0, False)
    assert found.scale == pytest.approx(visible.std())


@pytest.mark.parametrize(
    ("values", "is_there"),
    [([3.0], False), ([None], False), ([3.0, None], True), ([3.0, 4.0], True)],
)
def test_columns_that_do_not_vary_are_left_out(tmp_path, values, is_there):
    rows = FRAMES["plays"].height
    points = pl.Series("points", (values * rows)[:rows], dtype=pl.Float64)
    graph = league_graph(tmp_path, {**FRAMES, "plays": FRAMES["plays"].with_columns(points)})
    assert ("points" in numbers_of(statistics_at(graph)["plays"])) == is_there


def test_known_categories_are_the_frequent_ones_most_frequent_first(tmp_path):
    rows = 150
    at = pl.Series("at", [half_day(0)] * rows, dtype=pl.Datetime("us"))
    parts = ["rare"] * (MIN_ROWS - 1) + ["some"] * MIN_ROWS + ["most"] * 40
    parts += ["alike b"] * 20 + ["alike a"] * 20 + [None] * (rows - len(parts) - 40)
    injuries = pl.DataFrame(
        {"id": range(rows), "player": [7] * rows, "at": at, "part": parts, "report": ["x"] * rows},
        schema=FRAMES["injuries"].schema,
    )
    graph = league_graph(tmp_path, {**FRAMES, "injuries": injuries})
    found = statistics_at(graph)["injuries"]
    assert found.categories == {"part": ("most", "alike a", "alike b", "some")}
    assert found.text == {"report": 64}


def test_there_are_not_too_many_categories(tmp_path):
    count = (MAX_CATEGORIES + 20) * MIN_ROWS
    injuries = pl.DataFrame(
        {
            "id": range(count),
            "player": [7] * count,
            "at": [half_day(0)] * count,
            "part": [f"{number // MIN_ROWS:03}" for number in range(count)],
            "report": [None] * count,
        },
        schema=FRAMES["injuries"].schema,
    )
    graph = league_graph(tmp_path, {**FRAMES, "injuries": injuries})
    found = statistics_at(graph)["injuries"]
    assert len(found.categories["part"]) == MAX_CATEGORIES
    assert found.text == {}


def test_hidden_columns_are_not_used(league):
    every = statistics_at(league)
    hidden = {
        ("plays", "points"),
        ("players", "position"),
        ("players", "born"),
        ("players", "bio"),
        ("matches", "note"),
    }
    found = statistics_at(league, hidden=hidden)
    assert set(numbers_of(found["plays"])) == {"fair"}
    assert found["plays"].text == every["plays"].text == {"note": 64}
    assert (found["players"].categories, found["players"].timestamps) == ({}, ())
    assert found["players"].text == {}
    assert every["players"].timestamps == ("born",)
    assert set(every["players"].categories) == {"position"}
    assert found["matches"] == every["matches"]


def test_a_table_without_visible_rows_has_no_columns(league):
    for found in (statistics_at(league)["injuries"], statistics_at(league, half_day(-5))["plays"]):
        assert found.is_timed
        assert (found.numbers, found.categories, found.timestamps, found.text) == ((), {}, (), {})


def test_statistics_survive_json(league):
    for known in statistics_at(league).values():
        assert statistics_from_plain(json.loads(json.dumps(known.to_plain()))) == known


def test_rows_without_a_known_time_count_for_nothing(league, tmp_path):
    gone = FRAMES["plays"].filter(pl.col("at").is_not_null())
    without = league_graph(tmp_path, {**FRAMES, "plays": gone})
    assert bool((league.tables["plays"].time_rank == league.ranks - 1).any())
    end = half_day(20 * HALF_DAYS)
    assert statistics_at(without, end) == statistics_at(league, end)
    assert torch.equal(league.times, without.times)
