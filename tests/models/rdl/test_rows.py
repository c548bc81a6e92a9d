"""Rows as networks read them: known values, gaps, categories never met, calendar, texts."""

import math
from datetime import datetime

import polars as pl
import pytest
import torch

from models.rdl.graph import MISSING_TIME
from models.rdl.row_encoder import AgeEncoder, RowEncoder, features_of
from models.rdl.rows import number_names, row_inputs
from models.rdl.statistics import graph_statistics
from tests.models.rdl.futures import with_another_future
from tests.models.rdl.league import (
    half_day,
    league_frames,
    league_graph,
    league_inputs,
    microseconds,
)

FRAMES = league_frames()


def test_numbers_are_scaled_and_gaps_flagged(statistics, inputs):
    names = number_names(statistics["plays"])
    assert inputs["plays"].numbers.shape == (150, len(names))
    assert inputs["plays"].numbers.dtype == torch.float32
    (scale,) = (number for number in statistics["plays"].numbers if number.column == "points")
    scaled = inputs["plays"].numbers[:, names.index("points")].tolist()
    gaps = inputs["plays"].numbers[:, names.index("points is missing")].tolist()
    for value, found, gap in zip(FRAMES["plays"]["points"], scaled, gaps, strict=True):
        is_gap = value is None or not math.isfinite(value)
        expected = 0.0 if is_gap else math.asinh((value - scale.centre) / scale.scale)
        assert found == pytest.approx(expected, abs=1e-6)
        assert gap == is_gap


def test_the_calendar_of_event_times_and_timestamps(statistics, inputs):
    names = number_names(statistics["players"])
    for column, shown in (("joined", "event time"), ("born", "born")):
        of_day, of_week, of_year = (
            inputs["players"].numbers[
                :, [names.index(f"{shown}, {part} of the {period}") for part in ("sine", "cosine")]
            ]
            for period in ("day", "week", "year")
        )
        for row, time in enumerate(FRAMES["players"][column]):
            if time is None:
                for cycle in (of_day, of_week, of_year):
                    assert cycle[row].tolist() == [0.0, 0.0]
                continue
            days = (time - datetime(1970, 1, 1)).total_seconds() / 86400
            for cycle, period in ((of_day, 1.0), (of_week, 7.0), (of_year, 365.2425)):
                angle = 2 * math.pi * days / period
                assert cycle[row].tolist() == pytest.approx(
                    [math.sin(angle), math.cos(angle)], abs=1e-4
                )


def test_categories_never_met_are_others_and_missing_ones_are_marked(league, tmp_path):
    statistics, _ = league_inputs(league)
    known = statistics["players"].categories["position"]
    positions = ["goal", None, known[0], "aardvark", *[known[-1]] * 8]
    players = FRAMES["players"].with_columns(position=pl.Series(positions))
    other = league_graph(tmp_path, {**FRAMES, "players": players})
    codes = row_inputs(other, statistics)["players"].codes[:, 0].tolist()
    assert codes == [len(known), -1, 0, len(known), *[len(known) - 1] * 8]


def test_values_of_a_row_do_not_depend_on_the_future(league, tmp_path):
    """Codes, texts and numbers of past rows stay, though dictionaries grow and rows come."""
    until = half_day(35)
    other = league_graph(tmp_path, with_another_future(FRAMES, until))
    limit = microseconds(until).item()
    for name in ("players", "matches", "plays"):
        one, two = (
            row_inputs(graph, graph_statistics(graph, limit))[name] for graph in (league, other)
        )
        before = torch.nonzero(
            (league.tables[name].time <= limit) & (league.tables[name].time != MISSING_TIME)
        ).squeeze(1)
        after = torch.arange(len(before))
        assert len(before) > 3
        for first, second in zip(features_of(one, before), features_of(two, after), strict=True):
            if isinstance(first, tuple):
                assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
            else:
                assert torch.equal(first, second)
        assert torch.equal(one.times[before], two.times[after])


def test_texts(league, inputs):
    values = league.tables["plays"].text["note"]
    _, _, (notes,) = features_of(inputs["plays"], torch.arange(150))
    for row, note in enumerate(FRAMES["plays"]["note"]):
        if note is None:
            assert not notes[row].any()
        else:
            place = values.values.to_list().index(note)
            assert torch.equal(notes[row], values.embeddings[place])
    assert values.codes.min() == -1


def test_times_stand_in_order(statistics, inputs, league):
    players = league.tables["players"]
    assert torch.equal(inputs["players"].times[:, 0], players.time)
    assert torch.equal(inputs["players"].times[:, 1], players.timestamps[:, 0])
    assert inputs["teams"].times.shape == (5, 0)
    assert inputs["injuries"].numbers.shape == (0, len(number_names(statistics["injuries"])))


def test_a_graph_that_lost_its_values_can_be_read(statistics, tmp_path):
    frames = {name: frame.clear() for name, frame in FRAMES.items()}
    found = row_inputs(league_graph(tmp_path, frames), statistics)
    assert found["players"].codes.shape == (0, 1)
    nulls = FRAMES["players"].with_columns(
        position=pl.lit(None, pl.String), bio=pl.lit(None, pl.String)
    )
    graph = league_graph(tmp_path / "nulls", {**FRAMES, "players": nulls})
    found = row_inputs(graph, statistics)["players"]
    assert found.codes.tolist() == [[-1]] * 12
    _, _, (bios,) = features_of(found, torch.arange(12))
    assert bios.shape == (12, 64)
    assert not bios.any()


@pytest.mark.parametrize("table", ["teams", "players", "matches", "plays", "injuries"])
def test_encoded_rows(statistics, inputs, table):
    torch.manual_seed(0)
    encoder = RowEncoder(statistics[table], 8, 2, 0.0)
    rows = torch.arange(len(inputs[table].numbers))
    encoded = encoder(inputs[table], rows)
    assert encoded.shape == (len(rows), 8)
    assert bool(encoded.isfinite().all())
    encoder.eval()
    there, back = encoder(inputs[table], rows), encoder(inputs[table], rows.flip(0))
    torch.testing.assert_close(back, there.flip(0))


def test_missing_other_and_known_categories_differ(statistics, inputs):
    torch.manual_seed(0)
    encoder = RowEncoder(statistics["players"], 8, 1, 0.0).eval()
    known = len(statistics["players"].categories["position"])
    numbers, _, text = features_of(inputs["players"], torch.zeros(known + 2, dtype=torch.int64))
    codes = torch.arange(-1, known + 1)[:, None]
    encoded = encoder.encode(numbers, codes, text)
    assert bool(encoded.isfinite().all())
    assert len(torch.unique(encoded, dim=0)) == known + 2


def test_ages_count_from_the_cutoff(statistics):
    torch.manual_seed(0)
    encoder = AgeEncoder(2, 8)
    times = torch.tensor([[0, 86_400_000_000], [MISSING_TIME, 0], [MISSING_TIME] * 2])
    later = torch.where(times == MISSING_TIME, times, times + 5_000_000)
    at = torch.full((3,), 10**13)
    encoded = encoder(times, at)
    assert encoded.shape == (3, 8)
    assert torch.equal(encoder(later, at + 5_000_000), encoded)
    assert not torch.equal(encoder(times, at + 10**12)[0], encoded[0])
    assert torch.equal(encoded[2], encoder.linear.bias)
    ahead, behind = (encoder(times[:1], torch.tensor([sign * 10**12])) for sign in (-1, 1))
    assert not torch.equal(ahead, behind)
    extremes = encoder(torch.tensor([[-(10**17), 10**17]]), torch.tensor([0]))
    assert bool(extremes.isfinite().all())
