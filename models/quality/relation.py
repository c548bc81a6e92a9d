"""Parquet tables as DuckDB sees them: row counts, types and the few SQL expressions of the checks.

Figures over a table are computed here, in DuckDB, out of core. Rows go to pandas only from tables
of at most `ROW_LIMIT` rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from models.database import quoting
from models.database.quoting import quote

# pandas keeps a frame in memory, and Great Expectations hashes and masks all of it. Larger tables are
# judged on figures that DuckDB has aggregated, and on a sample for the user's own expectations.
ROW_LIMIT = 1_000_000

_PLAIN_TYPES = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    *("BOOLEAN", "FLOAT", "DOUBLE", "VARCHAR", "DATE", "TIME", "UUID"),
)


@dataclass(frozen=True)
class Relation:
    """A Parquet table that is open under its name, with its DuckDB types."""

    name: str
    path: Path
    rows: int
    types: Mapping[str, str]
    connection: duckdb.DuckDBPyConnection = field(repr=False)

    @property
    def large(self) -> bool:
        """Whether the rows are too many to be handed to pandas."""
        return self.rows > ROW_LIMIT

    def find(self, column: str) -> str | None:
        """The column as the file spells it (SQL ignores case), or None."""
        for name in self.types:
            if name.lower() == column.lower():
                return name
        return None

    def type_of(self, column: str) -> str:
        """DuckDB's name of the column's type."""
        return self.types[self.find(column) or column]

    def require(self, columns: Iterable[str], mend: str) -> None:
        """Raise ValueError that names every missing column and the mend."""
        missing = [column for column in dict.fromkeys(columns) if self.find(column) is None]
        if missing:
            raise ValueError(
                f"table {self.name!r} ({self.path}) lacks {', '.join(missing)} "
                f"(has: {', '.join(self.types)}). {mend}"
            )

    def one(self, query: str) -> tuple:
        """The first row of a query."""
        row = self.connection.execute(query).fetchone()
        assert row is not None  # every query here aggregates
        return row


@contextmanager
def open_relations(tables: Mapping[str, Path]) -> Iterator[dict[str, Relation]]:
    """Open Parquet files as views of one private in-memory DuckDB, each under its table name."""
    with duckdb.connect(config={"temp_directory": tempfile.gettempdir()}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield {name: _open(connection, name, Path(path)) for name, path in tables.items()}


def _open(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> Relation:
    if not path.exists():
        raise FileNotFoundError(f"table {name!r}: there is no file {path}")
    connection.execute(f"create view {quote(name)} as select * from read_parquet({literal(path)})")
    described = connection.execute(f"describe {quote(name)}").fetchall()
    rows = connection.execute(f"select count(*) from {quote(name)}").fetchone()
    return Relation(name, path, rows[0] if rows else 0, {r[0]: r[1] for r in described}, connection)


def quoted(columns: Iterable[str]) -> str:
    """SQL identifiers, separated by commas."""
    return ", ".join(quote(column) for column in columns)


def literal(value: object) -> str:
    """An SQL literal of a path, a text or a time."""
    if isinstance(value, datetime):
        return f"timestamp '{value.isoformat(sep=' ')}'"
    return quoting.literal(value)


def naive_utc(moment: datetime) -> datetime:
    """The moment without a time zone, in UTC: how the staged tables keep times."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def is_temporal(sql_type: str) -> bool:
    """Whether the DuckDB type is a date or a timestamp."""
    return sql_type == "DATE" or sql_type.startswith("TIMESTAMP")


def is_numeric(sql_type: str) -> bool:
    """Whether the DuckDB type is a number."""
    return sql_type.startswith(("DECIMAL", "HUGEINT", "UHUGEINT")) or (
        sql_type in _PLAIN_TYPES[:8] or sql_type in ("FLOAT", "DOUBLE")
    )


def as_time(column: str, sql_type: str) -> str:
    """SQL of the column as a timestamp in UTC; NULL where it is none, infinity included."""
    source = quote(column) if is_temporal(sql_type) else f"cast({quote(column)} as varchar)"
    time = f"try_cast({source} as timestamp)"
    return f"(case when isfinite({time}) then {time} end)"


def as_value(column: str, sql_type: str) -> tuple[str, str]:
    """Name and SQL of a column whose values pandas keeps apart exactly when DuckDB does.

    Wide integers and decimals would lose digits, nested values and blobs can't be hashed: as text.
    """
    if is_temporal(sql_type):
        return column, as_time(column, sql_type)
    if sql_type in _PLAIN_TYPES:
        return column, quote(column)
    return f"{column} (as text)", f"cast({quote(column)} as varchar)"
