"""PluRel's small random networks: encoders of values, decoders of embeddings.

A network is a chain of matrices without biases, each filled by a law of its own and thinned out;
between two of them stand an activation and a gain, both drawn once a layer (Kothapalli et al. 2026,
arXiv:2602.04029, and the `plurel` package). Networks are drawn many at a time and computed group by
group: matrices side by side, activations one network after the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.synthetic.draws import Choice, Draw, Integer, LogUniform, Uniform
from models.synthetic.plurel.activations import ACTIVATIONS, BOUNDED, RANDOM_SINES, random_sines
from models.synthetic.plurel.batches import batch, places
from models.synthetic.plurel.laws import Initialisation, matrices
from models.synthetic.rows import Floats, Indices

WIDTH = 32
"""Dimensions of embeddings and hidden layers."""
LIMIT = 1e6
"""Hidden values are clipped to plus and minus this."""

PRODUCT_ROWS = 256
"""Rows of one matrix product."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What networks are drawn from.

    Attributes:
        layers: Matrices of a network, at least 2.
        initialisations: The law of a matrix.
        density: The share of a matrix' weights that are not zero.
        activations: The function after a matrix, one of `activations.ACTIVATIONS` or random sines.
        gain: What the function's values are multiplied with.
    """

    layers: Draw[int] = Integer(2, 4)
    initialisations: Choice[Initialisation] = Choice(tuple(Initialisation))
    density: Draw[float] = Uniform(0.3, 1.0)
    activations: Choice[str] = Choice((*ACTIVATIONS, RANDOM_SINES))
    gain: Draw[float] = LogUniform(math.exp(-1), math.exp(1))

    def __post_init__(self) -> None:
        if unknown := sorted({*self.activations.values} - {*ACTIVATIONS, RANDOM_SINES}):
            raise ValueError(
                f"no activation {', '.join(unknown)} (there are: {[*ACTIVATIONS, RANDOM_SINES]})"
            )


@dataclass(frozen=True, slots=True)
class Networks:
    """Networks in groups, each group's deepest ones first.

    Attributes:
        order: Which of its group's inputs goes to each network, int64 [networks].
        matrices: Of each layer the matrices of the networks that have it, float64
            [networks, in, out]; the last layer is every network's last one.
        bounds: Of each layer where a group's matrices begin, int64 [groups + 1] each.
        activations: Names by layer and network.
        gains: By layer and network.
        sines: Amplitudes, frequencies and phases of random sines, by layer and network.
    """

    order: Indices
    matrices: Sequence[Floats]
    bounds: Sequence[Sequence[int]]
    activations: Sequence[Sequence[str]]
    gains: Sequence[Sequence[float]]
    sines: Mapping[tuple[int, int], tuple[Floats, Floats, Floats]]

    def __call__(self, group: int, inputs: Floats) -> Floats:
        """Every network of a group on its own inputs.

        Args:
            group: The number of the group.
            inputs: float64 [networks of the group, rows, in].

        Returns:
            float64 [networks of the group, rows, out].
        """
        start = self.bounds[0][group]
        order = self.order[start : self.bounds[0][group + 1]]
        first, *middle, last = (
            weights[bounds[group] : bounds[group + 1]]
            for weights, bounds in zip(self.matrices, self.bounds, strict=True)
        )
        hidden = _product(inputs[order] if len(order) > 1 else inputs, first)
        self._activate(hidden, 0, start)
        for layer, weights in enumerate(middle, start=1):
            if len(weights):
                deeper = _product(hidden[: len(weights)], weights)
                self._activate(deeper, layer, start)
                hidden[: len(weights)] = deeper
        outputs = _product(hidden, last)
        return outputs[np.argsort(order)] if len(order) > 1 else outputs

    def _activate(self, hidden: Floats, layer: int, start: int) -> None:
        names, gains = self.activations[layer], self.gains[layer]
        for network, values in enumerate(hidden, start):
            name = names[network]
            if name == RANDOM_SINES:
                found = random_sines(values, *self.sines[layer, network])
            else:
                found = ACTIVATIONS[name](values)
            np.multiply(found, gains[network], out=values)
            if name not in BOUNDED:
                np.minimum(values, LIMIT, out=values)
                np.maximum(values, -LIMIT, out=values)


def draw_networks(
    groups: Sequence[int],
    inputs: int,
    outputs: int,
    settings: NetworkSettings,
    generator: np.random.Generator,
) -> Networks:
    """Networks with so many inputs and outputs in groups of so many.

    Raises:
        ValueError: A network shall have fewer than two layers.
    """
    sizes = np.asarray(groups, dtype=np.int64)
    count, group = int(sizes.sum()), np.repeat(np.arange(len(sizes)), sizes)
    layers = batch(settings.layers, generator, count).astype(np.int64)
    if count and layers.min() < 2:
        raise ValueError(f"a network needs two layers at least (got {layers.min()})")
    order = np.lexsort((-layers, group))
    hidden = int(layers.max(initial=2)) - 1
    # Every network has a first matrix and a last one, and some have others in between.
    having = [layers > 0, *(layers > layer + 1 for layer in range(1, hidden)), layers > 0]
    shapes = [(inputs, WIDTH), *[(WIDTH, WIDTH)] * (hidden - 1), (WIDTH, outputs)]
    drawn = [
        matrices((int(has.sum()), *shape), settings.initialisations, settings.density, generator)
        for has, shape in zip(having, shapes, strict=True)
    ]
    bounds = [
        [0, *np.cumsum(np.bincount(group[has], minlength=len(sizes))).tolist()] for has in having
    ]
    chosen = places(settings.activations, generator, hidden * count).reshape(hidden, count)
    names = [[settings.activations.values[place] for place in line] for line in chosen.tolist()]
    gains = batch(settings.gain, generator, hidden * count).reshape(hidden, count).tolist()
    sines = {
        (layer, network): _draw_sines(generator)
        for layer, line in enumerate(names)
        for network, name in enumerate(line)
        if name == RANDOM_SINES
    }
    firsts = np.asarray(bounds[0])[group]
    return Networks(order - firsts, drawn, bounds, names, gains, sines)


def _product(inputs: Floats, weights: Floats) -> Floats:
    """Matrix products side by side, float64 [networks, rows, out].

    Never so large that a linear algebra library takes several threads, which cost more than they
    give at these sizes.
    """
    if weights.shape[1] == 1:
        return inputs * weights
    found = np.empty((*inputs.shape[:2], weights.shape[2]))
    for start in range(0, inputs.shape[1], PRODUCT_ROWS):
        rows = slice(start, start + PRODUCT_ROWS)
        np.matmul(inputs[:, rows], weights, out=found[:, rows])
    return found


def _draw_sines(generator: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    terms = int(generator.integers(3, 8))
    frequencies = 0.1 * 100 ** generator.random(terms)
    return generator.standard_normal(terms), frequencies, generator.uniform(0, 2 * np.pi, terms)
