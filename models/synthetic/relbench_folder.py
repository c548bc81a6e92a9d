"""Writes a synthetic database in the field's exchange format: a RelBench folder.

<folder>/manifest.yaml          tables, keys, times, where validation and test begin
<folder>/db/<table>.parquet     the rows
<folder>/tasks/<task>/manifest.yaml
<folder>/truth.json             how the database was made; for studies, not for models
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from models.artifacts.recipe import code_version
from models.database.durations import format_duration
from models.database.schema import to_plain
from models.synthetic.blueprint import Blueprint
from models.synthetic.database import SyntheticDatabase

if TYPE_CHECKING:
    from relbench.manifest import DatasetManifest, TaskManifest

    from models.synthetic.tasks.task import SyntheticTask

TRUTH = "truth.json"
CODE = "models/synthetic"
FIRST_NANOSECOND = datetime(1677, 9, 22)
LAST_NANOSECOND = datetime(2262, 4, 11)


def write_relbench_folder(
    database: SyntheticDatabase,
    folder: Path,
    *,
    tasks: Sequence[SyntheticTask] = (),
    name: str = "",
    made_from: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a database with its tasks; the folder appears when it is complete.

    Keys stay int64 with NULL for none (pandas reads those as floats); times become nanoseconds,
    which RelBench needs. Task labels are not written: RelBench and the importer make them by SQL.

    Args:
        database: What to write.
        folder: Where; it must not exist yet.
        tasks: What may be asked of the database, in RelBench's terms.
        name: The database's name in the manifest; that of the folder where empty.
        made_from: How the generator was set (preset, options), for truth.json.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder exists.
        ValueError: a time does not fit into nanoseconds, or a task is incomplete or contradicts the
            database; the message names table, column or task.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; delete it or choose another folder")
    manifests = [_task_manifest(database.blueprint, task) for task in tasks]
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    try:
        (aside / "db").mkdir(parents=True)
        for table, frame in database.tables.items():
            _in_nanoseconds(table, frame).write_parquet(aside / "db" / f"{table}.parquet")
        _manifest(database, name or folder.name).save(aside / "manifest.yaml")
        for manifest in manifests:
            manifest.save(aside / "tasks" / manifest.name / "manifest.yaml")
        known = truth(database, tasks, made_from)
        (aside / TRUTH).write_text(json.dumps(known, indent=1) + "\n")
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def truth(
    database: SyntheticDatabase,
    tasks: Sequence[SyntheticTask] = (),
    made_from: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """How a database was made, as JSON-ready data: seed, code, settings, blueprint, mechanisms.

    Of each task it holds the choices that made it.
    """
    return {
        "seed": database.seed,
        "code_version": code_version(CODE),
        "made_from": dict(made_from or {}),
        "blueprint": to_plain(database.blueprint),
        "mechanisms": [
            {**to_plain(mechanism), "signal": round(mechanism.signal, 6)}
            for mechanism in database.mechanisms
        ],
        "tasks": {task.name: dict(task.terms) for task in tasks},
    }


def _in_nanoseconds(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    times = [name for name, kind in frame.schema.items() if kind == pl.Datetime]
    for name in times:
        least: Any = frame[name].min()
        most: Any = frame[name].max()
        if least is not None and not FIRST_NANOSECOND <= least <= most <= LAST_NANOSECOND:
            raise ValueError(
                f"table {table}, column {name}: times from {least} to {most} do not fit into "
                f"nanoseconds ({FIRST_NANOSECOND:%Y} to {LAST_NANOSECOND:%Y}); draw smaller delays "
                "or move the database's span"
            )
    return frame.with_columns(pl.col(times).cast(pl.Datetime("ns")))


def _manifest(database: SyntheticDatabase, name: str) -> DatasetManifest:
    # relbench takes a second to import.
    from relbench.manifest import DatasetManifest, TableSpec

    blueprint = database.blueprint
    return DatasetManifest(
        name=name,
        description=f"A synthetic database, made from seed {database.seed}.",
        val_timestamp=str(blueprint.validation),
        test_timestamp=str(blueprint.test),
        tables={
            table.name: TableSpec(
                table.primary_key,
                table.time_column,
                {key.column: key.parent for key in table.keys},
            )
            for table in blueprint.tables
        },
    )


def _task_manifest(blueprint: Blueprint, task: SyntheticTask) -> TaskManifest:
    from relbench.manifest import TaskManifest

    manifest = TaskManifest(
        name=task.name,
        kind=str(task.kind),
        task_type=str(task.task_type),
        description=task.description or None,
        entity_table=task.entity_table,
        entity_col=task.entity_column,
        target_col=task.target_column,
        time_col=task.time_column,
        timedelta=format_duration(task.timedelta) if task.timedelta else None,
        num_eval_timestamps=task.evaluation_cutoffs,
        sql=task.sql or None,
        remove_columns=[list(pair) for pair in task.remove_columns],
    )
    manifest.validate()
    tables = {
        table.name: [
            table.primary_key,
            *(key.column for key in table.keys),
            *([table.time_column] if table.time_column else []),
            *table.column_names,
        ]
        for table in blueprint.tables
    }
    named = [(task.entity_table, ""), *task.remove_columns]
    if manifest.kind == "autocomplete":
        named += [(task.entity_table, name) for name in (task.entity_column, task.target_column)]
    for table, column in named:
        if table not in tables:
            raise ValueError(f"task {task.name}: there is no table {table!r} ({', '.join(tables)})")
        if column and column not in tables[table]:
            raise ValueError(
                f"task {task.name}: table {table} has no column {column!r} "
                f"({', '.join(tables[table])})"
            )
    return manifest
