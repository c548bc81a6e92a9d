"""Embeddings of a node's values: by table look-up, since a value has few cells.

An encoder is a function of one value. A categorical node has as many values as categories; the
values of a numerical one are sorted into cells between neighbouring quantiles, whose middle stands
for them. Networks are evaluated once a cell and looked up for every row, which is exact for
categories and for columns with few values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.synthetic.plurel.laws import matrices
from models.synthetic.plurel.networks import WIDTH, Networks, NetworkSettings, draw_networks
from models.synthetic.rows import Floats, Indices

LIMIT = 1e4
"""Weighted embeddings are clipped to plus and minus this."""


@dataclass(frozen=True, slots=True)
class Cells:
    """A node's rows in cells.

    Attributes:
        place: The cell of each row, int64 [rows].
        points: The value that stands for each cell, float64 [cells]; None for a categorical node.
        categories: Categories of a categorical node, which are its cells; 0 for a numerical one.
    """

    place: Indices
    points: Floats | None
    categories: int = 0


def cells_of(values: Floats, most: int) -> Cells:
    """Cells of a numerical node: one a value where there are no more than `most` values.

    Otherwise cells are between neighbouring ones of `most` quantiles. Equal values share a cell.
    """
    order = np.argsort(values)
    line = values[order]
    count = len(line)
    steps = np.flatnonzero(line[1:] != line[:-1])
    if len(steps) >= most:
        points = line[(np.arange(most) * 2 + 1) * count // (2 * most)]
        points = points[np.append(True, points[1:] != points[:-1])]
        starts = np.searchsorted(line, (points[1:] + points[:-1]) / 2, side="right")
    else:
        points, starts = line[np.append(0, steps + 1)], steps + 1
    place = np.empty(count, dtype=np.int64)
    place[order] = np.repeat(np.arange(len(points)), np.diff(starts, prepend=0, append=count))
    return Cells(place, points)


@dataclass(frozen=True, slots=True)
class Encoders:
    """Encoders of the inputs of some nodes, an encoder an input.

    Attributes:
        numerical: Networks for numbers, a group a node.
        categorical: Networks for embeddings of categories, a group a node.
        embeddings: These embeddings, float64 [encoders, categories, WIDTH].
    """

    numerical: Networks
    categorical: Networks
    embeddings: Floats

    def __call__(self, node: int, inputs: Sequence[Cells], weights: Floats) -> list[Floats]:
        """Embeddings of each input's cells times its weight, cut off at plus and minus `LIMIT`.

        Args:
            node: Which of the nodes, by number.
            inputs: Its inputs.
            weights: float64 [inputs].

        Returns:
            float64 [cells, WIDTH] an input, the last cells only filling up.
        """
        numbers = [place for place, cells in enumerate(inputs) if not cells.categories]
        names = [place for place, cells in enumerate(inputs) if cells.categories]
        found: dict[int, Floats] = {}
        if numbers:
            points = _filled([inputs[place].points for place in numbers])
            embedded = self.numerical(node, points)
            found |= zip(numbers, _weighted(embedded, weights[numbers]), strict=True)
        if names:
            start, end = self.categorical.bounds[0][node : node + 2]
            embedded = self.categorical(node, self.embeddings[start:end])
            found |= zip(names, _weighted(embedded, weights[names]), strict=True)
        return [found[place] for place in range(len(inputs))]


def draw_encoders(
    nodes: Sequence[Sequence[int]], settings: NetworkSettings, generator: np.random.Generator
) -> Encoders:
    """Encoders for the inputs of each node, given by their categories, 0 for a numerical one."""
    named = np.array([count for inputs in nodes for count in inputs if count], dtype=np.int64)
    numbers = [sum(not count for count in inputs) for inputs in nodes]
    names = [len(inputs) - count for inputs, count in zip(nodes, numbers, strict=True)]
    return Encoders(
        draw_networks(numbers, 1, WIDTH, settings, generator),
        draw_networks(names, WIDTH, WIDTH, settings, generator),
        draw_embeddings(named, settings, generator),
    )


def draw_embeddings(
    categories: Indices, settings: NetworkSettings, generator: np.random.Generator
) -> Floats:
    """Embeddings of categories, float64 [nodes, most categories, WIDTH]; the last ones only fill up."""
    shape = (len(categories), int(categories.max(initial=1)), WIDTH)
    return matrices(shape, settings.initialisations, None, generator, categories)


def _weighted(embedded: Floats, weights: Floats) -> Floats:
    embedded *= weights[:, None, None]
    return np.clip(embedded, -LIMIT, LIMIT, out=embedded)


def _filled(points: Sequence[Floats | None]) -> Floats:
    """Points as inputs of networks, float64 [nodes, most points, 1]; the last point fills up."""
    given = [line for line in points if line is not None]
    filled = np.empty((len(given), max(map(len, given)), 1))
    for row, line in zip(filled, given, strict=True):
        row[: len(line), 0] = line
        row[len(line) :, 0] = line[-1]
    return filled
