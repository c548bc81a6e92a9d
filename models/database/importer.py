"""Imports a database: finds out what a location is and writes the dbt folder that declares it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, count
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

SYNTHETIC_TASKS = 5
"""Tasks are drawn as often as for so many of them, even where fewer are wanted."""
URL = re.compile(r"^(postgres(ql)?|mysql|sqlite|duckdb|env):", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Import:
    """A finished import: the schema, its dbt folder, and what its owner should know or review."""

    schema: RelationalSchema
    folder: Path
    notes: tuple[str, ...]


def kind_of(location: str) -> str:
    """`synthetic`, `relbench` or `attached`: how a location is read.

    `synthetic:...` is generated; a folder with manifest.yaml, or a name that is no path, is
    RelBench's; URLs, files and other folders are attached.

    Raises:
        DeclarationError: a path that does not exist.
    """
    if is_synthetic(location):
        return "synthetic"
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
            "DuckDB or SQLite file, a folder of Parquet or CSV files, synthetic:seed=<number>, or a "
            "declared database."
        )
    return "relbench"


def is_synthetic(location: str) -> bool:
    """Whether a location is `synthetic:...`, the options of a database that is to be made."""
    return location.startswith("synthetic:")


def import_database(location: str, project: Path) -> Import:
    """Writes `models/<database>/` of the dbt project for the database at a location.

    Raises:
        DeclarationError: the location or its manifests are faulty, or the name is taken.
        SourceError: an attached database cannot be reached.
        ValueError: the SQL file of a synthetic database's schema has faults.
    """
    read = {
        "synthetic": _import_synthetic,
        "relbench": _import_relbench,
        "attached": _import_attached,
    }
    return read[kind_of(location)](location, project)


def _import_synthetic(location: str, project: Path) -> Import:
    from models.database.relbench_import import task_model
    from models.synthetic.draws import Fixed
    from models.synthetic.generator import generate
    from models.synthetic.options import SyntheticOptions
    from models.synthetic.relational_schema import relational_schema
    from models.synthetic.streams import Streams
    from models.synthetic.tasks.grammar import Grammar
    from models.synthetic.tasks.sample import sample_tasks

    options = SyntheticOptions.from_location(location)
    database = generate(options.generator(), options.seed)
    # A task model labels windows; it has no form for the completion of a column.
    forecasts = Grammar(autocomplete=Fixed(False))
    streams = Streams(options.seed).child("tasks")
    tries = 10 * max(SYNTHETIC_TASKS, options.tasks)
    sample = sample_tasks(database, streams, options.tasks, forecasts, tries=tries)
    tasks = [sampled.task for sampled in sample.tasks]
    schema, raw_names = _with_identifiers(relational_schema(database.blueprint, tasks))
    schema = replace(
        schema,
        database=options.name,
        title=options.name,
        description=f"A synthetic database, made from seed {options.seed}.",
        source=options.declaration(),
    )
    task_sql = {
        task.name: task_model(f"{made.sql}", task, schema, database.tables)
        for made, task in zip(tasks, schema.tasks, strict=True)
    }
    notes: tuple[str, ...] = ()
    if len(tasks) < options.tasks:
        reasons = ", ".join(f"{reason}: {times}" for reason, times in sample.rejected.items())
        notes = (
            f"{len(tasks)} of {options.tasks} tasks: no more of the {sample.tries} that were drawn "
            f"are worth asking ({reasons}); take another seed or more rows, or add one in tasks/",
        )
    folder = write_database_folder(project, schema, task_sql, notes, raw_names)
    return Import(schema, folder, notes)


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
    """The schema with names that dbt takes, and the raw name of each table that was changed.

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
    tasks = tuple(
        replace(
            task,
            name=name,
            entity_table=names[task.entity_table],
            hidden_columns=tuple((names[table], column) for table, column in task.hidden_columns),
        )
        for task, name in zip(schema.tasks, _task_names(schema, names.values()), strict=True)
    )
    raw = {clean: name for name, clean in names.items() if clean != name}
    return replace(schema, tables=tables, foreign_keys=keys, tasks=tasks), raw


def _task_names(schema: RelationalSchema, tables: Iterable[str]) -> list[str]:
    """An identifier for each task that no table has, nor a task before it."""
    taken = list(tables)
    names: list[str] = []
    for task in schema.tasks:
        plain = identifier(task.name)
        numbered = (f"{plain}_{number}" for number in count(2))
        names.append(next(name for name in chain([plain], numbered) if name not in taken))
        taken.append(names[-1])
    return names


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
