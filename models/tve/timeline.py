"""The cutoffs of task vectors: a regular grid of tiles, its splits and what is known by when."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from models.database.schema import RelationalSchema, Task

TRAIN, VALIDATION = "train", "val"
# Tiles offered where no task tells how far ahead one looks.
ROUND_TILES = tuple(timedelta(days=days) for days in (1, 7, 30, 90, 365))
# Validation rows then reach this many tiles back.
VALIDATION_TILES = 4


@dataclass(frozen=True, slots=True)
class Timeline:
    """The grid of cutoffs `anchor + i * tile` and the instants up to which windows may reach.

    A cutoff before `train_limit` is a training cutoff, any other a validation cutoff. The windows
    of training rows end at or before `train_limit`, the first validation cutoff, those of
    validation rows at or before `known_until`: the date of the run, or the last row if the data end
    much earlier.
    """

    tile: timedelta
    anchor: datetime
    train_limit: datetime
    known_until: datetime

    def __post_init__(self) -> None:
        if self.tile <= timedelta(0):
            raise ValueError(f"a tile must be a positive duration (got {self.tile})")
        if self.train_limit > self.known_until:
            raise ValueError(
                f"training ends at {self.train_limit}, after the last known instant, "
                f"{self.known_until}"
            )

    def grid(self, first_event: datetime) -> pl.DataFrame:
        """The cutoffs from the first event on, oldest first: cutoff_time and split.

        At each of them the window of one tile is closed within the split.
        """
        start = self.anchor - (self.anchor - first_event) // self.tile * self.tile
        cutoffs = pl.Series("cutoff_time", [], dtype=pl.Datetime("us"))
        if start <= self.known_until - self.tile:
            cutoffs = pl.datetime_range(
                start, self.known_until - self.tile, self.tile, time_unit="us", eager=True
            ).alias("cutoff_time")
        train = pl.col("cutoff_time") < pl.lit(self.train_limit, pl.Datetime("us"))
        split = pl.when(train).then(pl.lit(TRAIN)).otherwise(pl.lit(VALIDATION))
        return cutoffs.to_frame().with_columns(split=split).filter(self.is_complete(1))

    def is_complete(self, horizon: int) -> pl.Expr:
        """Whether the window of `horizon` tiles after a row's cutoff is closed within its split."""
        of_train, of_validation = (
            pl.lit(limit - horizon * self.tile, pl.Datetime("us"))
            for limit in (self.train_limit, self.known_until)
        )
        latest = pl.when(pl.col("split") == TRAIN).then(of_train).otherwise(of_validation)
        return pl.col("cutoff_time") <= latest

    def continues(self, earlier: Timeline) -> bool:
        """Whether this timeline is a later one with the same cutoffs."""
        moved = self.anchor - earlier.anchor
        return (
            self.tile == earlier.tile
            and moved % self.tile == timedelta(0)
            and self.known_until >= earlier.known_until
            and self.train_limit >= earlier.train_limit
        )

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form; `timeline_from_plain` reads it."""
        return {
            "tile_seconds": self.tile / timedelta(seconds=1),
            "anchor": self.anchor.isoformat(),
            "train_limit": self.train_limit.isoformat(),
            "known_until": self.known_until.isoformat(),
        }


def timeline_from_plain(plain: Mapping[str, Any]) -> Timeline:
    """The timeline whose `to_plain` this is."""
    times = (
        datetime.fromisoformat(plain[name]) for name in ("anchor", "train_limit", "known_until")
    )
    return Timeline(timedelta(seconds=plain["tile_seconds"]), *times)


def tasks_on(schema: RelationalSchema, entity_table: str) -> list[Task]:
    """The tasks whose examples are rows of the table, the smallest window first.

    Among equal windows the longest validation comes first.
    """
    found = [task for task in schema.tasks if task.entity_table == entity_table]
    return sorted(found, key=lambda task: (task.window, -task.validation_span))


def timeline_of(
    tasks: Iterable[Task], as_of: datetime, tile: timedelta, newest: datetime | None = None
) -> Timeline:
    """The timeline of a tile at a date, for the tasks of one entity table (`tasks_on`).

    It is anchored at the first validation cutoff of the first task, so that its training cutoffs
    are that task's where the task's stride is the tile. Training ends where the validation of any
    task begins. Without tasks the last four tiles are for validation. Where `newest`, the time of
    the newest row, lies a tile or more before as_of, nothing is known after it: silence there is
    not inactivity.
    """
    spans = [task.validation_span for task in tasks] or [VALIDATION_TILES * tile]
    known = as_of if newest is None or as_of - newest < tile else newest
    return Timeline(tile, as_of - spans[0], min(as_of - max(spans), known), known)


def rounded_tile(gap: timedelta | None) -> timedelta:
    """The round tile nearest to a gap between events, by their ratio; a day if there is none."""
    if gap is None or gap <= timedelta(0):
        return ROUND_TILES[0]
    return min(ROUND_TILES, key=lambda tile: abs(math.log(tile / gap)))
