"""Networks over samples: seeds do not disturb each other, and hops that cannot matter do not."""

from dataclasses import replace

import pytest
import torch

from models.rdl.config import Convolution, NetworkShape
from models.rdl.graph import EdgeType
from models.rdl.message_passing import trimmed
from models.rdl.network import RelationalNetwork, distinct_rows, neighbour_counts
from models.rdl.rows import row_inputs
from models.rdl.statistics import graph_statistics
from tests.models.rdl.futures import with_another_future
from tests.models.rdl.league import (
    half_day,
    league_frames,
    league_graph,
    microseconds,
)
from tests.models.rdl.networks import (
    ALL,
    CASES,
    END,
    backbone,
    embed,
    mixed_seeds,
    sample,
    shape_of,
)

CONVOLUTIONS = list(Convolution)


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("convolution", "layers"), CASES)
def test_seeds_have_embeddings(league, statistics, inputs, convolution, layers):
    network = backbone(league, statistics, shape_of(convolution, layers))
    rows, until = mixed_seeds()
    found = embed(network, league, inputs, rows, until)
    assert found.shape == (15, 8)
    assert found.dtype == torch.float32
    assert bool(found.isfinite().all())
    assert len(torch.unique(found, dim=0)) == 15


@pytest.mark.parametrize(("convolution", "layers"), CASES)
def test_a_seed_does_not_depend_on_its_company(league, statistics, inputs, convolution, layers):
    """Not even one without any neighbour, whose batch holds no edge when it is alone."""
    network = backbone(league, statistics, shape_of(convolution, layers))
    rows, until = mixed_seeds()
    together = embed(network, league, inputs, rows, until)
    alone = [
        embed(network, league, inputs, rows[place, None], until[place, None])
        for place in range(len(rows))
    ]
    close(torch.cat(alone), together)
    lonely = sample(league, 1, rows[12:13], until[12:13])
    assert sum(links.shape[1] for links in lonely.edges.values()) <= 1


@pytest.mark.parametrize(("convolution", "layers"), CASES)
def test_nodes_that_cannot_matter_do_not(league, statistics, inputs, convolution, layers):
    network = backbone(league, statistics, shape_of(convolution, layers))
    rows, until = mixed_seeds()
    found = sample(league, network.shape.hops, rows, until, fan_out=5)
    with torch.no_grad():
        nodes = network.encode(inputs, found, until)
        whole = network.propagate(nodes, found, trim=False)
        short = network.propagate(nodes, found, trim=True)
    close(short["players"], whole["players"][:15])
    assert {table: len(one) for table, one in short.items()} == {
        table: 15 * (table == "players") for table in league.tables
    }
    assert len(whole["plays"]) == len(found.rows["plays"])


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_the_order_of_seeds_is_the_order_of_results(league, statistics, inputs, convolution):
    network = backbone(league, statistics, shape_of(convolution))
    rows, until = mixed_seeds()
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))
    found = embed(network, league, inputs, rows[order], until[order])
    close(found, embed(network, league, inputs, rows, until)[order])


@pytest.mark.parametrize("table", ["players", "plays", "teams", "matches"])
@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_seeds_may_be_of_any_table(league, statistics, inputs, convolution, table):
    network = backbone(league, statistics, shape_of(convolution))
    rows = torch.arange(league.tables[table].rows)
    until = microseconds(half_day(40)).expand(len(rows))
    found = embed(network, league, inputs, rows, until, table)
    assert found.shape == (len(rows), 8)
    assert bool(found.isfinite().all())
    again = embed(network, league, inputs, rows[:1], until[:1], table)
    close(again, found[:1])


@pytest.mark.parametrize(("convolution", "layers"), CASES)
def test_gradients_reach_what_was_read(league, statistics, inputs, convolution, layers):
    network = backbone(league, statistics, shape_of(convolution, layers))
    rows, until = mixed_seeds()
    found = sample(league, network.shape.hops, rows, until)
    weights = torch.randn(8, generator=torch.Generator().manual_seed(1))
    (network(inputs, found, until) @ weights).square().sum().backward()
    for name, parameter in network.named_parameters():
        if name.endswith("lin_key.bias"):
            continue  # Attention forgets what all keys have in common, up to rounding.
        has_gradient = parameter.grad is not None and bool((parameter.grad != 0).any())
        assert has_gradient == is_read(name, network.shape, found), name


