"""Stage 5, task vectors: what happens around each entity in the windows after many cutoffs."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import Field

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
)
from models.artifacts import Artifact, Outcome, Recipe, code_version
from models.database.durations import check_interval, format_duration
from models.database.schema import RelationalSchema, TaskType
from models.tve.inheritance import inherited_columns, with_inherited
from models.tve.paths import event_hops
from models.tve.timeline import tasks_on

STAGE = "task_vectors"
CODE = ("models/aggregation", "models/tve", "models/database/semantic_types.py")
PLOT = "active_over_time.png"


class TaskVectorStageConfig(StageConfig):
    """Which task vectors to make."""

    mode: Literal["typed", "reference"] = Field(
        "typed", description="Masked, typed targets, or the paper's own construction."
    )
    tile: str = Field("", description="Step between cutoffs; empty: the smallest task window.")
    horizons: list[int] = Field(
        [], description="Windows in tiles; empty: 1, 4, 12 where few rows are censored."
    )
    lookback: int = Field(4, description="How far siblings lie before an event, in tiles.", ge=1)
    depth: int = Field(2, description="1: events alone; 2: their parents and siblings.", ge=1, le=2)
    max_targets: int = Field(500, description="Budget; all paths take turns.", ge=1)
    dormant_per_active: float = Field(
        1.0, description="Rows without a next event that are kept per row with one.", ge=0
    )


def entity_tables(schema: RelationalSchema) -> list[str]:
    """The tables that tasks are about and that some table of events refers to, in declared order."""
    about = {task.entity_table for task in schema.tasks}
    return [table for table in schema.table_names if table in about and _has_events(schema, table)]


def _has_events(schema: RelationalSchema, table: str) -> bool:
    return bool(event_hops(with_inherited(schema, inherited_columns(schema, table)), table))


def task_vector_key(schema: RelationalSchema, table: str) -> dg.AssetKey:
    """The key of an entity table's task vectors."""
    return dg.AssetKey([schema.database, table, STAGE])


def task_vector_asset(schema: RelationalSchema, table: str) -> dg.AssetsDefinition:
    """The task vectors of an entity table."""

    @dg.asset(
        key=task_vector_key(schema, table),
        deps=[staged_key(schema, name) for name in schema.table_names],
        group_name=group(schema, STAGE),
        kinds={"duckdb", "polars"},
        partitions_def=as_of_partitions(schema),
        description=(
            f"What happens around each row of `{table}` in the windows after many cutoffs: "
            "targets for pretraining, with masks for what is unknown."
        ),
        op_tags={"stage": STAGE},
    )
    def task_vectors(
        context: dg.AssetExecutionContext, config: TaskVectorStageConfig, workplace: Workplace
    ) -> dg.MaterializeResult[Any]:
        outcome = task_vectors_of(context, workplace, schema, table, config)
        return materialization(outcome, metadata=_metadata(outcome.artifact))

    return task_vectors


def task_vectors_of(
    context: dg.AssetExecutionContext,
    workplace: Workplace,
    schema: RelationalSchema,
    table: str,
    config: TaskVectorStageConfig,
) -> Outcome:
    """The task vectors of an entity table at the run's date, built or reused."""
    as_of = as_of_date(context, schema)
    staging = latest(workplace, "staging", schema.database, f"{schema.database}'s staging")
    recipe = _recipe(schema, table, as_of, config, staging)

    def produce(folder: Path) -> Mapping[str, Any]:
        earlier = None if config.force else _earlier(workplace, recipe)
        return _produce(
            schema, table, as_of, config, staging, earlier, folder, workplace, context.log.info
        )

    return workplace.build(context, recipe, produce, force=config.force)


def _recipe(
    schema: RelationalSchema,
    table: str,
    as_of: datetime,
    config: TaskVectorStageConfig,
    staging: Artifact,
) -> Recipe:
    settings = {name: value for name, value in config.model_dump().items() if name != "force"}
    first, *others = tasks_on(schema, table)
    # Another task changes nothing unless it changes the grid.
    grid = {
        "window": first.window,
        "validation_span": first.validation_span,
        "longest_span": max(task.validation_span for task in (first, *others)),
    }
    # Both constructions can be there at once: each has its own series of dates.
    series = f"{table} (reference)" if config.mode == "reference" else table
    return Recipe(
        stage=STAGE,
        subject=f"{schema.database}/{series}/{as_of:%Y-%m-%d}",
        code=code_version(*CODE),
        config={
            "as_of": as_of,
            "entity_table": table,
            "settings": settings,
            "tables": schema.tables,
            "foreign_keys": schema.foreign_keys,
            "grid": grid,
        },
        inputs={"staging": staging.fingerprint},
    )


def _earlier(workplace: Workplace, recipe: Recipe) -> Path | None:
    """The newest artifact of an earlier date that the same code made, to be extended."""
    prefix, date = recipe.subject.rsplit("/", 1)
    for subject in reversed(workplace.store.subjects(STAGE, f"{prefix}/")):
        found = workplace.store.latest(STAGE, subject)
        same_code = found is not None and found.record["recipe"]["code"] == recipe.code
        if subject.rsplit("/", 1)[1] < date and found is not None and same_code:
            return found.path
    return None


def _produce(
    schema: RelationalSchema,
    table: str,
    as_of: datetime,
    config: TaskVectorStageConfig,
    staging: Artifact,
    earlier: Path | None,
    folder: Path,
    workplace: Workplace,
    progress: Any,
) -> Mapping[str, Any]:
    from models.reporting.plots import class_balance_over_time
    from models.tve.task_vectors import (
        Mode,
        TaskVectorBuilder,
        TaskVectorConfig,
        read_task_vectors,
    )

    settings = TaskVectorConfig(
        mode=Mode(config.mode),
        tile=check_interval(config.tile) if config.tile else None,
        horizons=tuple(config.horizons) or None,
        lookback=config.lookback,
        depth=config.depth,
        max_targets=config.max_targets,
        dormant_per_active=config.dormant_per_active,
    )
    builder = TaskVectorBuilder(
        schema,
        table,
        staged_tables(staging, schema),
        settings,
        workplace.threads,
        workplace.memory_limit,
        progress,
    )
    metadata = builder.build(as_of, folder, earlier)
    vectors = read_task_vectors(folder)
    rows = vectors.frame.select("cutoff_time", "split", label="active")
    (folder / PLOT).write_bytes(class_balance_over_time(rows, TaskType.BINARY_CLASSIFICATION))
    kinds = Counter(target["kind"] for target in vectors.manifest["targets"])
    return {**metadata, "targets_by_kind": dict(sorted(kinds.items()))}


def _metadata(artifact: Artifact) -> dict[str, Any]:
    found = artifact.metadata
    return {
        "dagster/row_count": found["rows"],
        "targets": found["targets"],
        "targets by kind": table_metadata(
            {"kind": kind, "targets": count} for kind, count in found["targets_by_kind"].items()
        ),
        "tile": format_duration(timedelta(days=found["tile_days"])),
        "active share": round(found["active_share"] or 0.0, 4),
        "censored share": table_metadata(
            {"horizon in tiles": int(horizon), "share of training rows": round(share, 4)}
            for horizon, share in found["censored_share"].items()
        ),
        "made": found["how"],
        "active rows over time": image(artifact.path / PLOT),
    }
