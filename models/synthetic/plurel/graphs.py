"""Random directed graphs: of tables, and of the nodes of a table's causal model.

The families of PluRel (Kothapalli et al. 2026, arXiv:2602.04029). Nodes are numbered so that every
edge leads from a lower number to a higher one, which makes a graph acyclic as it stands; every graph
is connected. Each family is a dataclass that is called with the number of nodes and a generator, and
returns its edges as int64 [edges, 2], sorted, none twice; fewer than two nodes have no edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from models.synthetic.draws import Choice, Draw, Integer, Uniform

Edges = NDArray[np.int64]


class Graph(Protocol):
    """A family of random graphs."""

    def __call__(self, nodes: int, generator: np.random.Generator) -> Edges:
        """The edges of one graph."""


@dataclass(frozen=True, slots=True)
class ErdosRenyi:
    """Every pair of nodes independently.

    Attributes:
        probability: That of an edge in one of a pair's two directions, drawn once a graph; a pair
            is joined where either came up, as in the `plurel` package.
    """

    probability: Draw[float] = Uniform(0.3, 0.8)

    def __call__(self, nodes: int, generator: np.random.Generator) -> Edges:
        """Edges, int64 [edges, 2]."""
        pairs = _pairs(nodes)
        drawn = generator.random((2, len(pairs))) < self.probability.sample(generator)
        return _connected(nodes, pairs[drawn.any(axis=0)], generator)


@dataclass(frozen=True, slots=True)
class BarabasiAlbert:
    """Preferential attachment: each node hangs on earlier ones that have many edges.

    Attributes:
        attachments: Edges that each node brings along.
        sink_dropout: The probability that a node without children, but with several parents, loses
            one of these.
    """

    attachments: int = 2
    sink_dropout: float = 0.4

    def __call__(self, nodes: int, generator: np.random.Generator) -> Edges:
        """Edges, int64 [edges, 2]."""
        if nodes < 2:
            return _pairs(0)
        attachments = min(self.attachments, nodes - 1)
        # A star to begin with; nodes appear here as often as they have edges.
        ends = [end for leaf in range(1, attachments + 1) for end in (0, leaf)]
        for node in range(attachments + 1, nodes):
            earlier: list[int] = []
            while len(earlier) < attachments:
                end = ends[int(generator.random() * len(ends))]
                if end not in earlier:
                    earlier.append(end)
            ends += [end for chosen in earlier for end in (chosen, node)]
        edges = _sorted(np.array(ends, dtype=np.int64).reshape(-1, 2))
        return self._thinned(nodes, edges, generator)

    def _thinned(self, nodes: int, edges: Edges, generator: np.random.Generator) -> Edges:
        kept = np.ones(len(edges), dtype=bool)
        for sink in np.flatnonzero(np.bincount(edges[:, 0], minlength=nodes) == 0):
            (into,) = np.nonzero(edges[:, 1] == sink)
            if len(into) > 1 and generator.random() < self.sink_dropout:
                kept[into[generator.integers(len(into))]] = False
        return edges[kept]


@dataclass(frozen=True, slots=True)
class RandomTree:
    """A labelled tree, all of them equally likely, away from a random root: one parent a node."""

    def __call__(self, nodes: int, generator: np.random.Generator) -> Edges:
        """Edges, int64 [nodes - 1, 2]."""
        return _sorted(_tree(nodes, generator))


@dataclass(frozen=True, slots=True)
class ReverseRandomTree:
    """A labelled tree, all of them equally likely, towards a random root: one child a node."""

    def __call__(self, nodes: int, generator: np.random.Generator) -> Edges:
        """Edges, int64 [nodes - 1, 2]."""
        return _sorted(nodes - 1 - _tree(nodes, generator))


@dataclass(frozen=True, slots=True)
class WattsStrogatz:
    """A ring of neighbours, some of whose edges lead elsewhere.

    Attributes:
        rewiring: The probability that an edge does, drawn once a graph.
        neighbours: Neighbours on the ring, an even number, drawn once a graph.
    """

    rewiring: Draw[float] = Uniform(0.1, 0.3)
    neighbours: Draw[int] = Choice((2, 4))

    def __call__(self, nodes: int, generator: np.random.Generator) -> Edges:
        """Edges, int64 [edges, 2]."""
        if nodes < 2:
            return _pairs(0)
        probability = self.rewiring.sample(generator)
        neighbours = max(2, min(self.neighbours.sample(generator), nodes - nodes % 2))
        if neighbours >= nodes:
            return _pairs(nodes)
        joined = np.zeros((nodes, nodes), dtype=bool)
        ring = np.arange(nodes)
        for distance in range(1, neighbours // 2 + 1):
            joined[ring, (ring + distance) % nodes] = True
        joined |= joined.T
        rewired = generator.random((neighbours // 2, nodes)) < probability
        for step, node in zip(*map(np.ndarray.tolist, np.nonzero(rewired)), strict=True):
            neighbour = (node + step + 1) % nodes
            free = np.flatnonzero(~joined[node])
            free = free[free != node]
            if len(free):
                elsewhere = free[generator.integers(len(free))]
                joined[node, neighbour] = joined[neighbour, node] = False
                joined[node, elsewhere] = joined[elsewhere, node] = True
        return _connected(nodes, np.argwhere(np.triu(joined)), generator)


@dataclass(frozen=True, slots=True)
class Layered:
    """Layers, each joined with the next one.

    Attributes:
        depth: Layers.
        dropout: The share of edges between two layers that is left out; nobody is left without a
            parent in the layer before, or without a child in the next.
    """

    depth: Draw[int] = Integer(2, 8)
    dropout: float = 0.1

    def __call__(self, nodes: int, generator: np.random.Generator) -> Edges:
        """Edges, int64 [edges, 2]."""
        if nodes < 2:
            return _pairs(0)
        depth = max(2, min(self.depth.sample(generator), nodes))
        extra = generator.integers(depth, size=nodes - depth)
        bounds = np.cumsum(np.append(0, 1 + np.bincount(extra, minlength=depth)))
        blocks = [self._between(bounds[layer : layer + 3], generator) for layer in range(depth - 1)]
        # Layers may still fall apart into threads side by side.
        return _connected(nodes, np.concatenate(blocks), generator)

    def _between(self, bounds: NDArray[np.int64], generator: np.random.Generator) -> Edges:
        above, below = np.diff(bounds)
        joined = generator.random((above, below)) >= self.dropout
        for orphan in np.flatnonzero(~joined.any(axis=0)):
            joined[generator.integers(above), orphan] = True
        for childless in np.flatnonzero(~joined.any(axis=1)):
            joined[childless, generator.integers(below)] = True
        return np.argwhere(joined) + bounds[:2]


@dataclass(frozen=True, slots=True)
class RandomCauchy:
    """From i to j > i with probability sigmoid(A + B_i + C_j), all of them standard Cauchy."""

    def __call__(self, nodes: int, generator: np.random.Generator) -> Edges:
        """Edges, int64 [edges, 2]."""
        pairs = _pairs(nodes)
        everywhere = generator.standard_cauchy()
        leaving, entering = generator.standard_cauchy((2, nodes))
        logits = everywhere + leaving[pairs[:, 0]] + entering[pairs[:, 1]]
        probabilities = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
        return _connected(nodes, pairs[generator.random(len(pairs)) < probabilities], generator)


def depths(nodes: int, edges: Edges) -> NDArray[np.int64]:
    """Edges of the longest path that ends in each node, int64 [nodes]."""
    found = np.zeros(nodes, dtype=np.int64)
    # By the node they lead to, every node's parents are done before it is.
    for parent, child in edges[np.argsort(edges[:, 1], kind="stable")].tolist():
        found[child] = max(found[child], found[parent] + 1)
    return found


def _pairs(nodes: int) -> Edges:
    """Every pair of nodes, the lower one first."""
    return np.stack(np.triu_indices(nodes, 1), axis=1).astype(np.int64)


def _sorted(edges: Edges) -> Edges:
    edges = np.sort(edges, axis=1)
    return edges[np.lexsort((edges[:, 1], edges[:, 0]))]


def _connected(nodes: int, edges: Edges, generator: np.random.Generator) -> Edges:
    """The edges, and where the graph falls into parts a random one from each part to the next."""
    if nodes < 2:
        return edges
    ones = np.ones(len(edges), dtype=np.int8)
    graph = coo_array((ones, (edges[:, 0], edges[:, 1])), shape=(nodes, nodes))
    count, parts = connected_components(graph, directed=False)
    if count == 1:
        return edges
    members = [np.flatnonzero(parts == part) for part in range(count)]
    bridges = [[generator.choice(one), generator.choice(other)] for one, other in pairwise(members)]
    return _sorted(np.concatenate([edges, np.array(bridges, dtype=np.int64)]))


def _tree(nodes: int, generator: np.random.Generator) -> Edges:
    """A uniform labelled tree by its Prüfer sequence, renumbered from a random root downwards."""
    if nodes < 2:
        return _pairs(0)
    neighbours: list[list[int]] = [[] for _ in range(nodes)]
    for one, other in _prufer(nodes, generator.integers(nodes, size=nodes - 2).tolist()):
        neighbours[one].append(other)
        neighbours[other].append(one)
    root = int(generator.integers(nodes))
    number, order = {root: 0}, [root]
    edges = []
    for node in order:
        for neighbour in neighbours[node]:
            if neighbour not in number:
                number[neighbour] = len(order)
                order.append(neighbour)
                edges.append((number[node], number[neighbour]))
    return np.array(edges, dtype=np.int64)


def _prufer(nodes: int, sequence: Sequence[int]) -> list[tuple[int, int]]:
    """The tree of a sequence: each entry is the neighbour of the lowest leaf that is left."""
    degree = [1] * nodes
    for node in sequence:
        degree[node] += 1
    pointer = leaf = degree.index(1)
    edges = []
    for node in sequence:
        edges.append((leaf, node))
        degree[leaf] -= 1
        degree[node] -= 1
        if degree[node] == 1 and node < pointer:
            leaf = node
        else:
            pointer = leaf = next(i for i in range(pointer + 1, nodes) if degree[i] == 1)
    return [*edges, (leaf, nodes - 1)]
