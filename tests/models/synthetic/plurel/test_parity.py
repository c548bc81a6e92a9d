"""Distributions against the `plurel` package's own, part by part; skipped where it is not installed.

pip install --no-deps --ignore-requires-python plurel==1.1.0 puts it into this environment.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from models.synthetic.draws import Fixed
from models.synthetic.plurel import PLUREL
from models.synthetic.plurel.encoders import draw_embeddings
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
from models.synthetic.plurel.networks import NetworkSettings, draw_networks
from models.synthetic.plurel.sources import Family, SourceSettings
from models.synthetic.streams import Streams

pytest.importorskip("plurel", reason="the plurel package is not installed")

from plurel.bipartite import sample_bipartite_assignments
from plurel.config import Config, DAGParams, SCMParams
from plurel.dag import DAG_REGISTRY
from plurel.schema import RandomSchemaGraphBuilder
from plurel.scm import SOURCE_GEN_REGISTRY
from plurel.transforms import MLP, CategoricalEncoder
from plurel.utils import TableType, set_random_seed

FAMILIES = {
    "ErdosRenyi": ErdosRenyi(),
    "BarabasiAlbert": BarabasiAlbert(),
    "RandomTree": RandomTree(),
    "ReverseRandomTree": ReverseRandomTree(),
    "WattsStrogatz": WattsStrogatz(),
    "Layered": Layered(),
    "RandomCauchy": RandomCauchy(),
}


@pytest.fixture(autouse=True)
def _seed():
    set_random_seed(1)


def as_good_as_equal(ours, theirs, probability=1e-3):
    assert stats.ks_2samp(ours, theirs).pvalue > probability


def same_means(ours, theirs):
    """Within four standard errors, column by column."""
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    error = np.sqrt(ours.var(axis=0) / len(ours) + theirs.var(axis=0) / len(theirs))
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) <= 4 * error + 1e-9).all()


def graph_figures(nodes, edges):
    """Edges, longest path, sinks, sources, most parents."""
    parents = np.bincount(edges[:, 1], minlength=nodes)
    children = np.bincount(edges[:, 0], minlength=nodes)
    ends = [(children == 0).sum(), (parents == 0).sum(), parents.max()]
    return [len(edges), depths(nodes, edges).max(), *ends]


def in_order(graph):
    """The package's graph with nodes numbered causes first."""
    import networkx

    number = {node: at for at, node in enumerate(networkx.topological_sort(graph))}
    return np.array([[number[one], number[other]] for one, other in graph.edges])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("nodes", [3, 14])
def test_graphs(name, nodes):
    ours, theirs = [], []
    for seed in range(1, 201):
        ours.append(graph_figures(nodes, FAMILIES[name](nodes, np.random.default_rng(seed))))
        graph = DAG_REGISTRY[name](nodes, DAGParams(), seed=seed).graph
        theirs.append(graph_figures(nodes, in_order(graph)))
    same_means(ours, theirs)


def test_schemas():
    ours, theirs = [], []
    for seed in range(1, 201):
        layout = replace(PLUREL.layout, tables=Fixed(9))
        made = layout(Streams(seed))
        keys = [len(table.keys) for table in made.tables]
        features = [len(table.columns) for table in made.tables]
        ours.append([sum(keys), max(keys), np.mean(features), np.median(features)])
        graph = RandomSchemaGraphBuilder(Config(), 9, seed).build_graph()
        tables = [graph.nodes[node] for node in graph.nodes]
        keys = [len(table["fkey_col_to_pkey_table"]) for table in tables]
        features = [
            sum(name.startswith("feature") for name in table["columns"]) for table in tables
        ]
        theirs.append([sum(keys), max(keys), np.mean(features), np.median(features)])
    # The package draws layout and columns from one seed again and again, which makes its averages
    # wider than their standard errors, not biased.
    same_means(ours, theirs)


@pytest.mark.parametrize("parents", [100, 300])
def test_children_by_blocks(parents):
    def figures(found):
        counts = np.sort(np.bincount(found, minlength=parents))[::-1]
        first = np.full(parents, 2.0)
        last = np.full(parents, -1.0)
        at = np.linspace(0, 1, len(found))
        np.minimum.at(first, found, at)
        np.maximum.at(last, found, at)
        several = np.bincount(found, minlength=parents) > 1
        childless = (counts == 0).mean()
        tenth = counts[: parents // 10].sum() / len(found)
        return [counts.max() / counts.mean(), childless, tenth, (last - first)[several].mean()]

    ours, theirs = [], []
    for seed in range(120):
        generator = np.random.default_rng(seed)
        ours.append(figures(PLUREL.rows._by_blocks(parents, 1500, generator)))
        levels = np.random.randint(1, 6)
        above, below = np.random.randint(1, 4, (2, levels)).tolist()
        theirs.append(figures(sample_bipartite_assignments(parents, 1500, above, below)))
    same_means(ours, theirs)


@pytest.mark.parametrize("activity", [True, False])
@pytest.mark.parametrize(
    ("family", "name"),
    list(zip(Family, ["ts", "uniform", "gaussian", "beta", "mixed"], strict=True)),
)
def test_sources(family, name, activity):
    kind = TableType.Activity if activity else TableType.Entity
    settings, ours, theirs = SourceSettings(), [], []
    for seed in range(400):
        values = settings.numbers(family, 60, activity, np.random.default_rng(seed))
        ours.append([values.mean(), values.std(), np.abs(np.diff(values)).mean()])
        made = SOURCE_GEN_REGISTRY[name].make_numerical(SCMParams(), 60, kind)
        values = np.array([made.get_value(row) for row in range(60)])
        theirs.append([values.mean(), values.std(), np.abs(np.diff(values)).mean()])
    for one, other in zip(np.transpose(ours), np.transpose(theirs), strict=True):
        as_good_as_equal(np.log(np.abs(one) + 1e-9), np.log(np.abs(other) + 1e-9))


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 32), (32, 32), (32, 1)])
def test_networks(inputs, outputs):
    """How strongly random networks react to their inputs, and what they give on average."""
    given = torch.randn(64, inputs)
    theirs = []
    for _ in range(600):
        found = MLP(SCMParams(), inputs, 32, outputs)(given).numpy()
        theirs.append([found.std(axis=0).mean(), np.abs(found.mean(axis=0)).mean()])
    networks = draw_networks([600], inputs, outputs, NetworkSettings(), np.random.default_rng(0))
    found = networks(0, np.broadcast_to(given.numpy().astype(float), (600, 64, inputs)).copy())
    ours = np.stack([found.std(axis=1).mean(axis=1), np.abs(found.mean(axis=1)).mean(axis=1)])
    for one, other in zip(ours, np.transpose(theirs), strict=True):
        as_good_as_equal(np.log(one + 1e-9), np.log(other + 1e-9))


def test_encoders_of_categories():
    theirs = [
        CategoricalEncoder(SCMParams(), 5, 32)(torch.arange(5)).numpy().std(axis=0).mean()
        for _ in range(500)
    ]
    generator = np.random.default_rng(0)
    embeddings = draw_embeddings(np.full(500, 5), NetworkSettings(), generator)
    found = draw_networks([500], 32, 32, NetworkSettings(), generator)(0, embeddings)
    ours = found.std(axis=1).mean(axis=1)
    as_good_as_equal(np.log(ours + 1e-9), np.log(np.array(theirs) + 1e-9))
