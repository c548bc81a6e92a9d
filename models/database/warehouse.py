"""The warehouse: the DuckDB file of a database and its only owner.

DuckDB admits one process at a time, writer or reader. So nothing keeps the file open: every use is
one short turn under an operating-system lock that queues the others, and everything downstream
reads the Parquet that a turn has published. The relations of a database are views over published
Parquet, so a turn for one version of the data never sees another version's rows.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from models.database.dbt import ModelResult, run_models
from models.database.quoting import literal, quote


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn at the warehouse, while its lock is held."""

    path: Path
    lock: int
    dbt_cache: Path

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection, closed at the end of the block; one thread, so sums repeat to the bit."""
        connection = duckdb.connect(str(self.path), config={"threads": 1})
        try:
            connection.execute("set TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()

    def point_views(self, schema: str, tables: Mapping[str, Path]) -> None:
        """Makes `schema.table` a view over each table's published Parquet."""
        with self.connect() as connection:
            connection.execute(f"create schema if not exists {quote(schema)}")
            for name, path in tables.items():
                relation = f"{quote(schema)}.{quote(name)}"
                drop_relation(connection, schema, name)
                connection.execute(
                    f"create view {relation} as select * from read_parquet({literal(path)})"
                )

    def build(
        self, project: Path, select: Sequence[str], variables: Mapping[str, str]
    ) -> list[ModelResult]:
        """Builds dbt models in this warehouse."""
        target = self.path.parent / "dbt"
        return run_models(project, select, target, self.path, variables, self.dbt_cache, self.lock)

    def export(self, schema: str, table: str, order: Sequence[str], path: Path) -> int:
        """Writes a relation to Parquet in a fixed row order; returns the number of rows."""
        by = ", ".join(quote(column) for column in order) or "all"
        with self.connect() as connection:
            row = connection.execute(
                f"copy (select * from {quote(schema)}.{quote(table)} order by {by}) "
                f"to {literal(path)} (format parquet, compression zstd)"
            ).fetchone()
        return int(row[0]) if row else 0


class Warehouse:
    """The DuckDB file of one database.

    Args:
        path: The file; it need not exist yet.
        dbt_cache: Where the parse of the dbt project is kept; None for beside the file.
    """

    def __init__(self, path: Path, dbt_cache: Path | None = None) -> None:
        self.path = path
        self.dbt_cache = dbt_cache or path.parent / "dbt" / "parsed"

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Waits for the warehouse, then owns it until the block ends.

        The lock belongs to the open file, which dbt's process inherits: if this process is killed,
        the next in the queue still waits until dbt has let go of the DuckDB file.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield Turn(self.path, lock, self.dbt_cache)
        finally:
            os.close(lock)


def drop_relation(connection: duckdb.DuckDBPyConnection, schema: str, name: str) -> None:
    """Drops a table or view, whichever it is."""
    found = connection.execute(
        "select table_type from information_schema.tables where table_schema = ? and table_name = ?",
        [schema, name],
    ).fetchone()
    if found:
        kind = "view" if found[0] == "VIEW" else "table"
        connection.execute(f"drop {kind} {quote(schema)}.{quote(name)}")
