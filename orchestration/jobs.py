"""Jobs of a database: the whole pipeline, retraining, scoring; for all its tasks or for one."""

from __future__ import annotations

from typing import Any

import dagster as dg

from assets.predictions import NEWEST_MODEL
from assets.source import database_key
from assets.staging import staged_key
from assets.task_vectors import entity_tables, task_vector_key
from assets.workplace import as_of_partitions, task_key
from models.database.schema import RelationalSchema, Task

TASK_STAGES = ("training_table", "features", "model", "predictions")


def job_name(database: str, kind: str, task: str = "") -> str:
    """The name of a job: `rel_f1__pipeline`, or `rel_f1__driver_dnf__pipeline` for one task."""
    return "__".join(part for part in (database, task, kind) if part)


def database_jobs(schema: RelationalSchema) -> list[dg.UnresolvedAssetJobDefinition]:
    """The jobs of a database and of each of its tasks."""
    jobs = _jobs(schema, schema.tasks, "")
    if not schema.tasks:
        return jobs[:1]
    for task in schema.tasks:
        jobs += _jobs(schema, (task,), task.name)
    return jobs


def _jobs(
    schema: RelationalSchema, tasks: tuple[Task, ...], name: str
) -> list[dg.UnresolvedAssetJobDefinition]:
    about = f"task {name} of {schema.title}" if name else f"every task of {schema.title}"
    retrain = [stage for stage in TASK_STAGES if stage != "predictions"]
    score = [stage for stage in TASK_STAGES if stage != "model"]
    return [
        _job(
            schema,
            tasks,
            "pipeline",
            name,
            TASK_STAGES,
            f"From raw tables to predictions: {about}.",
            task_vectors=True,
        ),
        _job(schema, tasks, "retrain", name, retrain, f"From raw tables to a new model: {about}."),
        _job(
            schema,
            tasks,
            "score",
            name,
            score,
            f"From raw tables to predictions with the newest model trained before: {about}.",
            newest_model=True,
        ),
    ]


def _job(
    schema: RelationalSchema,
    tasks: tuple[Task, ...],
    kind: str,
    name: str,
    stages: list[str] | tuple[str, ...],
    description: str,
    newest_model: bool = False,
    task_vectors: bool = False,
) -> dg.UnresolvedAssetJobDefinition:
    keys = [database_key(schema)]
    keys += [staged_key(schema, table) for table in schema.table_names]
    keys += [task_key(schema, task, stage) for task in tasks for stage in stages]
    if task_vectors:
        about = {task.entity_table for task in tasks}
        keys += [
            task_vector_key(schema, table) for table in entity_tables(schema) if table in about
        ]
    # Stages log at INFO; Dagster's own bookkeeping at DEBUG would drown them.
    config: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}
    tags = {"relforge/database": schema.database}
    if newest_model:
        # A tag: `dagster job execute` does not apply the configuration of a partitioned job.
        tags |= NEWEST_MODEL
    return dg.define_asset_job(
        job_name(schema.database, kind, name),
        selection=dg.AssetSelection.assets(*keys),
        partitions_def=as_of_partitions(schema) if tasks else None,
        description=description,
        config=config,
        tags=tags,
    )
