"""On random databases: samples are the visible neighbourhood, no row more, whatever comes later."""

from datetime import datetime

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.rdl.build import build_graph
from models.rdl.config import Strategy
from models.rdl.sampler import TemporalSampler
from tests.models.aggregation.random_databases import (
    CUTOFFS,
    LONG_AGO,
    MICROSECOND,
    TIME,
    databases,
    examples,
)
from tests.models.rdl.league import microseconds
from tests.models.rdl.neighbourhoods import Neighbourhoods, sampled_hops

ALL = 10**9
# Rows of the random databases lie exactly at the cutoffs and a microsecond beside them.
LIMITS = [LONG_AGO, CUTOFFS[0] - MICROSECOND, *CUTOFFS, CUTOFFS[1] + MICROSECOND]
LIMITS += [datetime(2200, 1, 1)]


@pytest.fixture
def graph_of(tmp_path_factory):
    return lambda database: build_graph(
        database.schema, database.store(tmp_path_factory.mktemp("random"))
    )


@st.composite
def seeds(draw, database):
    """A table that has rows, and some of them as of some limits."""
    filled = [table for table, rows in database.rows.items() if rows] or [None]
    table = draw(st.sampled_from(filled))
    rows = range(len(database.rows[table])) if table else []
    pairs = st.tuples(st.sampled_from(rows), st.sampled_from(LIMITS)) if rows else st.nothing()
    return table, draw(st.lists(pairs, min_size=4, max_size=12)) if rows else []


def sample_of(sampler, table, pairs, random=0):
    rows = torch.tensor([row for row, _ in pairs])
    until = microseconds(*(limit for _, limit in pairs))
    return sampler.sample(table, rows, until, torch.Generator().manual_seed(random))


def test_unlimited_samples_are_the_visible_neighbourhoods(graph_of):
    @examples(35)
    @given(databases(), st.integers(1, 3), st.sampled_from(Strategy), st.data())
    def check(database, hops, strategy, data):
        slow = Neighbourhoods(database.schema, database.rows)
        sampler = TemporalSampler(graph_of(database), (ALL,) * hops, strategy)
        for _ in range(3):
            table, pairs = data.draw(seeds(database))
            if table is None:
                continue
            nodes, edges = sampled_hops(sample_of(sampler, table, pairs))
            expected = [
                slow.hops(seed, table, row, limit, hops) for seed, (row, limit) in enumerate(pairs)
            ]
            for hop, found in enumerate(nodes):
                assert found == sorted(node for near, _ in expected for node in near[hop])
            for hop, found in enumerate(edges):
                assert found == sorted(link for _, links in expected for link in links[hop])

    check()


def test_fan_outs_hold_for_every_node_relation_and_hop(graph_of):
    """And are used up where there are as many visible rows; `last` are the newest of those."""

    @examples(35)
    @given(databases(), st.lists(st.integers(0, 3), min_size=1, max_size=3), st.data())
    def check(database, fan_outs, data):
        graph = graph_of(database)
        own = {
            edge.name: [data.draw(st.integers(0, 4)) for _ in fan_outs]
            for edge in graph.edge_types
            if data.draw(st.integers(0, 3)) == 0
        }
        strategy = data.draw(st.sampled_from(Strategy))
        table, pairs = data.draw(seeds(database))
        if table is None:
            return
        sampler = TemporalSampler(graph, tuple(fan_outs), strategy, own)
        slow = Neighbourhoods(database.schema, database.rows)
        nodes, edges = sampled_hops(sample_of(sampler, table, pairs))
        assert nodes[0] == sorted((seed, table, row) for seed, (row, _) in enumerate(pairs))
        for hop, links in enumerate(edges):
            found = {}
            for seed, edge, source, target in links:
                found.setdefault((seed, edge, target), []).append(source)
            for seed, kind, target in nodes[hop]:
                for edge in (edge for edge in graph.edge_types if edge.target == kind):
                    visible = [
                        source
                        for source in slow.links[edge, target]
                        if slow.is_visible(edge.source, source, pairs[seed][1])
                    ]
                    to_parent = edge.relation.startswith("f2p_")
                    size = own.get(edge.name, fan_outs)[hop]
                    # A row has one parent by each key: any fan-out but 0 takes it.
                    size = min(size if to_parent else ALL * size, len(visible))
                    sources = found.get((seed, edge, target), [])
                    assert len(set(sources)) == len(sources) == size
                    assert set(sources) <= set(visible)
                    if strategy == Strategy.LAST and to_parent:
                        rows = database.rows[edge.source]
                        # Rows of one instant, or without one, count in the order of the file.
                        visible.sort(key=lambda row: (rows[row].get(TIME) or LONG_AGO, row))
                        assert sources == sorted(visible[len(visible) - size :])
            reached = {(seed, edge.source, source) for seed, edge, source, _ in links}
            assert nodes[hop + 1] == sorted(reached), "one node for each row that is reached"

    check()


