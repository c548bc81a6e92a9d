"""The rows at the end of a step towards children, with the values that are read from them.

A value may lie in a parent of the child row (`MEAN(results.races.round)`). It is visible only once
the parent is; where some parent is dated after its child, the value carries its own time (`late`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from models.aggregation.accumulators import Value
from models.aggregation.paths import Hop, Path
from models.aggregation.relations import Contexts, Events, key_pairs
from models.aggregation.session import Session
from models.aggregation.sql import (
    all_of,
    call,
    cast,
    col,
    is_not_null,
    named,
    row_number,
    source,
    table,
)
from models.aggregation.sums import usable
from models.aggregation.types import is_integer
from models.database.schema import RelationalSchema, SemanticType, Table

CHILD = "child"


@dataclass(frozen=True, slots=True)
class Reading:
    """A column to read, at the end of a path of forward steps from the child row.

    `semantic_type` says as what it is read: numbers, truth values, or anything else as it is.
    """

    path: Path
    column: str
    semantic_type: SemanticType | None


def time_of(description: Table, alias: str) -> exp.Expression | None:
    """The event time as a TIMESTAMP; None for a table without one."""
    if description.time_column is None:
        return None
    return cast(col(description.time_column, alias), "TIMESTAMP")


def read_value(session: Session, table_name: str, reading: Reading, alias: str) -> exp.Expression:
    """The column as a DOUBLE or BIGINT without non-finite numbers, a BOOLEAN, or as it is."""
    value = col(reading.column, alias)
    if reading.semantic_type is SemanticType.BOOLEAN:
        return exp.TryCast(this=value, to=exp.DataType.build("BOOLEAN"))
    if reading.semantic_type is SemanticType.TIMESTAMP:
        return cast(value, "TIMESTAMP")
    if reading.semantic_type is not SemanticType.NUMERICAL:
        return value
    if is_integer(session.column_type(table_name, reading.column)):
        return cast(value, "BIGINT")
    return usable(cast(value, "DOUBLE"))


def child_events(
    session: Session,
    schema: RelationalSchema,
    hop: Hop,
    contexts: Contexts,
    readings: Sequence[Reading] = (),
    with_primary_key: bool = False,
) -> Events:
    """The table of child rows of the contexts' entities up to the last visible instant.

    Args:
        session: Where the table is made.
        schema: The database.
        hop: The step to the children.
        contexts: Only rows of their keys are kept.
        readings: The values to read, one value column each.
        with_primary_key: Whether to keep the child's primary key as `p0`, `p1`, ...
    """
    builder = _ChildRows(session, schema, hop, contexts)
    values = tuple(builder.add(position, reading) for position, reading in enumerate(readings))
    if with_primary_key:
        builder.add_primary_key()
    return builder.create(values)


class _ChildRows:
    """Builds the query of `child_events`: a join along the paths that are read."""

    def __init__(
        self, session: Session, schema: RelationalSchema, hop: Hop, contexts: Contexts
    ) -> None:
        self._session, self._schema, self._contexts = session, schema, contexts
        self._child = schema.table(hop.target)
        self._pairs = key_pairs(schema, hop.foreign_key)
        self._aliases: dict[Path, str] = {(): CHILD}
        self._late: dict[Path, str | None] = {(): None}
        self._joins: list[tuple[exp.Expression, exp.Expression]] = []
        self._columns: list[exp.Expression] = []

    def add(self, position: int, reading: Reading) -> Value:
        """Read a value, joining the parents on its path."""
        alias = self._alias(reading.path)
        name = reading.path[-1].target if reading.path else self._child.name
        value = read_value(self._session, name, reading, alias)
        self._columns.append(named(value, f"v{position}"))
        integer = reading.semantic_type is SemanticType.NUMERICAL and is_integer(
            self._session.column_type(name, reading.column)
        )
        return Value(position, integer, self._lateness(reading.path))

    def add_primary_key(self) -> None:
        """Keep the child's primary key."""
        for position, column in enumerate(self._child.primary_key):
            self._columns.append(named(col(column, CHILD), f"p{position}"))

    def create(self, values: tuple[Value, ...]) -> Events:
        """Make the table."""
        time = time_of(self._child, CHILD)
        columns = [named(col(column, CHILD), key) for column, key in self._pairs]
        columns.append(named(row_number(self._order()), "ordinal"))
        if time is not None:
            columns.append(named(time, "time"))
        query = self._from().select(*columns, *self._columns)
        if time is not None:
            last = exp.select(call("MAX", col("visible"))).from_(table(self._contexts.name))
            query = query.where(time.copy() <= last.subquery())
        keys = tuple((key, key) for _, key in self._pairs)
        name = self._session.create(query, "events")
        return Events(name, keys, time is not None, values)

    def _order(self) -> list[exp.Expression]:
        """Time, then primary key: a total order of the child's rows."""
        time = time_of(self._child, CHILD)
        # Without a declared key the whole row decides, so that the order is total all the same.
        names = self._child.primary_key or tuple(self._child.column_names)
        return [*([time] if time is not None else []), *(col(name, CHILD) for name in names)]

    def _from(self) -> exp.Select:
        keys = [col(key) for _, key in self._pairs]
        wanted = exp.select(*keys).distinct().from_(table(self._contexts.name)).subquery("wanted")
        on = [col(column, CHILD).eq(col(key, "wanted")) for column, key in self._pairs]
        query = exp.select().from_(source(self._child.name, CHILD)).join(wanted, on=all_of(on))
        for parent, condition in self._joins:
            query = query.join(parent, on=condition, join_type="left")
        return query

    def _alias(self, path: Path) -> str:
        """The alias of the table at the path's end, joined when first met."""
        if path not in self._aliases:
            below, alias = self._alias(path[:-1]), f"parent{len(self._aliases)}"
            self._aliases[path] = alias
            self._joins.append((source(path[-1].target, alias), self._on(path[-1], below, alias)))
        return self._aliases[path]

    def _on(self, hop: Hop, child: str, parent: str) -> exp.Expression:
        key = hop.foreign_key
        on = [
            col(column, child).eq(col(referred, parent))
            for column, referred in zip(key.columns, key.parent_columns, strict=True)
        ]
        time = time_of(self._schema.table(hop.target), parent)
        # A row of a timed table without a time is never visible.
        return all_of([*on, is_not_null(time)] if time is not None else on)

    def _lateness(self, path: Path) -> str | None:
        """The column with the time from which the values at the path's end may be seen, if late."""
        if path not in self._late:
            self._late[path] = None
            times = [
                time
                for end in range(1, len(path) + 1)
                if (
                    time := time_of(
                        self._schema.table(path[end - 1].target), self._alias(path[:end])
                    )
                )
                is not None
            ]
            if times and self._is_late(times):
                own = time_of(self._child, CHILD)
                self._late[path] = name = f"late{len(self._late)}"
                seen = call("GREATEST", *times, *([own] if own is not None else []))
                self._columns.append(named(seen, name))
        return self._late[path]

    def _is_late(self, times: list[exp.Expression]) -> bool:
        """Whether some parent is dated after its child (taken to be so when there are no data)."""
        own = time_of(self._child, CHILD)
        if own is None:
            return True
        after = exp.or_(*(time.copy() > own.copy() for time in times))
        query = self._from().select(call("COUNT", exp.Star())).where(after)
        return self._session.scalar(query) != 0
