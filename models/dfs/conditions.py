"""Conditions for features: the values that are frequent enough to look at apart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import duckdb

from models.aggregation.types import is_supported
from models.database.profile import parquet_relation
from models.database.quoting import literal, quote
from models.database.schema import RelationalSchema, SemanticType, Table

_TYPES = (SemanticType.CATEGORICAL, SemanticType.BOOLEAN)


def frequent_values(
    schema: RelationalSchema,
    tables: Mapping[str, Path],
    until: datetime,
    most: int = 3,
    min_share: float = 0.05,
) -> dict[tuple[str, str], tuple[str, ...]]:
    """The most frequent values of every categorical and boolean column that is no key.

    Counted over rows with an event time at or before `until`; in a table without event times over
    all rows. Nothing later has a say, so the choice leaks nothing past that moment.

    Args:
        schema: Tables with semantic types.
        tables: A Parquet file of staged rows for each table.
        until: The last moment to look at.
        most: How many values a column gets at most.
        min_share: The share of the rows, those without a value included, that must have the value,
            and that must not: a condition that nearly all rows meet tells nothing.

    Returns:
        Values as DuckDB writes them as text, by (table, column); the most frequent first, those
        equally frequent in their order as text. Columns without such a value are left out.

    Raises:
        KeyError: A table's file is missing.
        ValueError: `most` is below 1, or `min_share` not between 0 and 0.5.
    """
    if most < 1 or not 0 <= min_share <= 0.5:
        raise ValueError(
            f"most must be at least 1 and min_share between 0 and 0.5 (got {most}, {min_share})"
        )
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    with duckdb.connect() as connection:
        for table in schema.tables:
            keys = schema.key_columns(table.name)
            columns = [
                column.name
                for column in table.columns
                if column.semantic_type in _TYPES and is_supported(column)
            ]
            for column in (name for name in columns if name not in keys):
                query = _query(table, tables[table.name], column, until, most, min_share)
                values = tuple(row[0] for row in connection.execute(query).fetchall())
                if values:
                    found[table.name, column] = values
    return found


def _query(
    table: Table, file: Path, column: str, until: datetime, most: int, min_share: float
) -> str:
    """SQL of one column's frequent values."""
    time = table.time_column
    seen = f"{quote(time)} <= TIMESTAMP {literal(until)}" if time else "TRUE"
    return f"""
        WITH visible AS (
            SELECT CAST({quote(column)} AS VARCHAR) AS value
            FROM {parquet_relation(file)} WHERE {seen}
        ), counted AS (
            SELECT value, count(*) AS times, sum(count(*)) OVER () AS rows
            FROM visible GROUP BY value
        )
        SELECT value FROM counted
        WHERE value IS NOT NULL
            AND times >= {min_share!r} * rows AND rows - times >= {min_share!r} * rows
        ORDER BY times DESC, value LIMIT {most}
    """
