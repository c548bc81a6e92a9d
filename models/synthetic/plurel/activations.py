"""Activations of PluRel's small networks, by their names in torch.nn.functional where they have one.

Whole float64 arrays in, new arrays out. Sines are polynomials of the remainder, within 1e-6 of the
sine: a third of the time, and the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.synthetic.rows import Floats

Activation = Callable[[Floats], Floats]

RANDOM_SINES = "random_sines"
"""A sum of sines with amplitudes, frequencies and phases of its own in every place."""


def sine(values: Floats) -> Floats:
    """The sine within 1e-6, of angles up to a few thousand turns."""
    turns = values * (1 / (2 * np.pi))
    turns -= np.rint(turns)
    # Sines of turns outside of a quarter equal those of what is left to a half.
    turns = np.minimum(np.maximum(turns, -0.5 - turns), 0.5 - turns)
    squares = turns * turns
    found = squares * -70.99343309799842
    found += 81.34076886864221
    found *= squares
    found += -41.337142370506534
    found *= squares
    found += 6.283164044297841
    found *= turns
    return found


def random_sines(values: Floats, amplitudes: Floats, frequencies: Floats, phases: Floats) -> Floats:
    """Σ amplitude · sin(frequency · value + phase), the three float64 [terms]."""
    found = np.zeros_like(values)
    for amplitude, frequency, phase in zip(amplitudes, frequencies, phases, strict=True):
        found += amplitude * sine(frequency * values + phase)
    return found


def _elu(values: Floats) -> Floats:
    return np.maximum(values, 0.0) + np.expm1(np.minimum(values, 0.0))


def _selu(values: Floats) -> Floats:
    negative = 1.7580993408473766 * np.expm1(np.minimum(values, 0.0))
    return 1.0507009873554805 * np.maximum(values, 0.0) + negative


def _sigmoid(values: Floats) -> Floats:
    return 0.5 + 0.5 * np.tanh(0.5 * values)


def _gelu(values: Floats) -> Floats:
    """With the tangent in place of the error function, within 0.001."""
    inner = values * values
    inner *= 0.044715
    inner += 1
    inner *= values
    return values * (0.5 + 0.5 * np.tanh(np.sqrt(2 / np.pi) * inner))


def _softplus(values: Floats) -> Floats:
    return np.maximum(values, 0.0) + np.log1p(np.exp(-np.abs(values)))


def _shrunk(values: Floats) -> Floats:
    return values - np.clip(values, -0.5, 0.5)


def _hard_sigmoid(values: Floats) -> Floats:
    return np.clip(values / 6 + 0.5, 0.0, 1.0)


def _signed_log(values: Floats) -> Floats:
    return np.copysign(np.log1p(np.abs(values)), values)


def _bent_identity(values: Floats) -> Floats:
    return (np.sqrt(values * values + 1) - 1) / 2 + values


ACTIVATIONS: dict[str, Activation] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": _elu,
    "selu": _selu,
    "silu": lambda x: x * _sigmoid(x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "hardswish": lambda x: x * _hard_sigmoid(x),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "leaky_relu": lambda x: np.maximum(x, 0.01 * x),
    "gelu": _gelu,
    "softplus": _softplus,
    "hardsigmoid": _hard_sigmoid,
    "hardtanh": lambda x: np.clip(x, -1.0, 1.0),
    "celu": _elu,
    "tanhshrink": lambda x: x - np.tanh(x),
    # Outside of training torch takes the middle of its range of slopes, 1/8 to 1/3.
    "rrelu": lambda x: np.maximum(x, (1 / 8 + 1 / 3) / 2 * x),
    "logsigmoid": lambda x: -_softplus(-x),
    "softshrink": _shrunk,
    "hardshrink": lambda x: np.where(np.abs(x) > 0.5, x, 0.0),
    "identity": np.copy,
    "abs": np.abs,
    "sin": sine,
    "cos": lambda x: sine(x + np.pi / 2),
    "sign": np.sign,
    "clip": lambda x: np.clip(x, -1.0, 1.0),
    "signed_log": _signed_log,
    "bent_identity": _bent_identity,
}
"""Functions by name; `random_sines` has parameters and stands beside them."""

BOUNDED = {"softsign", "tanh", "sigmoid", "hardsigmoid", "hardtanh", "sin", "cos", "sign", "clip"}
"""Functions whose values never lie outside of -1 to 1."""
