"""What rows take over from the row they belong to: an event time, or the key to the entity.

Order lines without a date happen when their order does. And lines that refer to an order, not to a
customer, are events of the customer all the same: with the order's key to the customer they are
one step away, at their own times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from models.database.schema import Column, ForeignKey, RelationalSchema, SemanticType

INHERITED_TIME = "inherited event time"


@dataclass(frozen=True, slots=True)
class Inherited:
    """A column that a table gets from the row that `via` refers to.

    `refers_to` is the table that it is a key of, None for an event time. With `times`, the event
    time columns of the table and of the other, it is NULL where the row is the earlier of the two:
    nobody could know then whose it is.
    """

    via: ForeignKey
    parent_column: str
    refers_to: str | None = None
    times: tuple[str, str] | None = None

    @property
    def table(self) -> str:
        """The table that gets the column."""
        return self.via.table

    @property
    def name(self) -> str:
        """The column's name: `order_id.customer_id`, or `inherited event time`."""
        if self.refers_to is None:
            return INHERITED_TIME
        return f"{','.join(self.via.columns)}.{self.parent_column}"


def inherited_columns(
    schema: RelationalSchema, entity_table: str, keys: bool = True
) -> list[Inherited]:
    """The event times and keys to the entity table that tables can take over.

    A time is taken over by a table without one if a single one of its keys refers to a timed table
    other than the entity table. A key is taken over by a table with a time and no key to the entity
    table, from each table of events that it refers to. Keys of several columns give nothing.
    """
    times = list(_times(schema, entity_table))
    if not keys:
        return times
    return [*times, *_keys(with_inherited(schema, times), entity_table)]


def _times(schema: RelationalSchema, entity_table: str) -> Iterator[Inherited]:
    for table in schema.tables:
        timed = [
            (key, time)
            for key in schema.parents(table.name)
            if (time := schema.table(key.parent).time_column) is not None
            and key.parent not in (entity_table, table.name)
        ]
        if table.time_column is None and table.name != entity_table and len(timed) == 1:
            yield Inherited(*timed[0])


def _keys(schema: RelationalSchema, entity_table: str) -> Iterator[Inherited]:
    for table in schema.tables:
        keys = list(schema.parents(table.name))
        direct = entity_table in (table.name, *(key.parent for key in keys))
        if direct or table.time_column is None:
            continue
        for via in keys:
            time = schema.table(via.parent).time_column
            if time is None or via.parent == table.name:
                continue
            times = (table.time_column, time) if table.time_column != INHERITED_TIME else None
            for key in schema.parents(via.parent):
                if key.parent == entity_table and len(key.columns) == 1:
                    yield Inherited(via, key.columns[0], entity_table, times)


def with_inherited(schema: RelationalSchema, columns: Iterable[Inherited]) -> RelationalSchema:
    """The schema with these columns, as event times or as further foreign keys."""
    found = list(columns)
    tables = []
    for table in schema.tables:
        for one in (one for one in found if one.table == table.name):
            kind = SemanticType.TIMESTAMP if one.refers_to is None else SemanticType.IDENTIFIER
            sql_type = "TIMESTAMP" if one.refers_to is None else ""
            column = Column(one.name, sql_type, kind)
            time = one.name if one.refers_to is None else table.time_column
            table = replace(table, columns=(*table.columns, column), time_column=time)
        tables.append(table)
    keys = [
        ForeignKey(one.table, (one.name,), one.refers_to, schema.table(one.refers_to).primary_key)
        for one in found
        if one.refers_to is not None
    ]
    return replace(schema.with_tables(tables), foreign_keys=(*schema.foreign_keys, *keys))
