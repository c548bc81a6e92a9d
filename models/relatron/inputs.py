"""What signals are measured on: a task's labelled rows, and what was known of them when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import polars as pl
import torch
from torch import Tensor

from models.database.schema import RelationalSchema, Task, TaskType
from models.dfs.feature_table import FeatureTable
from models.learning.labels import LabelEncoder
from models.rdl.graph import TemporalGraph, as_microseconds

NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Signal:
    """A number that is known of a task before any training.

    Attributes:
        name: Unique among the signals of a task.
        group: `homophily`, `labels`, `context`, `size` or `probes`.
        value: NaN where it is not defined.
        error: Its standard error; NaN for a count, or where it is not defined.
        seconds: What it cost. The signals of a group share their work and its time in equal parts.
    """

    name: str
    group: str
    value: float
    error: float = NAN
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SignalInputs:
    """A task as of a date.

    `training_table` has row_id, entity, cutoff_time, label and split. `features` are its DFS
    features, None where there are none. `graph` is on the CPU.
    """

    schema: RelationalSchema
    task: Task
    as_of: datetime
    training_table: pl.DataFrame
    features: FeatureTable | None
    graph: TemporalGraph


@dataclass(frozen=True, slots=True)
class SignalConfig:
    """How much is looked at.

    Attributes:
        seed: Of everything random.
        rows: Rows that homophily and context agreement start from, at most.
        middles: Children of a row that are followed on the way out, at most, by relation.
        returns: Children of a row that are followed on the way back, at most, by relation.
        paths: Meta-paths, at most; the shorter ones are kept.
        probe_training_rows: Rows that probes are fitted to, at most.
        probe_validation_rows: Rows that probes are scored on, at most.
        probe_rounds: Trees of a probe, at most.
        probe_fan_outs: Children that the random networks read, by hop.
        probe_channels: Width of the random networks.
        draws: Bootstrap samples.
        reference: Also compute the signals as Relatron published them (`reference.py`).
    """

    seed: int = 0
    rows: int = 5_000
    middles: int = 8
    returns: int = 8
    paths: int = 32
    probe_training_rows: int = 5_000
    probe_validation_rows: int = 5_000
    probe_rounds: int = 300
    probe_fan_outs: tuple[int, int] = (8, 4)
    probe_channels: int = 32
    draws: int = 100
    reference: bool = False


@dataclass(frozen=True)
class LabelledRows:
    """Labelled rows of `train` and `val` whose windows have closed by a date, as arrays.

    Sorted by entity and cutoff time, so that the labels of an entity that were known at a time are
    consecutive. A label is known once its window has closed, and never to its own row.

    Attributes:
        entity: int64 [rows], row numbers in the entity table.
        cutoff_time: int64 [rows], microseconds.
        window: The task's window in microseconds, at least one.
        label: float64 [rows]: 0 or 1, the class's position, or the value.
        is_training: bool [rows].
        classes: How many classes there are; 0 where labels are numbers.
    """

    entity: Tensor
    cutoff_time: Tensor
    window: int
    label: np.ndarray
    is_training: np.ndarray
    classes: int

    @classmethod
    def of(cls, inputs: SignalInputs) -> LabelledRows:
        """The rows of a task.

        Raises:
            ValueError: There is no labelled training row.
        """
        task = inputs.task
        rows = usable_rows(inputs)
        encoder = label_encoder(rows, task)
        rows = rows.with_columns(pl.Series("code", encoder.transform(rows["label"])))
        # A class that training does not know can be compared with nothing.
        rows = rows.filter(pl.col("code").is_not_nan())
        entity = inputs.graph.rows_of(task.entity_table, rows["entity"])
        cutoff = as_microseconds(rows["cutoff_time"])
        order = np.lexsort((cutoff.numpy(), entity.numpy()))
        return cls(
            entity[order],
            cutoff[order],
            max(task.window // timedelta(microseconds=1), 1),
            rows["code"].to_numpy()[order],
            (rows["split"] == "train").to_numpy()[order],
            len(encoder.classes),
        )

    def __len__(self) -> int:
        return len(self.label)

    def known(self, entity: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """The labels of entities that were known at times, each [asked] int64.

        Returns:
            The positions of the first one and of the one after the last, by ascending cutoff.
        """
        closed, keys = self._closed
        base = entity * (len(closed) + 1)
        until = torch.searchsorted(closed, time.contiguous(), right=True)
        return torch.searchsorted(keys, base), torch.searchsorted(keys, base + until, right=True)

    @cached_property
    def _closed(self) -> tuple[Tensor, Tensor]:
        """When windows close, ascending; and the rows' places by entity and closing, ascending."""
        end = self.cutoff_time + self.window
        closed, rank = torch.unique(end, return_inverse=True)
        return closed, self.entity * (len(closed) + 1) + rank + 1

    def some(self, most: int, seed: int) -> Tensor:
        """Positions of at most so many rows, chosen by chance, ascending, int64."""
        if len(self) <= most:
            return torch.arange(len(self))
        chosen = np.random.default_rng(seed).choice(len(self), most, replace=False)
        return torch.from_numpy(np.sort(chosen))


def usable_rows(inputs: SignalInputs) -> pl.DataFrame:
    """The labelled rows of `train` and `val` whose windows have closed by `as_of`, in their order.

    Raises:
        ValueError: None of them is of `train`.
    """
    closes = pl.col("cutoff_time").cast(pl.Datetime("us")) + inputs.task.window
    rows = inputs.training_table.filter(
        pl.col("split").is_in(["train", "val"]),
        pl.col("label").is_not_null(),
        closes <= pl.lit(inputs.as_of, dtype=pl.Datetime("us")),
    )
    if not (rows["split"] == "train").any():
        raise ValueError(
            f"task {inputs.task.name!r} has no labelled training row as of {inputs.as_of}; signals "
            "need some, so choose a date at which windows have closed"
        )
    return rows


def label_encoder(rows: pl.DataFrame, task: Task) -> LabelEncoder:
    """The encoder of the training rows' labels."""
    labels = rows.filter(pl.col("split") == "train")["label"]
    return LabelEncoder.fit(labels, task.task_type != TaskType.REGRESSION)


def some_rows(rows: pl.DataFrame, split: str, most: int, seed: int) -> pl.DataFrame:
    """At most so many rows of a split, chosen by chance, in their order."""
    own = rows.filter(pl.col("split") == split)
    if own.height <= most:
        return own
    chosen = np.random.default_rng(seed).choice(own.height, most, replace=False)
    return own[np.sort(chosen)]