def with_another_future(database, cut):
    """Rows after `cut`, and rows without a known time: changed, left out, doubled, and new."""

    def alter(table, row):
        new = {**row, **{part: _other(row[part]) for part in table.primary_key}}
        if row[TIME] is not None and row[TIME] <= cut:
            new[TIME] = cut + MICROSECOND
            return [new, row] if len(repr(row)) % 2 else [row, new]
        later = {**row, TIME: None if len(repr(row)) % 5 == 0 else cut + 3 * MICROSECOND}
        return [[], [later], [later, new]][sum(map(ord, repr(row))) % 3]

    return database.altered(alter)


def _other(part):
    return f"{part}, new" if isinstance(part, str) else part + 1000


def named(graph, sample):
    """Nodes and edges with rows named by their primary keys: numbers move when rows come and go."""
    keys = {name: table.keys.rows() for name, table in graph.tables.items()}
    nodes, edges = sampled_hops(sample)
    return [
        *([sorted((s, t, repr(keys[t][row])) for s, t, row in hop) for hop in nodes]),
        *(
            sorted((s, e, repr(keys[e.source][a]), repr(keys[e.target][b])) for s, e, a, b in hop)
            for hop in edges
        ),
    ]


@pytest.mark.parametrize("cut", CUTOFFS)
@pytest.mark.parametrize(
    ("fan_outs", "strategy"), [((2, 2, 2), Strategy.LAST), ((ALL, ALL), Strategy.UNIFORM)]
)
def test_what_happens_after_the_limit_changes_no_sample(graph_of, cut, fan_outs, strategy):
    @examples(12)
    @given(databases())
    def check(database):
        graphs = graph_of(database), graph_of(with_another_future(database, cut))
        for table in database.schema.table_names:
            keys = [graph.tables[table].keys.rows() for graph in graphs]
            shared = sorted(set(keys[0]) & set(keys[1]), key=repr)
            pairs = [(key, limit) for key in shared[:5] for limit in (cut, cut - MICROSECOND)]
            if pairs:
                before, after = (
                    named(
                        graph,
                        sample_of(
                            TemporalSampler(graph, fan_outs, strategy),
                            table,
                            [(rows.index(key), limit) for key, limit in pairs],
                        ),
                    )
                    for graph, rows in zip(graphs, keys, strict=True)
                )
                assert before == after

    check()


def test_seeds_sample_the_same_alone_and_in_company(graph_of):
    @examples(12)
    @given(databases(), st.data())
    def check(database, data):
        sampler = TemporalSampler(graph_of(database), (2, 2), Strategy.LAST)
        table, pairs = data.draw(seeds(database))
        if table is None:
            return
        together = sampled_hops(sample_of(sampler, table, pairs))
        for seed, pair in enumerate(pairs):
            alone = sampled_hops(sample_of(sampler, table, [pair]))
            for found, all_found in zip(alone, together, strict=True):
                for hop, all_of_hop in zip(found, all_found, strict=True):
                    assert [item[1:] for item in hop] == [
                        item[1:] for item in all_of_hop if item[0] == seed
                    ]

    check()
