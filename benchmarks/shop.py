"""A shop's events: users with uneven activity, items with uneven popularity, scattered cutoffs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

START = datetime(2022, 1, 1)
SPAN_S = 2 * 365 * 86_400
KINDS = {"view": 0.62, "cart": 0.2, "buy": 0.1, "return": 0.03, "rating": 0.05}


@dataclass(frozen=True, slots=True)
class ShopSize:
    """How many rows the tables have, and how many (user, cutoff time) rows ask for features.

    `ratings` refer to events and come up to months after them. With `even` all users are as active
    as each other.
    """

    events: int
    users: int
    items: int
    seeds: int
    ratings: int = 0
    even: bool = False


def make_shop(size: ShopSize, seed: int = 0) -> dict[str, pl.DataFrame]:
    """Tables `users`, `items`, `events`, `seeds` and, where the size has any, `ratings`.

    Events lie within two years; the shares of users and of items in them are gamma distributed, so
    that histories are long for a few. Some amounts and durations are missing. Cutoffs are seconds
    in the last three quarters of the time, for uniformly drawn users: nearly all distinct.
    """
    random = np.random.default_rng(seed)
    users = pl.DataFrame(
        {
            "user_id": np.arange(size.users),
            "age": random.integers(16, 90, size.users).astype(float),
            "country": _labels(random, "country", 40, size.users),
        }
    )
    items = pl.DataFrame(
        {
            "item_id": np.arange(size.items),
            "price": random.lognormal(3.0, 0.8, size.items).round(2),
            "category": _labels(random, "category", 60, size.items),
        }
    )
    kinds = np.array(list(KINDS))
    events = pl.DataFrame(
        {
            "event_id": np.arange(size.events),
            "user_id": (
                random.integers(0, size.users, size.events)
                if size.even
                else _uneven(random, size.users, 0.7, size.events)
            ),
            "item_id": _uneven(random, size.items, 0.5, size.events),
            "at": _times(np.sort(random.integers(0, SPAN_S, size.events))),
            "amount": _missing(random, random.lognormal(3.0, 1.0, size.events).round(2), 0.03),
            "duration": _missing(random, random.exponential(60.0, size.events).round(1), 0.01),
            "kind": kinds[random.choice(len(kinds), size.events, p=list(KINDS.values()))],
            "channel": _labels(random, "channel", 12, size.events),
        }
    )
    seeds = pl.DataFrame(
        {
            "entity": random.integers(0, size.users, size.seeds),
            "cutoff_time": _times(random.integers(SPAN_S // 4, SPAN_S, size.seeds)),
        }
    )
    seeds = seeds.unique().sort("cutoff_time", "entity").with_row_index("row_id")
    frames = {"users": users, "items": items, "events": events, "seeds": seeds}
    return frames | ({"ratings": _ratings(random, events, size.ratings)} if size.ratings else {})


def _ratings(random: Generator, events: pl.DataFrame, count: int) -> pl.DataFrame:
    rated = events[random.integers(0, events.height, count)]
    delay = pl.Series(random.exponential(20 * 86_400, count).astype(np.int64) * 1_000_000)
    return pl.DataFrame(
        {
            "rating_id": np.arange(count),
            "event_id": rated["event_id"],
            "at": rated["at"] + delay.cast(pl.Duration("us")),
            "stars": random.integers(1, 6, count).astype(float),
            "aspect": _labels(random, "aspect", 8, count),
        }
    )


def _uneven(random: Generator, kinds: int, shape: float, count: int) -> NDArray[np.int64]:
    """Draws of 0 .. kinds - 1 whose shares are gamma distributed."""
    shares = random.gamma(shape, size=kinds)
    return random.choice(kinds, count, p=shares / shares.sum())


def _labels(random: Generator, name: str, kinds: int, count: int) -> pl.Series:
    names = np.array([f"{name} {number:02d}" for number in range(kinds)])
    return pl.Series(names[random.integers(0, kinds, count)])


def _missing(random: Generator, values: NDArray[np.float64], share: float) -> pl.Series:
    return pl.Series(values, nan_to_null=True).set(
        pl.Series(random.random(len(values)) < share), None
    )


def _times(seconds: NDArray[np.int64]) -> pl.Series:
    return pl.Series(seconds * 1_000_000).cast(pl.Duration("us")) + START
