"""One layer of messages along the foreign keys: GraphSAGE, PNA, HGT or RelGNN.

A layer gets the embeddings of the nodes near enough to the seeds to matter, and the edges into the
nodes whose new embeddings are still needed (`trimmed`): far nodes are read, not updated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch_geometric.nn import HGTConv, MessagePassing, SAGEConv, TransformerConv
from torch_geometric.nn.aggr import DegreeScalerAggregation
from torch_geometric.nn.module_dict import ModuleDict

from models.rdl.config import Convolution
from models.rdl.graph import EdgeType
from models.rdl.sampler import SampledGraph

Embeddings = dict[str, Tensor]
Edges = dict[EdgeType, Tensor]


def trimmed(
    sample: SampledGraph, nodes: Embeddings, layer: int, hops: int
) -> tuple[Embeddings, Edges, dict[str, int]]:
    """What a layer needs to see, and how many nodes of each table it updates.

    Args:
        sample: The sampled neighbourhoods.
        nodes: Embeddings of at least the nodes that the layer reads.
        layer: The layer's number, from 0.
        hops: Hops that a layer reads.
    """
    read = max(sample.hops - layer * hops, 0)
    updated = max(read - hops, 0)
    kept = {
        table: embeddings[: sum(sample.nodes_per_hop[table][: read + 1])]
        for table, embeddings in nodes.items()
    }
    edges = {
        edge: links[:, : sum(sample.edges_per_hop[edge][:read])]
        for edge, links in sample.edges.items()
    }
    sizes = {table: sum(per_hop[: updated + 1]) for table, per_hop in sample.nodes_per_hop.items()}
    return kept, edges, sizes


class RelationConvolution(nn.Module):
    """A convolution of its own for every edge type; their results are added, plus the node itself.

    The convolutions have no constant term (the node's own has it): a row without neighbours by an
    edge type gets nothing from it, whether or not other rows of the batch have some.
    """

    def __init__(
        self, tables: Sequence[str], convolutions: Mapping[EdgeType, nn.Module], channels: int
    ) -> None:
        super().__init__()
        self.edge_types = list(convolutions)
        self.convolutions = ModuleDict({e.name: c for e, c in convolutions.items()})
        self.own = ModuleDict({table: nn.Linear(channels, channels) for table in tables})

    def forward(self, nodes: Embeddings, edges: Edges, sizes: Mapping[str, int]) -> Embeddings:
        """New embeddings of the first `sizes[table]` nodes of each table."""
        out = {table: self.own[table](nodes[table][:size]) for table, size in sizes.items()}
        for edge in self.edge_types:
            size = sizes[edge.target]
            links = edges[edge]
            if size == 0 or links.shape[1] == 0:
                continue
            pair = (nodes[edge.source], nodes[edge.target][:size])
            out[edge.target] = out[edge.target] + self.convolutions[edge.name](pair, links)
        return out


class PrincipalNeighbourhoodConvolution(MessagePassing):
    """Mean, minimum, maximum and deviation of the neighbours, scaled by their number, projected.

    Corso et al., "Principal neighbourhood aggregation for graph nets", NeurIPS 2020, Eq. 5 and 8;
    PyG's own layer knows one node type only, its aggregation is used here.

    Args:
        channels: Width of nodes and result.
        degrees: How many training nodes have 0, 1, ... neighbours, int64.
    """

    def __init__(self, channels: int, degrees: Tensor) -> None:
        statistics = ["mean", "min", "max", "std"]
        scalers = ["identity", "amplification", "attenuation"]
        if not bool(degrees[1:].any()):
            # The scale is the mean log degree: without a neighbour to count, that of one.
            degrees = torch.tensor([0, 1])
        super().__init__(aggr=DegreeScalerAggregation(statistics, scalers, degrees))
        width = len(statistics) * len(scalers) * channels
        self.project = nn.Linear(width, channels, bias=False)

    def forward(self, nodes: tuple[Tensor, Tensor], edges: Tensor) -> Tensor:
        """The messages to the second of the node sets."""
        size = (len(nodes[0]), len(nodes[1]))
        return self.project(self.propagate(edges, x=nodes, size=size))

    def message(self, x_j: Tensor) -> Tensor:
        """A neighbour's embedding as it is."""
        return x_j


class HeterogeneousTransformer(nn.Module):
    """Hu et al., "Heterogeneous graph transformer", WWW 2020, as PyG has it."""

    def __init__(
        self, tables: Sequence[str], edge_types: Sequence[EdgeType], channels: int, heads: int
    ) -> None:
        super().__init__()
        metadata = ([_escaped(table) for table in tables], [_escape(e) for e in edge_types])
        # Without foreign keys there is nothing to attend to.
        self.convolution = HGTConv(channels, channels, metadata, heads) if edge_types else None
        self.own = ModuleDict({table: nn.Linear(channels, channels) for table in tables})

    def forward(self, nodes: Embeddings, edges: Edges, sizes: Mapping[str, int]) -> Embeddings:
        """New embeddings of the first `sizes[table]` nodes of each table."""
        found = {}
        if self.convolution is not None:
            # Empty ones too: a batch without an edge must get what it would get among others.
            found = self.convolution(
                {_escaped(table): embeddings for table, embeddings in nodes.items()},
                {_escape(edge): links for edge, links in edges.items()},
            )
        out = {}
        for table, size in sizes.items():
            own = self.own[table](nodes[table][:size])
            attended = found.get(_escaped(table))
            out[table] = own if attended is None else own + attended[:size]
        return out


def _escaped(name: str) -> str:
    """A name that HGTConv's dictionaries of modules take: no dot, none of their attributes."""
    return "<" + name.replace(".", "#") + ">"


def _escape(edge: EdgeType) -> tuple[str, str, str]:
    return _escaped(edge.source), _escaped(edge.relation), _escaped(edge.target)


class CompositeMessages(nn.Module):
    """Messages along atomic routes: from one parent through a row of the child table to another.

    Chen et al., "RelGNN: composite message passing for relational deep learning", ICML 2025,
    Section 4: a row with several foreign keys is no neighbour in its own right but a bridge. Before
    a child row attends to its parent by one key, it takes in its parents by the other keys. Child
    rows get messages from their parents as well, so that seeds may be of any table.
    """

    def __init__(
        self, tables: Sequence[str], edge_types: Sequence[EdgeType], channels: int, heads: int
    ) -> None:
        super().__init__()
        self.edge_types = list(edge_types)
        self.own = ModuleDict({table: nn.Linear(channels, channels) for table in tables})
        self.attend = ModuleDict(
            {
                edge.name: TransformerConv(
                    (channels, channels), channels // heads, heads, root_weight=False
                )
                for edge in edge_types
            }
        )
        self.routes = {edge: self._bridges(edge) for edge in edge_types}
        self.take_in = ModuleDict(
            {
                f"{edge.name}__from__{bridge.name}": nn.Linear(channels, channels)
                for edge, bridges in self.routes.items()
                for bridge in bridges
            }
        )

    def _bridges(self, edge: EdgeType) -> list[EdgeType]:
        """For an edge to a parent: the edges from the child's parents by other keys."""
        if not edge.relation.startswith("f2p_"):
            return []
        back = f"rev_{edge.relation}"
        return [
            other
            for other in self.edge_types
            if other.target == edge.source
            and other.relation.startswith("rev_f2p_")
            and (other.source, other.relation) != (edge.target, back)
        ]

    def forward(self, nodes: Embeddings, edges: Edges, sizes: Mapping[str, int]) -> Embeddings:
        """New embeddings of the first `sizes[table]` nodes of each table."""
        out = {table: self.own[table](nodes[table][:size]) for table, size in sizes.items()}
        for edge in self.edge_types:
            size = sizes[edge.target]
            links = edges[edge]
            if size == 0 or links.shape[1] == 0:
                continue
            source = nodes[edge.source]
            for bridge in self.routes[edge]:
                parents, children = edges[bridge]
                taken = self.take_in[f"{edge.name}__from__{bridge.name}"](nodes[bridge.source])
                source = source.index_add(0, children, taken[parents])
            pair = (source, nodes[edge.target][:size])
            attended = self.attend[edge.name](pair, links[:, links[1] < size])
            out[edge.target] = out[edge.target] + attended
        return out


def make_layer(
    convolution: Convolution,
    tables: Sequence[str],
    edge_types: Sequence[EdgeType],
    channels: int,
    heads: int,
    aggregation: str,
    degrees: Mapping[EdgeType, Tensor],
) -> nn.Module:
    """A layer of the kind.

    Args:
        convolution: The kind.
        tables: All tables.
        edge_types: All edge types.
        channels: Width of the embeddings.
        heads: Attention heads (HGT, RelGNN).
        aggregation: "mean" or "sum" (SAGE).
        degrees: Histogram of the number of neighbours by edge type (PNA).
    """
    convolution = Convolution(convolution)
    if convolution is Convolution.HGT:
        return HeterogeneousTransformer(tables, edge_types, channels, heads)
    if convolution is Convolution.RELGNN:
        return CompositeMessages(tables, edge_types, channels, heads)
    each: dict[EdgeType, nn.Module] = {}
    for edge in edge_types:
        if convolution is Convolution.PNA:
            each[edge] = PrincipalNeighbourhoodConvolution(channels, degrees[edge])
        else:
            each[edge] = SAGEConv(
                channels, channels, aggr=aggregation, root_weight=False, bias=False
            )
    return RelationConvolution(tables, each, channels)
