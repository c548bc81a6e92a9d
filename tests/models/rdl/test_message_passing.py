"""Single layers on graphs small enough to compute by hand, and on odd ones."""

import pytest
import torch

from models.rdl.config import Convolution
from models.rdl.graph import EdgeType
from models.rdl.message_passing import (
    CompositeMessages,
    PrincipalNeighbourhoodConvolution,
    make_layer,
)

# Tables and columns may be named like attributes of modules, or with dots.
ODD = EdgeType("keys", "f2p_type.id", "a.b")
EDGES = [ODD, EdgeType("a.b", "rev_f2p_type.id", "keys")]
LINKS = torch.tensor([[0, 1, 2, 2], [0, 0, 1, 3]])
DEGREES = {edge: torch.tensor([1, 2, 3]) for edge in EDGES}


def layer(convolution, aggregation="mean", tables=("keys", "a.b"), edges=EDGES):
    torch.manual_seed(0)
    return make_layer(convolution, tables, edges, 4, 2, aggregation, DEGREES)


def nodes(**sizes):
    generator = torch.Generator().manual_seed(1)
    return {
        "keys": torch.randn(sizes.get("keys", 3), 4, generator=generator),
        "a.b": torch.randn(sizes.get("ab", 5), 4, generator=generator),
    }


@pytest.mark.parametrize("convolution", Convolution)
def test_layers_of_oddly_named_tables(convolution):
    module = layer(convolution)
    given, sizes = nodes(), {"keys": 1, "a.b": 4}
    edges = {ODD: LINKS, EDGES[1]: torch.tensor([[4, 0], [0, 0]])}
    with torch.no_grad():
        found = module(given, edges, sizes)
        assert {name: tuple(one.shape) for name, one in found.items()} == {
            "keys": (1, 4),
            "a.b": (4, 4),
        }
        state = module.state_dict()
        other = layer(convolution)
        other.load_state_dict(state)
        torch.testing.assert_close(other(given, edges, sizes), found)


@pytest.mark.parametrize("convolution", Convolution)
def test_rows_without_neighbours_get_the_same_with_and_without_others_that_have_some(convolution):
    module = layer(convolution)
    none = torch.zeros((2, 0), dtype=torch.int64)
    sizes = {"keys": 3, "a.b": 5}
    with torch.no_grad():
        some = module(nodes(), {ODD: LINKS, EDGES[1]: none}, sizes)
        bare = module(nodes(), {ODD: none, EDGES[1]: none}, sizes)
    # Rows 2 and 4 have no edge in either.
    torch.testing.assert_close(some["a.b"][[2, 4]], bare["a.b"][[2, 4]])
    torch.testing.assert_close(some["keys"], bare["keys"])
    assert not torch.allclose(some["a.b"][[0, 1, 3]], bare["a.b"][[0, 1, 3]])


@pytest.mark.parametrize("convolution", Convolution)
def test_messages_do_not_depend_on_the_order_of_edges(convolution):
    module = layer(convolution)
    none, sizes = torch.zeros((2, 0), dtype=torch.int64), {"keys": 3, "a.b": 5}
    with torch.no_grad():
        one = module(nodes(), {ODD: LINKS, EDGES[1]: none}, sizes)
        other = module(nodes(), {ODD: LINKS[:, [2, 0, 3, 1]], EDGES[1]: none}, sizes)
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("convolution", Convolution)
def test_tables_without_rows(convolution):
    none, sizes = torch.zeros((2, 0), dtype=torch.int64), {"keys": 0, "a.b": 2}
    with torch.no_grad():
        found = layer(convolution)(nodes(keys=0), {ODD: none, EDGES[1]: none}, sizes)
    assert found["keys"].shape == (0, 4)
    assert bool(found["a.b"].isfinite().all())


@pytest.mark.parametrize("convolution", Convolution)
def test_a_database_of_one_table(convolution):
    module = layer(convolution, tables=("a.b",), edges=[])
    found = module({"a.b": nodes()["a.b"]}, {}, {"a.b": 2})
    torch.testing.assert_close(found["a.b"], module.own["a.b"](nodes()["a.b"][:2]))


