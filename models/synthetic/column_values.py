"""From a latent number to what a column shows: numbers, counts, flags, categories, moments, texts.

A latent number is about standard normal. What a column shows is a function of it, and what other
columns read of it (`carried`) is a function of what it shows, so that whoever sees the table can in
principle find the mechanism. Bounds are quantiles of the imaginary rows at the head of the arrays
(see `column_inputs`), never of the database's own rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import polars as pl

from models.synthetic.blueprint import ColumnKind, ColumnPlan
from models.synthetic.draws import Choice, Draw, LogUniform, Uniform, sample_within
from models.synthetic.random_functions import REFERENCE, standardised
from models.synthetic.rows import Floats, Indices
from models.synthetic.words import LEVELS, Phrases, phrases

DIGITS = 6
"""Significant digits of the numbers shown; the last bits of a machine's exponentials do not matter."""

FEW_DIGITS = 3
"""Significant digits of numbers that are measured in steps."""

POWERS = 10.0 ** np.arange(23)
"""Powers of ten that a float holds exactly."""

LARGEST_EXPONENT = 30.0
"""No number is larger than about e^30 of its scale, whatever an intervention adds."""

LARGEST_COUNT = 2.0**53
"""Counts are whole numbers that a float holds exactly."""

SCORES = 3
"""Latent numbers of a category that wins by its score."""

MOST_SCORED = 16
"""Of more categories none wins by its score."""

DAY = 86_400.0
"""Seconds."""

LONGEST_OFFSET = 3650 * DAY
"""Moments lie no further from their row's time, in seconds."""

MICROSECONDS = 1_000_000


class NumberShape(StrEnum):
    """Distributions of numerical columns; heavy tails are Johnson's S_U (Biometrika 1949)."""

    NORMAL = "normal"
    LOG_NORMAL = "log-normal"
    ZERO_INFLATED = "zero-inflated"
    HEAVY_TAILED = "heavy-tailed"
    PRICE = "price"


@dataclass(frozen=True, slots=True)
class Shown:
    """A column.

    Attributes:
        values: What it shows, without gaps: the database's rows only.
        carried: What others read of it, about standard, float64 [REFERENCE + rows].
    """

    values: pl.Series
    carried: Floats


class Look(Protocol):
    """How a column shows latent numbers."""

    @property
    def latents(self) -> int:
        """How many it needs."""

    def __call__(
        self, latents: list[Floats], moments: Indices, generator: np.random.Generator
    ) -> Shown:
        """The column.

        Args:
            latents: float64 [REFERENCE + rows] each.
            moments: The rows' times, int64 microseconds since 1970 [rows].
            generator: Draws what the column shows besides (the wording of texts).
        """


@dataclass(frozen=True, slots=True)
class NumberLook:
    """A number, Float64 of six significant digits, or of three where it is measured in steps.

    Attributes:
        shape: Its distribution.
        location: Its centre, in scales.
        scale: Its standard deviation or median.
        spread: Standard deviation of its logarithm, or how heavy its tails are.
        zeros: The share of zeros of a zero-inflated one.
        steps: So many steps of the latent number make a standard deviation; 0 for no steps.
    """

    shape: NumberShape
    location: float
    scale: float
    spread: float
    zeros: float
    steps: float
    latents: int = 1

    def __call__(
        self, latents: list[Floats], moments: Indices, generator: np.random.Generator
    ) -> Shown:
        """See `Look`."""
        carried, digits = latents[0], DIGITS
        if self.steps:
            carried, digits = np.rint(carried * self.steps) / self.steps, FEW_DIGITS
        x = carried[REFERENCE:]
        match self.shape:
            case NumberShape.NORMAL:
                values = self.scale * (self.location + x)
            case NumberShape.LOG_NORMAL:
                values = self.scale * _exponential(self.spread * x)
            case NumberShape.ZERO_INFLATED:
                bound = _quantiles(carried, self.zeros)
                values = np.where(x > bound, self.scale * _exponential(self.spread * x), 0.0)
                carried = standardised(np.maximum(carried, bound))
            case NumberShape.HEAVY_TAILED:
                bent = np.clip(self.spread * x, -LARGEST_EXPONENT, LARGEST_EXPONENT)
                values = self.scale * (self.location + np.sinh(bent) / self.spread)
            case NumberShape.PRICE:
                values = np.floor((5 + self.scale) * _exponential(0.6 * self.spread * x)) + 0.99
        return Shown(pl.Series(significant(values, digits)), carried)


