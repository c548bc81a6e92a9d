"""Distributions that the parameters of synthetic databases are drawn from."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

Value = TypeVar("Value", covariant=True)


class Draw(Protocol[Value]):
    """A distribution of one parameter."""

    def sample(self, generator: np.random.Generator) -> Value:
        """One value."""


@dataclass(frozen=True, slots=True)
class Fixed(Generic[Value]):
    """Always the same value."""

    value: Value

    def sample(self, generator: np.random.Generator) -> Value:
        """The value; nothing is drawn."""
        return self.value


@dataclass(frozen=True, slots=True)
class Uniform:
    """A real number from `low` to `high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_order(self, self.low, self.high)

    def sample(self, generator: np.random.Generator) -> float:
        """One value."""
        return float(generator.uniform(self.low, self.high))


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer from `low` to `high`, both included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _check_order(self, self.low, self.high)

    def sample(self, generator: np.random.Generator) -> int:
        """One value."""
        return int(generator.integers(self.low, self.high, endpoint=True))


@dataclass(frozen=True, slots=True)
class LogUniform:
    """A real number from `low` to `high` whose logarithm is uniform."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_order(self, self.low, self.high)
        if self.low <= 0:
            raise ValueError(f"{self}: low must be positive")

    def sample(self, generator: np.random.Generator) -> float:
        """One value."""
        return float(self.low * (self.high / self.low) ** generator.random())


@dataclass(frozen=True, slots=True)
class LogUniformInteger:
    """An integer from `low` to `high`, both included, whose logarithm is about uniform."""

    low: int
    high: int

    def __post_init__(self) -> None:
        LogUniform(self.low, self.high)

    def sample(self, generator: np.random.Generator) -> int:
        """One value."""
        return int(LogUniform(self.low, self.high + 1).sample(generator) * (1 - 1e-12))


@dataclass(frozen=True, slots=True)
class PowerLawInteger:
    """An integer c from `low` to `high`, both included, with probability ∝ c^-exponent."""

    low: int
    high: int
    exponent: float = 1.0

    def __post_init__(self) -> None:
        _check_order(self, self.low, self.high)
        if self.low < 1:
            raise ValueError(f"{self}: low must be at least 1")

    def sample(self, generator: np.random.Generator) -> int:
        """One value."""
        heights = _power_law(self.low, self.high, self.exponent)
        return self.low + bisect_left(heights, generator.random() * heights[-1])


@dataclass(frozen=True, slots=True)
class Choice(Generic[Value]):
    """One of `values`, equally likely or by `weights`."""

    values: Sequence[Value]
    weights: Sequence[float] = ()

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("a choice needs at least one value")
        if self.weights and (len(self.weights) != len(self.values) or min(self.weights) < 0):
            raise ValueError(f"{self}: give one weight that is not negative to each value")

    def sample(self, generator: np.random.Generator) -> Value:
        """One value."""
        if not self.weights:
            return self.values[int(generator.random() * len(self.values))]
        heights = _heights(tuple(self.weights))
        return self.values[bisect_left(heights, generator.random() * heights[-1])]


@cache
def _heights(weights: tuple[float, ...]) -> list[float]:
    return list(accumulate(weights))


@cache
def _power_law(low: int, high: int, exponent: float) -> list[float]:
    return list(accumulate(value**-exponent for value in range(low, high + 1)))


def sample_within(
    name: str, draw: Draw[float], generator: np.random.Generator, low: float, high: float
) -> float:
    """A value of a parameter that makes sense from `low` to `high`, both included.

    Raises:
        ValueError: The drawn value lies outside; the message names the parameter.
    """
    value = draw.sample(generator)
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low:g} to {high:g} (got {value:g} from {draw})")
    return float(value)


def _check_order(draw: Any, low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"{draw}: low must not be greater than high")
