"""When things happen: births and deaths of entities, their events, and what follows on those.

Times are shares of the database's span. Events come at a rate with trend, season and spikes, and in
each owner's own manner: at random, by habit, or in bursts, where an event brings others about
(self-exciting processes: Hawkes, "Spectra of some self-exciting and mutually exciting point
processes", Biometrika 1971).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.synthetic.draws import Draw, Integer, LogUniform, Uniform, sample_within
from models.synthetic.keys import by_weight
from models.synthetic.rows import Floats, Indices
from models.synthetic.streams import Streams

GRID = 1024
"""Steps over the span on which a rate is constant."""

LAST_BIRTH = 0.98
"""Nobody is born later, so that there is time for a first event."""

SOONEST = 1e-9
"""The smallest time of an event."""

CANDIDATES = 3
"""So many events are drawn for one that is kept by the owner's pace."""

WAVES = 3
"""Follow-ups of follow-ups of follow-ups there are, and no further ones."""

Pace = Callable[[Indices, Floats], Floats]
"""From owners and times to the factors by which their rates differ then, at least 0."""


@dataclass(frozen=True, slots=True)
class Intensity:
    """A rate over the span by its integral.

    Attributes:
        integrals: From 0 to each of GRID + 1 evenly spaced times, float64, strictly ascending.
    """

    integrals: Floats

    def until(self, times: Floats) -> Floats:
        """The integral from 0 to some times."""
        return np.interp(times, _MOMENTS, self.integrals)

    def between(self, lower: Floats, upper: Floats, shares: Floats) -> Floats:
        """The times at which some shares of the integrals from `lower` to `upper` have passed."""
        since = self.until(lower)
        goal = since + shares * (self.until(upper) - since)
        return np.clip(np.interp(goal, self.integrals, _MOMENTS), lower, upper)


_MOMENTS = np.arange(GRID + 1) / GRID


def intensity(
    trend: float,
    season: float,
    cycles: float,
    phase: float,
    spikes: Floats,
) -> Intensity:
    """A rate e^(trend·t)·(1 + season·sin 2π(cycles·t + phase)) with short bursts around spikes.

    Args:
        trend: Growth of the logarithm of the rate over the span.
        season: How far the rate swings, from 0 to below 1.
        cycles: How often it swings over the span.
        phase: Where in the swing the span begins, from 0 to 1.
        spikes: The middles of the bursts, float64 [spikes]; each is a bell of standard deviation
            0.004 and 8 times the mean rate.
    """
    middle = (_MOMENTS[1:] + _MOMENTS[:-1]) / 2
    rates = np.exp(trend * middle) * (1 + season * np.sin(2 * np.pi * (cycles * middle + phase)))
    bells = np.exp(-0.5 * ((middle[:, None] - spikes) / 0.004) ** 2).sum(axis=1)
    rates = rates / rates.mean() + 8 * bells
    return Intensity(np.concatenate([[0.0], np.cumsum(rates / GRID)]))


