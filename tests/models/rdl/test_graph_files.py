"""A graph in files is the graph, read from mapped memory."""

import polars as pl
import pytest
import torch

from models.database.schema import Column, ForeignKey, RelationalSchema, Table
from models.rdl.build import build_graph
from models.rdl.graph_files import read_graph, write_graph
from models.rdl.sampler import TemporalSampler
from tests.models.rdl.league import (
    S,
    assert_same_graph,
    half_day,
    league_frames,
    league_graph,
    microseconds,
    store,
)


@pytest.fixture
def written(league, tmp_path):
    return write_graph(league, tmp_path), tmp_path


def test_a_graph_survives_its_files(league, written):
    assert_same_graph(read_graph(written[1]), league)


def test_figures_of_a_graph(league, written):
    figures, folder = written
    assert figures["rows"] == {
        "teams": 5,
        "players": 12,
        "matches": 12,
        "plays": 150,
        "injuries": 0,
    }
    assert figures["edges"]["players(team) -> teams"] == len(league.adjacency[1].children)
    assert figures["edges"]["injuries(player) -> players"] == 0
    assert figures["event_times"] == len(league.times)
    assert figures["bytes"] == sum(path.stat().st_size for path in folder.iterdir())


def test_rows_are_mapped_and_never_written_back(league, written):
    graph = read_graph(written[1])
    # Mapped memory is no torch storage of its own: changing it must not reach the file.
    graph.tables["plays"].numerical.fill_(7.0)
    graph.adjacency[2].parent.zero_()
    assert_same_graph(read_graph(written[1]), league)


def test_a_graph_whose_tables_are_all_empty(tmp_path):
    frames = {name: frame.clear() for name, frame in league_frames().items()}
    graph = league_graph(tmp_path / "tables", frames)
    (tmp_path / "graph").mkdir()
    write_graph(graph, tmp_path / "graph")
    again = read_graph(tmp_path / "graph")
    assert_same_graph(again, graph)
    assert all(table.rows == 0 for table in again.tables.values())
    nobody = torch.zeros(0, dtype=torch.int64)
    sample = TemporalSampler(again, (4, 4)).sample("players", nobody, nobody)
    assert sample.rows["players"].shape == (0,)


def test_what_a_foreign_key_says_survives(tmp_path):
    tables = (
        Table("log", (Column("a", "", S.NUMERICAL), Column("to_id")), ()),
        Table("to", (Column("id"),), ("id",)),
    )
    key = ForeignKey("log", ("to_id",), "to", ("id",), tolerance=0.25, proposed=True)
    frames = {
        "log": pl.DataFrame({"a": [1.0], "to_id": [3]}),
        "to": pl.DataFrame({"id": [3]}),
    }
    schema = RelationalSchema("log", tables, (key,))
    graph = build_graph(schema, store(frames, tmp_path / "tables"))
    (tmp_path / "graph").mkdir()
    write_graph(graph, tmp_path / "graph")
    again = read_graph(tmp_path / "graph")
    assert_same_graph(again, graph)
    assert again.foreign_keys == (key,)


def test_a_read_graph_samples_the_same(league, written):
    rows, times = torch.arange(12), microseconds(*[half_day(30)] * 12)
    one = TemporalSampler(league, (5, 5), "last").sample("players", rows, times)
    other = TemporalSampler(read_graph(written[1]), (5, 5), "last").sample("players", rows, times)
    for edge, links in one.edges.items():
        assert torch.equal(links, other.edges[edge])


def test_a_folder_without_a_graph(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no temporal graph"):
        read_graph(tmp_path)
