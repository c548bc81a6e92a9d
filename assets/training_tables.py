"""Stage 3, training tables: each task's dbt model, as of the run's date."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from assets.source import raw_tables
from assets.staging import staged_key, staged_tables
from assets.workplace import (
    StageConfig,
    Workplace,
    as_of_date,
    as_of_partitions,
    group,
    image,
    latest,
    materialization,
    table_metadata,
    task_key,
    upstream,
)
from models.artifacts import Artifact, Outcome, Recipe, code_version
from models.database.durations import format_duration
from models.database.schema import RelationalSchema, Task
from models.database.staging import model_code
from models.database.training_table import (
    build_training_tables,
    check_as_of,
    read_training_table,
    summarise,
)

CODE = ("models/database/training_table.py", "models/database/warehouse.py")
FILE = "training_table.parquet"
PLOT = "labels_over_time.png"


def subject(schema: RelationalSchema, task: Task, as_of: datetime) -> str:
    """The name of a task's artifacts at a date."""
    return f"{schema.database}/{task.name}/{as_of:%Y-%m-%d}"


def training_table_assets(schema: RelationalSchema) -> dg.AssetsDefinition:
    """One training table per task; those that are not in the store are built by one dbt run."""
    specs = [
        dg.AssetSpec(
            task_key(schema, task, "training_table"),
            deps=[staged_key(schema, table) for table in schema.table_names],
            group_name=group(schema, "training_tables"),
            kinds={"dbt", "duckdb"},
            description=question(task),
            partitions_def=as_of_partitions(schema),
        )
        for task in schema.tasks
    ]

    @dg.multi_asset(
        name=f"{schema.database}_training_tables",
        specs=specs,
        can_subset=True,
        op_tags={"stage": "training_tables"},
    )
    def training_tables(
        context: dg.AssetExecutionContext, config: StageConfig, workplace: Workplace
    ) -> Iterator[dg.MaterializeResult[Any]]:
        as_of = as_of_date(context, schema)
        wanted = [
            task
            for task in schema.tasks
            if task_key(schema, task, "training_table") in context.selected_asset_keys
        ]
        staging = latest(workplace, "staging", schema.database, f"{schema.database}'s staging")
        newest = staging.metadata["last_event"]
        manifest = workplace.manifest()
        recipes = {task.name: _recipe(manifest, schema, task, as_of, staging) for task in wanted}
        missing = [task for task in wanted if config.force or not workplace.has(recipes[task.name])]
        errors: dict[str, str] = {}
        if missing and not newest:
            raise dg.Failure(
                f"database {schema.database!r}: none of its tables has an event_time with values, so "
                "nothing can be placed in time; declare config.event_time on the tables of events"
            )
        for task in missing:
            check_as_of(schema, task, as_of, datetime.fromisoformat(newest))
        with tempfile.TemporaryDirectory() as scratch:
            if missing:
                errors = _build(workplace, schema, missing, as_of, staging, Path(scratch))
            for task in wanted:
                if task.name not in errors:
                    produce = _publish(Path(scratch), task)
                    force = config.force and task in missing
                    outcome = workplace.build(context, recipes[task.name], produce, force=force)
                    yield _event(schema, task, outcome)
        if errors:
            lines = "\n".join(f"  - {name}: {message}" for name, message in errors.items())
            raise dg.Failure(f"{len(errors)} of {len(wanted)} training tables failed:\n{lines}")

    return training_tables


def question(task: Task) -> str:
    """The task in one sentence, with its declared description."""
    return (
        f"For each row of `{task.entity_table}`: `{task.label_column}` in the "
        f"{format_duration(task.window)} after the cutoff. {task.description}"
    )


def _recipe(
    manifest: Mapping[str, Any],
    schema: RelationalSchema,
    task: Task,
    as_of: datetime,
    staging: Artifact,
) -> Recipe:
    node = manifest["nodes"][f"model.relforge.{schema.database}__{task.name}"]
    return Recipe(
        stage="training_table",
        subject=subject(schema, task, as_of),
        code=code_version(*CODE),
        config={"as_of": as_of, "model": model_code(manifest, node)},
        inputs={"staging": staging.fingerprint},
    )


def _build(
    workplace: Workplace,
    schema: RelationalSchema,
    tasks: list[Task],
    as_of: datetime,
    staging: Artifact,
    scratch: Path,
) -> dict[str, str]:
    raw = upstream(workplace, "database", staging)
    return build_training_tables(
        schema,
        tasks,
        as_of,
        staged_tables(staging, schema),
        raw_tables(raw, schema),
        workplace.project,
        workplace.warehouse(schema.database),
        scratch,
    )


def _publish(scratch: Path, task: Task) -> Callable[[Path], Mapping[str, Any]]:
    def produce(folder: Path) -> Mapping[str, Any]:
        from models.reporting.plots import class_balance_over_time

        shutil.copyfile(scratch / f"{task.name}.parquet", folder / FILE)
        table = read_training_table(folder / FILE)
        (folder / PLOT).write_bytes(class_balance_over_time(table, task.task_type))
        splits = [
            {name: str(v) if isinstance(v, datetime) else v for name, v in row.items()}
            for row in summarise(table)
        ]
        return {"splits": splits, "rows": table.height}

    return produce


def _event(schema: RelationalSchema, task: Task, outcome: Outcome) -> dg.MaterializeResult[Any]:
    metadata = outcome.artifact.metadata
    return materialization(
        outcome,
        task_key(schema, task, "training_table"),
        {
            "dagster/row_count": metadata["rows"],
            "splits": table_metadata(metadata["splits"]),
            "labels over time": image(outcome.artifact.path / PLOT),
        },
    )
