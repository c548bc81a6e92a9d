"""Imports a database: finds out what a location is and writes the dbt folder that declares it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from models.database.dbt_folder import (
    DeclarationError,
    identifier,
    model_name,
    write_database_folder,
)
from models.database.manifest import Declaration
from models.database.quoting import quote
from models.database.schema import RelationalSchema, Table
from models.database.semantic_types import complete_schema

if TYPE_CHECKING:
    from models.database.attach import AttachedDatabase
    from models.database.relbench_import import RelBenchDeclaration

URL = re.compile(r"^(postgres(ql)?|mysql|sqlite|duckdb|env):", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Import:
    """A finished import: the schema, its dbt folder, and what its owner should know or review."""

    schema: RelationalSchema
    folder: Path
    notes: tuple[str, ...]


def kind_of(location: str) -> str:
    """`relbench` or `attached`: how a location is read.

    A folder with manifest.yaml, or a name that is no path, is RelBench's; URLs, files and other
    folders are attached.

    Raises:
        DeclarationError: a path that does not exist.
    """
    if URL.match(location):
        return "attached"
    path = Path(location).expanduser()
    if path.is_dir():
        return (
            "relbench"
            if (path / "manifest.yaml").exists() or (path / "db").is_dir()
            else "attached"
        )
    if path.exists():
        return "attached"
    looks_like_path = location.startswith((".", "/", "~")) or path.suffix != ""
    if looks_like_path:
        raise DeclarationError(
            f"{location} does not exist. SOURCE is a RelBench folder or hub name, a database URL, a "
            "DuckDB or SQLite file, a folder of Parquet or CSV files, or a declared database."
        )
    return "relbench"


def import_database(location: str, project: Path) -> Import:
    """Writes `models/<database>/` of the dbt project for the database at a location.

    Raises:
        DeclarationError: the location or its manifests are faulty, or the name is taken.
        SourceError: an attached database cannot be reached.
    """
    kind = kind_of(location)
    return (
        _import_relbench(location, project)
        if kind == "relbench"
        else _import_attached(location, project)
    )


def _import_relbench(location: str, project: Path) -> Import:
    from models.database.relbench_import import load_dataset, read_relbench

    declaration = read_relbench(location)
    schema = declaration.schema
    folder = load_dataset(location).db_dir
    names = {identifier(path.stem): path for path in folder.glob("*.parquet")}
    tables = {name: names[name] for name in schema.table_names}
    # The benchmark's future must not decide what a column means.
    completed = complete_schema(schema, tables, as_of=schema.default_as_of)
    completed = _with_staged_types(completed, schema)
    raw_names = {name: path.stem for name, path in tables.items() if path.stem != name}
    notes = tuple(f"not imported: {reason}" for reason in declaration.skipped)
    written = write_database_folder(project, completed, declaration.task_sql, notes, raw_names)
    return Import(completed, written, notes)


def _with_staged_types(completed: RelationalSchema, declared: RelationalSchema) -> RelationalSchema:
    """Semantic types from the data, SQL types as staging casts them."""
    tables = []
    for table in completed.tables:
        types = {column.name: column.sql_type for column in declared.table(table.name).columns}
        columns = (replace(column, sql_type=types[column.name]) for column in table.columns)
        tables.append(replace(table, columns=tuple(columns)))
    return completed.with_tables(tables)


def _import_attached(location: str, project: Path) -> Import:
    from models.database.attach import open_source, parse_location
    from models.database.propose import propose_schema

    source = parse_location(location)
    with open_source(source) as database:
        proposal = propose_schema(_database_name(location), database)
        first = _first_event(proposal.schema, database)
    if not proposal.schema.tables:
        raise DeclarationError(f"{location} holds no table that can be imported")
    notes = (*proposal.notes, *_advice(proposal.schema))
    schema, raw_names = _with_identifiers(proposal.schema)
    schema = replace(schema, title=schema.database, first_as_of=first)
    folder = write_database_folder(project, schema, {}, notes, raw_names)
    return Import(schema, folder, notes)


def _first_event(schema: RelationalSchema, database: AttachedDatabase) -> datetime | None:
    found = []
    for table in schema.tables:
        if table.time_column:
            column = quote(table.time_column)
            query = (
                f"select min(try_cast({column} as timestamp)) from {database.staged(table.name)}"
            )
            found.append(database.query(query, table.name)[0][0])
    return min((event for event in found if event), default=None)


def _advice(schema: RelationalSchema) -> tuple[str, ...]:
    advice = ["no task is declared yet: add one in tasks/ (see the README) and run again"]
    if not any(table.time_column for table in schema.tables):
        advice.append(
            "no table has an event time: declare config.event_time on the tables of events, or "
            "nothing can be placed in time"
        )
    return tuple(advice)


def _with_identifiers(schema: RelationalSchema) -> tuple[RelationalSchema, dict[str, str]]:
    """The schema with table names that dbt takes, and the raw name of each that was changed.

    Raises:
        DeclarationError: two tables would get the same name.
    """
    names = {table.name: identifier(table.name) for table in schema.tables}
    for name in set(names.values()):
        same = [raw for raw, clean in names.items() if clean == name]
        if len(same) > 1:
            raise DeclarationError(
                f"the tables {', '.join(same)} would all be called {name!r}; rename one of them, or "
                "give one a view of another name"
            )
    tables = tuple(replace(table, name=names[table.name]) for table in schema.tables)
    keys = tuple(
        replace(key, table=names[key.table], parent=names[key.parent])
        for key in schema.foreign_keys
    )
    raw = {clean: name for name, clean in names.items() if clean != name}
    return replace(schema, tables=tables, foreign_keys=keys), raw


def _database_name(location: str) -> str:
    if location.startswith("env:"):
        return identifier(location.removeprefix("env:").removesuffix("_URL"))
    plain = re.sub(r"\?.*$", "", location).rstrip("/")
    return identifier(Path(plain).stem if "://" not in plain else plain.rsplit("/", 1)[-1])


def same_declaration(
    location: str, project: Path, declared: Mapping[str, Declaration]
) -> str | None:
    """The declared database that a RelBench folder is another copy of; None if it is none.

    A copy has the same tables, keys and tasks; only its rows may differ.

    Raises:
        DeclarationError: the name is declared already, but with other tables or tasks.
    """
    if kind_of(location) != "relbench":
        return None
    from models.database.relbench_import import read_relbench

    fresh = read_relbench(location)
    name = fresh.schema.database
    if name not in declared:
        return None
    differences = _differences(fresh, declared[name].schema, project)
    if differences:
        raise DeclarationError(
            f"database {name!r} is declared already, and {location} differs from it in "
            f"{', '.join(differences)}. Rename the database in its manifest, or delete "
            f"{project / 'models' / name} to import it anew."
        )
    return name


def _differences(
    fresh: RelBenchDeclaration, declared: RelationalSchema, project: Path
) -> list[str]:
    found = []
    if {t.name: (t.primary_key, t.time_column, _column_set(t)) for t in fresh.schema.tables} != {
        t.name: (t.primary_key, t.time_column, _column_set(t)) for t in declared.tables
    }:
        found.append("tables")
    keys = {(key.table, key.columns, key.parent) for key in fresh.schema.foreign_keys}
    if keys != {(key.table, key.columns, key.parent) for key in declared.foreign_keys}:
        found.append("foreign keys")
    folder = project / "models" / declared.database / "tasks"
    for task in fresh.schema.tasks:
        path = folder / f"{model_name(declared.database, task.name)}.sql"
        if not path.exists() or path.read_text() != fresh.task_sql[task.name].rstrip() + "\n":
            found.append(f"task {task.title}")
    if {task.name: task for task in fresh.schema.tasks} != {t.name: t for t in declared.tasks}:
        found.append("the settings of its tasks")
    return found


def _column_set(table: Table) -> frozenset[tuple[str, str]]:
    return frozenset((column.name, column.sql_type) for column in table.columns)
