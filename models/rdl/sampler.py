"""Temporal neighbour sampling as tensor operations, on whatever device the graph is.

For every seed, a row asked about at a cutoff time, the rows that lead to it through foreign keys are
sampled hop by hop, each as of that seed's limit. Seeds share nothing: a row that two seeds reach is
two nodes. Within a seed, a row that is reached several times in one hop is one node; reached again
in a later hop it is another, so a network of as many layers as hops computes the same as over the
whole visible neighbourhood (with fan-outs that allow it), and each layer needs one hop less.

The construction follows GraphSAGE (Hamilton et al., "Inductive representation learning on large
graphs", NeurIPS 2017, Algorithm 2), with the visibility rule of relational deep learning (Fey et
al., "Relational deep learning", ICML 2024, Section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from models.rdl.config import Strategy
from models.rdl.graph import Adjacency, EdgeType, TemporalGraph, directions
from models.rdl.subsets import last_of, uniform_of


@dataclass(frozen=True, slots=True)
class SampledGraph:
    """The sampled neighbourhoods of a batch of seeds.

    Nodes are numbered per table, hop by hop: the seeds are the first nodes of `seed_table`. Edges
    lead from the nodes of a hop to those of the hop before. All tensors are int64.

    Args:
        seed_table: The table of the seeds.
        seeds: How many there are.
        rows: By table, the row of each node.
        seed_of: By table, the seed that each node belongs to.
        edges: By edge type, [2, edges]: source and target node.
        nodes_per_hop: By table, nodes of hop 0, 1, ...
        edges_per_hop: By edge type, edges into hop 0, 1, ...
    """

    seed_table: str
    seeds: int
    rows: dict[str, Tensor]
    seed_of: dict[str, Tensor]
    edges: dict[EdgeType, Tensor]
    nodes_per_hop: dict[str, list[int]]
    edges_per_hop: dict[EdgeType, list[int]]

    @property
    def hops(self) -> int:
        """How far from the seeds the nodes lie."""
        return len(self.nodes_per_hop[self.seed_table]) - 1


@dataclass(frozen=True, slots=True)
class TemporalSampler:
    """Samples neighbourhoods from a temporal graph.

    Args:
        graph: The graph; sampling runs on its device.
        fan_outs: The most children that a node gets per foreign key, for each hop.
        strategy: Which children are taken where there are more.
        relation_fan_outs: Other fan-outs for some relations, by `EdgeType.name`; 0 leaves a relation
            out.

    Raises:
        ValueError: There is no fan-out or a negative one, one of `relation_fan_outs` names no edge
            type or has another number of hops, or the strategy is unknown.
    """

    graph: TemporalGraph
    fan_outs: tuple[int, ...]
    strategy: Strategy = Strategy.UNIFORM
    relation_fan_outs: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = {edge.name for edge in self.graph.edge_types}
        for name, fan_outs in self.relation_fan_outs.items():
            if name not in known:
                raise ValueError(f"fan-outs for {name!r}, which is none of {sorted(known)}")
            if len(fan_outs) != len(self.fan_outs):
                raise ValueError(
                    f"{name!r} has {len(fan_outs)} fan-outs for {len(self.fan_outs)} hops"
                )
        Strategy(self.strategy)
        if not self.fan_outs:
            raise ValueError("fan_outs must name at least one hop")
        sizes: list[Sequence[int]] = [self.fan_outs, *self.relation_fan_outs.values()]
        if any(size < 0 for per_hop in sizes for size in per_hop):
            raise ValueError(f"fan-outs must not be negative (got {sizes})")

    def sample(
        self,
        table: str,
        rows: Tensor,
        visible_until: Tensor,
        generator: Generator | None = None,
    ) -> SampledGraph:
        """The neighbourhoods of rows, each as of its own time.

        Args:
            table: The seeds' table.
            rows: int64 [seeds], row numbers.
            visible_until: int64 [seeds], microseconds: no row with a later event time is sampled.
                A seed itself is always there.
            generator: The source of randomness, on the graph's device.
        """
        limit = self.graph.visible_rank(visible_until)
        nodes = _Nodes(list(self.graph.tables), self.graph.device)
        nodes.add(table, rows, torch.arange(len(rows), device=rows.device))
        nodes.close_hop()
        edges: dict[EdgeType, list[Tensor]] = {edge: [] for edge in self.graph.edge_types}
        for hop in range(len(self.fan_outs)):
            found = self._neighbours(nodes, limit, hop, generator)
            for source in self.graph.tables:
                into = [(edge, links) for edge, links in found.items() if edge.source == source]
                ends = _number(nodes, source, [links for _, links in into])
                for (edge, links), sources in zip(into, ends, strict=True):
                    edges[edge].append(torch.stack([sources, links.target]))
            for edge in edges:
                if edge not in found:
                    edges[edge].append(torch.zeros((2, 0), dtype=torch.int64, device=rows.device))
            nodes.close_hop()
        return SampledGraph(
            seed_table=table,
            seeds=len(rows),
            rows=nodes.all_rows(),
            seed_of=nodes.all_seeds(),
            edges={edge: torch.cat(parts, dim=1) for edge, parts in edges.items()},
            nodes_per_hop=nodes.sizes,
            edges_per_hop={edge: [p.shape[1] for p in parts] for edge, parts in edges.items()},
        )

    def _neighbours(
        self, nodes: _Nodes, limit: Tensor, hop: int, generator: Generator | None
    ) -> dict[EdgeType, _Links]:
        """The sampled sources of every edge into the nodes of the newest hop."""
        found = {}
        for key, adjacency in zip(self.graph.foreign_keys, self.graph.adjacency, strict=True):
            to_parent, to_child = directions(key)
            if nodes.newest_size(key.parent) and (size := self._fan_out(to_parent, hop)):
                found[to_parent] = self._children(
                    adjacency, nodes.newest(key.parent), limit, size, generator
                )
            parent_rank = self.graph.tables[key.parent].time_rank
            # An empty table is no parent of any row, and has no rank to read.
            if nodes.newest_size(key.table) and self._fan_out(to_child, hop) and len(parent_rank):
                found[to_child] = self._parents(
                    adjacency, parent_rank, nodes.newest(key.table), limit
                )
        return found

    def _fan_out(self, edge: EdgeType, hop: int) -> int:
        return self.relation_fan_outs.get(edge.name, self.fan_outs)[hop]

    def _children(
        self,
        adjacency: Adjacency,
        frontier: _Frontier,
        limit: Tensor,
        size: int,
        generator: Generator | None,
    ) -> _Links:
        start = adjacency.first[frontier.rows]
        asked = frontier.rows * self.graph.ranks + limit[frontier.seeds]
        counts = torch.searchsorted(adjacency.order, asked, right=True) - start
        if self.strategy == Strategy.LAST:
            targets, elements = last_of(counts, size)
        else:
            targets, elements = uniform_of(counts, size, generator)
        rows = adjacency.children[start[targets] + elements]
        return _Links(rows, frontier.seeds[targets], frontier.first + targets, is_distinct=True)

    def _parents(
        self, adjacency: Adjacency, parent_rank: Tensor, frontier: _Frontier, limit: Tensor
    ) -> _Links:
        parents = adjacency.parent[frontier.rows]
        # Row -1, no parent, reads some other row's time; the second condition drops it.
        is_visible = (parent_rank[parents] <= limit[frontier.seeds]) & (parents >= 0)
        targets = torch.nonzero(is_visible).squeeze(1)
        return _Links(
            parents[targets], frontier.seeds[targets], frontier.first + targets, is_distinct=False
        )


@dataclass(frozen=True, slots=True)
class _Frontier:
    """The nodes of one table in one hop, and the number of the first."""

    rows: Tensor
    seeds: Tensor
    first: int


@dataclass(frozen=True, slots=True)
class _Links:
    """Sampled sources: row, seed and target node of each edge.

    `is_distinct`: no row comes twice for one seed (a child has one parent by each key).
    """

    rows: Tensor
    seeds: Tensor
    target: Tensor
    is_distinct: bool


class _Nodes:
    """The nodes so far, by table and hop."""

    def __init__(self, tables: list[str], device: torch.device) -> None:
        self._empty = torch.zeros(0, dtype=torch.int64, device=device)
        self._rows: dict[str, list[Tensor]] = {table: [] for table in tables}
        self._seeds: dict[str, list[Tensor]] = {table: [] for table in tables}
        self.sizes: dict[str, list[int]] = {table: [] for table in tables}
        self._pending: dict[str, tuple[Tensor, Tensor]] = {}

    def add(self, table: str, rows: Tensor, seeds: Tensor) -> int:
        """Adds nodes to the hop in progress; returns the number of the first."""
        self._pending[table] = (rows, seeds)
        return sum(self.sizes[table])

    def close_hop(self) -> None:
        """The hop in progress becomes the newest."""
        for table, sizes in self.sizes.items():
            rows, seeds = self._pending.get(table, (self._empty, self._empty))
            self._rows[table].append(rows)
            self._seeds[table].append(seeds)
            sizes.append(len(rows))
        self._pending = {}

    def newest_size(self, table: str) -> int:
        return self.sizes[table][-1]

    def newest(self, table: str) -> _Frontier:
        first = sum(self.sizes[table][:-1])
        return _Frontier(self._rows[table][-1], self._seeds[table][-1], first)

    def all_rows(self) -> dict[str, Tensor]:
        return {table: torch.cat(parts) for table, parts in self._rows.items()}

    def all_seeds(self) -> dict[str, Tensor]:
        return {table: torch.cat(parts) for table, parts in self._seeds.items()}


def _number(nodes: _Nodes, table: str, links: list[_Links]) -> list[Tensor]:
    """Makes the links' sources nodes of the hop in progress, one for each (seed, row).

    Returns:
        The node of each link's sources.
    """
    if not links:
        return []
    rows, seeds = torch.cat([one.rows for one in links]), torch.cat([one.seeds for one in links])
    if len(links) == 1 and links[0].is_distinct:
        first = nodes.add(table, rows, seeds)
        return [first + torch.arange(len(rows), device=rows.device)]
    most = int(rows.max()) + 1 if len(rows) else 1
    distinct, node = torch.unique(seeds * most + rows, return_inverse=True)
    first = nodes.add(table, distinct % most, distinct // most)
    return list(torch.split(first + node, [len(one.rows) for one in links]))
