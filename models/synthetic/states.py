"""Latent states: where they come from, how they drift, and what an owner's past adds to them.

Every state is about standard normal, whatever was mixed into it: random maps are standardised on
normal inputs and mixtures are divided by their norms, so that no row's state depends on how many
rows there are or on what comes later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.synthetic.draws import Draw, Uniform, sample_within
from models.synthetic.rows import Floats, Indices
from models.synthetic.streams import Streams

HIDDEN = 12
"""Units in the middle of a random map."""

INPUTS = 4
"""No unit of a random map has more inputs."""

REFERENCE = 512
"""Normal inputs that a random map is standardised on."""


@dataclass(frozen=True, slots=True)
class RandomMap:
    """A sparse random function of two layers; about standard for standard normal inputs.

    Attributes:
        first: Weights into the middle, float64 [dimensions, HIDDEN].
        bias: Added there, float64 [HIDDEN].
        second: Weights out of it, float64 [HIDDEN, dimensions].
        bounds: Where in the middle each kind of activation begins and the last one ends.
        shift: Taken from the outputs, float64 [dimensions].
    """

    first: Floats
    bias: Floats
    second: Floats
    bounds: tuple[int, ...]
    shift: Floats

    def __call__(self, states: Floats) -> Floats:
        """The outputs of states, float64 of the states' shape [..., dimensions]."""
        flat = states.reshape(-1, states.shape[-1])
        middle = flat @ self.first + self.bias
        tanh, relu, sine, logarithm, step = (
            middle[:, a:b] for a, b in zip(self.bounds[:-2], self.bounds[1:-1], strict=True)
        )
        np.tanh(tanh, out=tanh)
        np.maximum(relu, 0.0, out=relu)
        np.sin(2 * sine, out=sine)
        logarithm[:] = np.copysign(np.log1p(np.abs(logarithm)), logarithm)
        np.sign(step, out=step)
        return (middle @ self.second - self.shift).reshape(states.shape)


def random_map(dimensions: int, generator: np.random.Generator) -> RandomMap:
    """A random map from and to states of so many dimensions.

    Its units are hyperbolic tangents, ramps, sines, signed logarithms, steps and straight lines.
    """
    first = _sparse(dimensions, HIDDEN, generator)
    bias = 0.5 * generator.standard_normal(HIDDEN)
    second = _sparse(HIDDEN, dimensions, generator)
    inner = np.sort(generator.integers(0, HIDDEN, 5, endpoint=True))
    bounds = (0, *inner.tolist(), HIDDEN)
    raw = RandomMap(first, bias, second, bounds, np.zeros(dimensions))
    outputs = raw(generator.standard_normal((REFERENCE, dimensions)))
    # An output that is nearly constant stays so; it must not be blown up.
    scale = np.maximum(outputs.std(axis=0), 1e-3)
    return RandomMap(first, bias, second / scale, bounds, outputs.mean(axis=0) / scale)


def _sparse(inputs: int, outputs: int, generator: np.random.Generator) -> Floats:
    """Weights where each output reads at most INPUTS inputs, its column of length 1."""
    places = np.argsort(generator.random((inputs, outputs)), axis=0, kind="stable")
    weights = generator.standard_normal((inputs, outputs))
    weights[places >= min(INPUTS, inputs)] = 0.0
    return weights / np.maximum(np.linalg.norm(weights, axis=0), 1e-9)


@dataclass(frozen=True, slots=True)
class Influence:
    """What the parents along one key pass on.

    Attributes:
        states: The parents' states: float64 [rows, dimensions] at an activity's time, for an entity
            [rows, knots, dimensions], or [rows, 1, dimensions] where the parents do not change.
        present: Whether a row has a parent there, bool [rows].
        name: The key column.
    """

    states: Floats
    present: np.ndarray
    name: str


