"""Training tables: the task models of a database, built as of a date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from models.database.schema import RelationalSchema, Task
from models.database.staging import StageError
from models.database.warehouse import Warehouse


class NoExamplesError(ValueError):
    """A task has no labelled training or no labelled validation rows at a date."""


def check_as_of(schema: RelationalSchema, task: Task, as_of: datetime, newest: datetime) -> None:
    """Fails if the data end a whole window or more before `as_of`.

    Such a run would take silence for an answer: the last labels would say that nothing happened
    because nothing was recorded.

    Raises:
        StageError: with the newest usable date.
    """
    if as_of - newest >= task.window:
        raise StageError(
            f"task {task.name}: as_of is {as_of:%Y-%m-%d}, but the newest row of database "
            f"{schema.database!r} is of {newest:%Y-%m-%d %H:%M}, more than one window "
            f"({task.window.days} days) earlier, so its last labels would be empty. "
            f"Choose an as_of up to {newest:%Y-%m-%d}, or load newer data."
        )


def build_training_tables(
    schema: RelationalSchema,
    tasks: Sequence[Task],
    as_of: datetime,
    staged: Mapping[str, Path],
    raw: Mapping[str, Path],
    project: Path,
    warehouse: Warehouse,
    folder: Path,
) -> dict[str, str]:
    """Builds the task models as of a date and writes `<folder>/<task>.parquet`.

    Each file has the columns entity, cutoff_time (timestamp, microseconds), label, split, sorted by
    cutoff time and entity.

    Returns:
        The error of each task whose model failed, by task name; the others have their file.
    """
    database = schema.database
    with warehouse.turn() as turn:
        turn.point_views(database, staged)
        turn.point_views(f"{database}_raw", raw)
        models = [f"{database}__{task.name}" for task in tasks]
        results = turn.build(project, models, {"as_of": as_of.isoformat(sep=" ")})
        errors = {
            result.name.split("__", 1)[1]: result.message
            for result in results
            if not result.succeeded
        }
        for task in tasks:
            if task.name not in errors:
                path = folder / f"{task.name}.parquet"
                turn.export(f"{database}_tasks", task.name, ("cutoff_time", "entity"), path)
    return errors


def read_training_table(path: Path) -> pl.DataFrame:
    """A published training table with its row number as `row_id` (int64)."""
    table = pl.read_parquet(path).with_columns(pl.col("cutoff_time").cast(pl.Datetime("us")))
    return table.with_row_index("row_id").with_columns(pl.col("row_id").cast(pl.Int64))


def summarise(table: pl.DataFrame) -> list[dict[str, Any]]:
    """One row per split: rows, entities, cutoffs, first and last cutoff, mean label."""
    label = pl.col("label").cast(pl.Float64, strict=False)
    summary = (
        table.group_by("split")
        .agg(
            rows=pl.len(),
            entities=pl.col("entity").n_unique(),
            cutoffs=pl.col("cutoff_time").n_unique(),
            first_cutoff=pl.col("cutoff_time").min(),
            last_cutoff=pl.col("cutoff_time").max(),
            mean_label=label.mean(),
        )
        .sort("first_cutoff")
    )
    return summary.to_dicts()