def is_read(name, shape, found):
    """Whether a parameter has a part in the seeds' result, by its name."""
    if name == "seed_mark":
        return True
    part, place, *rest = name.split(".")
    if part in ("rows", "ages"):
        return len(found.rows[place]) > 0
    layer = int(place)
    read = shape.hops - layer * shape.convolution.hops
    updated = read - shape.convolution.hops
    sizes = {table: sum(per_hop[: updated + 1]) for table, per_hop in found.nodes_per_hop.items()}
    if part == "norms":
        return sizes[rest[0]] > 0
    kind, *rest = rest
    if kind == "own":
        return sizes[rest[0]] > 0
    if kind == "convolution":
        return hgt_reads(rest, found, read, sizes)
    relation, *way = rest[0].split("__from__")
    edge = next(edge for edge in found.edges if edge.name == relation)
    if sizes[edge.target] == 0:
        return False
    edges = sum(found.edges_per_hop[edge][: updated + 1])
    if kind == "take_in":
        bridge = next(edge for edge in found.edges if edge.name == way[0])
        return edges > 0 and sum(found.edges_per_hop[bridge][:read]) > 0
    if kind == "attend" and rest[1] == "lin_skip":
        return False  # PyG makes it, and uses it only for rows' own part
    if kind == "attend" and rest[1] in ("lin_key", "lin_query"):
        # Attention to a single row is 1.
        return len(torch.unique(found.edges[edge][1, :edges])) < edges
    return edges > 0


def hgt_reads(name, found, read, sizes):
    name = [part.replace("<", "").replace(">", "") for part in name]
    if name[0] in ("k_rel", "v_rel"):
        return True
    if name[0] == "p_rel":
        edge = next(edge for edge in found.edges if "__".join(edge) == name[1])
        return sum(found.edges_per_hop[edge][:read]) > 0
    table = name[2] if name[0] in ("kqv_lin", "out_lin") else name[1]
    if name[0] == "kqv_lin":
        return sum(found.nodes_per_hop[table][: read + 1]) > 0
    return sizes[table] > 0


@pytest.mark.parametrize("aggregation", ["mean", "sum"])
@pytest.mark.parametrize("skip", [False, True])
def test_graphsage_is_that_of_the_whole_visible_graph(
    league, statistics, inputs, aggregation, skip
):
    """Two layers over a sample against dense matrices over everything that is visible."""
    shape = shape_of(Convolution.SAGE, 2, aggregation=aggregation, skip=skip)
    network = backbone(league, statistics, shape)
    rows, until = mixed_seeds()
    found = embed(network, league, inputs, rows, until)
    for seed in range(0, 15, 2):
        expected = dense_graphsage(network, league, inputs, rows[seed], until[seed, None])
        close(found[seed], expected)


