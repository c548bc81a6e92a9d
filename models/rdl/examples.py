"""Training-table rows as tensors: which row is asked about, when, and what it may see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from models.rdl.graph import TemporalGraph, as_microseconds


@dataclass(frozen=True, slots=True)
class Examples:
    """Seeds of one table.

    Args:
        table: The entity table.
        rows: int64 [examples], row numbers of the entities.
        cutoff_time: int64 [examples] microseconds.
        visible_until: int64 [examples] microseconds, at most the cutoff.
        labels: float64 [examples], encoded; NaN where unknown. Empty where there are none.
        features: float32 [examples, features], further inputs of the seed, or None.
    """

    table: str
    rows: Tensor
    cutoff_time: Tensor
    visible_until: Tensor
    labels: Tensor
    features: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: Tensor) -> Examples:
        """The examples at these positions."""
        return Examples(
            self.table,
            self.rows[positions],
            self.cutoff_time[positions],
            self.visible_until[positions],
            self.labels[positions] if len(self.labels) else self.labels,
            None if self.features is None else self.features[positions],
        )

    def to(self, device: torch.device) -> Examples:
        """The same on a device."""
        return Examples(
            self.table,
            self.rows.to(device),
            self.cutoff_time.to(device),
            self.visible_until.to(device),
            self.labels.to(device),
            None if self.features is None else self.features.to(device),
        )


def make_examples(
    graph: TemporalGraph,
    table: str,
    seeds: pl.DataFrame,
    labels: np.ndarray | None = None,
    features: np.ndarray | None = None,
) -> Examples:
    """Seeds (entity, cutoff_time, visible_until) as examples, on the graph's device.

    Raises:
        KeyError: An entity is not in the table.
    """
    device = graph.device
    return Examples(
        table,
        graph.rows_of(table, seeds["entity"]),
        as_microseconds(seeds["cutoff_time"]).to(device),
        as_microseconds(seeds["visible_until"]).to(device),
        torch.zeros(0) if labels is None else torch.tensor(labels).to(device),
        None if features is None else torch.tensor(features).float().to(device),
    )
