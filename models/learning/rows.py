"""Rows that are to be predicted, with what a run has at hand about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from models.database.schema import Protocol


@dataclass(frozen=True, slots=True)
class RowsToPredict:
    """The rows that a model is asked about; what is None the model makes itself, if it needs it.

    Attributes:
        seeds: row_id, entity, cutoff_time and visible_until (nothing later may be looked at).
        tables: Parquet of each staged table, by table name.
        features: The DFS features of at least these rows, by row_id, under the protocol of the
            seeds.
        label_history: entity, cutoff_time and label of every example whose label is known; it may
            be looked at by a row whose visible_until is at or after the end of its window.
        graph: The database as a temporal graph. This package knows nothing of graphs; the bundle
            that reads it does.
        threads: Worker threads.
    """

    seeds: pl.DataFrame
    tables: Mapping[str, Path] = field(default_factory=dict)
    features: pl.DataFrame | None = None
    label_history: pl.DataFrame | None = None
    graph: Any = None
    threads: int = 2


def seeds_at(
    entities: pl.Series, cutoff_time: datetime, visible_until: datetime | None = None
) -> pl.DataFrame:
    """One seed per entity, in their order: row_id, entity, cutoff_time, visible_until.

    Args:
        entities: Primary keys of the entity table.
        cutoff_time: The cutoff of all of them.
        visible_until: An earlier limit for what may be seen; the cutoff itself if None or later.
    """
    until = min(visible_until or cutoff_time, cutoff_time)
    return (
        pl.DataFrame({"entity": entities})
        .with_row_index("row_id")
        .with_columns(
            pl.col("row_id").cast(pl.Int64),
            pl.lit(cutoff_time).cast(pl.Datetime("us")).alias("cutoff_time"),
            pl.lit(until).cast(pl.Datetime("us")).alias("visible_until"),
        )
    )


def protocol_at(cutoff_time: datetime, visible_until: datetime | None) -> Protocol:
    """The protocol that a cutoff is scored under: frozen where less is seen than the cutoff does."""
    is_frozen = visible_until is not None and visible_until < cutoff_time
    return Protocol.FROZEN if is_frozen else Protocol.ROLLING
