"""Stage 1, source: the raw tables of a database, as immutable Parquet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets.workplace import (
    StageConfig,
    Workplace,
    as_of_date,
    group,
    image,
    materialization,
    table_metadata,
)
from models.artifacts import Artifact, Recipe, code_version
from models.database.schema import RelationalSchema
from models.database.source import check_tables, open_database_source, write_raw_tables

CODE = ("models/database/source.py", "models/database/attach.py")


def database_key(schema: RelationalSchema) -> dg.AssetKey:
    """The key of a database's raw tables."""
    return dg.AssetKey([schema.database, "database"])


def raw_tables(artifact: Artifact, schema: RelationalSchema) -> dict[str, Path]:
    """The published Parquet of each raw table."""
    return {name: artifact.path / f"{name}.parquet" for name in schema.source.table_names}


def source_asset(schema: RelationalSchema) -> dg.AssetsDefinition:
    """The asset that copies a database's raw tables whenever their content has changed."""

    @dg.asset(
        key=database_key(schema),
        group_name=group(schema, "source"),
        kinds={"parquet", schema.source.kind},
        description=_description(schema),
        op_tags={"stage": "source"},
    )
    def database(
        context: dg.AssetExecutionContext, config: StageConfig, workplace: Workplace
    ) -> dg.MaterializeResult[Any]:
        if schema.tasks and "dagster/partition" in context.run.tags:
            # Only tasks have a date, but a wrong one had better be told before any work.
            as_of_date(context, schema)
        source = open_database_source(schema)
        check_tables(schema, source)
        recipe = Recipe(
            stage="database",
            subject=schema.database,
            code=code_version(*CODE),
            # Not the tasks: a new one must not make the raw tables, and so everything, new.
            config={
                "source": schema.source,
                "tables": schema.tables,
                "foreign_keys": schema.foreign_keys,
            },
            inputs=source.fingerprints(schema.source.table_names),
        )

        def produce(folder: Path) -> Mapping[str, Any]:
            counts = write_raw_tables(schema, source, folder)
            for name, rows in counts.items():
                context.log.info(f"{name}: {rows:,} rows")
            from models.reporting.er_diagram import draw_er_diagram, draw_er_diagram_png

            (folder / "schema.png").write_bytes(draw_er_diagram_png(schema, counts))
            (folder / "schema.svg").write_bytes(draw_er_diagram(schema, counts))
            return {"row_counts": counts}

        outcome = workplace.build(context, recipe, produce, force=config.force)
        counts = outcome.artifact.metadata["row_counts"]
        return materialization(
            outcome,
            metadata={
                "tables": table_metadata({"table": k, "rows": v} for k, v in counts.items()),
                "dagster/row_count": sum(counts.values()),
                "schema": image(outcome.artifact.path / "schema.png"),
            },
        )

    return database


def _description(schema: RelationalSchema) -> str:
    where = schema.source.location or "generated"
    keys = "\n".join(f"- `{key}`" for key in schema.foreign_keys)
    return (
        f"{schema.description or schema.title}\n\n"
        f"Raw tables of **{schema.title}** ({schema.source.kind}: {where}).\n\n"
        f"Foreign keys:\n{keys}"
    )
