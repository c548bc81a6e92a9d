"""Task-vector rows as tensors: who is looked at from when, and what is to be foretold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from models.learning.config import epoch_seed
from models.pretraining.config import PretrainingConfig
from models.rdl.examples import Examples, make_examples
from models.rdl.graph import TemporalGraph, microseconds
from models.tve.task_vectors import MANIFEST, VECTORS, Mode
from models.tve.timeline import TRAIN, Timeline, timeline_from_plain

MICROSECOND = timedelta(microseconds=1)
CHOICE = 7
"""Purpose of the generator that chooses rows."""


@dataclass(frozen=True, slots=True)
class VectorRows:
    """Rows of an entity table with their task vectors.

    Args:
        seeds: The rows, each seen as of its own cutoff; without labels.
        values: float32 [rows, targets], 0 where the mask is False.
        mask: bool [rows, targets]: what is known and counts.
        weight: float32 [rows], the inverse of the probability that the row was kept.
    """

    seeds: Examples
    values: Tensor
    mask: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.seeds)

    def take(self, positions: Tensor) -> VectorRows:
        """The rows at these positions."""
        return VectorRows(
            self.seeds.take(positions),
            self.values[positions],
            self.mask[positions],
            self.weight[positions],
        )

    def to(self, device: torch.device) -> VectorRows:
        """The same on a device."""
        return VectorRows(
            self.seeds.to(device),
            self.values.to(device),
            self.mask.to(device),
            self.weight.to(device),
        )


@dataclass(frozen=True, slots=True)
class EntityVectors:
    """The task vectors of an entity table.

    `targets` are the definitions of the vector's components; `mode` says how they were made.
    """

    table: str
    mode: Mode
    targets: tuple[Mapping[str, Any], ...]
    timeline: Timeline
    train: VectorRows
    validation: VectorRows

    def to(self, device: torch.device) -> EntityVectors:
        """The same on a device."""
        return EntityVectors(
            self.table,
            self.mode,
            self.targets,
            self.timeline,
            self.train.to(device),
            self.validation.to(device),
        )


def read_entity_vectors(
    folder: Path,
    graph: TemporalGraph,
    table: str,
    limit: datetime,
    as_of: datetime,
    config: PretrainingConfig,
) -> EntityVectors:
    """The task vectors in a folder, as far as training up to a time may see them.

    Training rows are those of the training split; targets whose window ends after `limit` are
    masked, rows without any target left are dropped. That takes effect where another entity table's
    task begins its validation earlier than this table's do.

    Args:
        folder: As `TaskVectorBuilder.build` leaves it.
        graph: The database's graph, on the CPU.
        table: The entity table.
        limit: The first validation cutoff of any task of the database.
        as_of: The date of the run; no window may end after it.
        config: Says how many rows there are at most, chosen at random, and how they are weighted.

    Raises:
        ValueError: The vectors are of another table, reach past `as_of`, or no training row is left.
    """
    manifest = json.loads((folder / MANIFEST).read_text())
    timeline = timeline_from_plain(manifest["timeline"])
    _check(manifest, timeline, table, as_of)
    vectors = pl.scan_parquet(folder / VECTORS)
    keys = vectors.select("cutoff_time", "split").with_row_index("row").collect()
    targets = tuple(manifest["targets"])
    reader = _Reader(vectors, graph, table, targets, timeline, config.weighting)
    shortest = min(int(target["horizon"]) for target in targets) * timeline.tile
    is_train = pl.col("split") == TRAIN
    train = reader.read(
        _some(
            keys.filter(is_train & (pl.col("cutoff_time") + shortest <= limit))["row"],
            config.training_rows,
            config.seed,
        ),
        limit,
    )
    if len(train) == 0:
        raise ValueError(
            f"the task vectors of {table!r} have no training row with a window that ends by "
            f"{limit}, the first validation cutoff; make them with a shorter tile"
        )
    validation = reader.read(
        _some(keys.filter(~is_train)["row"], config.validation_rows, config.seed), None
    )
    mode = Mode(manifest["config"]["mode"])
    return EntityVectors(table, mode, targets, timeline, train, validation)


def _check(manifest: Mapping[str, Any], timeline: Timeline, table: str, as_of: datetime) -> None:
    described = manifest["entity_table"]
    if described != table:
        raise ValueError(f"the task vectors given for {table!r} describe {described!r}")
    if timeline.known_until > as_of:
        raise ValueError(
            f"the task vectors of {table!r} know what happened until {timeline.known_until}, "
            f"after the date of the run, {as_of}; make those of that date"
        )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads chosen rows of a task-vector file."""

    vectors: pl.LazyFrame
    graph: TemporalGraph
    table: str
    targets: Sequence[Mapping[str, Any]]
    timeline: Timeline
    weighting: float

    def read(self, rows: pl.Series, until: datetime | None) -> VectorRows:
        """The rows at these positions that have a target whose window ends by a time."""
        names = [target["name"] for target in self.targets]
        frame = (
            self.vectors.select("cutoff_time", "entity", "weight", *names)
            .with_row_index("row")
            .filter(pl.col("row").is_in(rows.implode()))
            .with_columns(visible_until=pl.col("cutoff_time"))
            .collect()
        )
        # A NULL becomes NaN.
        values = torch.from_numpy(frame.select(names).to_numpy(order="c", writable=True))
        mask = ~values.isnan()
        found = VectorRows(
            make_examples(self.graph, self.table, frame),
            values.nan_to_num_(0.0),
            mask,
            torch.from_numpy(frame["weight"].cast(pl.Float32).to_numpy().copy()) ** self.weighting,
        )
        if until is not None:
            self._mask_later(mask, found.seeds.cutoff_time, microseconds(until))
            values.masked_fill_(~mask, 0.0)
        kept = mask.any(dim=1)
        return found if bool(kept.all()) else found.take(torch.nonzero(kept).squeeze(1))

    def _mask_later(self, mask: Tensor, cutoff_time: Tensor, until: int) -> None:
        """Masks, in place, the targets whose window ends after a time."""
        horizons = torch.tensor([int(target["horizon"]) for target in self.targets])
        for horizon in horizons.unique().tolist():
            is_open = cutoff_time + horizon * (self.timeline.tile // MICROSECOND) > until
            mask &= ~(is_open[:, None] & (horizons == horizon))


def _some(rows: pl.Series, most: int, seed: int) -> pl.Series:
    """At most so many of the positions, chosen at random."""
    if len(rows) <= most:
        return rows
    generator = torch.Generator().manual_seed(epoch_seed(seed, 0, CHOICE))
    chosen = torch.randperm(len(rows), generator=generator)[:most]
    return rows[chosen.sort().values.tolist()]
