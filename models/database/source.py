"""Raw tables: what a source holds, whether it has changed, and its copy as Parquet.

Four kinds of source: the embedded demo, a synthetic database, a RelBench folder or hub name, and
anything that DuckDB attaches. All end as one Parquet file per raw table, in a fixed row order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import duckdb

from models.artifacts.recipe import code_version, digest, file_digest
from models.database.dbt_folder import DeclarationError, identifier
from models.database.quoting import literal, quote
from models.database.schema import RelationalSchema, SourceDeclaration

if TYPE_CHECKING:
    import polars as pl


CHANGED_GENERATOR = (
    "\nThe generator, its options or the SQL file changed after the database was declared; delete "
    "its folder of the dbt project and run SOURCE=synthetic:... again."
)


class Source(Protocol):
    """A source of raw tables."""

    def columns(self) -> dict[str, list[str]]:
        """Column names of every raw table that the source holds."""

    def fingerprints(self, tables: tuple[str, ...]) -> dict[str, str]:
        """A digest of each table's content; it changes whenever a row does."""

    def write(self, table: str, path: Path) -> None:
        """Writes one raw table to Parquet."""

    def newest_event(self, schema: RelationalSchema) -> datetime | None:
        """The time of the newest row."""


def location_variable(database: str) -> str:
    """The environment variable that overrides where a database's rows are read from."""
    return f"RELFORGE_SOURCE_{database.upper()}"


def open_database_source(schema: RelationalSchema) -> Source:
    """The source that a database declares, at the location that the environment names if it does.

    Raises:
        DeclarationError: unknown kind of source, or options that it does not have.
        ValueError: the SQL file of a synthetic database's schema has faults.
        SourceError: it cannot be reached; the message says why.
    """
    location = os.environ.get(location_variable(schema.database), schema.source.location)
    source = replace(schema.source, location=location)
    schema = replace(schema, source=source)
    if source.kind == "demo":
        return DemoSource(source)
    if source.kind == "synthetic":
        from models.synthetic.source import SyntheticSource

        return SyntheticSource(source)
    if source.kind == "relbench":
        return RelBenchSource(schema)
    if source.kind == "attached":
        return AttachedSource(source)
    raise DeclarationError(
        f"database {schema.database!r}: unknown kind of source {source.kind!r}; "
        "one of demo, synthetic, relbench, attached"
    )


def check_tables(schema: RelationalSchema, source: Source) -> None:
    """Fails, naming each, if the source lacks tables or columns that dbt's sources declare.

    Raises:
        DeclarationError: with the mend.
    """
    held = source.columns()
    faults = []
    for table in schema.source.tables:
        if table.name not in held:
            faults.append(
                f"table {table.name}: missing (the source has: {', '.join(sorted(held)) or 'none'}); "
                "restore it, or take it out of _sources.yml and delete its staging model"
            )
            continue
        for column in table.columns:
            if column not in held[table.name]:
                faults.append(
                    f"table {table.name}: column {column!r} is missing (it has: "
                    f"{', '.join(held[table.name])}); restore it, or take it out of _sources.yml "
                    "and of its staging model"
                )
    if faults:
        where = schema.source.location or schema.source.kind
        raise DeclarationError(
            f"database {schema.database!r}: the source {where} lacks what is declared:\n"
            + "\n".join(f"  - {fault}" for fault in faults)
            + (CHANGED_GENERATOR if schema.source.kind == "synthetic" else "")
        )


def write_raw_tables(schema: RelationalSchema, source: Source, folder: Path) -> dict[str, int]:
    """Copies every declared raw table to `<folder>/<table>.parquet`; returns their row counts."""
    counts: dict[str, int] = {}
    for table in schema.source.table_names:
        path = folder / f"{table}.parquet"
        source.write(table, path)
        counts[table] = parquet_rows(path)
    return counts


def parquet_rows(path: Path) -> int:
    """The number of rows of a Parquet file, from its footer."""
    import pyarrow.parquet

    return int(pyarrow.parquet.read_metadata(path).num_rows)


def last_event(tables: Mapping[str, Path], schema: RelationalSchema) -> datetime | None:
    """The time of the newest row of the database, over staged or raw tables; None without any."""
    return max(_extreme_times("max", tables, schema), default=None)


def first_event(tables: Mapping[str, Path], schema: RelationalSchema) -> datetime | None:
    """The time of the oldest row of the database, over staged or raw tables; None without any."""
    return min(_extreme_times("min", tables, schema), default=None)


def _extreme_times(
    aggregate: str, tables: Mapping[str, Path], schema: RelationalSchema
) -> list[datetime]:
    found: list[datetime] = []
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for table in schema.tables:
            if table.time_column and table.name in tables:
                time = f"try_cast({quote(table.time_column)} as timestamp)"
                row = connection.execute(
                    f"select {aggregate}({time}) from read_parquet(?)",
                    [str(tables[table.name])],
                ).fetchone()
                if row and row[0] is not None:
                    found.append(row[0])
    return found


