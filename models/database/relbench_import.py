"""The RelBench way in: a v3 folder or hub name becomes the declaration of a database.

`relbench` resolves the name and reads the manifests; here they are translated into a
`RelationalSchema` and the task models' SQL, in the terms of `dbt_project/macros`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import sqlglot
from sqlglot import exp

from models.database.dbt_folder import DeclarationError, escape_jinja, identifier, model_name
from models.database.durations import parse_duration
from models.database.quoting import quote
from models.database.schema import (
    DEFAULT_METRIC,
    Column,
    ForeignKey,
    Protocol,
    RelationalSchema,
    SourceDeclaration,
    SourceTable,
    Table,
    Task,
    TaskType,
)

if TYPE_CHECKING:
    from relbench.load import RelBenchDataset
    from relbench.manifest import TaskManifest

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class RelBenchDeclaration:
    """What an import read: the schema, the text of each task model, and what was left out, and why.

    `label_tables` are the Parquet files of tasks that have no SQL, by raw table name.
    """

    schema: RelationalSchema
    task_sql: dict[str, str] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    label_tables: dict[str, Path] = field(default_factory=dict)


def load_dataset(location: str) -> RelBenchDataset:
    """The RelBench dataset at a local folder or hub name.

    Raises:
        DeclarationError: nothing is there, or its manifest is broken; the message says what.
    """
    import relbench

    try:
        return relbench.load_dataset(location)
    except FileNotFoundError as error:
        raise DeclarationError(
            f"no RelBench database at {location!r}: {error}. Give a folder that holds "
            "manifest.yaml and db/*.parquet, or a hub name such as rel-f1."
        ) from error
    except Exception as error:
        local = Path(location).expanduser().exists()
        where = f"{location}/manifest.yaml" if local else f"hub name {location!r}"
        raise DeclarationError(
            f"cannot read {where}: {type(error).__name__}: {_first_line(error)}. "
            + (
                "A manifest needs name, val_timestamp, test_timestamp and tables, each table with "
                "pkey, time_col and fkeys."
                if local
                else "Check the name, or download the folder and give its path."
            )
        ) from error


def read_relbench(location: str) -> RelBenchDeclaration:
    """Reads a RelBench folder's manifests into a declaration; data are looked at for types only.

    Raises:
        DeclarationError: every fault of the manifests at once.
    """
    dataset = load_dataset(location)
    schema = _schema(dataset, location)
    _check_timestamps(dataset, location)
    tasks, task_sql, skipped, label_tables, faults = [], {}, [], {}, []
    for name in dataset.get_task_names():
        try:
            manifest, folder = _task_manifest(dataset, name)
            reason = _unsupported(manifest)
            if reason:
                skipped.append(f"{name}: {reason}")
                continue
            task = _task(dataset, manifest, schema)
            if manifest.sql:
                task_sql[task.name] = task_model(
                    manifest.sql, task, schema, dataset.manifest.tables
                )
            else:
                shipped = _label_tables(task, folder)
                label_tables.update(shipped)
                task_sql[task.name] = _shipped_model(schema.database, task, tuple(shipped))
            tasks.append(task)
        except DeclarationError as error:
            faults.append(f"task {name}: {error}")
    if faults:
        raise DeclarationError(_listed(f"{location}: faulty task manifests", faults))
    shipped_tables = tuple(SourceTable(name) for name in label_tables)
    source = replace(schema.source, tables=shipped_tables)
    complete = replace(schema, tasks=tuple(tasks), source=source)
    return RelBenchDeclaration(complete, task_sql, tuple(skipped), label_tables)


def _schema(dataset: RelBenchDataset, location: str) -> RelationalSchema:
    manifest = dataset.manifest
    faults = _name_clashes(manifest.tables)
    tables, keys = [], []
    for raw, spec in manifest.tables.items():
        path = dataset.db_dir / f"{raw}.parquet"
        if not path.exists():
            faults.append(
                f"table {raw}: {path} does not exist; add it or drop it from the manifest"
            )
            continue
        columns = parquet_columns(path)
        named = [spec.pkey, spec.time_col, *spec.fkeys]
        for column in named:
            if column and column not in columns:
                faults.append(
                    f"table {raw}: the manifest names column {column!r}, but {path.name} has only "
                    f"{', '.join(columns)}"
                )
        tables.append(
            Table(
                name=identifier(raw),
                columns=tuple(Column(name, _staged_type(kind)) for name, kind in columns.items()),
                primary_key=(spec.pkey,) if spec.pkey else (),
                time_column=spec.time_col,
            )
        )
        for column, parent in spec.fkeys.items():
            if parent not in manifest.tables or not manifest.tables[parent].pkey:
                faults.append(
                    f"table {raw}: foreign key {column!r} points at {parent!r}, which is no table "
                    "with a pkey in the manifest"
                )
                continue
            parent_key = manifest.tables[parent].pkey
            keys.append(
                ForeignKey(identifier(raw), (column,), identifier(parent), (str(parent_key),))
            )
    if faults:
        raise DeclarationError(_listed(f"{location}: the manifest and db/ do not agree", faults))
    test = datetime.fromisoformat(str(dataset.test_timestamp))
    return RelationalSchema(
        database=identifier(manifest.name),
        title=manifest.name,
        description=manifest.description or "",
        tables=tuple(tables),
        foreign_keys=tuple(keys),
        source=SourceDeclaration("relbench", _portable(location)),
        default_as_of=test,
        first_as_of=_first_event(dataset),
        as_of_time=test.time(),
    )


def _name_clashes(raw_names: Iterable[str]) -> list[str]:
    by_name: dict[str, list[str]] = {}
    for raw in raw_names:
        by_name.setdefault(identifier(raw), []).append(raw)
    return [
        f"the tables {', '.join(same)} would all be called {name!r}; rename one of them"
        for name, same in by_name.items()
        if len(same) > 1
    ]


def parquet_columns(path: Path) -> dict[str, str]:
    """Column names and DuckDB types of a Parquet file, in its order."""
    with duckdb.connect() as connection:
        rows = connection.execute("describe select * from read_parquet(?)", [str(path)]).fetchall()
    return {str(row[0]): str(row[1]) for row in rows}


def _staged_type(sql_type: str) -> str:
    # Microseconds are dbt-duckdb's and Polars' common ground; no RelBench event is finer.
    return "TIMESTAMP" if sql_type.startswith("TIMESTAMP") else sql_type


def _first_event(dataset: RelBenchDataset) -> datetime | None:
    first: list[datetime] = []
    with duckdb.connect() as connection:
        for raw, spec in dataset.manifest.tables.items():
            if spec.time_col:
                path, column = dataset.db_dir / f"{raw}.parquet", quote(spec.time_col)
                query = f"select min(try_cast({column} as timestamp)) from read_parquet(?)"
                row = connection.execute(query, [str(path)]).fetchone()
                if row and row[0]:
                    first.append(row[0])
    return min(first) if first else None


def _check_timestamps(dataset: RelBenchDataset, location: str) -> None:
    if not dataset.val_timestamp < dataset.test_timestamp:
        raise DeclarationError(
            f"{location}: val_timestamp {dataset.val_timestamp} must lie before test_timestamp "
            f"{dataset.test_timestamp}"
        )


def _task_manifest(dataset: RelBenchDataset, name: str) -> tuple[TaskManifest, Path]:
    from relbench import hf
    from relbench.manifest import TaskManifest

    folder = dataset.dataset_dir / "tasks" / name
    if not (folder / "manifest.yaml").exists():
        hosted = hf.find_task_dir(dataset.manifest.name, name, revision=dataset.revision)
        if hosted is None:
            raise DeclarationError(f"no manifest at {folder / 'manifest.yaml'}")
        folder = Path(hosted)
    try:
        manifest = TaskManifest.load(folder / "manifest.yaml")
        manifest.validate()
    except Exception as error:
        raise DeclarationError(
            f"{folder / 'manifest.yaml'} is not a task manifest ({_first_line(error)})"
        ) from error
    return manifest, folder


def _unsupported(manifest: TaskManifest) -> str | None:
    if manifest.kind == "autocomplete":
        return "autocomplete tasks are not yet supported"
    if manifest.task_type == "recommendation":
        return "recommendation tasks are not yet supported"
    if manifest.task_type not in {kind.value for kind in TaskType}:
        return f"{manifest.task_type} tasks are not yet supported"
    if not manifest.sql and not manifest.time_col:
        return "its labels have no time column, so they cannot be placed as of a date"
    return None


def _task(dataset: RelBenchDataset, manifest: TaskManifest, schema: RelationalSchema) -> Task:
    task_type = TaskType(manifest.task_type)
    entity_table = identifier(str(manifest.entity_table))
    if entity_table not in schema.table_names:
        raise DeclarationError(
            f"entity_table {manifest.entity_table!r} is not in the database "
            f"({', '.join(schema.table_names)})"
        )
    try:
        window = parse_duration(manifest.timedelta or "1 days")
    except ValueError as error:
        raise DeclarationError(f"timedelta: {error}") from error
    span = (dataset.test_timestamp - dataset.val_timestamp).to_pytimedelta()
    if window > span:
        raise DeclarationError(
            f"its window ({manifest.timedelta}) is longer than the time between val_timestamp and "
            f"test_timestamp ({span.days} days), so no validation window can close"
        )
    return Task(
        name=identifier(manifest.name),
        title=manifest.name,
        description=manifest.description or "",
        entity_table=entity_table,
        entity_column=str(manifest.entity_col),
        time_column=str(manifest.time_col),
        label_column=str(manifest.target_col),
        task_type=task_type,
        window=window,
        stride=window,
        validation_span=span,
        evaluation_cutoffs=manifest.num_eval_timestamps,
        metric=DEFAULT_METRIC[task_type],
        hidden_columns=tuple((identifier(t), c) for t, c in manifest.remove_columns),
        protocol=Protocol.FROZEN,
    )


def task_model(sql: str, task: Task, schema: RelationalSchema, raw_names: Iterable[str]) -> str:
    """The SQL of a RelBench task as a task model: the same text, its window named by our macro.

    Args:
        sql: DuckDB SQL over the raw tables and `timestamps(timestamp)`, with '{timedelta}'.
        task: The task as it is declared.
        schema: The database, its tables named as they are staged.
        raw_names: What the SQL calls the tables.
    """
    body = _without_semicolon(sql)
    named = _references(body, schema)
    reads = [name for name in schema.table_names if name in named or name == task.entity_table]
    timed = [table.name for table in schema.tables if table.time_column]
    arguments = f"reads={_models(schema, reads)}"
    if set(timed) != {name for name in reads if name in timed}:
        # RelBench lays the training cutoffs back to the first event of the whole database.
        arguments += f",\n    history={_models(schema, timed)}"
    body = _with_raw_names(body, raw_names, reads)
    text = "{{ window() }}".join(escape_jinja(part) for part in body.split("{timedelta}"))
    return f"{{% call training_table(\n    {arguments}\n) %}}\n{text}\n{{% endcall %}}\n"


def _without_semicolon(sql: str) -> str:
    """The statement without the semicolon that ends it, nor a comment after that."""
    try:
        tokens = sqlglot.tokenize(sql, read="duckdb")
    except sqlglot.errors.SqlglotError:
        return sql.strip().rstrip(";").rstrip()
    while tokens and tokens[-1].token_type == sqlglot.TokenType.SEMICOLON:
        sql = sql[: tokens.pop().start]
    return sql.strip()


def _with_raw_names(sql: str, raw_names: Iterable[str], reads: list[str]) -> str:
    """The query with an alias for each table that it knows by a name that SQL tells from ours."""
    renamed = [raw for raw in raw_names if identifier(raw) in reads]
    aliases = [
        f"{quote(raw)} as (select * from {quote(identifier(raw))})"
        for raw in renamed
        if identifier(raw) != raw.lower()
    ]
    return f"with {', '.join(aliases)}\nselect * from (\n{sql}\n)" if aliases else sql


def _models(schema: RelationalSchema, tables: list[str]) -> str:
    return "[" + ", ".join(f"'{model_name(schema.database, table)}'" for table in tables) + "]"


def _references(sql: str, schema: RelationalSchema) -> list[str]:
    """Tables of the schema that the SQL names; all of them where it cannot be parsed."""
    try:
        parsed = sqlglot.parse_one(sql.replace("{timedelta}", "1 day"), read="duckdb")
        named = {identifier(table.name) for table in parsed.find_all(exp.Table) if table.name}
    except sqlglot.errors.SqlglotError:
        return schema.table_names
    return [name for name in schema.table_names if name in named] or schema.table_names


def _label_tables(task: Task, folder: Path) -> dict[str, Path]:
    shipped = {
        f"{task.name}__{split}": folder / f"{split}.parquet"
        for split in SPLITS
        if (folder / f"{split}.parquet").exists()
    }
    if not any(name.endswith("__train") for name in shipped):
        raise DeclarationError(f"it has neither SQL nor {folder / 'train.parquet'}")
    return shipped


def _shipped_model(database: str, task: Task, tables: tuple[str, ...]) -> str:
    sources = ",\n    ".join(
        f"'{name.rsplit('__', 1)[1]}': source('{database}', '{name}')" for name in tables
    )
    return f"{{{{ shipped_labels({{\n    {sources}\n}}) }}}}\n"


def _portable(location: str) -> str:
    path = Path(location).expanduser()
    return str(path.resolve()) if path.exists() else location


def _first_line(error: BaseException) -> str:
    return (str(error) or repr(error)).strip().splitlines()[0]


def _listed(head: str, faults: list[str]) -> str:
    return head + ":\n" + "\n".join(f"  - {fault}" for fault in faults)
