"""What a sample is: limits, order, fan-outs, randomness. The league's rows, looked at closely."""

from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from models.rdl.config import Strategy
from models.rdl.graph import MISSING_TIME, EdgeType
from models.rdl.sampler import TemporalSampler
from tests.models.rdl.league import HALF_DAYS, half_day, microseconds
from tests.models.rdl.neighbourhoods import by_hop, sampled_hops

ALL = 10**9
PLAYS = EdgeType("plays", "f2p_player", "players")
PLAYER = EdgeType("players", "rev_f2p_player", "plays")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sample(graph, fan_outs, until, strategy=Strategy.UNIFORM, seed=0, table="players", **settings):
    """The neighbourhoods of every row of a table, all as of one time."""
    rows = torch.arange(graph.tables[table].rows)
    limits = microseconds(*[until] * len(rows))
    return TemporalSampler(graph, fan_outs, strategy, **settings).sample(
        table, rows, limits, generator(seed)
    )


def same_sample(one, other):
    return all(torch.equal(one.rows[table], other.rows[table]) for table in one.rows) and all(
        torch.equal(one.edges[edge], other.edges[edge]) for edge in one.edges
    )


def test_sizes_by_hop_add_up_and_nodes_stand_hop_by_hop(league):
    found = sample(league, (4, 3, 2, 2), half_day(40))
    assert found.hops == 4
    assert found.nodes_per_hop["players"][0] == found.seeds == 12
    for table, rows in found.rows.items():
        assert sum(found.nodes_per_hop[table]) == len(rows) == len(found.seed_of[table])
        assert len(found.nodes_per_hop[table]) == 5
    hop_of = {table: torch.tensor(by_hop(sizes)) for table, sizes in found.nodes_per_hop.items()}
    for edge, links in found.edges.items():
        into = torch.tensor(by_hop(found.edges_per_hop[edge]))
        assert len(found.edges_per_hop[edge]) == 4
        assert links.dtype == torch.int64
        assert torch.equal(hop_of[edge.target][links[1]], into)
        assert torch.equal(hop_of[edge.source][links[0]], into + 1)
    assert found.edges[PLAYER].shape[1] > 0
    assert found.edges[EdgeType("injuries", "f2p_player", "players")].shape == (2, 0)


def test_edges_follow_the_foreign_keys(league):
    found = sample(league, (5, 5, 5), half_day(HALF_DAYS))
    for key, adjacency in zip(league.foreign_keys, league.adjacency, strict=True):
        columns = "_".join(key.columns)
        up = EdgeType(key.table, f"f2p_{columns}", key.parent)
        down = EdgeType(key.parent, f"rev_f2p_{columns}", key.table)
        for edge, child in ((up, 0), (down, 1)):
            links = found.edges[edge]
            children = found.rows[key.table][links[child]]
            parents = found.rows[key.parent][links[1 - child]]
            assert torch.equal(adjacency.parent[children], parents)
            assert links.shape[1] > 0 or key.table == "injuries"


def test_a_limit_includes_its_instant_and_nothing_after(league):
    play = int(torch.nonzero(league.tables["plays"].time == microseconds(half_day(25)))[0])
    player = league.adjacency[2].parent[play]
    assert player >= 0
    at = microseconds(half_day(25))
    until = torch.cat([at - 1, at, at + 1])
    found = TemporalSampler(league, (ALL,)).sample("players", player.expand(3), until)
    seen = [play in found.rows["plays"][found.seed_of["plays"] == seed] for seed in range(3)]
    assert seen == [False, True, True]
    times = league.tables["plays"].time[found.rows["plays"]]
    assert bool((times <= until[found.seed_of["plays"]]).all())


def test_rows_without_a_known_time_are_seen_only_as_seeds(league):
    found = sample(league, (ALL,) * 3, half_day(10 * HALF_DAYS))
    for table, times in ((t.name, t.time) for t in league.tables.values() if t.time is not None):
        seeds = found.nodes_per_hop[table][0]
        reached = times[found.rows[table][seeds:]]
        assert bool((times == MISSING_TIME).any()) or table == "injuries"
        assert not bool((reached == MISSING_TIME).any())
    assert bool((league.tables["players"].time == MISSING_TIME).any())
    assert found.rows["players"][:12].tolist() == list(range(12))


def test_a_seed_that_joins_later_is_there_but_is_no_ones_parent(league):
    """Players join up to half day 20: before that a play of theirs does not lead back to them."""
    early = half_day(10)
    plays = torch.nonzero(league.tables["plays"].time <= microseconds(early)).squeeze(1)
    parents = league.adjacency[2].parent[plays]
    joined = league.tables["players"].time
    is_visible = (
        (parents >= 0)
        & (joined[parents] <= microseconds(early))
        & (joined[parents] != MISSING_TIME)
    )
    assert 0 < is_visible.sum() < len(plays)
    found = TemporalSampler(league, (ALL,)).sample(
        "plays", plays, microseconds(early).expand(len(plays))
    )
    assert found.edges[PLAYER][1].tolist() == torch.nonzero(is_visible).squeeze(1).tolist()


