"""Column statistics of a table, computed inside DuckDB in one scan.

The proposals of keys and times (`models.database.propose`) and the semantic types
(`models.database.semantic_types`) are decided from these numbers alone.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from models.database.quoting import literal, quote

EXACT_BELOW = 1_000_000
Statistic = float | int | str | None


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """Statistics of one column.

    `minimum` and `maximum` are numbers for numerical columns and text for all others.
    `timestamp_share` (of the non-null values that parse as a timestamp), `mean_tokens` and
    `mean_length` are known for strings only.
    """

    name: str
    sql_type: str
    rows: int
    nulls: int
    distinct: int
    minimum: Statistic = None
    maximum: Statistic = None
    timestamp_share: float | None = None
    mean_tokens: float | None = None
    mean_length: float | None = None

    @property
    def values(self) -> int:
        """How many rows have a value."""
        return self.rows - self.nulls

    @property
    def null_share(self) -> float:
        """Share of rows without a value; 0 for an empty table."""
        return self.nulls / self.rows if self.rows else 0.0

    @property
    def distinct_share(self) -> float:
        """Distinct values over rows with a value; 0 where there is none."""
        return self.distinct / self.values if self.values else 0.0


@dataclass(frozen=True, slots=True)
class TableProfile:
    """Statistics of a table. `exact` says whether the distinct counts are counted or estimated."""

    rows: int
    columns: tuple[ColumnProfile, ...]
    exact: bool = True

    def column(self, name: str) -> ColumnProfile:
        """The profile of that column; KeyError lists what was profiled."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"no profile of column {name!r} (has: {[c.name for c in self.columns]})")

    def to_dict(self) -> dict[str, Any]:
        """The profile as JSON-ready data."""
        return asdict(self)


def profile_table(
    relation: str | Path,
    connection: duckdb.DuckDBPyConnection | None = None,
    *,
    where: str = "",
    exact_below: int = EXACT_BELOW,
) -> TableProfile:
    """Profile every column of a relation.

    Args:
        relation: a Parquet file, a folder of Parquet parts, or any SQL table expression.
        connection: where to run; a fresh in-memory DuckDB when omitted.
        where: SQL condition on the rows to look at.
        exact_below: up to this many rows distinct values are counted, beyond it estimated.

    Returns:
        Profiles in column order.

    Raises:
        duckdb.Error: the relation cannot be read.
    """
    connection = connection or duckdb.connect()
    source = parquet_relation(relation) if isinstance(relation, Path) else relation
    condition = f" WHERE {where}" if where else ""
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    counted = connection.execute(f"SELECT count(*) FROM {source}{condition}").fetchone()
    rows = counted[0] if counted else 0
    exact = rows <= exact_below
    columns = [(str(row[0]), str(row[1])) for row in described]
    statistics = ", ".join(_statistics(name, kind, exact) for name, kind in columns)
    values = connection.execute(f"SELECT {statistics} FROM {source}{condition}").fetchone() or ()
    profiles = tuple(
        ColumnProfile(name, kind, rows, *_plain(rows, values[at * 7 : at * 7 + 7]))
        for at, (name, kind) in enumerate(columns)
    )
    return TableProfile(rows, profiles, exact)


def parquet_relation(path: Path) -> str:
    """SQL table expression of a Parquet file or of a folder of Parquet parts."""
    pattern = str(path / "**" / "*.parquet") if path.is_dir() else str(path)
    return f"read_parquet({literal(pattern)})"


def is_string(sql_type: str) -> bool:
    """Whether DuckDB's type holds text."""
    return sql_type.upper().startswith(("VARCHAR", "ENUM", "UUID"))


def is_number(sql_type: str) -> bool:
    """Whether DuckDB's type is an integer, a float or a decimal."""
    kind = sql_type.upper()
    plain = {"REAL", "FLOAT", "DOUBLE"}
    return "[" not in kind and (is_integer(kind) or kind in plain or kind.startswith("DECIMAL"))