def dense_graphsage(network, graph, inputs, seed_row, until):
    """The embedding of a player by matrices of visible links between all rows."""
    visible = {
        name: table.time_rank <= graph.visible_rank(until) for name, table in graph.tables.items()
    }
    with torch.no_grad():
        nodes = {}
        for name, table in graph.tables.items():
            rows = torch.arange(table.rows)
            nodes[name] = network.rows[name](inputs[name], rows)
            if name in network.ages:
                nodes[name] = nodes[name] + network.ages[name](inputs[name].times, until)
        nodes["players"][seed_row] += network.seed_mark
        for layer, norms in zip(network.layers, network.norms, strict=True):
            sums = {name: layer.own[name](one) for name, one in nodes.items()}
            for key, adjacency in zip(graph.foreign_keys, graph.adjacency, strict=True):
                links = torch.zeros(graph.tables[key.table].rows, graph.tables[key.parent].rows)
                children = torch.nonzero(adjacency.parent >= 0).squeeze(1)
                links[children, adjacency.parent[children]] = 1.0
                columns = "_".join(key.columns)
                for source, relation, target, matrix in (
                    (key.table, f"f2p_{columns}", key.parent, links.T),
                    (key.parent, f"rev_f2p_{columns}", key.table, links),
                ):
                    matrix = matrix * visible[source]
                    if network.shape.aggregation == "mean":
                        matrix = matrix / matrix.sum(dim=1, keepdim=True).clamp(min=1)
                    linear = layer.convolutions[EdgeType(source, relation, target).name].lin_l
                    sums[target] = sums[target] + linear(matrix @ nodes[source])
            updated = {name: norms[name](one).relu() for name, one in sums.items()}
            nodes = {
                name: one + nodes[name] if network.shape.skip else one
                for name, one in updated.items()
            }
    return nodes["players"][seed_row]


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
@pytest.mark.parametrize(("fan_out", "strategy"), [(ALL, "uniform"), (3, "last")])
def test_the_future_changes_no_embedding(league, tmp_path, convolution, fan_out, strategy):
    """Scales, categories, texts, samples and messages: nothing reads a row after its limit."""
    until = half_day(35)
    limit = microseconds(until)
    frames = league_frames()
    other = league_graph(tmp_path, with_another_future(frames, until))
    joined = league.tables["players"].keys.filter(frames["players"]["joined"] <= until)["id"]
    assert len(joined) > 6
    found = []
    for graph in (league, other):
        statistics = graph_statistics(graph, limit.item())
        network = backbone(league, statistics, shape_of(convolution))
        rows = graph.rows_of("players", joined)
        inputs = row_inputs(graph, statistics)
        times = limit.expand(len(rows))
        found.append(embed(network, graph, inputs, rows, times, fan_out=fan_out, strategy=strategy))
    close(*found)
    late = microseconds(END).expand(len(joined))
    rows = league.rows_of("players", joined)
    changed = embed(network, league, row_inputs(league, statistics), rows, late)
    assert not torch.allclose(changed, found[0], rtol=1e-2)


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_the_same_sample_gives_the_same_bits(league, statistics, inputs, convolution):
    rows, until = mixed_seeds()
    first, second = (
        embed(backbone(league, statistics, shape_of(convolution)), league, inputs, rows, until)
        for _ in range(2)
    )
    assert torch.equal(first, second)


def test_the_seed_is_marked_wherever_it_appears(league, statistics, inputs):
    shape = shape_of(Convolution.SAGE, 2)
    marked = backbone(league, statistics, shape)
    plain = backbone(league, statistics, replace(shape, seed_label=False))
    assert plain.seed_mark is None
    plain.load_state_dict({n: v for n, v in marked.state_dict().items() if n != "seed_mark"})
    rows, until = mixed_seeds()
    found = sample(league, 2, rows, until)
    with torch.no_grad():
        differences = {
            table: one - plain.encode(inputs, found, until)[table]
            for table, one in marked.encode(inputs, found, until).items()
        }
        assert not torch.allclose(marked(inputs, found, until), plain(inputs, found, until))
    for table, difference in differences.items():
        is_seed = (found.rows[table] == rows[found.seed_of[table]]) & (table == "players")
        close(difference[is_seed], marked.seed_mark.expand(int(is_seed.sum()), -1).detach())
        assert not difference[~is_seed].any()
    reached_again = (found.rows["players"] == rows[found.seed_of["players"]])[15:]
    assert bool(reached_again.any())


def test_ages_are_an_option(league, statistics, inputs):
    rows = torch.arange(12)
    until = microseconds(END).expand(12)
    # Nothing happens between the two cutoffs: only the ages differ.
    for ages in (False, True):
        network = backbone(league, statistics, shape_of(Convolution.SAGE, 2, ages=ages))
        found = sample(league, 2, rows, until)
        with torch.no_grad():
            one = network(inputs, found, until)
            other = network(inputs, found, until + 40 * 86_400_000_000)
        assert torch.equal(one, other) != ages


@pytest.mark.parametrize("normalization", ["layer", "batch", "none"])
def test_normalizations(league, statistics, inputs, normalization):
    shape = shape_of(Convolution.SAGE, 2, normalization=normalization, dropout=0.5)
    network = backbone(league, statistics, shape)
    rows, until = mixed_seeds()
    evaluated = embed(network, league, inputs, rows, until)
    assert torch.equal(evaluated, embed(network, league, inputs, rows, until))
    network.train()
    found = sample(league, 2, rows, until)
    trained = network(inputs, found, until)
    assert bool(trained.isfinite().all())
    assert not torch.equal(trained, evaluated)
    with torch.no_grad():
        assert not torch.equal(network(inputs, found, until), network(inputs, found, until))