def test_later_and_earlier_seeds_do_not_share_their_views(league):
    """The same player, frozen at one time and rolling on: each sees its own past."""
    frozen, rolling = microseconds(half_day(20)), microseconds(half_day(50))
    rows = torch.tensor([3, 3])
    sampler = TemporalSampler(league, (ALL, ALL))
    nodes, edges = sampled_hops(sampler.sample("players", rows, torch.cat([frozen, rolling])))
    for seed, until in enumerate((frozen, rolling)):
        alone, links = sampled_hops(sampler.sample("players", rows[:1], until))
        for hop, expected in zip(nodes, alone, strict=True):
            assert [node[1:] for node in hop if node[0] == seed] == [node[1:] for node in expected]
        for hop, expected in zip(edges, links, strict=True):
            assert [link[1:] for link in hop if link[0] == seed] == [link[1:] for link in expected]
    assert len([node for node in nodes[1] if node[0] == 0]) < len(
        [node for node in nodes[1] if node[0] == 1]
    )


def test_the_same_generator_gives_the_same_sample(league):
    one, again, other = (sample(league, (3, 3), half_day(50), seed=seed) for seed in (4, 4, 5))
    assert same_sample(one, again)
    assert not same_sample(one, other)
    assert sampled_hops(one) == sampled_hops(again)


def test_last_needs_no_randomness(league):
    one, other = (sample(league, (3, 3), half_day(50), Strategy.LAST, seed=seed) for seed in (4, 5))
    assert same_sample(one, other)


def test_strategies_may_be_given_by_name(league):
    expected = sample(league, (3, 3), half_day(50), Strategy.LAST)
    assert same_sample(sample(league, (3, 3), half_day(50), "last"), expected)
    with pytest.raises(ValueError, match="newest"):
        TemporalSampler(league, (3,), "newest")


def test_uniform_takes_every_visible_child_as_often(league):
    until = microseconds(half_day(45))
    player = int(torch.bincount(league.adjacency[2].parent[league.adjacency[2].children]).argmax())
    rows = torch.full((6000,), player)
    found = TemporalSampler(league, (2,)).sample("players", rows, until.expand(6000), generator(1))
    drawn = Counter(found.rows["plays"].tolist())
    visible = TemporalSampler(league, (ALL,)).sample("players", rows[:1], until).rows["plays"]
    assert set(drawn) == set(visible.tolist())
    assert len(visible) > 4
    assert chisquare([drawn[row] for row in visible.tolist()]).pvalue > 1e-3


def test_relations_may_have_their_own_fan_outs(league):
    own = {PLAYS.name: (1, 0), PLAYER.name: [0, 1]}
    found = sample(league, (9, 9), half_day(50), relation_fan_outs=own)
    assert found.edges_per_hop[PLAYS][1] == 0
    assert found.edges_per_hop[PLAYER][0] == 0
    assert found.edges_per_hop[PLAYER][1] > 0
    assert torch.bincount(found.edges[PLAYS][1]).max() == 1
    matches = EdgeType("matches", "rev_f2p_of_number_of_season", "plays")
    assert found.edges_per_hop[matches][1] > 0


@pytest.mark.parametrize(
    ("fan_outs", "own", "message"),
    [
        ((), {}, "at least one hop"),
        ((-1,), {}, "must not be negative"),
        ((1,), {PLAYS.name: (-2,)}, "must not be negative"),
        ((1,), {"plays__f2p_team__players": (1,)}, "none of"),
        ((1, 1), {PLAYS.name: (1,)}, "1 fan-outs for 2 hops"),
    ],
)
def test_impossible_fan_outs_are_refused(league, fan_outs, own, message):
    with pytest.raises(ValueError, match=message):
        TemporalSampler(league, fan_outs, relation_fan_outs=own)


def test_no_seeds_have_no_neighbours(league):
    nobody = torch.zeros(0, dtype=torch.int64)
    found = TemporalSampler(league, (4, 4)).sample("players", nobody, nobody)
    assert {len(rows) for rows in found.rows.values()} == {0}
    assert {links.shape for links in found.edges.values()} == {(2, 0)}


def test_a_row_reached_twice_in_a_hop_is_one_node_of_a_seed(league):
    """Two plays of a player in one match lead to the match once, by two edges."""
    found = sample(league, (ALL, ALL), half_day(HALF_DAYS))
    pairs = torch.stack([found.seed_of["matches"], found.rows["matches"]])
    assert torch.unique(pairs, dim=1).shape == pairs.shape
    targets = found.edges[EdgeType("matches", "rev_f2p_of_number_of_season", "plays")][0]
    assert len(targets) > len(torch.unique(targets)) == pairs.shape[1]
