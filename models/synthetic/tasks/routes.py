"""The ways from an entity to the activity rows that a forecast may ask about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from models.synthetic.blueprint import Blueprint, ColumnPlan, KeyPlan, TableKind, TablePlan


class Turn(StrEnum):
    """Where a second hop goes."""

    CHILD = "child"
    PARENT = "parent"


@dataclass(frozen=True, slots=True)
class SecondHop:
    """From an activity to the rows that belong to it, or to another parent of it.

    Attributes:
        turn: To children or to a parent.
        table: The table at the end of the hop.
        key: The foreign key: a column of `table` (child), or of the activity (parent).
    """

    turn: Turn
    table: str
    key: str


@dataclass(frozen=True, slots=True)
class Route:
    """entity <- activity, entity <- activity <- child activity, or entity <- activity -> parent.

    Attributes:
        entity: The entity table.
        activity: An activity table with a key to the entity.
        key: That key.
        second: The second hop, or None.
    """

    entity: str
    activity: str
    key: str
    second: SecondHop | None = None

    @property
    def end(self) -> str:
        """The table whose columns the route reaches."""
        return self.second.table if self.second else self.activity

    @property
    def counts(self) -> bool:
        """Whether rows at the end are events of their own; a parent is none."""
        return self.second is None or self.second.turn == Turn.CHILD

    @property
    def hops(self) -> int:
        """The number of foreign keys on the route."""
        return 2 if self.second else 1

    def plain(self) -> dict[str, Any]:
        """The route as plain data."""
        found: dict[str, Any] = {
            "entity": self.entity,
            "activity": self.activity,
            "key": self.key,
            "hops": self.hops,
        }
        if self.second:
            found["second_hop"] = {
                "to": str(self.second.turn),
                "table": self.second.table,
                "key": self.second.key,
            }
        return found


def routes(blueprint: Blueprint) -> tuple[Route, ...]:
    """Every route of one or two hops from an entity table, in the order of the blueprint."""
    return tuple(_routes(blueprint))


def _routes(blueprint: Blueprint) -> Iterator[Route]:
    for entity in blueprint.tables:
        if entity.kind == TableKind.ENTITY:
            for activity, key in _activities(blueprint, entity.name):
                yield Route(entity.name, activity.name, key.column)
                for child, link in _activities(blueprint, activity.name):
                    second = SecondHop(Turn.CHILD, child.name, link.column)
                    yield Route(entity.name, activity.name, key.column, second)
                for other in activity.keys:
                    if other.column != key.column:
                        second = SecondHop(Turn.PARENT, other.parent, other.column)
                        yield Route(entity.name, activity.name, key.column, second)


def _activities(blueprint: Blueprint, table: str) -> Iterator[tuple[TablePlan, KeyPlan]]:
    """Activity tables with their keys to a table; a table's own rows are not its activities."""
    for child, key in blueprint.children(table):
        if child.kind == TableKind.ACTIVITY and child.name != table:
            yield child, key


def countable(blueprint: Blueprint, route: Route) -> list[str]:
    """Columns at the end of a route whose distinct values count: categories and further keys."""
    end = blueprint.table(route.end)
    walked = {route.key} if route.second is None else {route.second.key}
    keys = [key.column for key in end.keys if key.column not in walked] if route.counts else []
    return keys + [column.name for column in end.columns if column.categories]


def columns_of(blueprint: Blueprint, table: str, *kinds: str) -> list[ColumnPlan]:
    """The columns of a table that hold one of some kinds, in order."""
    return [column for column in blueprint.table(table).columns if column.kind in kinds]
