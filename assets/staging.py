"""Stage 2, staging: the dbt staging models, published as immutable Parquet."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets.source import database_key, raw_tables
from assets.workplace import StageConfig, Workplace, group, latest, materialization
from models.artifacts import Artifact, Recipe, code_version
from models.database.schema import RelationalSchema, Table
from models.database.source import last_event
from models.database.staging import build_staging, staging_code

CODE = ("models/database/staging.py", "models/database/warehouse.py")


def staged_key(schema: RelationalSchema, table: str) -> dg.AssetKey:
    """The key of a staged table."""
    return dg.AssetKey([schema.database, "staging", table])


def staged_tables(artifact: Artifact, schema: RelationalSchema) -> dict[str, Path]:
    """The published Parquet of each staged table."""
    return {name: artifact.path / f"{name}.parquet" for name in schema.table_names}


def staging_assets(schema: RelationalSchema) -> dg.AssetsDefinition:
    """One asset per staged table; they are built and published together."""
    specs = [
        dg.AssetSpec(
            staged_key(schema, table.name),
            deps=[database_key(schema)],
            group_name=group(schema, "staging"),
            kinds={"dbt", "duckdb"},
            description=_description(schema, table),
        )
        for table in schema.tables
    ]

    @dg.multi_asset(name=f"{schema.database}_staging", specs=specs, op_tags={"stage": "staging"})
    def staging(
        context: dg.AssetExecutionContext, config: StageConfig, workplace: Workplace
    ) -> Iterator[dg.MaterializeResult[Any]]:
        raw = latest(workplace, "database", schema.database, f"database {schema.database}")
        manifest = workplace.manifest()
        recipe = Recipe(
            stage="staging",
            subject=schema.database,
            code=code_version(*CODE),
            config={"models": staging_code(manifest, schema.database)},
            inputs={"database": raw.fingerprint},
        )

        def produce(folder: Path) -> Mapping[str, Any]:
            counts = build_staging(
                schema,
                raw_tables(raw, schema),
                workplace.project,
                workplace.warehouse(schema.database),
                folder,
            )
            tables = {name: folder / f"{name}.parquet" for name in counts}
            for name, rows in counts.items():
                context.log.info(f"{name}: {rows:,} rows")
            return {"row_counts": counts, "last_event": str(last_event(tables, schema) or "")}

        outcome = workplace.build(context, recipe, produce, force=config.force)
        counts = outcome.artifact.metadata["row_counts"]
        for table in schema.tables:
            path = outcome.artifact.path / f"{table.name}.parquet"
            yield materialization(
                outcome,
                staged_key(schema, table.name),
                {"dagster/row_count": counts[table.name], "dagster/column_schema": _columns(path)},
            )

    return staging


def _description(schema: RelationalSchema, table: Table) -> str:
    key = ", ".join(table.primary_key) or "none"
    parents = "".join(f"\n- `{foreign_key}`" for foreign_key in schema.parents(table.name))
    return (
        f"{table.description}\n\nPrimary key: `{key}`. "
        f"Event time: `{table.time_column or 'none (rows are always visible)'}`.{parents}"
    ).strip()


def _columns(path: Path) -> dg.TableSchema:
    import pyarrow.parquet

    fields = pyarrow.parquet.read_schema(path)
    return dg.TableSchema([dg.TableColumn(field.name, str(field.type)) for field in fields])
