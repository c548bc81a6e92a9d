"""On a CUDA device: the same samples, values and messages as on the CPU."""

import pytest
import torch

from models.rdl.config import Convolution, Strategy
from models.rdl.rows import row_inputs
from models.rdl.sampler import TemporalSampler
from models.rdl.subsets import uniform_of
from tests.models.rdl.networks import backbone, mixed_seeds, shape_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
CUDA = torch.device("cuda")


def sampled(graph, strategy=Strategy.LAST):
    rows, until = (one.to(graph.device) for one in mixed_seeds())
    generator = torch.Generator(graph.device).manual_seed(0)
    return TemporalSampler(graph, (4, 3), strategy).sample("players", rows, until, generator)


def test_samples(league):
    one, other = sampled(league), sampled(league.to(CUDA))
    assert one.nodes_per_hop == other.nodes_per_hop
    assert one.edges_per_hop == other.edges_per_hop
    for table, rows in one.rows.items():
        assert other.rows[table].is_cuda
        assert torch.equal(other.rows[table].cpu(), rows)
        assert torch.equal(other.seed_of[table].cpu(), one.seed_of[table])
    for edge, links in one.edges.items():
        assert torch.equal(other.edges[edge].cpu(), links)


def test_uniform_samples_take_as_many(league):
    one, other = (
        sampled(graph, Strategy.UNIFORM).edges_per_hop for graph in (league, league.to(CUDA))
    )
    assert {edge: sizes[0] for edge, sizes in one.items()} == {
        edge: sizes[0] for edge, sizes in other.items()
    }


def test_subsets_have_no_repeats():
    counts = torch.tensor([3, 9, 40, 100_000] * 50, device=CUDA)
    sets, elements = uniform_of(counts, 8, torch.Generator(CUDA).manual_seed(0))
    assert len(torch.unique(torch.stack([sets, elements]), dim=1)[0]) == 50 * (3 + 8 + 8 + 8)
    assert bool((elements < counts[sets]).all())


def test_inputs(league, statistics, inputs):
    for name, one in row_inputs(league.to(CUDA), statistics).items():
        torch.testing.assert_close(one.numbers.cpu(), inputs[name].numbers)
        assert torch.equal(one.codes.cpu(), inputs[name].codes)
        assert torch.equal(one.times.cpu(), inputs[name].times)


@pytest.mark.parametrize("convolution", Convolution)
def test_embeddings(league, statistics, inputs, convolution):
    network = backbone(league, statistics, shape_of(convolution, 1 if convolution.hops == 2 else 2))
    graph = league.to(CUDA)
    _, until = mixed_seeds()
    with torch.no_grad():
        expected = network(inputs, sampled(league), until)
        found = network.to(CUDA)(row_inputs(graph, statistics), sampled(graph), until.to(CUDA))
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4)
