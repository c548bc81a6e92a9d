"""The graph holds the rows of the staged files, in their order, and the references that hold."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given

from models.database.schema import Column, RelationalSchema, Table
from models.rdl.build import build_graph
from models.rdl.graph import MISSING_TIME, as_microseconds
from models.rdl.text import hashed_texts
from tests.models.aggregation.random_databases import databases, examples
from tests.models.rdl.league import (
    LEAGUE,
    S,
    assert_same_graph,
    half_day,
    league_frames,
    league_graph,
    microseconds,
    same,
    store,
)

FRAMES = league_frames()


def parents_of(graph, number):
    return graph.adjacency[number].parent.tolist()


def looked_up(child, columns, parent, parent_columns):
    """The row number of each reference's row, one by one."""
    rows = {key: row for row, key in enumerate(FRAMES[parent].select(parent_columns).iter_rows())}
    references = FRAMES[child].select(columns).iter_rows()
    return [rows.get(key, -1) for key in references]


@pytest.mark.parametrize("number", range(5))
def test_references_lead_to_the_right_rows(league, number):
    """String, integer, composite and self-references; NULL and dangling ones lead nowhere."""
    key = LEAGUE.foreign_keys[number]
    expected = looked_up(key.table, key.columns, key.parent, key.parent_columns)
    assert parents_of(league, number) == expected
    if key.table != "injuries":
        assert -1 in expected
        assert max(expected) >= 0


def test_a_composite_reference_with_a_missing_part_leads_nowhere(tmp_path):
    plays = FRAMES["plays"].with_columns(
        pl.when(pl.col("id") % 2 == 0).then("of_season").alias("of_season")
    )
    graph = league_graph(tmp_path, {**FRAMES, "plays": plays})
    odd = torch.from_numpy((plays["id"] % 2 == 1).to_numpy().copy())
    assert bool((graph.adjacency[3].parent[odd] == -1).all())
    assert bool((graph.adjacency[3].parent[~odd] >= 0).any())


def test_adjacency_lists_each_parents_children_by_time_then_row(league):
    for key, adjacency in zip(league.foreign_keys, league.adjacency, strict=True):
        ranks = league.tables[key.table].time_rank.tolist()
        parents = adjacency.parent.tolist()
        assert len(adjacency.first) == league.tables[key.parent].rows + 1
        for parent in range(league.tables[key.parent].rows):
            first, last = adjacency.first[parent : parent + 2].tolist()
            expected = sorted(
                (child for child, one in enumerate(parents) if one == parent),
                key=lambda child: (ranks[child], child),
            )
            assert adjacency.children[first:last].tolist() == expected
            assert adjacency.order[first:last].tolist() == [
                parent * league.ranks + ranks[child] for child in expected
            ]


def test_time_ranks_order_all_tables_by_time(league):
    times = sorted(
        {time for name in ("players", "plays") for time in FRAMES[name][_time(name)].drop_nulls()}
        | set(FRAMES["matches"]["at"].drop_nulls())
    )
    assert torch.equal(league.times, microseconds(*times))
    for name, table in league.tables.items():
        if name == "teams":
            assert table.time is None
            assert table.time_rank.tolist() == [0] * 5
            continue
        expected = [
            league.ranks - 1 if time is None else times.index(time) + 1
            for time in FRAMES[name][_time(name)]
        ]
        assert table.time_rank.tolist() == expected
        assert torch.equal(table.time == MISSING_TIME, table.time_rank == league.ranks - 1)


def _time(name):
    return LEAGUE.table(name).time_column


def test_visibility_includes_the_instant_itself(league):
    at = microseconds(half_day(7))
    assert bool((league.times == at).any())
    before, exactly = league.visible_rank(torch.cat([at - 1, at])).tolist()
    assert exactly == before + 1
    assert league.visible_rank(torch.cat([at + 1])).item() == exactly
    assert league.visible_rank(microseconds(half_day(-900))).item() == 0


def test_values_stand_in_row_order(league):
    plays, players = league.tables["plays"], league.tables["players"]
    assert plays.keys["id"].to_list() == FRAMES["plays"]["id"].to_list()
    assert plays.numerical_columns == ("fair", "points")
    fair = [np.nan if value is None else float(value) for value in FRAMES["plays"]["fair"]]
    assert same(plays.numerical[:, 0], torch.tensor(fair))
    points = [
        np.nan if value is None or not np.isfinite(value) else value
        for value in FRAMES["plays"]["points"]
    ]
    assert same(plays.numerical[:, 1], torch.tensor(points))
    assert players.timestamp_columns == ("born",)
    assert torch.equal(players.timestamps[:, 0], as_microseconds(FRAMES["players"]["born"]))