def newest_event(schema: RelationalSchema) -> datetime | None:
    """The time of the newest row in the source itself, before anything is copied."""
    source = open_database_source(schema)
    check_tables(schema, source)
    return source.newest_event(schema)


class DemoSource:
    """The embedded shop, generated from its declared options."""

    def __init__(self, source: SourceDeclaration) -> None:
        self._options: dict[str, Any] = {name: int(value) for name, value in source.options}
        self._tables: dict[str, pl.DataFrame] = {}

    def _generate(self) -> dict[str, pl.DataFrame]:
        if not self._tables:
            from models.synthetic.shop import ShopConfig, generate_shop

            self._tables = generate_shop(ShopConfig(**self._options))
        return self._tables

    def columns(self) -> dict[str, list[str]]:
        """Column names of every table, as its schema declares them."""
        from models.synthetic.shop import shop_layout

        return {table.name: table.column_names for table in shop_layout().declared}

    def fingerprints(self, tables: tuple[str, ...]) -> dict[str, str]:
        """The generator's code and options stand for the content: it is deterministic."""
        made_from = digest(f"{code_version('models/synthetic')}:{sorted(self._options.items())}")
        return dict.fromkeys(tables, made_from)

    def write(self, table: str, path: Path) -> None:
        """Writes one table to Parquet."""
        self._generate()[table].write_parquet(path)

    def newest_event(self, schema: RelationalSchema) -> datetime | None:
        """The time of the newest row."""
        columns = [(table.name, table.time_column) for table in schema.tables if table.time_column]
        newest = [self._generate()[name][column].max() for name, column in columns]
        return max((event for event in newest if isinstance(event, datetime)), default=None)


class RelBenchSource:
    """A RelBench folder: `db/*.parquet`, and the label tables of tasks without SQL."""

    def __init__(self, schema: RelationalSchema) -> None:
        from models.database.relbench_import import load_dataset

        self._dataset = load_dataset(schema.source.location)
        self._keys = {
            identifier(name): spec.pkey for name, spec in self._dataset.manifest.tables.items()
        }
        self._files = {
            name: self._dataset.db_dir / f"{name}.parquet" for name in self._dataset.manifest.tables
        }
        for task in schema.tasks:
            for split in ("train", "val", "test"):
                name = f"{task.name}__{split}"
                if name in schema.source.table_names:
                    folder = self._dataset.dataset_dir / "tasks" / (task.title or task.name)
                    self._files[name] = folder / f"{split}.parquet"

    def columns(self) -> dict[str, list[str]]:
        """Column names of every Parquet file that is there."""
        from models.database.relbench_import import parquet_columns

        return {
            name: list(parquet_columns(path)) for name, path in self._files.items() if path.exists()
        }

    def fingerprints(self, tables: tuple[str, ...]) -> dict[str, str]:
        """Digests of the files' bytes."""
        return {table: file_digest(self._files[table]) for table in tables}

    def write(self, table: str, path: Path) -> None:
        """Copies one table; a NaN is no value, so it becomes NULL as RelBench's queries see it."""
        from models.database.relbench_import import parquet_columns

        columns = parquet_columns(self._files[table])
        expressions = ", ".join(
            f"case when isnan({quote(name)}) then null else {quote(name)} end as {quote(name)}"
            if kind in ("FLOAT", "DOUBLE")
            else quote(name)
            for name, kind in columns.items()
        )
        key = self._keys.get(identifier(table))
        order = f"order by {quote(key)}" if key else ""
        with duckdb.connect() as connection:
            connection.execute(
                f"copy (select {expressions} from read_parquet(?) {order}) "
                f"to {literal(path)} (format parquet, compression zstd)",
                [str(self._files[table])],
            )

    def newest_event(self, schema: RelationalSchema) -> datetime | None:
        """The time of the newest row."""
        return last_event({identifier(name): path for name, path in self._files.items()}, schema)


class AttachedSource:
    """Any database that DuckDB attaches; it is opened for each use and never held."""

    def __init__(self, source: SourceDeclaration) -> None:
        self._source = source

    def columns(self) -> dict[str, list[str]]:
        """Column names of every table, as they are staged."""
        from models.database.attach import open_source

        with open_source(self._source) as database:
            return {
                table: [name for name, _ in database.staged_columns(table)]
                for table in database.table_names()
            }

    def fingerprints(self, tables: tuple[str, ...]) -> dict[str, str]:
        """Order-independent digests of the rows, computed by one scan a table."""
        from models.database.attach import open_source

        with open_source(self._source) as database:
            return {table: database.content_fingerprint(table) for table in tables}

    def write(self, table: str, path: Path) -> None:
        """Copies one table to Parquet."""
        from models.database.attach import open_source

        with open_source(self._source) as database:
            database.copy_to_parquet(table, path)

    def newest_event(self, schema: RelationalSchema) -> datetime | None:
        """The time of the newest row."""
        from models.database.attach import open_source

        raw = {identifier(name): name for name in schema.source.table_names}
        times = {raw[t.name]: t.time_column for t in schema.tables if t.name in raw}
        with open_source(self._source) as database:
            return database.last_event(times)
