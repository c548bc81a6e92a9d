"""Stage 6, temporal graph: the staged tables as tensors, for networks and pretraining."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from assets.staging import staged_key, staged_tables
from assets.workplace import (
    StageConfig,
    Workplace,
    as_of_date,
    as_of_partitions,
    group,
    latest,
    materialization,
    table_metadata,
)
from models.artifacts import Artifact, Recipe, code_version
from models.database.schema import RelationalSchema

STAGE = "temporal_graph"
HASHED = "hashed n-grams"
CODE = (
    "models/rdl/build.py",
    "models/rdl/graph.py",
    "models/rdl/graph_files.py",
    "models/rdl/text.py",
    "models/aggregation/text_components.py",
    "models/database/semantic_types.py",
)


class TemporalGraphStageConfig(StageConfig):
    """How columns become tensors."""

    text_encoder: str = Field(
        HASHED,
        description=(
            "How texts become numbers: 'hashed n-grams', or the name or path of a model of "
            "sentence-transformers (the extra 'text')."
        ),
    )


def graph_key(schema: RelationalSchema) -> dg.AssetKey:
    """The key of a database's temporal graph."""
    return dg.AssetKey([schema.database, STAGE])


def graph_subject(schema: RelationalSchema, as_of: datetime) -> str:
    """The name of a database's graph at a date."""
    return f"{schema.database}/{as_of:%Y-%m-%d}"


def text_encoder_of(graph: Artifact) -> str:
    """The name of the text encoder that a graph was built with."""
    return str(graph.metadata["text_encoder"])


def temporal_graph_asset(schema: RelationalSchema) -> dg.AssetsDefinition:
    """The temporal graph of a database."""

    @dg.asset(
        key=graph_key(schema),
        deps=[staged_key(schema, name) for name in schema.table_names],
        group_name=group(schema, STAGE),
        kinds={"duckdb", "pytorch"},
        partitions_def=as_of_partitions(schema),
        description=(
            "Rows as nodes, foreign keys as edges sorted by time, columns as tensors; mapped into "
            "memory by whoever samples from it. Dates share a graph unless a column's inferred type "
            "differs."
        ),
        op_tags={"stage": STAGE},
    )
    def temporal_graph(
        context: dg.AssetExecutionContext, config: TemporalGraphStageConfig, workplace: Workplace
    ) -> dg.MaterializeResult[Any]:
        from models.database.semantic_types import complete_schema

        as_of = as_of_date(context, schema)
        staging = latest(workplace, "staging", schema.database, f"{schema.database}'s staging")
        typed = complete_schema(schema, staged_tables(staging, schema), as_of=as_of)
        recipe = Recipe(
            stage=STAGE,
            subject=graph_subject(schema, as_of),
            code=code_version(*CODE),
            config={
                "tables": typed.tables,
                "foreign_keys": typed.foreign_keys,
                "text_encoder": config.text_encoder,
            },
            inputs={"staging": staging.fingerprint},
        )

        def produce(folder: Path) -> Mapping[str, Any]:
            from models.rdl.build import build_graph
            from models.rdl.graph_files import read_graph, write_graph
            from models.rdl.text import text_encoder_named

            earlier = None if config.force else _earlier(workplace, recipe, config.text_encoder)
            graph = build_graph(
                typed,
                staged_tables(staging, schema),
                text_encoder=text_encoder_named(config.text_encoder),
                earlier=read_graph(earlier.path) if earlier else None,
                threads=workplace.threads,
                memory_limit=workplace.memory_limit,
            )
            return write_graph(graph, folder) | {"text_encoder": config.text_encoder}

        outcome = workplace.build(context, recipe, produce, force=config.force)
        return materialization(outcome, metadata=_metadata(outcome.artifact))

    return temporal_graph


def _earlier(workplace: Workplace, recipe: Recipe, text_encoder: str) -> Artifact | None:
    """The newest graph of the database from the same code and text encoder: its texts are known."""
    prefix = recipe.subject.rsplit("/", 1)[0]
    for subject in reversed(workplace.store.subjects(STAGE, f"{prefix}/")):
        found = workplace.store.latest(STAGE, subject)
        if (
            found is not None
            and found.record["recipe"]["code"] == recipe.code
            and text_encoder_of(found) == text_encoder
        ):
            return found
    return None


def _metadata(graph: Artifact) -> dict[str, Any]:
    found = graph.metadata
    return {
        "nodes": sum(found["rows"].values()),
        "edges": sum(found["edges"].values()),
        "event times": found["event_times"],
        "megabytes": round(found["bytes"] / 1e6, 1),
        "text encoder": found["text_encoder"],
        "nodes by table": table_metadata(
            {"table": name, "nodes": rows} for name, rows in found["rows"].items()
        ),
        "edges by foreign key": table_metadata(
            {"foreign key": key, "edges": edges} for key, edges in found["edges"].items()
        ),
    }
