"""The intermediate tables of a compiled query: contexts to evaluate at, events to aggregate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from models.aggregation.accumulators import Value
from models.aggregation.sql import call, col, shifted, table
from models.aggregation.windows import Window
from models.database.schema import ForeignKey, RelationalSchema


@dataclass(frozen=True, slots=True)
class Contexts:
    """A table of (row, time) pairs at which features of a table are evaluated.

    Columns: `ctx` (unique integer), `k0`, `k1`, ... (the primary key) and `visible` (the last
    instant that may be seen, in microseconds).
    """

    name: str
    keys: int


@dataclass(frozen=True, slots=True)
class Events:
    """A table of rows to aggregate per context.

    Columns: the keys, `time` where `timed`, `ordinal` (the rows' order) where `ordered`, those of
    the values and of conditions (`w0`, ...). `keys` pairs each key column with the column of the
    contexts that it must equal. `seen` names the column with the time from which a row counts,
    where that is not its own time (see `nesting`). `reference_time` is the column that orders
    reference values, `seen` where None.
    """

    name: str
    keys: tuple[tuple[str, str], ...]
    timed: bool
    values: tuple[Value, ...] = ()
    ordered: bool = False
    seen: str = "time"
    reference_time: str | None = None

    def key_columns(self, table: str | None = None) -> list[exp.Expression]:
        """The columns that identify the entity."""
        return [col(key, table) for key, _ in self.keys]

    def matches(self, contexts: str, events: str) -> list[exp.Expression]:
        """The conditions under which a row belongs to a context's entity."""
        return [col(context, contexts).eq(col(key, events)) for key, context in self.keys]

    def inside(self, contexts: str, events: str, window: Window) -> list[exp.Expression]:
        """The conditions of `matches`, and that the row's time lies in the window."""
        conditions = self.matches(contexts, events)
        if self.timed:
            time, now = col(self.seen, events), col("visible", contexts)
            conditions.append(time <= shifted(now, window.until))
            if window.after is not None:
                conditions.append(time.copy() > shifted(now.copy(), window.after))
        return conditions


def key_pairs(schema: RelationalSchema, key: ForeignKey) -> list[tuple[str, str]]:
    """(column of the child, context column of the parent's primary key) for each part of the key.

    Raises:
        ValueError: The foreign key does not refer to the parent's whole primary key.
    """
    primary = schema.table(key.parent).primary_key
    if sorted(key.parent_columns) != sorted(primary):
        raise ValueError(f"{key} must refer to the primary key {primary} of {key.parent}")
    positions = [primary.index(column) for column in key.parent_columns]
    return [
        (column, f"k{position}") for column, position in zip(key.columns, positions, strict=True)
    ]


def count_rows(name: str) -> exp.Select:
    """The number of rows of an intermediate table."""
    return exp.select(call("COUNT", exp.Star())).from_(table(name))


def pair_count(contexts: Contexts, events: Events) -> exp.Select:
    """The number of (context, event) pairs of the same entity, whatever their times."""
    left = _counted([context for _, context in events.keys], contexts.name)
    right = _counted([key for key, _ in events.keys], events.name)
    product = call("SUM", col("n", "c") * col("n", "e"))
    query = exp.select(product).from_(left.subquery("c"))
    on = exp.and_(*events.matches("c", "e"))
    return query.join(right.subquery("e"), on=on)


def _counted(columns: Sequence[str], name: str) -> exp.Select:
    keys = [col(column) for column in columns]
    count = exp.alias_(call("COUNT", exp.Star()), "n", quoted=True)
    return exp.select(*keys, count).from_(table(name)).group_by(*(key.copy() for key in keys))
