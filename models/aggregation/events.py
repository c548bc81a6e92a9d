"""The rows at the end of a step towards children, with the values that are read from them.

A value may lie in a parent of the child row (`MEAN(results.races.round)`). It is visible only once
the parent is; where some parent is dated after its child, the value carries its own time (`late`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlglot import exp

from models.aggregation.accumulators import Value
from models.aggregation.paths import Hop, Path
from models.aggregation.reading import (
    Reading,
    is_integer_reading,
    read_value,
    time_of,
    with_bounds,
)
from models.aggregation.relations import Contexts, Events, key_pairs
from models.aggregation.session import Session, number_of
from models.aggregation.sql import (
    all_of,
    call,
    col,
    is_not_null,
    named,
    row_number,
    shifted,
    source,
    table,
)
from models.database.schema import RelationalSchema, SemanticType

CHILD = "child"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to keep of the child rows besides their keys and time.

    `readings` become the values v0, v1, ...; `conditions` truth values w0, w1, ...; with `ordered`
    the row's `ordinal`; with `primary_key` its p0, p1, ...; `links` are columns kept as q0, q1, ...
    Rows up to their entity's last instant plus `until` are kept.
    """

    readings: Sequence[Reading] = ()
    conditions: Sequence[Reading] = ()
    ordered: bool = False
    primary_key: bool = False
    links: Sequence[str] = ()
    until: timedelta = timedelta(0)


def child_events(
    session: Session, schema: RelationalSchema, hop: Hop, contexts: Contexts, wanted: Wanted
) -> Events:
    """The table of child rows of the contexts' entities, up to the last instant that counts for each.

    Args:
        session: Where the table is made.
        schema: The database.
        hop: The step to the children.
        contexts: Only rows of their keys are kept.
        wanted: What is kept of the rows.
    """
    return _ChildRows(session, schema, hop, contexts).create(wanted)


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

    def create(self, wanted: Wanted) -> Events:
        """Make the table."""
        values = [self._add(at, reading) for at, reading in enumerate(wanted.readings)]
        for at, condition in enumerate(wanted.conditions):
            value = read_value(self._session, self._child.name, condition, CHILD)
            self._columns.append(named(value, f"w{at}"))
        kept = list(self._child.primary_key) if wanted.primary_key else []
        self._columns += [named(col(name, CHILD), f"p{at}") for at, name in enumerate(kept)]
        self._columns += [named(col(name, CHILD), f"q{at}") for at, name in enumerate(wanted.links)]
        time = time_of(self._child, CHILD)
        columns = [named(col(column, CHILD), key) for column, key in self._pairs]
        if wanted.ordered:
            columns.append(named(row_number(self._order()), "ordinal"))
        if time is not None:
            columns.append(named(time, "time"))
        query = self._from().select(*columns, *self._columns, copy=False)
        if time is not None:
            last = shifted(col("last", "wanted"), wanted.until)
            query = query.where(time.copy() <= last, copy=False)
        # Rows of one entity next to each other: what is aggregated per context then stays in cache.
        query = query.order_by(*(col(column, CHILD) for column, _ in self._pairs), copy=False)
        name = self._session.create(query, "events")
        numerical = [reading.semantic_type is SemanticType.NUMERICAL for reading in wanted.readings]
        measured = with_bounds(self._session, name, values, numerical)
        keys = tuple((key, key) for _, key in self._pairs)
        return Events(name, keys, time is not None, measured, wanted.ordered)

    def _add(self, position: int, reading: Reading) -> Value:
        """Read a value, joining the parents on its path."""
        alias = self._alias(reading.path)
        name = reading.path[-1].target if reading.path else self._child.name
        value = read_value(self._session, name, reading, alias)
        self._columns.append(named(value, f"v{position}"))
        integer = is_integer_reading(self._session, name, reading)
        return Value(position, integer, self._lateness(reading.path))

    def _order(self) -> list[exp.Expression]:
        """Time, then primary key: a total order of the child's rows."""
        time = time_of(self._child, CHILD)
        # Without a declared key the whole row decides, so that the order is total all the same.
        names = self._child.primary_key or tuple(self._child.column_names)
        return [*([time] if time is not None else []), *(col(name, CHILD) for name in names)]

    def _from(self) -> exp.Select:
        keys = [col(key) for _, key in self._pairs]
        last = named(call("MAX", col("visible")), "last")
        entities = exp.select(*keys, last).from_(table(self._contexts.name), copy=False)
        wanted = entities.group_by(*(key.copy() for key in keys), copy=False).subquery("wanted")
        on = [col(column, CHILD).eq(col(key, "wanted")) for column, key in self._pairs]
        query = (
            exp.select()
            .from_(source(self._child.name, CHILD), copy=False)
            .join(wanted, on=all_of(on), copy=False)
        )
        for parent, condition in self._joins:
            query = query.join(parent, on=condition, join_type="left", copy=False)
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
        query = self._from().select(call("COUNT", exp.Star()), copy=False).where(after, copy=False)
        return number_of(self._session, query) != 0