def test_heads_and_further_inputs_of_the_seed(league, statistics, inputs):
    rows, until = mixed_seeds()
    found = sample(league, 2, rows, until)
    bare = RelationalNetwork(backbone(league, statistics, shape_of(Convolution.SAGE)), 3).eval()
    assert bare(inputs, found, until).shape == (15, 3)
    fed = RelationalNetwork(
        backbone(league, statistics, shape_of(Convolution.SAGE)), 1, seed_features=4
    ).eval()
    features = torch.randn(15, 4, generator=torch.Generator().manual_seed(0))
    one = fed(inputs, found, until, features)
    assert one.shape == (15, 1)
    features[7] += 1.0
    changed = (fed(inputs, found, until, features) != one).squeeze(1)
    assert torch.nonzero(changed).squeeze(1).tolist() == [7]


def test_features_may_be_altered_before_they_are_encoded(league, statistics, inputs):
    network = backbone(league, statistics, shape_of(Convolution.SAGE))
    rows, until = mixed_seeds()
    found = sample(league, 2, rows, until)
    seen = {}

    def alter(table, features):
        numbers, codes, text = features
        seen[table] = len(numbers)
        return torch.zeros_like(numbers), codes, text

    with torch.no_grad():
        plain, altered = network(inputs, found, until), network(inputs, found, until, alter)
    assert not torch.allclose(plain, altered)
    # Each row is encoded once, however many seeds see it.
    assert seen == {table: len(torch.unique(one)) for table, one in found.rows.items()}


@pytest.mark.parametrize("table_rows", [10, 1000])
def test_distinct_rows(table_rows):
    rows = torch.tensor([7, 0, 7, 3, 9, 0])
    distinct, place = distinct_rows(rows, table_rows)
    assert distinct.tolist() == [0, 3, 7, 9]
    assert torch.equal(distinct[place], rows)


def test_trimming_reads_one_hop_less_each_layer(league, statistics, inputs):
    network = backbone(league, statistics, shape_of(Convolution.SAGE, 3))
    rows, until = mixed_seeds()
    found = sample(league, 3, rows, until, fan_out=4)
    nodes = network.encode(inputs, found, until)
    for layer in range(3):
        kept, edges, sizes = trimmed(found, nodes, layer, 1)
        for table, per_hop in found.nodes_per_hop.items():
            assert len(kept[table]) == sum(per_hop[: 4 - layer])
            assert sizes[table] == sum(per_hop[: 3 - layer])
        for edge, links in edges.items():
            assert links.shape[1] == sum(found.edges_per_hop[edge][: 3 - layer])
            if links.shape[1]:
                assert links[1].max() < sizes[edge.target]


def test_neighbours_are_counted_up_to_a_time(league):
    until = half_day(30)
    counts = neighbour_counts(league, microseconds(until).item(), 6)
    plays = league_frames()["plays"]
    players = league_frames()["players"]
    visible = [play for play in plays.to_dicts() if play["at"] and play["at"] <= until]
    by_player = [
        min(6, sum(play["player"] == player for play in visible)) for player in players["id"]
    ]
    found = counts[EdgeType("plays", "f2p_player", "players")]
    joined = [time is not None and time <= until for time in players["joined"]]
    expected = [
        sum(one == number and here for one, here in zip(by_player, joined, strict=True))
        for number in range(len(found))
    ]
    assert found.tolist() == expected
    known = {player for player, here in zip(players["id"], joined, strict=True) if here}
    has_parent = [play["player"] in known for play in visible]
    found = counts[EdgeType("players", "rev_f2p_player", "plays")]
    assert found.tolist() == [has_parent.count(False), has_parent.count(True)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalization": "instance"}, "normalization must be one of"),
        ({"aggregation": "max"}, "mean or sum"),
        ({"layers": 0}, "at least 1"),
        ({"channels": 9}, "multiple of heads"),
    ],
)
def test_impossible_shapes_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NetworkShape(**settings)
