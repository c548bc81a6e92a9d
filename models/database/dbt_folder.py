"""Writes the dbt folder of a database: sources, staging models with keys, and task models.

The folder is the database's declaration, meant to be read, changed and committed by its owner;
`models.database.manifest` reads it back through dbt. It is written aside and renamed into place, so
that an interrupted import leaves nothing behind.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from models.database.durations import format_duration
from models.database.quoting import quote
from models.database.schema import Column, ForeignKey, RelationalSchema, Table, Task


class DeclarationError(ValueError):
    """A database's declaration is faulty; the message lists every fault with its mend."""


def identifier(name: str) -> str:
    """A name as a dbt, SQL and asset identifier: `rel-f1` becomes `rel_f1`."""
    cleaned = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_").lower()
    if not cleaned:
        raise DeclarationError(f"no identifier can be made from the name {name!r}")
    return cleaned if not cleaned[0].isdigit() else f"t_{cleaned}"


def escape_jinja(text: str) -> str:
    """The text as dbt has to read it to mean the text: it renders SQL and descriptions alike."""
    return f"{{% raw %}}{text}{{% endraw %}}" if re.search(r"{[{%#]", text) else text


def model_name(database: str, table: str) -> str:
    """The dbt model of a table or task: unique in the project, so prefixed by its database."""
    return f"{database}__{table}"


def write_database_folder(
    project: Path,
    schema: RelationalSchema,
    task_sql: Mapping[str, str] | None = None,
    notes: tuple[str, ...] = (),
    source_names: Mapping[str, str] | None = None,
) -> Path:
    """Writes `models/<database>/` of the dbt project from a schema whose columns have SQL types.

    Args:
        project: The dbt project's folder.
        schema: Tables, keys, tasks and source to declare.
        task_sql: Text of each task's model, by task name.
        notes: What the import guessed, for the user to review; written to the folder's README.
        source_names: Raw table name by staging table name, where the two differ.

    Returns:
        The folder.

    Raises:
        DeclarationError: the folder exists already, or a task bears the name of a table.
    """
    for name in {task.name for task in schema.tasks} & set(schema.table_names):
        raise DeclarationError(
            f"database {schema.database!r} has a table and a task called {name!r}; dbt needs a name "
            "for each model, so rename the task"
        )
    folder = project / "models" / schema.database
    if folder.exists():
        raise DeclarationError(
            f"database {schema.database!r} is declared already in {folder}; "
            "edit it there, or delete the folder to import it anew"
        )
    # Outside model-paths: a half-written folder must not be seen by a concurrent dbt parse.
    aside = project / f".{schema.database}-{uuid.uuid4().hex}"
    try:
        _write(aside, schema, dict(task_sql or {}), notes, dict(source_names or {}))
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _write(
    folder: Path,
    schema: RelationalSchema,
    task_sql: dict[str, str],
    notes: tuple[str, ...],
    source_names: dict[str, str],
) -> None:
    staging, tasks = folder / "staging", folder / "tasks"
    staging.mkdir(parents=True)
    _write_yaml(folder / "_sources.yml", {"version": 2, "sources": [_source(schema, source_names)]})
    declarations = [_staging_declaration(schema, table) for table in schema.tables]
    _write_yaml(staging / "_staging.yml", {"version": 2, "models": declarations})
    for table in schema.tables:
        raw = source_names.get(table.name, table.name)
        path = staging / f"{model_name(schema.database, table.name)}.sql"
        path.write_text(_staging_sql(schema.database, table, raw))
    if schema.tasks:
        tasks.mkdir()
    for task in schema.tasks:
        name = model_name(schema.database, task.name)
        (tasks / f"{name}.sql").write_text(task_sql[task.name].rstrip() + "\n")
        declaration = {"version": 2, "models": [_task_declaration(schema, task)]}
        _write_yaml(tasks / f"{name}.yml", declaration)
    if notes:
        lines = "\n".join(f"- {note}" for note in notes)
        (folder / "REVIEW.md").write_text(f"# To review in {schema.database}\n\n{lines}\n")


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100))


def _source(schema: RelationalSchema, source_names: dict[str, str]) -> dict[str, Any]:
    source: dict[str, Any] = {"kind": schema.source.kind}
    if schema.source.location:
        source["location"] = schema.source.location
    if schema.source.options:
        source["options"] = dict(schema.source.options)
    database: dict[str, Any] = {"title": schema.title or schema.database, "source": source}
    if schema.default_as_of:
        database["default_as_of"] = schema.default_as_of.isoformat(sep=" ")
    if schema.first_as_of:
        database["first_as_of"] = schema.first_as_of.date().isoformat()
    tables = [
        {
            "name": source_names.get(table.name, table.name),
            "columns": [{"name": name, "quote": True} for name in table.column_names],
        }
        for table in schema.tables
    ]
    declared = {table["name"] for table in tables}
    tables += [{"name": name} for name in schema.source.table_names if name not in declared]
    return {
        "name": schema.database,
        "schema": f"{schema.database}_raw",
        "description": escape_jinja(schema.description),
        "config": {"meta": {"relforge": {"database": database}}},
        "tables": tables,
    }


