"""Where compiled statements go: a DuckDB connection, or a list when SQL is only explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import duckdb
from sqlglot import exp

from models.aggregation.sql import SOURCE_SCHEMA, create
from models.database.schema import RelationalSchema


class Session(Protocol):
    """What the compiler needs of its surroundings."""

    def create(self, query: exp.Query, hint: str) -> str:
        """Make a table of the query's rows and return its name."""

    def drop(self, *names: str) -> None:
        """Tables that are no longer read."""

    def scalar(self, query: exp.Query) -> int | None:
        """The integer a query gives; None when there are no data (the general plan is taken)."""

    def column_type(self, table: str, column: str) -> str:
        """DuckDB's type of a staged column, empty when unknown."""


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

    def scalar(self, query: exp.Query) -> int | None:
        """No data, no answer."""
        return None

    def column_type(self, table: str, column: str) -> str:
        """The declared type."""
        return self._schema.table(table).column(column).sql_type


class Connection:
    """Executes statements on a DuckDB database of its own, with one thread.

    One thread a connection, several connections at a time: results do not depend on the number of
    threads, and the planner's order of rows cannot either.
    """

    def __init__(self, settings: Mapping[str, str | int]) -> None:
        self.connection = duckdb.connect(":memory:", config={"threads": 1, **settings})
        self.connection.execute(f"CREATE SCHEMA {SOURCE_SCHEMA}")
        self._types: dict[str, dict[str, str]] = {}
        self._count = 0

    def attach(self, tables: Mapping[str, Path], names: Sequence[str]) -> None:
        """Make views of the named Parquet files."""
        for name in names:
            view = exp.table_(name, db=SOURCE_SCHEMA, quoted=True).sql("duckdb")
            file = exp.Literal.string(str(tables[name])).sql("duckdb")
            self.connection.execute(f"CREATE VIEW {view} AS SELECT * FROM read_parquet({file})")
            described = self.connection.execute(f"DESCRIBE {view}").fetchall()
            self._types[name] = {row[0]: row[1] for row in described}

    def create(self, query: exp.Query, hint: str) -> str:
        """Execute a CREATE TABLE."""
        self._count += 1
        name = f"{hint}_{self._count}"
        self.connection.execute(create(name, query).sql("duckdb"))
        return name

    def drop(self, *names: str) -> None:
        """Drop the tables to free their memory."""
        for name in names:
            self.connection.execute(f"DROP TABLE {exp.table_(name, quoted=True).sql('duckdb')}")

    def scalar(self, query: exp.Query) -> int | None:
        """The first column of the first row as an integer, 0 for NULL."""
        row = self.connection.execute(query.sql("duckdb")).fetchone()
        return int(row[0] or 0) if row else 0

    def column_type(self, table: str, column: str) -> str:
        """The type in the file."""
        return self._types[table].get(column, "")

    def close(self) -> None:
        """Release the database."""
        self.connection.close()
