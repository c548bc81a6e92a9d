"""Earlier labels are seen from the moment their window has closed, and never before."""

from datetime import timedelta

import polars as pl
import pytest
import torch

from models.database.schema import Task, TaskType
from models.rdl.config import Strategy
from models.rdl.graph import EdgeType
from models.rdl.past_labels import TABLE, with_past_labels
from models.rdl.sampler import TemporalSampler
from models.rdl.statistics import graph_statistics
from tests.models.rdl.league import (
    MICROSECOND,
    half_day,
    league_frames,
    microseconds,
    same,
)
from tests.models.rdl.neighbourhoods import sampled_hops

WINDOW = timedelta(days=2)
TO_PLAYER = EdgeType(TABLE, "f2p_entity", "players")


def task(task_type=TaskType.REGRESSION, window=WINDOW):
    return Task("t", "players", "player", "at", "y", task_type, window, WINDOW, WINDOW)


def labelled(label=lambda row: float(row % 5), dtype=pl.Float64, cutoffs=range(2, 50, 3)):
    players = league_frames()["players"]["id"].to_list()
    pairs = [(player, half_day(cutoff)) for player in players for cutoff in cutoffs]
    return pl.DataFrame(
        {
            "entity": [player for player, _ in pairs],
            "cutoff_time": [time for _, time in pairs],
            "label": [label(row) for row in range(len(pairs))],
        },
        schema={"entity": pl.Int64, "cutoff_time": pl.Datetime("us"), "label": dtype},
    )


def seen_labels(graph, until, rows=range(12), fan_outs=(10**9,)):
    """The (entity, cutoff time, label) that each seed sees as of a time."""
    rows = torch.tensor(list(rows))
    found = TemporalSampler(graph, fan_outs, Strategy.LAST).sample(
        "players", rows, microseconds(until).expand(len(rows))
    )
    table = graph.tables[TABLE]
    labels = table.keys.with_columns(label=pl.Series(table.numerical[:, 0].numpy()))
    places = found.rows[TABLE].tolist()
    return sorted(zip(found.seed_of[TABLE].tolist(), labels[places].rows(), strict=True), key=repr)


@pytest.mark.parametrize("offset", [-MICROSECOND, timedelta(0), MICROSECOND])
def test_a_label_is_seen_from_the_end_of_its_window_on(league, offset):
    known = labelled()
    graph = with_past_labels(league, task(), known)
    cutoff = half_day(20)
    until = cutoff + WINDOW + offset
    players = league_frames()["players"]["id"].to_list()
    expected = sorted(
        (
            (players.index(entity), (entity, time, label))
            for entity, time, label in known.rows()
            if time + WINDOW <= until
        ),
        key=repr,
    )
    found = seen_labels(graph, until)
    assert found == expected
    assert (max(time for _, (_, time, _) in found) == cutoff) == (offset >= timedelta(0))


def test_an_example_never_sees_its_own_label_nor_a_later_one(league):
    known = labelled()
    graph = with_past_labels(league, task(window=MICROSECOND), known)
    for cutoff in (half_day(5), half_day(20), half_day(47)):
        assert all(time < cutoff for _, (_, time, _) in seen_labels(graph, cutoff))
    assert seen_labels(graph, half_day(47))


def test_labels_that_close_later_change_nothing(league):
    until = half_day(21)
    known = labelled()
    late = pl.col("cutoff_time") + WINDOW > until
    changed = known.with_columns(
        label=pl.when(late).then(pl.col("label") * -9 - 1).otherwise("label")
    ).filter(~late | (pl.col("entity") % 2 == 0))
    assert 0 < changed.height < known.height
    one, other = (with_past_labels(league, task(), some) for some in (known, changed))
    limit = microseconds(until)
    assert graph_statistics(one, limit.item()) == graph_statistics(other, limit.item())
    for fan_outs in ((2,), (3, 3), (10**9, 10**9)):
        assert seen_labels(one, until, fan_outs=fan_outs) == seen_labels(
            other, until, fan_outs=fan_outs
        )
    assert seen_labels(one, half_day(90)) != seen_labels(other, half_day(90))


def test_the_newest_labels_are_the_last(league):
    graph = with_past_labels(league, task(), labelled())
    found = seen_labels(graph, half_day(40), fan_outs=(2,))
    assert {time for _, (_, time, _) in found} == {half_day(32), half_day(35)}


def test_the_rest_of_the_graph_stays(league):
    graph = with_past_labels(league, task(), labelled())
    assert graph.edge_types[:-2] == league.edge_types
    assert graph.edge_types[-2] == TO_PLAYER
    until = microseconds(half_day(33)).expand(12)
    rows = torch.arange(12)
    without = TemporalSampler(league, (3, 3), Strategy.LAST).sample("players", rows, until)
    with_labels = TemporalSampler(graph, (3, 3), Strategy.LAST, {TO_PLAYER.name: (0, 0)}).sample(
        "players", rows, until
    )
    assert sampled_hops(with_labels) == sampled_hops(without)
    assert TABLE not in league.tables
    for name, table in league.tables.items():
        assert same(graph.tables[name].numerical, table.numerical)


def test_classes_are_categories(league):
    names = ["lost", "drawn", "won"]
    known = labelled(lambda row: names[row % 3], pl.String)
    graph = with_past_labels(league, task(TaskType.MULTICLASS_CLASSIFICATION), known)
    values = graph.tables[TABLE].categorical["label"]
    assert values.values.to_list() == sorted(names)
    found = [values.values[code] for code in values.codes.tolist()]
    assert found == known.sort("cutoff_time", "entity")["label"].to_list()
    assert graph.tables[TABLE].numerical.shape == (known.height, 0)


@pytest.mark.parametrize(
    ("dtype", "values"), [(pl.Boolean, [True, False]), (pl.Int64, [3, -2]), (pl.Float64, [0.5, 7])]
)
def test_numbers_are_numbers(league, dtype, values):
    graph = with_past_labels(league, task(), labelled(lambda row: values[row % 2], dtype))
    found = set(graph.tables[TABLE].numerical[:, 0].tolist())
    assert found == {float(value) for value in values}


def test_rows_without_a_label_and_unknown_entities_are_left_out(league):
    stray = pl.DataFrame(
        {"entity": [998], "cutoff_time": [half_day(3)], "label": [1.0]}, schema=labelled().schema
    )
    known = labelled(lambda row: None if row % 2 else 1.0)
    graph = with_past_labels(league, task(), pl.concat([known, stray]))
    assert graph.tables[TABLE].rows == known["label"].drop_nulls().len()


@pytest.mark.parametrize("dtype", [pl.Float64, pl.String])
def test_no_labels_at_all(league, dtype):
    graph = with_past_labels(league, task(), labelled(dtype=dtype, cutoffs=()))
    assert graph.tables[TABLE].rows == 0
    rows, until = torch.arange(12), microseconds(half_day(9)).expand(12)
    found = TemporalSampler(graph, (4, 4)).sample("players", rows, until)
    assert len(found.rows[TABLE]) == 0