@dataclass(frozen=True, slots=True)
class CountLook:
    """A whole number from 0, Int64."""

    median: float
    spread: float
    latents: int = 1

    def __call__(
        self, latents: list[Floats], moments: Indices, generator: np.random.Generator
    ) -> Shown:
        """See `Look`."""
        counts = np.floor((self.median + 0.5) * _exponential(self.spread * latents[0]))
        counts = np.minimum(counts, LARGEST_COUNT)
        shown = pl.Series(counts[REFERENCE:].astype(np.int64))
        return Shown(shown, standardised(np.log1p(counts) / self.spread))


@dataclass(frozen=True, slots=True)
class FlagLook:
    """Whether a bound is passed, Boolean; `inverted` shows the contrary."""

    below: float
    inverted: bool
    latents: int = 1

    def __call__(
        self, latents: list[Floats], moments: Indices, generator: np.random.Generator
    ) -> Shown:
        """See `Look`."""
        flags = (latents[0] > _quantiles(latents[0], self.below)) ^ self.inverted
        return Shown(pl.Series(flags[REFERENCE:]), standardised(flags.astype(np.float64)))


@dataclass(frozen=True, slots=True)
class SliceLook:
    """The category in whose slice the number lies, String.

    Attributes:
        categories: In the order of the slices.
        shares: How much each holds, one a category.
        effects: What others read, one a category.
    """

    categories: tuple[str, ...]
    shares: Floats
    effects: Floats
    latents: int = 1

    def __call__(
        self, latents: list[Floats], moments: Indices, generator: np.random.Generator
    ) -> Shown:
        """See `Look`."""
        bounds = _quantiles(latents[0], np.cumsum(self.shares)[:-1])
        return _categories(np.searchsorted(bounds, latents[0]), self.categories, self.effects)


@dataclass(frozen=True, slots=True)
class ScoreLook:
    """The category with the highest score, String.

    Attributes:
        categories: As in the plan.
        loadings: What the latent numbers add to each score, float64 [SCORES, categories].
        starts: What each score is without them.
        effects: What others read, one a category.
    """

    categories: tuple[str, ...]
    loadings: Floats
    starts: Floats
    effects: Floats
    latents: int = SCORES

    def __call__(
        self, latents: list[Floats], moments: Indices, generator: np.random.Generator
    ) -> Shown:
        """See `Look`."""
        scores = self.starts[:, None] + self.loadings[0][:, None] * latents[0]
        for loading, latent in zip(self.loadings[1:], latents[1:], strict=True):
            scores += loading[:, None] * latent
        return _categories(scores.argmax(axis=0), self.categories, self.effects)


@dataclass(frozen=True, slots=True)
class MomentLook:
    """A moment before or after the row's time, Datetime of whole seconds.

    Attributes:
        offset: Seconds between them in the median.
        spread: Standard deviation of their logarithm.
        after: Whether the moment lies after the row's time: a date that was set then.
    """

    offset: float
    spread: float
    after: bool
    latents: int = 1

    def __call__(
        self, latents: list[Floats], moments: Indices, generator: np.random.Generator
    ) -> Shown:
        """See `Look`."""
        seconds = self.offset * _exponential(self.spread * latents[0][REFERENCE:])
        offsets = np.minimum(np.ceil(seconds), LONGEST_OFFSET).astype(np.int64) * MICROSECONDS
        values = moments + offsets if self.after else moments - offsets
        return Shown(pl.Series(values).cast(pl.Datetime("us")), latents[0])


@dataclass(frozen=True, slots=True)
class TextLook:
    """A few words that tell how large the number is, String."""

    phrases: Phrases
    latents: int = 1

    def __call__(
        self, latents: list[Floats], moments: Indices, generator: np.random.Generator
    ) -> Shown:
        """See `Look`."""
        bounds = _quantiles(latents[0], np.arange(1, LEVELS) / LEVELS)
        grades = np.searchsorted(bounds, latents[0])
        shown = self.phrases.texts(grades[REFERENCE:], generator.random(len(moments)))
        return Shown(shown, standardised(grades.astype(np.float64)))


