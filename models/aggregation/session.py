"""Where compiled statements go: a DuckDB connection, or a list when SQL is only explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import duckdb
from sqlglot import exp

from models.aggregation.sql import SOURCE_SCHEMA, create, render
from models.database.quoting import literal, quote
from models.database.schema import RelationalSchema


class Session(Protocol):
    """What the compiler needs of its surroundings; another SQL engine is another session."""

    def create(self, query: exp.Query, hint: str) -> str:
        """Make a table of the query's rows and return its name."""

    def drop(self, *names: str) -> None:
        """Tables that are no longer read."""

    def row(self, query: exp.Query) -> tuple[Any, ...] | None:
        """The first row of a query; None when there are no data (the general plan is taken)."""

    def column_type(self, table: str, column: str) -> str:
        """DuckDB's name of a staged column's type, empty when unknown."""


def number_of(session: Session, query: exp.Query) -> int | None:
    """The integer that a query gives, 0 for NULL; None when there are no data."""
    row = session.row(query)
    return None if row is None else int(row[0] or 0)


class Recorder:
    """Records statements for `explain`; knows only the declared schema."""

    def __init__(self, schema: RelationalSchema) -> None:
        self.statements: list[exp.Expression] = []
        self._schema = schema

    def create(self, query: exp.Query, hint: str) -> str:
        """Record a CREATE TABLE."""
        name = f"{hint}_{len(self.statements) + 1}"
        self.statements.append(create(name, query))
        return name

    def drop(self, *names: str) -> None:
        """Nothing to do."""

    def row(self, query: exp.Query) -> tuple[Any, ...] | None:
        """No data, no answer."""
        return None

    def column_type(self, table: str, column: str) -> str:
        """The declared type."""
        return self._schema.table(table).column(column).sql_type


class Database:
    """A DuckDB database in memory with the staged tables and the seeds, for several sessions.

    Each query runs with one thread, several at a time: results do not depend on the number of
    threads, and the planner's order of rows cannot either.
    """

    def __init__(self, settings: Mapping[str, str | int]) -> None:
        self._connection = duckdb.connect(":memory:", config={"threads": 1, **settings})
        self._connection.execute("SET preserve_insertion_order = false")
        self._connection.execute(f"CREATE SCHEMA {SOURCE_SCHEMA}")
        self.types: dict[str, dict[str, str]] = {}

    def attach(self, name: str, file: Path, beside: Sequence[Path] = ()) -> None:
        """Make a view of a Parquet file, with columns from further files of the same rows."""
        view = f"{SOURCE_SCHEMA}.{quote(name)}"
        rows = " POSITIONAL JOIN ".join(
            f"read_parquet({literal(str(path))})" for path in (file, *beside)
        )
        self._connection.execute(f"CREATE VIEW {view} AS SELECT * FROM {rows}")
        described = self._connection.execute(f"DESCRIBE {view}").fetchall()
        self.types[name] = {row[0]: row[1] for row in described}

    def load(self, name: str, file: Path) -> None:
        """Make a table of the rows of a Parquet file."""
        rows = f"SELECT * FROM read_parquet({literal(str(file))})"
        self._connection.execute(f"CREATE TABLE {quote(name)} AS {rows}")

    def session(self, prefix: str) -> Connection:
        """A session whose tables start with a prefix of its own."""
        return Connection(self._connection.cursor(), prefix, self.types)

    def close(self) -> None:
        """Release the database."""
        self._connection.close()


class Connection:
    """Executes statements on DuckDB."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        prefix: str = "",
        types: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.connection = connection
        self._prefix, self._types = prefix, types or {}
        self._count = 0

    def create(self, query: exp.Query, hint: str) -> str:
        """Execute a CREATE TABLE."""
        self._count += 1
        name = f"{self._prefix}{hint}_{self._count}"
        self.connection.execute(render(create(name, query)))
        return name

    def drop(self, *names: str) -> None:
        """Drop the tables to free their memory."""
        for name in names:
            self.connection.execute(f"DROP TABLE {quote(name)}")

    def row(self, query: exp.Query) -> tuple[Any, ...] | None:
        """The first row, of NULLs when the query has none."""
        return self.connection.execute(render(query)).fetchone() or (None,)

    def column_type(self, table: str, column: str) -> str:
        """The type in the file."""
        return self._types[table].get(column, "")

    def close(self) -> None:
        """Release the cursor."""
        self.connection.close()
