"""Stage 4, features: past-window aggregates of every row of a task's training table."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from models.database.durations import parse_duration
from models.database.schema import RelationalSchema, Task, to_plain
from models.database.training_table import read_training_table

if TYPE_CHECKING:
    from models.dfs.config import FeatureConfig

TASK_WINDOWS = "task"
MULTIPLES = (1, 4, 16)
_TIMES = f"{', '.join(map(str, MULTIPLES[:-1]))} and {MULTIPLES[-1]} times"
CODE = (
    "models/aggregation",
    "models/dfs",
    "models/database/semantic_types.py",
    "models/database/source.py",
)


class FeatureStageConfig(StageConfig):
    """Which features to make; `docs/features.md` describes the vocabulary."""

    depth: int = Field(2, description="Longest schema path, in foreign keys.", ge=1, le=3)
    max_features: int = Field(
        500,
        description="How many features are kept: short paths first, paths of one length in turn.",
        ge=1,
    )
    max_paths: int = Field(
        10_000,
        description="More schema paths than this, from the entity table, are refused.",
        ge=1,
    )
    primitives: list[str] = Field(
        default=[],
        description=(
            "Aggregates and transforms to use, in order of preference, such as "
            "['count', 'mean', 'trend', 'weekday']. Empty: the default set."
        ),
    )
    windows: list[str] = Field(
        default=[TASK_WINDOWS],
        description=(
            "Lengths of trailing windows, such as ['7 days', '90 days'], in which aggregates are "
            f"taken besides the whole past. '{TASK_WINDOWS}' stands for {_TIMES} the task's own window."
        ),
    )
    where: bool = Field(
        False,
        description=(
            "Also count and average the rows with one frequent value of a category. Frequent is "
            "what is so up to the first validation cutoff."
        ),
    )


def feature_config(config: FeatureStageConfig, task: Task) -> "FeatureConfig":
    """The library's configuration for a task.

    Raises:
        Failure: a primitive, or a window's length, is none.
    """
    from models.dfs.config import FeatureConfig

    settings: dict[str, Any] = {"primitives": tuple(config.primitives)} if config.primitives else {}
    try:
        return FeatureConfig(
            depth=config.depth,
            max_features=config.max_features,
            max_paths=config.max_paths,
            windows=_windows(config, task),
            **settings,
        )
    except ValueError as fault:
        raise dg.Failure(f"the features' configuration: {fault}") from fault


def _windows(config: FeatureStageConfig, task: Task) -> tuple[timedelta, ...]:
    given: list[timedelta] = []
    for text in config.windows:
        own = text == TASK_WINDOWS
        given += [task.window * n for n in MULTIPLES] if own else [parse_duration(text)]
    return tuple(given)


def feature_recipe(
    schema: RelationalSchema,
    task: Task,
    as_of: datetime,
    config: FeatureStageConfig,
    inputs: Mapping[str, str],
) -> Recipe:
    """What a task's features are made from."""
    return Recipe(
        stage="features",
        subject=training_tables.subject(schema, task, as_of),
        code=code_version(*CODE),
        config={
            "as_of": as_of,
            **to_plain(feature_config(config, task)),
            "where": config.where,
            "tables": schema.tables,
            "foreign_keys": schema.foreign_keys,
            "entity_table": task.entity_table,
            "hidden_columns": task.hidden_columns,
        },
        inputs=inputs,
    )


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
        inputs = {"training_table": table.fingerprint, "staging": staging.fingerprint}
        recipe = feature_recipe(schema, task, as_of, config, inputs)

        def produce(folder: Path) -> Mapping[str, Any]:
            from models.dfs.feature_table import build_feature_table

            return build_feature_table(
                schema,
                task,
                read_training_table(table.path / training_tables.FILE),
                as_of,
                staged_tables(staging, schema),
                feature_config(config, task),
                folder,
                workplace.threads,
                workplace.memory_limit,
                context.log.info,
                conditions=config.where,
            )

        outcome = workplace.build(context, recipe, produce, force=config.force)
        return materialization(outcome, metadata=_metadata(outcome.artifact.path))

    return features


def _metadata(folder: Path) -> dict[str, Any]:
    import json

    from models.aggregation.features import feature_from_plain
    from models.dfs.feature_table import DEFINITIONS

    content = json.loads((folder / DEFINITIONS).read_text())
    definitions = content["features"]
    found = {feature_from_plain(entry).window for entry in definitions}
    windows = sorted(found, key=lambda window: window.length or timedelta.max)
    return {
        "features": len(definitions),
        "kept": f"{len(definitions):,} of {content['offered']:,}",
        "schema paths": content["paths"],
        "windows": ", ".join(str(window) or "the whole past" for window in windows),
        "definitions": table_metadata(
            {"feature": entry["name"], "type": entry["semantic_type"]} for entry in definitions
        ),
    }