@dataclass(frozen=True, slots=True)
class ColumnValues:
    """Settings of what columns show; every field is drawn once a column.

    Attributes:
        shape: Distribution of a numerical column.
        location: Centre of a normal or heavy-tailed one, in scales.
        scale: Its standard deviation; the median of a log-normal one.
        spread: Standard deviation of the logarithm of numbers, prices, counts and time offsets, and
            how heavy the tails are.
        zeros: The share of zeros of a zero-inflated column.
        count: The median of an integer column.
        rounded: The probability that a numerical column is measured in steps, so that values recur.
        steps: So many of them make a standard deviation of its latent number.
        rarer: The share of the rarer value of a boolean column.
        zipf: The k-th category has a weight of k to minus this.
        scored: The probability that a category wins by its score, where there are at most
            MOST_SCORED; else categories are slices.
        offset: Days in the median between a timestamp and its row's time.
    """

    shape: Draw[NumberShape] = Choice(tuple(NumberShape), (0.4, 0.25, 0.1, 0.15, 0.1))
    location: Draw[float] = Uniform(-3.0, 3.0)
    scale: Draw[float] = LogUniform(0.1, 1000.0)
    spread: Draw[float] = Uniform(0.4, 1.4)
    zeros: Draw[float] = Uniform(0.2, 0.8)
    count: Draw[float] = LogUniform(0.5, 50.0)
    rounded: Draw[float] = Uniform(0.4, 1.0)
    steps: Draw[float] = LogUniform(1.5, 60.0)
    rarer: Draw[float] = LogUniform(0.01, 0.5)
    zipf: Draw[float] = Uniform(0.0, 1.2)
    scored: Draw[float] = Uniform(0.0, 1.0)
    offset: Draw[float] = LogUniform(0.02, 100.0)

    def look(self, plan: ColumnPlan, timed: bool, generator: np.random.Generator) -> Look:
        """How one column shows its numbers.

        Args:
            plan: The column.
            timed: Whether its table shows when rows came to be. Where it does not, rows are there
                from the start, and moments lie before it.
            generator: Draws the settings.

        Raises:
            ValueError: A setting was drawn that makes no sense.
        """
        match plan.kind:
            case ColumnKind.NUMERICAL:
                return self._number(generator)
            case ColumnKind.INTEGER:
                median = sample_within("count", self.count, generator, 0.0, 1e9)
                return CountLook(median, self._spread(generator))
            case ColumnKind.BOOLEAN:
                rarer = sample_within("rarer", self.rarer, generator, 0.0, 0.5)
                return FlagLook(1 - rarer, bool(generator.random() < 0.5))
            case ColumnKind.CATEGORICAL:
                return self._category(plan.categories, generator)
            case ColumnKind.TIMESTAMP:
                offset = sample_within("offset", self.offset, generator, 0.0, 3650.0)
                after = bool(generator.random() < 0.5) and timed
                return MomentLook(offset * DAY, self._spread(generator), after)
            case ColumnKind.TEXT:
                return TextLook(phrases(generator))

    def _number(self, generator: np.random.Generator) -> NumberLook:
        return NumberLook(
            self.shape.sample(generator),
            sample_within("location", self.location, generator, -1e6, 1e6),
            sample_within("scale", self.scale, generator, 1e-6, 1e9),
            self._spread(generator),
            sample_within("zeros", self.zeros, generator, 0.0, 1.0),
            self._steps(generator),
        )

    def _steps(self, generator: np.random.Generator) -> float:
        rounded = sample_within("rounded", self.rounded, generator, 0.0, 1.0)
        steps = sample_within("steps", self.steps, generator, 1e-3, 1e6)
        return steps if generator.random() < rounded else 0.0

    def _spread(self, generator: np.random.Generator) -> float:
        return sample_within("spread", self.spread, generator, 1e-3, 5.0)

    def _category(self, categories: tuple[str, ...], generator: np.random.Generator) -> Look:
        count = len(categories)
        zipf = sample_within("zipf", self.zipf, generator, 0.0, 10.0)
        scored = sample_within("scored", self.scored, generator, 0.0, 1.0)
        effects = generator.standard_normal(count)
        weights = generator.permutation(np.arange(1, count + 1) ** -zipf)
        if generator.random() < scored and count <= MOST_SCORED:
            loadings = generator.standard_normal((SCORES, count))
            return ScoreLook(categories, loadings, np.log(weights), effects)
        order = generator.permutation(count).tolist()
        shuffled = tuple(categories[place] for place in order)
        return SliceLook(shuffled, weights / weights.sum(), effects)


def significant(values: Floats, digits: int) -> Floats:
    """Finite values rounded to so many significant digits."""
    size = np.floor(np.log10(np.maximum(np.abs(values), 1e-16))).astype(np.int64)
    places = digits - 1 - size
    up, down = POWERS[np.clip(places, 0, 22)], POWERS[np.clip(-places, 0, 22)]
    return np.rint(values * up / down) * down / up


def _exponential(values: Floats) -> Floats:
    return np.exp(np.minimum(values, LARGEST_EXPONENT))


def _quantiles(values: Floats, shares: float | Floats) -> Floats:
    """Quantiles of the imaginary rows, between the two nearest values."""
    ordered = np.sort(values[:REFERENCE])
    return np.interp(np.asarray(shares) * (REFERENCE - 1), np.arange(REFERENCE), ordered)


def _categories(codes: Indices, categories: tuple[str, ...], effects: Floats) -> Shown:
    shown = pl.Series(categories, dtype=pl.String)[codes[REFERENCE:]]
    return Shown(shown, standardised(effects[codes]))
