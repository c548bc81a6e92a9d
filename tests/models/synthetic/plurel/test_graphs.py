"""Random graphs: acyclic, connected, and each family as it says."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from models.synthetic.draws import Fixed
from models.synthetic.plurel.graphs import (
    BarabasiAlbert,
    ErdosRenyi,
    Layered,
    RandomCauchy,
    RandomTree,
    ReverseRandomTree,
    WattsStrogatz,
    depths,
)

FAMILIES = (
    ErdosRenyi(),
    BarabasiAlbert(),
    RandomTree(),
    ReverseRandomTree(),
    WattsStrogatz(),
    Layered(),
    RandomCauchy(),
)


def many(family, nodes, count=200):
    return [family(nodes, np.random.default_rng(seed)) for seed in range(count)]


def degrees(edges, nodes):
    """Parents and children of each node."""
    return np.bincount(edges[:, 1], minlength=nodes), np.bincount(edges[:, 0], minlength=nodes)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
@pytest.mark.parametrize("nodes", [0, 1, 2, 3, 4, 5, 17])
def test_every_graph_is_acyclic_connected_and_simple(family, nodes):
    for edges in many(family, nodes, 30):
        assert edges.shape == (len(edges), 2)
        assert edges.dtype == np.int64
        assert (edges[:, 0] < edges[:, 1]).all()
        assert len(np.unique(edges, axis=0)) == len(edges)
        assert edges.tolist() == sorted(edges.tolist())
        if nodes > 1:
            ones = np.ones(len(edges))
            graph = coo_array((ones, (edges[:, 0], edges[:, 1])), shape=(nodes, nodes))
            assert connected_components(graph, directed=False)[0] == 1


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
def test_the_generator_decides_alone(family):
    assert np.array_equal(
        family(15, np.random.default_rng(4)), family(15, np.random.default_rng(4))
    )
    assert len({family(15, np.random.default_rng(seed)).tobytes() for seed in range(20)}) > 10


def test_density_of_erdos_renyi_is_that_of_two_directions():
    edges = [len(edges) for edges in many(ErdosRenyi(Fixed(0.4)), 20)]
    assert np.mean(edges) / 190 == pytest.approx(1 - 0.6**2, abs=0.02)


def test_barabasi_albert_has_hubs_and_drops_parents_of_sinks():
    whole = many(BarabasiAlbert(sink_dropout=0.0), 40)
    assert {len(edges) for edges in whole} == {2 + 2 * 37}
    most = np.mean([np.max(sum(degrees(edges, 40))) for edges in whole])
    assert most > 12
    for before, after in zip(whole, many(BarabasiAlbert(sink_dropout=1.0), 40), strict=True):
        sinks = degrees(before, 40)[1] == 0
        assert (degrees(after, 40)[0][sinks] == 1).all()
        assert (degrees(after, 40)[0][~sinks] == degrees(before, 40)[0][~sinks]).all()
    lost = np.mean([76 - len(edges) for edges in many(BarabasiAlbert(), 40)])
    sinks = np.mean([(degrees(edges, 40)[1] == 0).sum() for edges in whole])
    assert lost / sinks == pytest.approx(0.4, abs=0.05)


def test_trees_have_one_parent_or_one_child_a_node():
    for edges in many(RandomTree(), 25, 50):
        parents, _ = degrees(edges, 25)
        assert parents.tolist() == [0] + [1] * 24
    for edges in many(ReverseRandomTree(), 25, 50):
        _, children = degrees(edges, 25)
        assert children.tolist() == [1] * 24 + [0]


def test_labelled_trees_are_equally_likely():
    # Of four nodes there are 16 trees, 4 of them stars; with a random root a star has depth 1 in a
    # quarter of the cases and 2 in the others, a path 3 in a half and 2 in the other half.
    found = [int(depths(4, edges).max()) for edges in many(RandomTree(), 4, 4000)]
    shares = np.bincount(found, minlength=4) / len(found)
    assert shares == pytest.approx([0, 1 / 16, 9 / 16, 6 / 16], abs=0.03)


def test_watts_strogatz_is_a_ring_that_is_rewired():
    ring = WattsStrogatz(Fixed(0.0), Fixed(2))(10, np.random.default_rng(0))
    assert ring.tolist() == sorted([[i, i + 1] for i in range(9)] + [[0, 9]])
    assert {len(edges) for edges in many(WattsStrogatz(Fixed(0.0), Fixed(4)), 30)} == {60}
    moved = [
        np.mean((edges[:, 1] - edges[:, 0] > 2) & (edges[:, 1] - edges[:, 0] < 28))
        for edges in many(WattsStrogatz(Fixed(0.2), Fixed(4)), 30)
    ]
    assert np.mean(moved) == pytest.approx(0.2 * 25 / 27, abs=0.03)


def test_layers_are_joined_with_the_next_one_only():
    for edges in many(Layered(Fixed(3), dropout=0.0), 12, 100):
        depth = depths(12, edges)
        sizes = np.bincount(depth)
        assert len(sizes) == 3
        assert (depth[edges[:, 1]] == depth[edges[:, 0]] + 1).all()
        assert len(edges) == sizes[0] * sizes[1] + sizes[1] * sizes[2]
    kept = [
        len(edges) / (np.prod(np.bincount(depths(30, edges))))
        for edges in many(Layered(Fixed(2), dropout=0.1), 30)
    ]
    assert np.mean(kept) == pytest.approx(0.9, abs=0.02)


def test_random_cauchy_ranges_from_sparse_to_full():
    shares = [len(edges) / 190 for edges in many(RandomCauchy(), 20)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.08)
    assert min(shares) < 0.15
    assert max(shares) > 0.85


def test_depths_are_those_of_longest_paths():
    assert depths(5, np.array([[0, 1], [0, 4], [1, 2], [2, 4]])).tolist() == [0, 1, 2, 0, 3]
