"""Encoders and decoders of the nodes of a causal model, drawn for many nodes at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.synthetic.plurel.causal_graph import CausalGraph
from models.synthetic.plurel.encoders import Cells, Encoders, draw_embeddings, draw_encoders
from models.synthetic.plurel.networks import WIDTH, Networks, NetworkSettings, draw_networks
from models.synthetic.rows import Floats, Indices

AT_A_TIME = 400
"""Encoders to draw at a time, about: ten megabytes of weights."""

Values = Floats | Indices
"""Numbers, or category numbers, by row."""


@dataclass(frozen=True, slots=True)
class Functions:
    """What some nodes are computed by; each node is a group of networks.

    Attributes:
        place: The number of each node among them.
        encoders: Of the causes of each.
        numerical: Decoders to numbers; categorical nodes have none.
        categorical: Decoders to what is compared with a category's embedding.
        embeddings: These embeddings of each categorical node, float64 [categories, WIDTH].
    """

    place: Mapping[int, int]
    encoders: Encoders
    numerical: Networks
    categorical: Networks
    embeddings: Mapping[int, Floats]

    def encode(self, node: int, causes: Sequence[Cells], weights: Floats) -> list[Floats]:
        """Weighted embeddings of the cells of each cause, float64 [cells, WIDTH]."""
        return self.encoders(self.place[node], causes, weights)

    def decode(self, node: int, embedded: Floats) -> Values:
        """The node's values from embeddings, float64 [rows, WIDTH].

        A categorical node takes the category whose own embedding has the highest scalar product.
        """
        if node in self.embeddings:
            (found,) = self.categorical(self.place[node], embedded[None])
            return np.argmax(found @ self.embeddings[node].T, axis=1)
        (found,) = self.numerical(self.place[node], embedded[None])
        return found[:, 0]


def draw_functions(
    graph: CausalGraph,
    nodes: Sequence[int],
    settings: NetworkSettings,
    generator: np.random.Generator,
) -> Functions:
    """Functions of some nodes that have causes."""
    categories = graph.categories[nodes]
    named = [node for node, count in zip(nodes, categories.tolist(), strict=True) if count]
    embeddings = draw_embeddings(graph.categories[named], settings, generator)
    return Functions(
        {node: place for place, node in enumerate(nodes)},
        draw_encoders(
            [graph.categories[graph.causes[node]].tolist() for node in nodes], settings, generator
        ),
        draw_networks((categories == 0).astype(int).tolist(), WIDTH, 1, settings, generator),
        draw_networks((categories > 0).astype(int).tolist(), WIDTH, WIDTH, settings, generator),
        {
            node: own[: int(graph.categories[node])]
            for node, own in zip(named, embeddings, strict=True)
        },
    )


def portions(graph: CausalGraph, nodes: Sequence[int]) -> Iterator[list[int]]:
    """The nodes in portions of about as many encoders as are drawn at a time."""
    portion: list[int] = []
    encoders = 0
    for node in nodes:
        portion.append(node)
        encoders += len(graph.causes[node])
        if encoders >= AT_A_TIME:
            yield portion
            portion, encoders = [], 0
    if portion:
        yield portion
