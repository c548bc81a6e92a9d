"""Small networks over the league, and samples for them."""

import torch

from models.rdl.config import Convolution, NetworkShape
from models.rdl.network import Backbone, neighbour_counts
from models.rdl.sampler import TemporalSampler
from tests.models.rdl.league import HALF_DAYS, half_day, microseconds

ALL = 10**9
END = half_day(HALF_DAYS)
CASES = [(convolution, layers) for convolution in Convolution for layers in (1, 2, 3)]


def shape_of(convolution, layers=2, **settings):
    small = {"channels": 8, "heads": 2, "encoder_layers": 1}
    return NetworkShape(convolution, layers, **{**small, **settings})


def backbone(graph, statistics, shape, seed=0):
    """A backbone in evaluation mode, its weights drawn from the seed."""
    counts = neighbour_counts(graph, microseconds(END).item(), 64)
    torch.manual_seed(seed)
    return Backbone(statistics, graph.edge_types, shape, counts).eval()


def sample(graph, hops, rows, until, table="players", fan_out=ALL, strategy="uniform", seed=0):
    """The neighbourhoods of rows, each as of its time (int64 microseconds)."""
    sampler = TemporalSampler(graph, (fan_out,) * hops, strategy)
    return sampler.sample(table, rows, until, torch.Generator().manual_seed(seed))


def embed(network, graph, inputs, rows, until, table="players", **settings):
    """The seeds' embeddings, each as of its time; the cutoff is the same instant."""
    found = sample(graph, network.shape.hops, rows, until, table, **settings)
    with torch.no_grad():
        return network(inputs, found, until)


def mixed_seeds():
    """Every player at some time, some before anything happened, some twice."""
    rows = torch.tensor([*range(12), 3, 3, 0])
    numbers = [50, 30, 0, 10, 59, 58, 20, 40, 41, 3, 15, 59, -9, 22, 33]
    return rows, microseconds(*map(half_day, numbers))
