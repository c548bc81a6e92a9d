"""Random functions of a few numbers: what a column's inputs are put through.

They are computed unit by unit without matrix products, so that a row's value depends neither on how
many rows there are nor on the machine's linear algebra.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import copysign, hypot, sqrt

import numpy as np

from models.synthetic.draws import Choice, Draw
from models.synthetic.rows import Floats

REFERENCE = 256
"""Imaginary rows at the head of every array of values; what has to be fitted is fitted on them."""

FLATTEST = 0.2
"""What varies less than so much on the imaginary rows is not blown up to a standard deviation of 1."""

MOST_READ = 3
"""No unit reads more inputs."""


class Activation(StrEnum):
    """What a unit does with its inputs."""

    TANH = "tanh"
    RAMP = "ramp"
    SINE = "sine"
    LOGARITHM = "logarithm"
    STEP = "step"
    LINEAR = "linear"
    PRODUCT = "product"


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of the first layer.

    Attributes:
        activation: What it does with the weighted sum of its inputs; a product multiplies its two
            instead, or the only one there is with itself.
        inputs: The places of its inputs.
        weights: One an input, of length 1 together.
        bias: Added to the weighted sum.
        gain: Its weight in the second layer.
    """

    activation: Activation
    inputs: tuple[int, ...]
    weights: tuple[float, ...]
    bias: float
    gain: float

    def __call__(self, inputs: Sequence[Floats]) -> Floats:
        """What it adds to the function: float64 of the inputs' length."""
        if self.activation == Activation.PRODUCT:
            first, second = self.inputs[0], self.inputs[-1]
            return self.gain * inputs[first] * inputs[second]
        total = self.weights[0] * inputs[self.inputs[0]] + self.bias
        for place, weight in zip(self.inputs[1:], self.weights[1:], strict=True):
            total += weight * inputs[place]
        total = _activated(self.activation, total)
        total *= self.gain
        return total


@dataclass(frozen=True, slots=True)
class RandomFunction:
    """A sparse function of two layers: a weighted sum of units."""

    units: tuple[Unit, ...]

    def __call__(self, inputs: Sequence[Floats]) -> Floats:
        """Its values, standardised on the imaginary rows.

        Args:
            inputs: About standard normal each, float64 [REFERENCE + rows].
        """
        total = self.units[0](inputs)
        for unit in self.units[1:]:
            total += unit(inputs)
        return standardised(total)


def random_function(
    inputs: int, activations: Draw[Activation], generator: np.random.Generator
) -> RandomFunction:
    """A function in which each of so many inputs is read by at least one unit.

    It has at least two units, so that one input alone does not give the same shapes again and
    again.
    """
    units = []
    count = max(2, inputs)
    # Drawn at once: a call of the generator costs more than the numbers.
    turns, *orders = generator.random((1 + count, inputs)).argsort(axis=1).tolist()
    most_read = generator.integers(1, MOST_READ, count, endpoint=True).tolist()
    numbers = generator.standard_normal((count, 2 + MOST_READ)).tolist()
    for number in range(count):
        activation = activations.sample(generator)
        first = turns[number % inputs]
        others = [place for place in orders[number] if place != first]
        most = 2 if activation == Activation.PRODUCT else most_read[number]
        read = (first, *others[: most - 1])
        bias, *drawn = numbers[number][: 2 + len(read)]
        # Weights near zero would switch off an input that counts as one.
        gain, *weights = [copysign(0.5 + abs(weight), weight) for weight in drawn]
        length = hypot(*weights)
        normed = tuple(weight / length for weight in weights)
        units.append(Unit(activation, read, normed, 0.5 * bias, gain))
    return RandomFunction(tuple(units))


EVEN_MIX = Choice(tuple(Activation))
"""Every activation equally likely."""


def standardised(values: Floats) -> Floats:
    """Values less their mean and divided by their standard deviation, both of the imaginary rows."""
    reference = values[:REFERENCE]
    middle = float(reference.sum()) / REFERENCE
    deviation = sqrt(float(np.square(reference - middle).sum()) / REFERENCE)
    found = values - middle
    found /= max(deviation, FLATTEST)
    return found


def _activated(activation: Activation, total: Floats) -> Floats:
    match activation:
        case Activation.TANH:
            return np.tanh(2 * total)
        case Activation.RAMP:
            return np.maximum(total, 0.0)
        case Activation.SINE:
            return np.sin(2 * total)
        case Activation.LOGARITHM:
            return np.copysign(np.log1p(np.abs(total)), total)
        case Activation.STEP:
            return np.sign(total)
        case _:
            return total