def is_integer(sql_type: str) -> bool:
    """Whether DuckDB's type is an integer of any width."""
    widths = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
    return sql_type.upper() in {prefix + width for width in widths for prefix in ("", "U")}


def is_time(sql_type: str) -> bool:
    """Whether DuckDB's type is a point in time (a date or a timestamp of any precision)."""
    kind = sql_type.upper()
    return "[" not in kind and (kind == "DATE" or kind.startswith("TIMESTAMP"))


def is_token(column: ColumnProfile) -> bool:
    """Whether a column holds single words, as codes do."""
    return is_string(column.sql_type) and (column.mean_tokens or 0.0) < 1.05


def key_family(column: ColumnProfile) -> str:
    """`number` or `text`, between which no key refers; empty for what cannot be a key."""
    if is_string(column.sql_type):
        return "text"
    whole = all(
        isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        for value in (column.minimum, column.maximum)
    )
    # Integers with nulls often arrive as doubles; their values are compared like integers.
    return "number" if is_integer(column.sql_type) or (column.nulls and whole) else ""


def is_compatible(column: ColumnProfile, target: ColumnProfile) -> bool:
    """Whether values of the two columns can be equal."""
    return key_family(column) == key_family(target) != ""


def is_within(column: ColumnProfile, target: ColumnProfile) -> bool:
    """Whether the range of a column lies in that of a key, which inclusion requires."""
    low, high = (column.minimum, target.minimum), (column.maximum, target.maximum)
    if not is_compatible(column, target) or None in low or None in high:
        return False
    return bool(low[0] >= low[1] and high[0] <= high[1])  # type: ignore[operator]


def is_open_end(column: ColumnProfile) -> bool:
    """Whether a time reaches beyond 2200, as placeholders for "never" do."""
    year = str(column.maximum or "").split("-", 1)[0]
    return year.isdigit() and int(year) >= 2200


def _statistics(name: str, sql_type: str, exact: bool) -> str:
    """Seven aggregates of a column, in the order of ColumnProfile's fields from `nulls` on."""
    column = quote(name)
    distinct = f"count(DISTINCT {column})" if exact else f"approx_count_distinct({column})"
    low, high, parsed, tokens, length = "NULL", "NULL", "NULL", "NULL", "NULL"
    if is_number(sql_type):
        low, high = f"min({column})::DOUBLE", f"max({column})::DOUBLE"
        if is_integer(sql_type):
            low, high = f"min({column})", f"max({column})"
    elif is_time(sql_type) or sql_type.upper().startswith(("BOOLEAN", "TIME", "INTERVAL")):
        low, high = f"min({column})::VARCHAR", f"max({column})::VARCHAR"
    elif is_string(sql_type):
        text = f"{column}::VARCHAR"
        trimmed = f"trim(translate({text}, E'\\t\\n\\r', '   '))"
        low, high = f"left(min({text}), 200)", f"left(max({text}), 200)"
        # TRY_CAST alone would accept words such as 'epoch' and 'infinity'.
        stamp = f"TRY_CAST({text} AS TIMESTAMP) IS NOT NULL AND {text} SIMILAR TO '\\s*[0-9].*'"
        parsed = f"avg(CASE WHEN {column} IS NOT NULL THEN ({stamp})::INTEGER END)"
        tokens = f"avg(len(list_filter(string_split({trimmed}, ' '), lambda w: w <> '')))"
        length = f"avg(length({text}))"
    nulls = f"count(*) - count({column})"
    return ", ".join((nulls, distinct, low, high, parsed, tokens, length))


def _plain(rows: int, values: tuple[Any, ...]) -> list[Any]:
    """The aggregates without NaN and infinity, which JSON cannot hold; estimates capped."""
    plain = [None if isinstance(v, float) and not math.isfinite(v) else v for v in values]
    nulls = plain[0] or 0
    # approx_count_distinct may overshoot the number of values.
    return [nulls, min(plain[1] or 0, rows - nulls), *plain[2:]]