@dataclass(frozen=True, slots=True)
class States:
    """Settings of latent states; a `Draw` is drawn once a table, or a key where it says so.

    Attributes:
        dimensions: Numbers in a state.
        knots: An entity's state moves in straight lines between so many moments.
        drift: How far an entity's own state wanders over the span, in standard deviations of where
            it began: half of it a random walk, half a direction that the entity keeps.
        trend: How far all entities of a table move together over the span.
        influence: The weight of the parents' states, one a key, next to 1 for an entity's own.
        noise: The weight of an activity's own state.
        memory: The correlation of that with the owner's previous activity of the table; below 0
            counts as 0.
    """

    dimensions: int = 8
    knots: int = 9
    drift: Draw[float] = Uniform(0.2, 1.5)
    trend: Draw[float] = Uniform(0.0, 0.5)
    influence: Draw[float] = Uniform(0.5, 2.0)
    noise: Draw[float] = Uniform(0.3, 1.5)
    memory: Draw[float] = Uniform(-0.6, 0.9)

    def __post_init__(self) -> None:
        if self.dimensions < 1 or self.knots < 2:
            raise ValueError(
                "states need at least 1 dimension and 2 knots (got "
                f"{self.dimensions} and {self.knots})"
            )

    def of_entities(self, rows: int, influences: Sequence[Influence], streams: Streams) -> Floats:
        """States of entities at the knots: float64 [rows, knots, dimensions]."""
        generator = streams.generator("states")
        drift = sample_within("drift", self.drift, generator, 0.0, np.inf)
        trend = sample_within("trend", self.trend, generator, -np.inf, np.inf)
        common = generator.standard_normal(self.dimensions)
        own = drifting(rows, self.knots, self.dimensions, drift, generator)
        mixed = self._mixed(own, 1.0, influences, streams)
        moments = np.linspace(0.0, 1.0, self.knots)
        return mixed + trend * moments[:, None] * common

    def of_activities(
        self, rows: int, owners: Indices, influences: Sequence[Influence], streams: Streams
    ) -> Floats:
        """States of activities: float64 [rows, 1, dimensions]; owners are int64 [rows]."""
        generator = streams.generator("states")
        noise = sample_within("noise", self.noise, generator, 1e-6, np.inf)
        memory = max(0.0, sample_within("memory", self.memory, generator, -1.0, 0.999))
        fresh = generator.standard_normal((rows, self.dimensions))
        own = autoregressive(fresh, owners, memory)
        return self._mixed(own, noise, influences, streams)[:, None, :]

    def _mixed(
        self, own: Floats, weight: float, influences: Sequence[Influence], streams: Streams
    ) -> Floats:
        total = weight * own
        squares = np.full(len(own), weight**2)
        for influence in influences:
            generator = streams.generator(influence.name, "influence")
            strength = sample_within("influence", self.influence, generator, 0.0, np.inf)
            passed = random_map(self.dimensions, generator)(influence.states)
            there = influence.present.reshape(-1, *[1] * (passed.ndim - 1))
            total = total + strength * np.where(there, passed, 0.0)
            squares += strength**2 * influence.present
        return total / np.sqrt(squares).reshape(-1, *[1] * (total.ndim - 1))


def drifting(
    rows: int, knots: int, dimensions: int, drift: float, generator: np.random.Generator
) -> Floats:
    """Independent states that wander and stay standard normal: float64 [rows, knots, dimensions].

    At time t a state is z_0 + drift·(W_t + s·t)/√2, a random walk W and a slope s of the row's own,
    divided by its standard deviation: the correlation with the first state is
    1/√(1 + drift²·(t + t²)/2).
    """
    begin, slope = generator.standard_normal((2, rows, 1, dimensions))
    moments = np.linspace(0.0, 1.0, knots)[:, None]
    walk = np.zeros((rows, knots, dimensions))
    steps = generator.standard_normal((rows, knots - 1, dimensions))
    np.cumsum(steps / np.sqrt(knots - 1), axis=1, out=walk[:, 1:])
    moved = begin + drift * np.sqrt(0.5) * (walk + slope * moments)
    return moved / np.sqrt(1 + drift**2 * (moments + moments**2) / 2)


def autoregressive(fresh: Floats, owners: Indices, memory: float) -> Floats:
    """Noise that remembers the owner's previous row: y_k = ρ·y_(k-1) + √(1-ρ²)·fresh_k.

    An owner's first row is fresh, so that every row is as spread out as `fresh`. The recursion is
    solved by doubling: after the step s, y_k holds the terms of the last 2s rows, so log2 of the
    longest history steps suffice.

    Args:
        fresh: Independent noise, float64 [rows, dimensions], in the order of time.
        owners: Whose row it is, int64 [rows].
        memory: ρ, at least 0 and below 1.

    Returns:
        float64 [rows, dimensions].
    """
    if memory == 0.0 or not len(fresh):
        return fresh
    order = np.argsort(owners, kind="stable")
    place = _places(owners[order])
    values = fresh[order] * np.where(place > 0, np.sqrt(1 - memory**2), 1.0)[:, None]
    step, longest = 1, int(place.max())
    while step <= longest and memory**step > 1e-12:
        later = np.flatnonzero(place >= step)
        values[later] += memory**step * values[later - step]
        step *= 2
    found = np.empty_like(values)
    found[order] = values
    return found


def _places(grouped: Indices) -> Indices:
    """How many rows of the same group stand before each row, groups standing together."""
    rows = np.arange(len(grouped))
    begins = np.ones(len(grouped), dtype=bool)
    begins[1:] = grouped[1:] != grouped[:-1]
    return rows - np.maximum.accumulate(np.where(begins, rows, 0))


def earlier_mean(
    owners: Indices, times: Floats, values: Floats, whose: Indices, when: Floats
) -> Floats:
    """The mean of an owner's values strictly before a time, drawn to 0 by one imagined value of 0.

    Args:
        owners: Whose value it is, int64 [rows]; negative for nobody's.
        times: When, float64 [rows], from 0 to 1, ascending.
        values: float64 [rows].
        whose: The owners asked about, int64 [questions].
        when: And the times, float64 [questions], from 0 to 1.

    Returns:
        float64 [questions]; 0 where the owner has no earlier value.
    """
    order = np.argsort(owners, kind="stable")
    # Owners lie 2 apart, times less than that, so one ascending key orders both.
    key = 2.0 * owners[order] + times[order]
    sums = np.concatenate([[0.0], np.cumsum(values[order])])
    until = np.searchsorted(key, 2.0 * whose + when, side="left")
    since = np.searchsorted(key, 2.0 * whose - 0.5, side="left")
    return (sums[until] - sums[since]) / (until - since + 1)
