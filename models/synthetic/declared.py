"""Tables as somebody declared them, in SQL or in dbt, before it is decided what rows to make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlglot import exp
from sqlglot.errors import SqlglotError

from models.database.schema import Column, ForeignKey, RelationalSchema, SemanticType, Table


class SchemaError(ValueError):
    """A schema that no database can be made for; the message lists every fault with its mend."""

    def __init__(self, name: str, faults: Sequence[str]) -> None:
        lines = "".join(f"\n  - {fault}" for fault in faults)
        super().__init__(f"{name}: no database can be made, {len(faults)} fault(s):{lines}")


class ValueType(StrEnum):
    """What the values of a column are stored as."""

    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    MOMENT = "moment"
    STRING = "string"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class DeclaredColumn:
    """A column.

    Attributes:
        name: Its name.
        sql_type: Its type as declared, for messages; empty where none is.
        value_type: What that type stores.
        nullable: Whether a value may be missing.
        categories: The only values it admits; empty for any.
        length: The most characters of a string; None for any number.
        has_default: Whether rows get a value of it without giving one.
        semantic_type: What it means to a learner, where that is declared.
    """

    name: str
    sql_type: str
    value_type: ValueType
    nullable: bool = True
    categories: tuple[str, ...] = ()
    length: int | None = None
    has_default: bool = False
    semantic_type: SemanticType | None = None


@dataclass(frozen=True, slots=True)
class DeclaredTable:
    """A table.

    Attributes:
        name: Its name.
        columns: All columns in declared order, keys included.
        primary_key: Columns of its primary key; empty for none.
        keys: Its foreign keys.
        time_column: When a row came to be; None where no column says so.
    """

    name: str
    columns: tuple[DeclaredColumn, ...]
    primary_key: tuple[str, ...] = ()
    keys: tuple[ForeignKey, ...] = ()
    time_column: str | None = None

    def column(self, name: str) -> DeclaredColumn | None:
        """The column of that name, if it is declared."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def column_names(self) -> list[str]:
        """Names of all columns; those of keys may be known from the keys alone."""
        keys = [column for key in self.keys for column in key.columns]
        names = [*(column.name for column in self.columns), *self.primary_key, *keys]
        return list(dict.fromkeys(names))

    def nullable(self, name: str) -> bool:
        """Whether values of a column may be missing; so is what is not declared."""
        column = self.column(name)
        return column is None or column.nullable


def value_type(kind: exp.DataType) -> ValueType:
    """What a SQL type stores; times of day and intervals are numbers, of seconds."""
    if kind.this == _Type.USERDEFINED:
        kind = _as_other_dialects_read(kind)
    for found, types in _TYPES.items():
        if kind.this in types:
            return found
    return ValueType.UNSUPPORTED


def declared_tables(schema: RelationalSchema) -> tuple[DeclaredTable, ...]:
    """The tables of a schema as dbt declares it; a key may be NULL if it is a self-reference."""
    return tuple(_of_schema(schema, table) for table in schema.tables)


def faults_of(tables: Sequence[DeclaredTable]) -> list[str]:
    """What keeps a schema from being made, each fault with table, column and mend."""
    by_name = {table.name: table for table in tables}
    faults = [fault for table in tables for fault in _table_faults(table, by_name)]
    return faults or _circles(tables)


def parents_first(
    tables: Sequence[DeclaredTable], later: Iterable[str] = ()
) -> list[DeclaredTable]:
    """The tables in an order in which every parent stands before its children.

    Among the tables whose parents are placed, those in `later` wait for the others; the rest keep
    their declared order. The foreign keys go in no circle (see `faults_of`).
    """
    waiting = sorted(tables, key=lambda table: table.name in set(later))
    placed: list[DeclaredTable] = []
    while waiting:
        names = {table.name for table in waiting}
        ready = next(table for table in waiting if not _parents(table) & names)
        placed.append(ready)
        waiting.remove(ready)
    return placed


_Type = exp.DataType.Type
_TYPES = {
    ValueType.BOOLEAN: {_Type.BOOLEAN},
    ValueType.NUMBER: (exp.DataType.REAL_TYPES | {_Type.TIME, _Type.TIMETZ, _Type.INTERVAL}),
    ValueType.INTEGER: (exp.DataType.INTEGER_TYPES - {_Type.BIT})
    | {_Type.SERIAL, _Type.BIGSERIAL, _Type.SMALLSERIAL, _Type.YEAR},
    ValueType.MOMENT: exp.DataType.TEMPORAL_TYPES - {_Type.TIME, _Type.TIMETZ},
    ValueType.STRING: exp.DataType.TEXT_TYPES | {_Type.ENUM},
}


def _of_schema(schema: RelationalSchema, table: Table) -> DeclaredTable:
    keys = tuple(schema.parents(table.name))
    certain = {*table.primary_key, table.time_column}
    certain.update(name for key in keys if key.parent != table.name for name in key.columns)
    declared = {column.name: column for column in table.columns}
    # Columns of keys and the time need not be listed for a key or time to be declared.
    names = dict.fromkeys([*declared, *sorted(name for name in certain if name)])
    columns = (declared.get(name, Column(name)) for name in names)
    return DeclaredTable(
        table.name,
        tuple(
            DeclaredColumn(
                column.name,
                column.sql_type,
                _stored(column.sql_type),
                nullable=column.name not in certain,
                semantic_type=column.semantic_type,
            )
            for column in columns
        ),
        table.primary_key,
        keys,
        table.time_column,
    )