@pytest.mark.parametrize("aggregation", ["mean", "sum"])
def test_graphsage_by_hand(aggregation):
    module = layer(Convolution.SAGE, aggregation)
    given = nodes()
    with torch.no_grad():
        found = module(given, {ODD: LINKS, EDGES[1]: LINKS[:, :0]}, {"keys": 0, "a.b": 4})["a.b"]
        keys, own = given["keys"], module.own["a.b"](given["a.b"][:4])
        first = keys[0] + keys[1]
        messages = torch.stack(
            [first / 2 if aggregation == "mean" else first, keys[2], torch.zeros(4), keys[2]]
        )
        weight = module.convolutions[ODD.name].lin_l.weight
        torch.testing.assert_close(found, own + messages @ weight.T)


def test_principal_neighbourhood_aggregation_by_hand():
    torch.manual_seed(0)
    degrees = torch.tensor([1, 2, 3])
    module = PrincipalNeighbourhoodConvolution(4, degrees)
    sources = nodes()["keys"]
    with torch.no_grad():
        found = module((sources, torch.zeros(3, 4)), torch.tensor([[0, 1, 2], [0, 0, 2]]))
        pair = sources[:2]
        parts = [pair.mean(0), pair.amin(0), pair.amax(0), pair.std(0, unbiased=False)]
        mean_log = (2 * torch.log(torch.tensor(2.0)) + 3 * torch.log(torch.tensor(3.0))) / 6
        amplified = torch.log(torch.tensor(3.0)) / mean_log
        scaled = torch.cat([torch.cat(parts) * factor for factor in (1, amplified, 1 / amplified)])
        torch.testing.assert_close(found[0], module.project(scaled))
        assert not found[1].any()


@pytest.mark.parametrize("degrees", [[0, 0], [7, 0], [0, 0, 0], [5]])
def test_relations_without_an_edge_to_count_stay_finite(degrees):
    """Nothing may refer to a table in training and something later."""
    module = PrincipalNeighbourhoodConvolution(4, torch.tensor(degrees))
    found = module((nodes()["keys"], torch.zeros(4, 4)), LINKS)
    assert bool(found.isfinite().all())
    assert bool((found[0] != 0).any())


def test_composite_messages_bridge_over_rows_with_several_keys():
    """Of plays between players and matches: a player hears of the match by way of the play."""
    up = EdgeType("plays", "f2p_player", "players")
    down = EdgeType("players", "rev_f2p_player", "plays")
    to_match = EdgeType("plays", "f2p_match", "matches")
    of_match = EdgeType("matches", "rev_f2p_match", "plays")
    edges = [up, down, to_match, of_match]
    torch.manual_seed(0)
    module = CompositeMessages(["players", "plays", "matches"], edges, 4, 2)
    assert module.routes == {up: [of_match], down: [], to_match: [down], of_match: []}
    generator = torch.Generator().manual_seed(1)
    given = {
        name: torch.randn(2, 4, generator=generator) for name in ("players", "plays", "matches")
    }
    none = torch.zeros((2, 0), dtype=torch.int64)
    links = {
        up: torch.tensor([[0, 1], [0, 1]]),
        down: none,
        to_match: none,
        of_match: torch.tensor([[1], [1]]),
    }
    sizes = {"players": 2, "plays": 0, "matches": 0}
    with torch.no_grad():
        found = module(given, links, sizes)["players"]
        attend = module.attend[up.name]
        take_in = module.take_in[f"{up.name}__from__{of_match.name}"]
        # One play each, so attention is 1: the play's value, which for the second holds its match.
        bridged = given["plays"][1] + take_in(given["matches"][1])
        plays = torch.stack([given["plays"][0], bridged])
        expected = module.own["players"](given["players"]) + attend.lin_value(plays)
    torch.testing.assert_close(found, expected)