@pytest.mark.parametrize(
    ("table", "column", "kind"),
    [
        ("players", "position", "categorical"),
        ("teams", "colour", "categorical"),
        ("players", "bio", "text"),
        ("plays", "note", "text"),
    ],
)
def test_codes_point_at_the_rows_values(league, table, column, kind):
    values = getattr(league.tables[table], kind)[column]
    listed = values.values.to_list()
    assert listed == sorted(set(FRAMES[table][column].drop_nulls()), key=lambda v: v.encode())
    found = [None if code < 0 else listed[code] for code in values.codes.tolist()]
    assert found == FRAMES[table][column].to_list()
    if kind == "text":
        assert torch.equal(values.embeddings, torch.from_numpy(hashed_texts(values.values)))
        assert len(torch.unique(values.embeddings, dim=0)) == len(listed)
    else:
        assert values.embeddings is None


def test_keys_and_identifiers_are_no_features(league):
    features = {
        name: {
            *table.numerical_columns,
            *table.timestamp_columns,
            *table.categorical,
            *table.text,
        }
        for name, table in league.tables.items()
    }
    assert features == {
        "teams": {"colour"},
        "players": {"born", "height", "position", "bio"},
        "matches": {"crowd"},
        "plays": {"fair", "points", "note"},
        "injuries": {"part", "report"},
    }


def test_an_empty_table_has_no_rows_but_its_columns(league):
    injuries = league.tables["injuries"]
    assert injuries.rows == 0
    assert injuries.time_rank.shape == (0,)
    assert injuries.categorical["part"].codes.shape == (0,)
    assert injuries.text["report"].embeddings.shape == (0, 64)


def test_the_graph_does_not_depend_on_threads_or_files(league, tmp_path):
    assert_same_graph(league_graph(tmp_path / "1", threads=1), league)
    assert_same_graph(league_graph(tmp_path / "2", threads=4, memory_limit="1GB"), league)


def test_rows_of_entities(league):
    players = FRAMES["players"]["id"]
    assert league.rows_of("players", players.reverse()).tolist() == list(range(11, -1, -1))
    teams = pl.Series(["e", "Ånd", "e"])
    assert league.rows_of("teams", teams).tolist() == [4, 0, 4]
    with pytest.raises(KeyError, match="lacks 2 of 3 entities, such as 998"):
        league.rows_of("players", pl.Series([7, 998, 999]))
    with pytest.raises(KeyError, match="single column"):
        league.rows_of("matches", pl.Series([1]))


def test_a_table_without_primary_key(tmp_path):
    schema = RelationalSchema("log", (Table("log", (Column("value", "", S.NUMERICAL),)),))
    files = store({"log": pl.DataFrame({"value": [1.0, None]})}, tmp_path)
    graph = build_graph(schema, files)
    assert graph.tables["log"].rows == 2
    assert same(graph.tables["log"].numerical, torch.tensor([[1.0], [np.nan]]))
    with pytest.raises(KeyError, match="single column"):
        graph.rows_of("log", pl.Series([1]))


def test_a_key_that_is_not_unique_is_refused(tmp_path):
    teams = pl.concat([FRAMES["teams"], FRAMES["teams"][:1]])
    with pytest.raises(ValueError, match=r"make name of 'teams' unique"):
        league_graph(tmp_path, {**FRAMES, "teams": teams})


@examples(15)
@given(databases())
def test_random_references(tmp_path_factory, database):
    graph = build_graph(database.schema, database.store(tmp_path_factory.mktemp("random")))
    for key, adjacency in zip(graph.foreign_keys, graph.adjacency, strict=True):
        rows = {
            tuple(row[part] for part in key.parent_columns): number
            for number, row in enumerate(database.rows[key.parent])
        }
        expected = [
            rows.get(tuple(row[part] for part in key.columns), -1)
            for row in database.rows[key.table]
        ]
        assert adjacency.parent.tolist() == expected
        assert sorted(adjacency.children.tolist()) == [
            child for child, parent in enumerate(expected) if parent >= 0
        ]