def _staging_sql(database: str, table: Table, raw: str) -> str:
    times = {table.time_column}
    columns = ",\n".join(f"    {_cast(column, column.name in times)}" for column in table.columns)
    return f"select\n{columns}\nfrom {{{{ source('{database}', '{raw}') }}}}\n"


def _cast(column: Column, is_event_time: bool) -> str:
    quoted = quote(column.name)
    # An unparseable event time becomes NULL here and is reported by the quality gate with its rows.
    function = "try_cast" if is_event_time else "cast"
    sql_type = "TIMESTAMP" if is_event_time else column.sql_type
    return f"{function}({quoted} as {sql_type}) as {quoted}"


def _staging_declaration(schema: RelationalSchema, table: Table) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": model_name(schema.database, table.name)}
    if table.description:
        declaration["description"] = escape_jinja(table.description)
    config: dict[str, Any] = {"event_time": table.time_column} if table.time_column else {}
    composite = [_composite_key(schema, key) for key in schema.parents(table.name)]
    if any(composite):
        config["meta"] = {"relforge": {"foreign_keys": [key for key in composite if key]}}
    if config:
        declaration["config"] = config
    if len(table.primary_key) > 1:
        constraint = {"type": "primary_key", "columns": list(table.primary_key)}
        declaration["constraints"] = [constraint]
    declaration["columns"] = [_column(schema, table, column) for column in table.columns]
    return declaration


def _composite_key(schema: RelationalSchema, key: ForeignKey) -> dict[str, Any]:
    """A key of several columns for the meta block; empty for one column, which is a test.

    As dbt's constraint it would be an edge of dbt's graph, and a table that refers to itself a
    cycle that no build survives.
    """
    if len(key.columns) == 1:
        return {}
    return {
        "columns": list(key.columns),
        "parent": model_name(schema.database, key.parent),
        "parent_columns": list(key.parent_columns),
        **_key_settings(key),
    }


def _key_settings(key: ForeignKey) -> dict[str, Any]:
    settings: dict[str, Any] = {"tolerance": key.tolerance} if key.tolerance else {}
    return settings | ({"proposed": True} if key.proposed else {})


def _column(schema: RelationalSchema, table: Table, column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": column.name, "quote": True, "data_type": column.sql_type}
    if column.description:
        entry["description"] = escape_jinja(column.description)
    if column.semantic_type:
        meta = {"relforge": {"semantic_type": column.semantic_type.value}}
        entry["config"] = {"meta": meta}
    tests: list[Any] = []
    if table.primary_key == (column.name,):
        tests += ["unique", "not_null"]
    for key in schema.parents(table.name):
        if key.columns == (column.name,):
            arguments = {
                "to": f"ref('{model_name(schema.database, key.parent)}')",
                "field": _quoted_field(key.parent_columns[0]),
            }
            test: dict[str, Any] = {"arguments": arguments}
            if key.tolerance:
                # dbt's own test has no tolerance: it may warn, our quality gate decides.
                test["config"] = {"severity": "warn"}
            if settings := _key_settings(key):
                test.setdefault("config", {})["meta"] = {"relforge": settings}
            tests.append({"relationships": test})
    if tests:
        entry["data_tests"] = tests
    return entry


def _quoted_field(name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)
    return name if plain else quote(name)


def _task_declaration(schema: RelationalSchema, task: Task) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "title": task.title or task.name,
        "entity_table": model_name(schema.database, task.entity_table),
        "entity_column": task.entity_column,
        "time_column": task.time_column,
        "label_column": task.label_column,
        "type": task.task_type.value,
        "window": format_duration(task.window),
        "stride": format_duration(task.stride),
        "evaluation_cutoffs": task.evaluation_cutoffs,
        "validation_span": format_duration(task.validation_span),
        "metric": task.metric.value,
        "protocol": task.protocol.value,
    }
    if task.hidden_columns:
        meta["hidden_columns"] = [
            [model_name(schema.database, table), column] for table, column in task.hidden_columns
        ]
    return {
        "name": model_name(schema.database, task.name),
        "description": escape_jinja(task.description),
        "config": {"meta": {"relforge": {"task": meta}}},
    }
