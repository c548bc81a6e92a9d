"""The code location: every database declared in the dbt project, as assets, jobs and schedules."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import dagster as dg

from assets import checks
from assets.bank import performance_bank
from assets.corpus import corpus
from assets.features import feature_asset
from assets.predictions import prediction_asset
from assets.pretraining import OBJECTIVES, pretrained_encoder_asset
from assets.routing import is_routed, routing_asset
from assets.signals import signals_asset
from assets.source import source_asset
from assets.staging import staging_assets
from assets.task_vectors import entity_tables, task_vector_asset
from assets.temporal_graph import temporal_graph_asset
from assets.training import training_asset
from assets.training_tables import training_table_assets
from assets.workplace import Workplace
from models.database.dbt import load_manifest
from models.database.manifest import Declaration, read_databases
from models.database.schema import RelationalSchema
from models.settings import Settings
from orchestration.jobs import bank_job, corpus_job, database_jobs
from orchestration.schedules import task_schedules

logger = logging.getLogger(__name__)


def database_definitions(
    schema: RelationalSchema, families: Sequence[str], trials: int
) -> dg.Definitions:
    """Assets, checks, jobs and schedules of one database, for models of these families."""
    assets = [source_asset(schema), staging_assets(schema)]
    gates = [checks.raw_checks(schema), checks.staged_checks(schema)]
    if schema.tasks:
        assets.append(training_table_assets(schema))
    for task in schema.tasks:
        assets += [
            feature_asset(schema, task),
            training_asset(schema, task, families, trials),
            prediction_asset(schema, task),
        ]
        if is_routed(families):
            assets += [signals_asset(schema, task), routing_asset(schema, task, families)]
        gates.append(checks.training_table_checks(schema, task))
    assets += [task_vector_asset(schema, table) for table in entity_tables(schema)]
    assets.append(temporal_graph_asset(schema))
    if entity_tables(schema):
        assets += [pretrained_encoder_asset(schema, objective) for objective in OBJECTIVES]
    return dg.Definitions(
        assets=assets,
        asset_checks=gates,
        jobs=database_jobs(schema, families),
        schedules=task_schedules(schema),
    )


def faulty_definitions(database: str, declaration: Declaration) -> dg.Definitions:
    """A stand-in for a database whose declaration has faults: shows them, and fails with them."""

    @dg.asset(
        key=[database, "faulty_declaration"],
        group_name=f"{database}_00_faulty_declaration",
        description="\n".join(f"- {fault}" for fault in declaration.faults),
    )
    def faulty_declaration() -> None:
        declaration.checked()

    return dg.Definitions(assets=[faulty_declaration])


def build_definitions(settings: Settings) -> dg.Definitions:
    """The definitions of every declared database; a faulty one does not hide the others."""
    manifest = load_manifest(settings.dbt_project, settings.manifest_cache)
    parts = []
    for database, declaration in read_databases(manifest).items():
        if declaration.faults:
            logger.error("database %s: %s", database, "; ".join(declaration.faults))
            parts.append(faulty_definitions(database, declaration))
        else:
            parts.append(
                database_definitions(declaration.schema, settings.families, settings.trials)
            )
    workplace = Workplace(
        home=str(settings.home),
        dbt_project=str(settings.dbt_project),
        memory_limit=os.environ.get("RELFORGE_MEMORY_LIMIT", "8GB"),
        threads=int(os.environ.get("RELFORGE_THREADS", os.cpu_count() or 2)),
    )
    shared = dg.Definitions(
        assets=[corpus, performance_bank],
        jobs=[corpus_job(), bank_job()],
        resources={"workplace": workplace},
        # Stages are short or use every core themselves: a process per step only adds start-up.
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(shared, *parts)


defs = build_definitions(Settings.from_environment())