def _stored(sql_type: str) -> ValueType:
    if not sql_type:
        return ValueType.UNSUPPORTED
    try:
        return value_type(exp.DataType.build(sql_type, dialect="duckdb", udt=True))
    except SqlglotError:
        return ValueType.UNSUPPORTED


def _as_other_dialects_read(kind: exp.DataType) -> exp.DataType:
    """A type that one dialect does not know as one that does: SERIAL is Postgres', UINTEGER DuckDB's."""
    for dialect in ("postgres", "duckdb"):
        found = exp.DataType.build(kind.sql(), dialect=dialect, udt=True)
        if found.this != _Type.USERDEFINED:
            return found
    return kind


def _table_faults(table: DeclaredTable, by_name: dict[str, DeclaredTable]) -> Iterable[str]:
    place = f"table {table.name}"
    if len(table.primary_key) != 1:
        how = "no primary key"
        if table.primary_key:
            how = f"a primary key of {len(table.primary_key)} columns"
            how += f" ({', '.join(table.primary_key)})"
        yield (
            f"{place}: it has {how}, but rows are numbered by one column; add such a column (in "
            "SQL: id BIGINT PRIMARY KEY; in dbt: one column with the tests unique and not_null) "
            "and leave the others as plain columns"
        )
    for column in table.columns:
        yield from _column_faults(table, column)
    columns = [column for key in table.keys for column in key.columns]
    for column_name in dict.fromkeys(columns):
        if columns.count(column_name) > 1:
            yield (
                f"{place}, column {column_name}: {columns.count(column_name)} foreign keys use it; "
                "keep one of them, or give each a column of its own"
            )
        if column_name in table.primary_key:
            yield (
                f"{place}, column {column_name}: it is primary key and foreign key in one, but "
                "primary keys are row numbers; add a primary key of its own (id BIGINT PRIMARY KEY)"
            )
    for key in table.keys:
        yield from _key_faults(table, key, by_name)


def _column_faults(table: DeclaredTable, column: DeclaredColumn) -> Iterable[str]:
    place = f"table {table.name}, column {column.name}"
    special = {*table.primary_key, table.time_column}
    special.update(name for key in table.keys for name in key.columns)
    if len(column.categories) == 1:
        yield (
            f"{place}: it admits only {column.categories[0]!r}; a column of categories needs two, "
            "so allow another value or drop the column"
        )
    if column.value_type != ValueType.UNSUPPORTED or column.semantic_type or column.name in special:
        return
    if column.sql_type:
        yield (
            f"{place}: values of type {column.sql_type} cannot be made; declare it as a number, "
            "BOOLEAN, VARCHAR, DATE, TIMESTAMP or ENUM, or drop the column"
        )
    else:
        yield f"{place}: nothing says what it holds; declare its data_type or its semantic_type"


def _key_faults(
    table: DeclaredTable, key: ForeignKey, by_name: dict[str, DeclaredTable]
) -> Iterable[str]:
    place = f"table {table.name}, column {', '.join(key.columns)}"
    if len(key.columns) != 1:
        yield (
            f"{place}: a foreign key of {len(key.columns)} columns; point one column at a primary "
            f"key of one column of {key.parent}"
        )
        return
    if key.parent not in by_name:
        yield (
            f"{place}: its foreign key points at {key.parent!r}, which is not declared; declare "
            f"that table or drop the key (there are: {', '.join(by_name)})"
        )
        return
    primary = by_name[key.parent].primary_key
    if primary and key.parent_columns and key.parent_columns != primary:
        yield (
            f"{place}: its foreign key points at {key.parent}({', '.join(key.parent_columns)}), "
            f"which is not the primary key ({', '.join(primary)}); point it at the primary key"
        )
    if key.parent == table.name and not table.nullable(key.columns[0]):
        yield (
            f"{place}: every row must point at another row of {table.name}, so there can be no "
            "first one; drop its NOT NULL"
        )


def _circles(tables: Sequence[DeclaredTable]) -> list[str]:
    """A fault for a circle of foreign keys through two tables or more."""
    waiting = {table.name: table for table in tables}
    while ready := [t for t in waiting.values() if not _parents(t) & waiting.keys()]:
        for table in ready:
            del waiting[table.name]
    if not waiting:
        return []
    # Every table that is left waits for a parent that is left: the way up must come round.
    path: list[str] = []
    name = next(iter(waiting))
    while name not in path:
        path.append(name)
        name = next(key.parent for key in _upwards(waiting[name]) if key.parent in waiting)
    circle = path[path.index(name) :]
    steps = list(zip(circle, [*circle[1:], circle[0]], strict=True))
    keys = [
        next(key for key in _upwards(waiting[child]) if key.parent == parent)
        for child, parent in steps
    ]
    named = ", ".join(str(key) for key in keys)
    loose = [key for key in keys if waiting[key.table].nullable(key.columns[0])]
    if loose:
        mend = f"drop {loose[0]}, which may be NULL"
    else:
        mend = "drop one of them (none may be NULL, so not even a first row could be inserted)"
    return [
        f"foreign keys go round in a circle: {named}. Rows are made parents first: {mend}, or let "
        "one point at its own table instead"
    ]


def _parents(table: DeclaredTable) -> set[str]:
    return {key.parent for key in _upwards(table)}


def _upwards(table: DeclaredTable) -> list[ForeignKey]:
    """The keys to other tables."""
    return [key for key in table.keys if key.parent != table.name]
