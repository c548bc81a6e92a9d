"""The staged tables as task vectors read them: with inherited and with indicator columns.

An indicator is a Boolean column about a column's value, so that a category of a parent can be
counted: `NUM_TRUE(orders.stores.[kind = x])`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import duckdb

from models.database.profile import parquet_relation
from models.database.quoting import literal, quote
from models.database.schema import Column, RelationalSchema, SemanticType
from models.tve.inheritance import Inherited

_Added = TypeVar("_Added", "Inherited", "Indicator", "Inherited | Indicator")


@dataclass(frozen=True, slots=True)
class Indicator:
    """A Boolean column: whether `column` has `value` (as text), or any value where that is None."""

    table: str
    column: str
    value: str | None = None

    @property
    def name(self) -> str:
        """The column's name: `[kind = x]` or `[kind known]`."""
        return f"[{self.column} {'known' if self.value is None else f'= {self.value}'}]"

    @property
    def sql(self) -> str:
        """The column's expression over `own`, never NULL."""
        column = f"own.{quote(self.column)}"
        if self.value is None:
            return f"{column} IS NOT NULL"
        return f"coalesce(CAST({column} AS VARCHAR) = {literal(self.value)}, false)"


def with_indicators(schema: RelationalSchema, indicators: Iterable[Indicator]) -> RelationalSchema:
    """The schema with a Boolean column for each indicator."""
    by_table = _by_table(indicators)
    return schema.with_tables(
        replace(table, columns=(*table.columns, *map(_column, by_table.get(table.name, ()))))
        for table in schema.tables
    )


def prepare_tables(
    tables: Mapping[str, Path],
    added: Iterable[Inherited | Indicator],
    folder: Path,
) -> dict[str, Path]:
    """The Parquet files of the tables, those that get columns written anew into a folder."""
    prepared = dict(tables)
    with duckdb.connect() as connection:
        for name, columns in _by_table(added).items():
            prepared[name] = folder / f"{name}.parquet"
            query = _prepared(name, columns, tables)
            target = literal(prepared[name])
            connection.execute(f"COPY ({query}) TO {target} (FORMAT parquet)")
    return prepared


def _prepared(name: str, added: Sequence[Inherited | Indicator], tables: Mapping[str, Path]) -> str:
    """The query of a table's rows with its added columns."""
    columns, joins = ["own.*"], []
    for position, one in enumerate(added):
        if isinstance(one, Indicator):
            columns.append(f"({one.sql}) AS {quote(one.name)}")
            continue
        parent = f"parent{position}"
        value = f"{parent}.{quote(one.parent_column)}"
        value = f"CAST({value} AS TIMESTAMP)" if one.refers_to is None else value
        columns.append(f"{value} AS {quote(one.name)}")
        on = " AND ".join(
            f"own.{quote(own)} = {parent}.{quote(other)}"
            for own, other in zip(one.via.columns, one.via.parent_columns, strict=True)
        )
        if one.times is not None:
            own_time, time = one.times
            on += f" AND {parent}.{quote(time)} <= own.{quote(own_time)}"
        joins.append(f"LEFT JOIN {parquet_relation(tables[one.via.parent])} AS {parent} ON {on}")
    rows = f"{parquet_relation(tables[name])} AS own {' '.join(joins)}"
    return f"SELECT {', '.join(columns)} FROM {rows}"


def _by_table(added: Iterable[_Added]) -> dict[str, list[_Added]]:
    found: dict[str, list[_Added]] = defaultdict(list)
    for one in dict.fromkeys(added):
        found[one.table].append(one)
    return dict(found)


def _column(indicator: Indicator) -> Column:
    return Column(indicator.name, "BOOLEAN", SemanticType.BOOLEAN)