@dataclass(frozen=True, slots=True)
class Lives:
    """Settings of births and deaths of entities; a `Draw` is drawn once a table.

    Attributes:
        present: The share of entities that are there at the start.
        growth: Growth of the logarithm of the birth rate over the span.
        lifetime: The mean lifetime of an entity of average vigour, as a share of the span.
        vigour: How far the logarithm of an entity's mean lifetime depends on its first state, as a
            standard deviation.
    """

    present: Draw[float] = Uniform(0.3, 1.0)
    growth: Draw[float] = Uniform(-1.0, 2.0)
    lifetime: Draw[float] = LogUniform(0.3, 5.0)
    vigour: Draw[float] = Uniform(0.3, 1.2)

    def births(self, rows: int, earliest: float, streams: Streams) -> Floats:
        """Times of birth, 0 for those there at the start: float64 [rows], ascending.

        Nobody is born before `earliest`, and at least two (where there are two) are there then, so
        that whoever needs a parent finds one.
        """
        generator = streams.generator("births")
        share = sample_within("present", self.present, generator, 0.0, 1.0)
        growth = sample_within("growth", self.growth, generator, -50.0, 50.0)
        present = max(min(rows, 2), round(share * rows))
        rate = intensity(growth, 0.0, 0.0, 0.0, np.zeros(0))
        shares = np.sort(1.0 - generator.random(rows - present))
        later = rate.between(np.zeros(len(shares)), np.full(len(shares), LAST_BIRTH), shares)
        return np.maximum(np.concatenate([np.zeros(present), later]), earliest)

    def deaths(self, births: Floats, states: Floats, streams: Streams) -> Floats:
        """Times of death, some after the span: float64 [rows].

        Lifetimes are exponential, so that those there at the start are as fresh as the newly born.
        The longest life never ends: there is always somebody left.

        Args:
            births: float64 [rows].
            states: States at birth, about standard normal, float64 [rows, dimensions].
            streams: The table's.
        """
        generator = streams.generator("deaths")
        lifetime = sample_within("lifetime", self.lifetime, generator, 1e-3, np.inf)
        vigour = sample_within("vigour", self.vigour, generator, 0.0, 10.0)
        direction = generator.standard_normal(states.shape[1])
        scores = states @ (direction / np.linalg.norm(direction))
        lives = lifetime * np.exp(vigour * scores) * generator.standard_exponential(len(births))
        ends = births + np.maximum(lives, 1e-4)
        ends[np.argmax(ends)] = np.inf
        return ends


