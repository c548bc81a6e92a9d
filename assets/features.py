"""Stage 4, features: past-window aggregates of every row of a task's training table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from assets import training_tables
from assets.staging import staged_tables
from assets.workplace import (
    StageConfig,
    Workplace,
    as_of_date,
    as_of_partitions,
    group,
    latest,
    materialization,
    table_metadata,
    task_key,
    upstream,
)
from models.artifacts import Recipe, code_version
from models.database.schema import RelationalSchema, Task
from models.database.training_table import read_training_table

CODE = ("models/aggregation", "models/dfs", "models/database/semantic_types.py")


class FeatureStageConfig(StageConfig):
    """Which features to make."""

    depth: int = Field(2, description="Longest schema path, in foreign keys.", ge=1, le=2)
    max_features: int = Field(500, description="Budget; shallower paths are kept first.", ge=1)


def feature_asset(schema: RelationalSchema, task: Task) -> dg.AssetsDefinition:
    """The feature table of a task."""

    @dg.asset(
        key=task_key(schema, task, "features"),
        deps=[task_key(schema, task, "training_table")],
        group_name=group(schema, "features"),
        kinds={"duckdb", "polars"},
        partitions_def=as_of_partitions(schema),
        description=(
            "Past-window aggregates along the schema paths from "
            f"`{task.entity_table}`, as each row's cutoff sees the database."
        ),
        op_tags={"stage": "features"},
    )
    def features(
        context: dg.AssetExecutionContext, config: FeatureStageConfig, workplace: Workplace
    ) -> dg.MaterializeResult[Any]:
        as_of = as_of_date(context, schema)
        subject = training_tables.subject(schema, task, as_of)
        table = latest(workplace, "training_table", subject, f"the training table {subject}")
        staging = upstream(workplace, "staging", table)
        recipe = Recipe(
            stage="features",
            subject=subject,
            code=code_version(*CODE),
            config={
                "as_of": as_of,
                "depth": config.depth,
                "max_features": config.max_features,
                "tables": schema.tables,
                "foreign_keys": schema.foreign_keys,
                "entity_table": task.entity_table,
                "hidden_columns": task.hidden_columns,
            },
            inputs={"training_table": table.fingerprint, "staging": staging.fingerprint},
        )

        def produce(folder: Path) -> Mapping[str, Any]:
            from models.dfs import FeatureConfig
            from models.dfs.feature_table import build_feature_table

            return build_feature_table(
                schema,
                task,
                read_training_table(table.path / training_tables.FILE),
                as_of,
                staged_tables(staging, schema),
                FeatureConfig(depth=config.depth, max_features=config.max_features),
                folder,
                workplace.threads,
                workplace.memory_limit,
                context.log.info,
            )

        outcome = workplace.build(context, recipe, produce, force=config.force)
        return materialization(outcome, metadata=_metadata(outcome.artifact.path))

    return features


def _metadata(folder: Path) -> dict[str, Any]:
    import json

    from models.dfs.feature_table import DEFINITIONS

    definitions = json.loads((folder / DEFINITIONS).read_text())["features"]
    return {
        "features": len(definitions),
        "definitions": table_metadata(
            {"feature": entry["name"], "type": entry["semantic_type"]} for entry in definitions
        ),
    }
