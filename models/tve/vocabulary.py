"""The categories that targets count one by one: the most frequent values before validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import duckdb

from models.aggregation.paths import Hop
from models.database.profile import parquet_relation
from models.database.quoting import literal, quote
from models.database.schema import RelationalSchema, SemanticType
from models.tve.paths import TargetPath, readable

# (table, column) to its most frequent values as text.
Vocabulary = Mapping[tuple[str, str], tuple[str, ...]]


def frequent_values(
    schema: RelationalSchema,
    paths: Sequence[TargetPath],
    tables: Mapping[str, Path],
    until: datetime,
    top_k: int,
    kinds: Sequence[SemanticType] = (SemanticType.CATEGORICAL,),
) -> dict[tuple[str, str], tuple[str, ...]]:
    """The `top_k` most frequent values of every column of these kinds that a path ends at.

    Values of an event table are counted over its rows up to `until`, values of a parent over the
    rows of the events that refer to it. Ties are broken by the value's text.
    """
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    with duckdb.connect() as connection:
        for path in paths:
            for column in readable(schema, path.table):
                key = (path.table, column.name)
                if column.semantic_type in kinds and key not in found:
                    hop = path.hops[1] if len(path.hops) == 2 else None
                    rows = _rows(schema, path.event_table, hop, tables, until)
                    query = (
                        f"SELECT CAST(read.{quote(column.name)} AS VARCHAR) AS value FROM {rows} "
                        f"AND read.{quote(column.name)} IS NOT NULL "
                        f"GROUP BY value ORDER BY count(*) DESC, value LIMIT {top_k}"
                    )
                    values = connection.execute(query).fetchall()
                    found[key] = tuple(value for (value,) in values)
    return found


def _rows(
    schema: RelationalSchema,
    events: str,
    hop: Hop | None,
    tables: Mapping[str, Path],
    until: datetime,
) -> str:
    """The rows whose values are counted, as `read`, and the condition on their times."""
    limit = f"TIMESTAMP {literal(until.isoformat(sep=' '))}"
    time = quote(schema.table(events).time_column or "")
    if hop is None:
        return f"{parquet_relation(tables[events])} AS read WHERE read.{time} <= {limit}"
    key = hop.foreign_key
    on = " AND ".join(
        f"event.{quote(own)} = read.{quote(other)}"
        for own, other in zip(key.columns, key.parent_columns, strict=True)
    )
    parent = schema.table(key.parent).time_column
    visible = f" AND read.{quote(parent)} <= {limit}" if parent is not None else ""
    return (
        f"{parquet_relation(tables[events])} AS event "
        f"JOIN {parquet_relation(tables[key.parent])} AS read ON {on} "
        f"WHERE event.{time} <= {limit}{visible}"
    )