@dataclass(frozen=True, slots=True)
class Clocks:
    """Settings of the times of activities; a `Draw` is drawn once a table.

    Attributes:
        start: When the first activities happen; below 0 counts as 0.
        end: When the last ones happen; above 1 counts as 1.
        trend: Growth of the logarithm of the rate over the span.
        season: How far the rate swings, from 0 to below 1.
        cycles: How often it swings over the span.
        spikes: How many short bursts the table has.
        served: The share of owners that surely have an activity, early in their lives, as far as
            half of the activities suffice.
        burst: The share of activities that follow an earlier one of the same owner.
        burst_delay: How long after it, on average (exponential).
        habits: The share of owners whose activities lie at regular distances.
        jitter: By what part of the distance these are moved at random.
        delay: The median time from an activity to one that belongs to it (log-normal).
        delay_spread: The standard deviation of its logarithm.
    """

    start: Draw[float] = Uniform(-1.0, 0.4)
    end: Draw[float] = Uniform(0.8, 2.5)
    trend: Draw[float] = Uniform(-1.0, 3.0)
    season: Draw[float] = Uniform(0.0, 0.8)
    cycles: Draw[float] = LogUniform(1.0, 60.0)
    spikes: Draw[int] = Integer(0, 3)
    served: Draw[float] = Uniform(0.7, 1.0)
    burst: Draw[float] = Uniform(0.5, 0.95)
    burst_delay: Draw[float] = LogUniform(3e-5, 5e-3)
    habits: Draw[float] = Uniform(0.0, 0.3)
    jitter: Draw[float] = Uniform(0.0, 0.6)
    delay: Draw[float] = LogUniform(1e-4, 5e-2)
    delay_spread: Draw[float] = Uniform(0.3, 1.5)

    def span(self, earliest: float, streams: Streams) -> tuple[float, float]:
        """From when to when a table has activities, where none is possible before `earliest`."""
        generator = streams.generator("span")
        start = max(0.0, sample_within("start", self.start, generator, -np.inf, 0.999))
        end = min(1.0, sample_within("end", self.end, generator, 0.001, np.inf))
        if start >= end:
            raise ValueError(
                f"activities must start before they end (got {start:g} to {end:g}): give `start` "
                "lower values than `end`"
            )
        return max(start, earliest), end if earliest < end else 1.0

    def intensity(self, streams: Streams) -> Intensity:
        """The rate of a table's activities."""
        generator = streams.generator("intensity")
        spikes = int(sample_within("spikes", self.spikes, generator, 0, 1000))
        return intensity(
            sample_within("trend", self.trend, generator, -50.0, 50.0),
            sample_within("season", self.season, generator, 0.0, 0.999),
            sample_within("cycles", self.cycles, generator, 0.0, GRID / 2),
            generator.random(),
            generator.random(spikes),
        )

    def events(
        self,
        rows: int,
        weights: Floats,
        lower: Floats,
        upper: Floats,
        pace: Pace,
        streams: Streams,
    ) -> tuple[Indices, Floats]:
        """Events of owners while these live.

        Args:
            rows: How many events to make.
            weights: How popular the owners are, float64 [owners].
            lower: From when on each may have events, float64 [owners].
            upper: Until when, float64 [owners]; nothing happens to those with `upper` <= `lower`.
            pace: By what factor an owner's rate is higher at a time than its weight says. Owners
                with a habit keep to it and follow no pace.
            streams: The table's.

        Returns:
            Owners, int64 [rows], and times above 0, float64 [rows], ascending.
        """
        rate = self.intensity(streams)
        masses = weights * np.maximum(rate.until(upper) - rate.until(lower), 0.0)
        if not masses.any():
            # Nobody lives at that time: all of it happens to the last ones, as soon as they can.
            masses = (upper == upper.max()).astype(np.float64)
            upper = np.maximum(lower, upper)
        served, debuts = self._debuts(rows, masses, rate, lower, upper, streams)
        rows -= len(served)
        generator = streams.generator("habits")
        share = sample_within("habits", self.habits, generator, 0.0, 1.0)
        habitual = generator.random(len(weights)) < share
        of_habit = min(1.0, masses[habitual].sum() / masses.sum())
        regular = int(generator.binomial(rows, of_habit))
        jitter = sample_within("jitter", self.jitter, generator, 0.0, 1.0)
        owners, shares = _by_habit(regular, masses * habitual, jitter, generator)
        times = rate.between(lower[owners], upper[owners], shares)
        generator = streams.generator("burst")
        burst = sample_within("burst", self.burst, generator, 0.0, 0.99)
        delay = sample_within("burst_delay", self.burst_delay, generator, 1e-9, np.inf)
        first = rows - regular - int(burst * (rows - regular))
        free = _at_random(
            first, masses * ~habitual, rate, lower, upper, pace, streams.generator("events")
        )
        free = _followed(*free, rows - regular, delay, upper, generator)
        owners = np.concatenate([served, owners, free[0]])
        times = np.clip(np.concatenate([debuts, times, free[1]]), SOONEST, 1.0)
        order = np.argsort(times, kind="stable")
        return owners[order], times[order]

    def _debuts(
        self,
        rows: int,
        masses: Floats,
        rate: Intensity,
        lower: Floats,
        upper: Floats,
        streams: Streams,
    ) -> tuple[Indices, Floats]:
        """Owners that surely have an event, and when."""
        owners = self._served(rows, masses, streams)
        early = (1.0 - streams.generator("debuts").random(len(owners))) ** 2
        return owners, rate.between(lower[owners], upper[owners], early)

    def _served(self, rows: int, weights: Floats, streams: Streams) -> Indices:
        """Owners that surely have one of so many events, each once: int64 [owners]."""
        generator = streams.generator("served")
        share = sample_within("served", self.served, generator, 0.0, 1.0)
        able = generator.permutation(np.flatnonzero(weights > 0))
        return able[: min(round(share * len(able)), rows // 2)]

    def after(
        self, rows: int, weights: Floats, begins: Floats, earliest: float, streams: Streams
    ) -> tuple[Indices, Floats]:
        """Activities that belong to earlier activities, each a delay after its owner.

        Args:
            rows: How many to make.
            weights: How many an owner has, in proportion, float64 [owners].
            begins: The owners' times, float64 [owners].
            earliest: None of them happens before.
            streams: The table's.

        Returns:
            Owners, int64 [rows], and times, float64 [rows], ascending. What would happen after the
            span is not in the database; where too little is left, it happens sooner.
        """
        generator = streams.generator("delays")
        delay = sample_within("delay", self.delay, generator, 1e-9, np.inf)
        spread = sample_within("delay_spread", self.delay_spread, generator, 0.0, 10.0)
        drawn = by_weight(weights, 2 * rows, generator)
        owners = np.concatenate([self._served(rows, weights, streams), drawn])
        delays = delay * np.exp(spread * generator.standard_normal(len(owners)))
        kept, times = _in_time(rows, begins[owners], delays, np.ones(len(owners)), generator)
        times = np.clip(times, earliest, 1.0)
        order = np.argsort(times, kind="stable")
        return owners[kept][order], times[order]


def _by_habit(
    count: int, masses: Floats, jitter: float, generator: np.random.Generator
) -> tuple[Indices, Floats]:
    """Owners, each one's events at even shares of its time: int64 and float64 [count]."""
    phases = generator.random(len(masses))
    if not count:
        return np.zeros(0, np.int64), np.zeros(0)
    owners = np.sort(by_weight(masses, count, generator))
    place = np.arange(count) - np.searchsorted(owners, owners)
    events = np.bincount(owners, minlength=len(masses))[owners]
    moved = jitter * (generator.random(count) - 0.5)
    return owners, np.clip((place + phases[owners] + moved) / events, 1e-9, 1.0)


def _at_random(
    count: int,
    masses: Floats,
    rate: Intensity,
    lower: Floats,
    upper: Floats,
    pace: Pace,
    generator: np.random.Generator,
) -> tuple[Indices, Floats]:
    """Independent events, kept in proportion to the owners' paces at their times."""
    if not count:
        return np.zeros(0, np.int64), np.zeros(0)
    owners = by_weight(masses, CANDIDATES * count, generator)
    times = rate.between(lower[owners], upper[owners], 1.0 - generator.random(len(owners)))
    # The first arrivals of exponential clocks are a draw without replacement by pace.
    with np.errstate(divide="ignore"):
        race = generator.standard_exponential(len(owners)) / pace(owners, times)
    kept = np.sort(np.argsort(race, kind="stable")[:count])
    return owners[kept], times[kept]


def _followed(
    owners: Indices,
    times: Floats,
    count: int,
    delay: float,
    upper: Floats,
    generator: np.random.Generator,
) -> tuple[Indices, Floats]:
    """Events and others that follow on any of them before the own wave, until there are `count`."""
    for wave in range(WAVES):
        missing = count - len(owners)
        size = missing if wave == WAVES - 1 else (missing + 1) // 2
        if not size:
            break
        cause = generator.integers(len(owners), size=2 * size)
        delays = delay * generator.standard_exponential(2 * size)
        kept, follow = _in_time(size, times[cause], delays, upper[owners[cause]], generator)
        owners = np.concatenate([owners, owners[cause[kept]]])
        times = np.concatenate([times, follow])
    return owners, times


def _in_time(
    count: int, begins: Floats, delays: Floats, latest: Floats, generator: np.random.Generator
) -> tuple[Indices, Floats]:
    """What comes a delay after its begin without being too late: int64 and float64 [count].

    Shortening delays instead would crowd the end. Only where too few are in time do some come at
    any moment before `latest`.
    """
    times = begins + delays
    late = times > latest
    sooner = begins + generator.random(len(begins)) * np.maximum(latest - begins, 0.0)
    kept = np.argsort(late, kind="stable")[:count]
    return kept, np.where(late, np.minimum(sooner, np.maximum(latest, begins)), times)[kept]
