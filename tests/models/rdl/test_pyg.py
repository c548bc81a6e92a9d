"""The graph through PyG's NodeLoader is the graph through the sampler itself."""

import pytest
import torch
import torch_frame
from torch_frame.data.stats import StatType
from torch_frame.nn import (
    EmbeddingEncoder,
    LinearEmbeddingEncoder,
    LinearEncoder,
    StypeWiseFeatureEncoder,
)
from torch_geometric.loader import NodeLoader
from torch_geometric.nn import HeteroConv, SAGEConv
from torch_geometric.sampler import EdgeSamplerInput, NodeSamplerInput
from torch_geometric.utils import trim_to_layer

from models.rdl.config import Strategy
from models.rdl.pyg import TemporalNeighborSampler, hetero_data, to_hetero_data
from models.rdl.row_encoder import features_of
from models.rdl.rows import number_names, row_inputs
from models.rdl.sampler import TemporalSampler
from tests.models.rdl.league import half_day, microseconds

ROWS = torch.tensor([0, 3, 3, 8, 11, 2, 5])
UNTIL = microseconds(*map(half_day, (30, 10, 50, 59, 0, 20, 41)))


def loader(graph, data, fan_outs=(4, 3), batch_size=3, **settings):
    sampler = TemporalNeighborSampler(TemporalSampler(graph, fan_outs, Strategy.LAST))
    return NodeLoader(
        data,
        node_sampler=sampler,
        input_nodes=("players", ROWS),
        input_time=UNTIL,
        batch_size=batch_size,
        **settings,
    )


@pytest.fixture(scope="module")
def data(league, statistics):
    return hetero_data(league, statistics)


def test_the_whole_graph(league, data):
    data.validate()
    for name, table in league.tables.items():
        assert data[name].num_nodes == table.rows
        assert ("time" in data[name]) == (table.time is not None)
    assert sorted(data.edge_types) == sorted(tuple(edge) for edge in league.edge_types)
    for key, adjacency in zip(league.foreign_keys, league.adjacency, strict=True):
        relation = "_".join(key.columns)
        links = data[key.table, f"f2p_{relation}", key.parent].edge_index
        expected = [(c, p) for c, p in enumerate(adjacency.parent.tolist()) if p >= 0]
        assert sorted(map(tuple, links.T.tolist())) == expected
        back = data[key.parent, f"rev_f2p_{relation}", key.table].edge_index
        assert torch.equal(back, links.flip(0))


def test_batches_are_the_samples_of_the_sampler(league, data):
    batches = list(loader(league, data))
    assert [batch["players"].batch_size for batch in batches] == [3, 3, 1]
    sampler = TemporalSampler(league, (4, 3), Strategy.LAST)
    for number, batch in enumerate(batches):
        positions = torch.arange(len(ROWS))[3 * number : 3 * number + 3]
        found = sampler.sample("players", ROWS[positions], UNTIL[positions])
        expected = to_hetero_data(found, UNTIL[positions], positions)
        for store in expected.node_stores:
            assert batch[store._key].num_nodes == store.num_nodes
            for name in ("n_id", "batch"):
                assert torch.equal(batch[store._key][name], store[name])
            assert batch[store._key].num_sampled_nodes == store.num_sampled_nodes
        for store in expected.edge_stores:
            assert torch.equal(batch[store._key].edge_index, store.edge_index)
            assert batch[store._key].num_sampled_edges == store.num_sampled_edges
        for name in ("input_id", "seed_time"):
            assert torch.equal(batch["players"][name], expected["players"][name])
        assert torch.equal(batch["players"].n_id[: len(positions)], ROWS[positions])


def test_batches_carry_their_rows_values_and_no_later_time(league, data, statistics):
    inputs = row_inputs(league, statistics)
    for batch in loader(league, data, (9, 9, 9)):
        batch.validate()
        limits = batch["players"].seed_time
        for name in ("players", "plays", "matches"):
            rows = batch[name].n_id
            assert torch.equal(batch[name].time, league.tables[name].time[rows])
            reached = (
                batch[name].time[batch["players"].batch_size :]
                if name == "players"
                else (batch[name].time)
            )
            of = batch[name].batch[len(batch[name].batch) - len(reached) :]
            assert bool((reached <= limits[of]).all())
            frame = batch[name].tf.feat_dict[torch_frame.numerical]
            assert torch.equal(frame, inputs[name].numbers[rows])


