"""Staging: raw tables to typed tables, through the database's dbt models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.artifacts.recipe import canonical_json, digest
from models.database.dbt import ModelResult
from models.database.dbt_folder import DeclarationError
from models.database.quoting import quote
from models.database.schema import RelationalSchema
from models.database.source import parquet_rows
from models.database.warehouse import Turn, Warehouse, drop_relation


class StageError(RuntimeError):
    """A stage cannot finish because of its input; the message is for the person who can mend it."""


def staging_code(manifest: Mapping[str, Any], database: str) -> str:
    """The digest of a database's staging models: their SQL, declarations and macros."""
    # By name: dbt's own order depends on what it parsed anew and what it had kept.
    nodes = [
        node
        for _, node in sorted(manifest["nodes"].items())
        if node["resource_type"] == "model"
        and node["fqn"][1] == database
        and "task" not in _relforge(node)
    ]
    return digest(canonical_json([model_code(manifest, node) for node in nodes]))


def model_code(manifest: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, Any]:
    """Everything in the manifest that decides what a model builds: SQL, config, columns, macros."""
    macros = [
        manifest["macros"][macro]["macro_sql"]
        for macro in sorted(_macros(manifest, node["depends_on"]["macros"]))
    ]
    config = {key: node["config"].get(key) for key in ("materialized", "event_time", "meta")}
    if "task" in _relforge(node):
        # Which models are trained does not change what they are trained on.
        task = {k: v for k, v in _relforge(node)["task"].items() if k != "candidates"}
        config["meta"] = {**config["meta"], "relforge": {**_relforge(node), "task": task}}
    types = {name: column.get("data_type") for name, column in node["columns"].items()}
    return {
        "sql": node["raw_code"],
        "config": config,
        "columns": types,
        "macros": digest("\n".join(macros)),
    }


def _macros(manifest: Mapping[str, Any], direct: list[str]) -> set[str]:
    """The project's own macros that these macros use, directly or not."""
    found: set[str] = set()
    queue = [macro for macro in direct if macro.startswith("macro.relforge.")]
    while queue:
        macro = queue.pop()
        if macro not in found and macro.startswith("macro.relforge."):
            found.add(macro)
            queue += manifest["macros"][macro]["depends_on"]["macros"]
    return found


def _relforge(node: Mapping[str, Any]) -> dict[str, Any]:
    return dict((node["config"].get("meta") or {}).get("relforge", {}))


def build_staging(
    schema: RelationalSchema,
    raw_tables: Mapping[str, Path],
    project: Path,
    warehouse: Warehouse,
    folder: Path,
) -> dict[str, int]:
    """Builds the staging models over the raw tables and writes `<folder>/<table>.parquet`.

    Args:
        schema: The database as declared.
        raw_tables: Parquet of each raw table.
        project: The dbt project.
        warehouse: The database's DuckDB file.
        folder: Where the Parquet files are written.

    Returns:
        Row counts by table.

    Raises:
        StageError: a model failed; the message names it and says what dbt said.
    """
    with warehouse.turn() as turn:
        turn.point_views(f"{schema.database}_raw", raw_tables)
        _forget_staged(turn, schema)
        results = turn.build(project, [f"path:models/{schema.database}/staging"], {})
        raise_failures(schema.database, results)
        for table in schema.tables:
            path = folder / f"{table.name}.parquet"
            turn.export(schema.database, table.name, table.primary_key, path)
    _check_columns(schema, folder)
    return {table.name: parquet_rows(folder / f"{table.name}.parquet") for table in schema.tables}


def _forget_staged(turn: Turn, schema: RelationalSchema) -> None:
    with turn.connect() as connection:
        connection.execute(f"create schema if not exists {quote(schema.database)}")
        for table in schema.tables:
            drop_relation(connection, schema.database, table.name)


def _check_columns(schema: RelationalSchema, folder: Path) -> None:
    import pyarrow.parquet

    faults = []
    for table in schema.tables:
        found = set(pyarrow.parquet.read_schema(folder / f"{table.name}.parquet").names)
        named = [*table.column_names, *schema.key_columns(table.name)]
        named += [table.time_column] if table.time_column else []
        for column in dict.fromkeys(named):
            if column not in found:
                faults.append(
                    f"table {table.name}: column {column!r} is declared, but its staging model does "
                    f"not select it (it has: {', '.join(sorted(found))})"
                )
    if faults:
        raise DeclarationError(
            f"database {schema.database!r}: staging and declaration do not agree:\n"
            + "\n".join(f"  - {fault}" for fault in faults)
        )


def raise_failures(database: str, results: list[ModelResult]) -> None:
    """Raises one StageError that names every model that failed.

    Raises:
        StageError: at least one model failed.
    """
    failed = [result for result in results if not result.succeeded]
    if failed:
        lines = "\n".join(f"  - {result.name}: {result.message}" for result in failed)
        raise StageError(
            f"database {database!r}: {len(failed)} of {len(results)} models failed:\n{lines}"
        )
