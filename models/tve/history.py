"""Whether the rows up to a date are still the same: digests of what task vectors could see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import duckdb

from models.database.profile import parquet_relation
from models.database.quoting import literal, quote
from models.database.schema import RelationalSchema


def history_digests(
    schema: RelationalSchema, names: Iterable[str], tables: Mapping[str, Path], until: datetime
) -> dict[str, str]:
    """A digest of each table's rows up to a date, whatever their order.

    Of a table without event times those rows count that some row of a timed table up to the date
    refers to, or all where no timed table refers to it: a new customer changes nothing before.

    Args:
        schema: The schema with event times (`with_inherited`).
        names: The tables to look at.
        tables: Parquet of each table.
        until: The last instant that counts.
    """
    digests = {"duckdb": duckdb.__version__}  # its hashes may change between versions
    with duckdb.connect() as connection:
        for name in sorted(set(names)):
            row = connection.execute(
                "SELECT count(*), bit_xor(hash(held)), sum(CAST(hash(held) AS HUGEINT)) "
                f"FROM {_rows(schema, name, tables, until)} AS held"
            ).fetchone()
            digests[name] = "/".join(map(str, row or ()))
    return digests


def _rows(schema: RelationalSchema, name: str, tables: Mapping[str, Path], until: datetime) -> str:
    """The rows of a table that count, as an SQL relation."""
    limit = f"TIMESTAMP {literal(until.isoformat(sep=' '))}"
    held, time = parquet_relation(tables[name]), schema.table(name).time_column
    if time is not None:
        return f"(SELECT * FROM {held} WHERE {quote(time)} <= {limit})"
    key = schema.table(name).primary_key
    references = []
    for foreign in schema.children(name):
        time = schema.table(foreign.table).time_column
        if time is not None:
            order = [foreign.columns[foreign.parent_columns.index(column)] for column in key]
            references.append(
                f"SELECT {', '.join(map(quote, order))} FROM "
                f"{parquet_relation(tables[foreign.table])} WHERE {quote(time)} <= {limit}"
            )
    if not references:
        return f"(SELECT * FROM {held})"
    columns = ", ".join(map(quote, key))
    return f"(SELECT * FROM {held} WHERE ({columns}) IN ({' UNION ALL '.join(references)}))"
