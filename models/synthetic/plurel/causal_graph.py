"""The graph of a table's causal model: which node is computed from which, and what is a column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from models.synthetic.draws import Choice, Draw, Integer, Uniform
from models.synthetic.plurel.batches import batch
from models.synthetic.plurel.graphs import (
    BarabasiAlbert,
    ErdosRenyi,
    Graph,
    Layered,
    RandomCauchy,
    RandomTree,
    ReverseRandomTree,
    WattsStrogatz,
)
from models.synthetic.rows import Floats, Indices

SPARE_NODES = 3
"""Nodes besides those that go by the number of columns."""


class WeightLaw(StrEnum):
    """Distributions of the weights of edges."""

    NORMAL = "normal"
    LOGNORMAL = "lognormal"
    CAUCHY = "cauchy"
    UNIFORM = "uniform"


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """What the graph of a table is drawn from.

    Attributes:
        graphs: The family of the graph.
        ratio: Columns for each node besides them: C columns go with C / ratio more nodes and 3.
        categorical: The probability that a latent node is categorical.
        categories: Categories of a latent node, and of a boolean column before it becomes one.
        weights: The distribution of the weights of edges.
    """

    graphs: Draw[Graph] = Choice(
        (
            ErdosRenyi(),
            BarabasiAlbert(),
            RandomTree(),
            ReverseRandomTree(),
            Layered(),
            WattsStrogatz(),
            RandomCauchy(),
        )
    )
    ratio: Draw[float] = Uniform(0.3, 0.9)
    categorical: float = 0.5
    categories: Draw[int] = Integer(2, 10)
    weights: Draw[WeightLaw] = Choice(tuple(WeightLaw))


@dataclass(frozen=True, slots=True)
class CausalGraph:
    """A causal model without its functions; nodes stand in an order in which causes come first.

    Attributes:
        causes: The nodes that each node is computed from, int64 [causes] each; none for a source.
        weights: The weights of these, float64 [causes] each.
        categories: Categories of each node, int64 [nodes]; 0 for a numerical one.
        columns: The node of each column, int64 [columns].
        needed: Whether a column depends on the node, or is it, bool [nodes].
    """

    causes: Sequence[Indices]
    weights: Sequence[Floats]
    categories: Indices
    columns: Indices
    needed: NDArray[np.bool_]

    def observed_causes(self, column: int, series: NDArray[np.bool_]) -> tuple[list[int], bool]:
        """What a column was computed from, followed through latent nodes up to the next column.

        Args:
            column: The number of the column.
            series: Whether each node is a source that runs with time, bool [nodes].

        Returns:
            Numbers of columns, and whether time is among the causes.
        """
        column_of = np.full(len(self.causes), -1)
        column_of[self.columns] = np.arange(len(self.columns))
        start = int(self.columns[column])
        found, timed, seen, ahead = [], bool(series[start]), {start}, self.causes[start].tolist()
        while ahead:
            node = ahead.pop()
            if node in seen:
                continue
            seen.add(node)
            if column_of[node] >= 0:
                found.append(int(column_of[node]))
            else:
                timed |= bool(series[node])
                ahead += self.causes[node].tolist()
        return sorted(found), timed


def draw_graph(
    categories: Indices, typed: bool, settings: GraphSettings, generator: np.random.Generator
) -> CausalGraph:
    """A graph for the columns of a table.

    Args:
        categories: Categories of each column, int64 [columns]; 0 for a numerical one.
        typed: Whether nodes are categorical inside the graph; otherwise all are numerical.
        settings: What to draw from.
        generator: Where randomness comes from.
    """
    count = len(categories)
    nodes = count + int(np.ceil(count / settings.ratio.sample(generator))) + SPARE_NODES
    edges = settings.graphs.sample(generator)(nodes, generator)
    weights = _weights(settings.weights.sample(generator), len(edges), generator)
    columns = generator.permutation(nodes)[:count]
    of_nodes = batch(settings.categories, generator, nodes).astype(np.int64)
    of_nodes[generator.random(nodes) >= settings.categorical] = 0
    of_nodes[columns] = categories
    if not typed:
        of_nodes[:] = 0
    by_child = np.argsort(edges[:, 1], kind="stable")
    bounds = np.searchsorted(edges[by_child, 1], np.arange(1, nodes))
    causes = np.split(edges[by_child, 0], bounds)
    return CausalGraph(
        causes, np.split(weights[by_child], bounds), of_nodes, columns, _needed(causes, columns)
    )


def _needed(causes: Sequence[Indices], columns: Indices) -> NDArray[np.bool_]:
    needed = np.zeros(len(causes), dtype=bool)
    needed[columns] = True
    for node in reversed(range(len(causes))):
        if needed[node]:
            needed[causes[node]] = True
    return needed


def _weights(law: WeightLaw, size: int, generator: np.random.Generator) -> Floats:
    match law:
        case WeightLaw.NORMAL:
            return generator.standard_normal(size)
        case WeightLaw.LOGNORMAL:
            return generator.lognormal(size=size)
        case WeightLaw.CAUCHY:
            return generator.standard_cauchy(size)
        case WeightLaw.UNIFORM:
            return generator.uniform(-2.0, 2.0, size)