def test_a_frame_holds_what_networks_read(league, data, statistics):
    inputs = row_inputs(league, statistics)
    for name in ("players", "plays", "matches", "injuries"):
        frame = data[name].tf
        rows = torch.arange(league.tables[name].rows)
        numbers, codes, text = features_of(inputs[name], rows)
        assert torch.equal(frame.feat_dict[torch_frame.numerical], numbers)
        assert frame.col_names_dict[torch_frame.numerical] == number_names(statistics[name])
        if statistics[name].categories:
            assert torch.equal(frame.feat_dict[torch_frame.categorical], codes)
            names = frame.col_names_dict[torch_frame.categorical]
            assert names == list(statistics[name].categories)
        if text:
            assert torch.equal(frame.feat_dict[torch_frame.embedding].values, torch.cat(text, 1))
            assert frame.col_names_dict[torch_frame.embedding] == list(statistics[name].text)
    assert "tf" not in hetero_data(league)["plays"]


def test_pytorch_frames_encoders_read_the_frames_of_a_batch(league, data, statistics):
    batch = next(iter(loader(league, data)))
    frame = batch["players"].tf
    number = {StatType.MEAN: 0.0, StatType.STD: 1.0}
    columns = {name: number for name in frame.col_names_dict[torch_frame.numerical]}
    for name, values in statistics["players"].categories.items():
        columns[name] = {StatType.COUNT: ([*values, "other"], [1] * (len(values) + 1))}
    columns |= {name: {StatType.EMB_DIM: 64} for name in statistics["players"].text}
    encoder = StypeWiseFeatureEncoder(
        5,
        columns,
        frame.col_names_dict,
        {
            torch_frame.numerical: LinearEncoder(),
            torch_frame.categorical: EmbeddingEncoder(),
            torch_frame.embedding: LinearEmbeddingEncoder(),
        },
    )
    encoded, _ = encoder(frame)
    assert encoded.shape == (batch["players"].num_nodes, len(columns), 5)
    assert bool(encoded.isfinite().all())


def test_trimming_to_layers_does_not_change_the_seeds_result(league):
    batch = next(iter(loader(league, hetero_data(league), (5, 4, 3), batch_size=7)))
    torch.manual_seed(0)
    x = {name: torch.randn(batch[name].num_nodes, 6) for name in batch.node_types}
    layers = [
        HeteroConv({edge: SAGEConv((6, 6), 6) for edge in batch.edge_types}) for _ in range(3)
    ]

    def run(trim):
        nodes, edges = x, batch.edge_index_dict
        for number, layer in enumerate(layers):
            if trim:
                nodes, edges, _ = trim_to_layer(
                    number,
                    batch.num_sampled_nodes_dict,
                    batch.num_sampled_edges_dict,
                    nodes,
                    edges,
                )
            nodes = {name: one.relu() for name, one in layer(nodes, edges).items()}
            # A table without incoming edges keeps what it has, with the seeds in front.
            nodes = {name: nodes.get(name, x[name]) for name in x}
        return nodes["players"][:7], sum(links.shape[1] for links in edges.values())

    (trimmed, few), (whole, many) = run(True), run(False)
    torch.testing.assert_close(trimmed, whole)
    assert few < many


def test_shuffled_epochs_follow_torchs_seed(league, data):
    def ids():
        torch.manual_seed(3)
        sampler = TemporalNeighborSampler(TemporalSampler(league, (2, 2)))
        batches = NodeLoader(data, sampler, ("players", ROWS), UNTIL, batch_size=4, shuffle=True)
        return [batch["plays"].n_id.tolist() for batch in batches]

    assert ids() == ids()


def test_a_generator_of_its_own(league):
    seeds = NodeSamplerInput(None, ROWS, UNTIL, "players")
    found = []
    for seed in (1, 1, 2):
        generator = torch.Generator().manual_seed(seed)
        sampler = TemporalNeighborSampler(TemporalSampler(league, (2, 2)), generator)
        found.append(sampler.sample_from_nodes(seeds).node["plays"].tolist())
    assert found[0] == found[1] != found[2]


def test_seeds_without_time_or_table_are_refused(league):
    sampler = TemporalNeighborSampler(TemporalSampler(league, (2,)))
    with pytest.raises(ValueError, match=r"input_time.*got none"):
        sampler.sample_from_nodes(NodeSamplerInput(None, ROWS, None, "players"))
    with pytest.raises(ValueError, match=r"got torch\.float64"):
        sampler.sample_from_nodes(NodeSamplerInput(None, ROWS, UNTIL.double(), "players"))
    with pytest.raises(ValueError, match="need the table"):
        sampler.sample_from_nodes(NodeSamplerInput(None, ROWS, UNTIL))
    with pytest.raises(NotImplementedError, match="not around pairs of rows"):
        sampler.sample_from_edges(EdgeSamplerInput(None, ROWS, ROWS))
