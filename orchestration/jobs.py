"""Jobs of a database: the whole pipeline, retraining, scoring; for all its tasks or for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from assets.bank import BANK
from assets.corpus import CORPUS
from assets.predictions import NEWEST_MODEL
from assets.pretraining import encoder_key
from assets.routing import DEFAULT_OBJECTIVE, is_routed
from assets.source import database_key
from assets.staging import staged_key
from assets.task_vectors import entity_tables, task_vector_key
from assets.temporal_graph import graph_key
from assets.workplace import as_of_partitions, task_key
from models.database.schema import RelationalSchema, Task
from models.settings import ON_GRAPHS

CORPUS_JOB = "synthetic_corpus"
BANK_JOB = "performance_bank_edition"
TASK_STAGES = ("training_table", "features", "signals", "routing", "model", "predictions")
ROUTED = ("signals", "routing")


def job_name(database: str, kind: str, task: str = "") -> str:
    """The name of a job: `rel_f1__pipeline`, or `rel_f1__driver_dnf__pipeline` for one task."""
    return "__".join(part for part in (database, task, kind) if part)


def corpus_job() -> dg.UnresolvedAssetJobDefinition:
    """The job that makes synthetic databases and tries both families on them."""
    return dg.define_asset_job(
        CORPUS_JOB,
        selection=dg.AssetSelection.assets(CORPUS),
        description="Synthetic databases with tasks, tried with both families, for the bank.",
        config={"loggers": {"console": {"config": {"log_level": "INFO"}}}},
    )


def bank_job() -> dg.UnresolvedAssetJobDefinition:
    """The job that makes a new edition of the performance bank."""
    return dg.define_asset_job(
        BANK_JOB,
        selection=dg.AssetSelection.assets(BANK),
        description="A new edition of the performance bank, with the trials run here since.",
    )


def database_jobs(
    schema: RelationalSchema, families: Sequence[str]
) -> list[dg.UnresolvedAssetJobDefinition]:
    """The jobs of a database and of each of its tasks, for models of these families."""
    jobs = _jobs(schema, schema.tasks, "", families)
    if not schema.tasks:
        return jobs[:1]
    for task in schema.tasks:
        jobs += _jobs(schema, (task,), task.name, families)
    return jobs


def _jobs(
    schema: RelationalSchema, tasks: tuple[Task, ...], name: str, families: Sequence[str]
) -> list[dg.UnresolvedAssetJobDefinition]:
    about = f"task {name} of {schema.title}" if name else f"every task of {schema.title}"
    whole = [stage for stage in TASK_STAGES if stage not in ROUTED or is_routed(families)]
    retrain = [stage for stage in whole if stage != "predictions"]
    score = ["training_table", "features", "predictions"]
    networks = [] if ON_GRAPHS.isdisjoint(families) else _network_keys(schema)
    # An encoder is pretrained for all entity tables, whichever task asked for it.
    about_tables = {task.entity_table for task in (schema.tasks if networks else tasks)}
    vectors = [
        task_vector_key(schema, table) for table in entity_tables(schema) if table in about_tables
    ]
    return [
        _job(
            schema,
            tasks,
            "pipeline",
            name,
            whole,
            f"From raw tables to predictions: {about}.",
            more=[*vectors, *networks],
        ),
        _job(
            schema,
            tasks,
            "retrain",
            name,
            retrain,
            f"From raw tables to a new model: {about}.",
            more=[*vectors, *networks] if networks else [],
        ),
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
    more: Sequence[dg.AssetKey] = (),
) -> dg.UnresolvedAssetJobDefinition:
    keys = [database_key(schema)]
    keys += [staged_key(schema, table) for table in schema.table_names]
    keys += [task_key(schema, task, stage) for task in tasks for stage in stages]
    keys += more
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


def _network_keys(schema: RelationalSchema) -> list[dg.AssetKey]:
    """What relational networks are trained from, besides the tables."""
    encoders = [encoder_key(schema, DEFAULT_OBJECTIVE)] if entity_tables(schema) else []
    return [graph_key(schema), *encoders]
