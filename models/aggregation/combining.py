"""Accumulators brought from events to contexts, by the plan that suits the histories.

STATIC: rows without time are grouped by entity once. RANGE: contexts are joined with the rows that
they see, and grouped; it costs contexts x history. SWEEP: the ends of all windows cut each entity's
time into slots, rows are grouped by slot, and the slots of a window are combined by a running
window over them; it costs (contexts + history) x log. GRID: where entities share their cutoff times
and windows are short, events are grouped by entity and by the shared windows that they lie in; it
costs history x overlapping windows. All plans give the same bits, because accumulators combine
exactly (`sums`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from sqlglot import exp

from models.aggregation.accumulators import REFERENCE, ROW, Accumulator, Value
from models.aggregation.relations import Contexts, Events, count_rows, pair_count
from models.aggregation.session import Session, number_of
from models.aggregation.sql import (
    all_of,
    call,
    col,
    is_not_null,
    micros,
    named,
    number,
    over,
    range_frame,
    rows_from_here,
    shifted,
    table,
    when,
)
from models.aggregation.windows import Window

# Nanoseconds, measured with DuckDB 1.5 and some ten accumulators: for a pair of an entity's context
# and event, whatever their times; for a row that is swept; for an event in a window of the grid and
# for a context that is looked up there.
PAIR_NS, SWEPT_NS, HIT_NS, LOOKUP_NS = 25, 1000, 500, 80


class Plan(StrEnum):
    """How events are brought to contexts."""

    STATIC = "static"
    RANGE = "range"
    SWEEP = "sweep"
    GRID = "grid"


@dataclass(frozen=True, slots=True)
class Rows:
    """Events with what each contributes to the accumulators, and the table of reference values."""

    events: Events
    accumulators: tuple[Accumulator, ...]
    reference: str | None = None
    reference_keys: tuple[str, ...] = ()

    def query(self) -> exp.Select:
        """The query of keys, the events' time, late times and a column `in_...` an accumulator."""
        late = {part.late for part in self.accumulators if part.late}
        kept = [key for key, _ in self.events.keys]
        kept += [self.events.seen] if self.events.timed else []
        query = exp.select(
            *(col(name, ROW) for name in [*kept, *sorted(late - set(kept))]),
            *(named(part.row.copy(), f"in_{part.name}") for part in self.accumulators),
        ).from_(table(self.events.name, ROW), copy=False)
        if self.reference is None:
            return query
        on = [col(key, ROW).eq(col(key, REFERENCE)) for key in self.reference_keys]
        return query.join(
            table(self.reference, REFERENCE), on=all_of(on), join_type="left", copy=False
        )


def references(
    session: Session, events: Events, values: Sequence[Value], keys: Sequence[str]
) -> str:
    """The table of reference values: `x3`, the first value of its entity that is seen, and `o3`.

    The value itself does not matter, only that it lies near the others (so that squares of
    differences keep their digits) and that whoever sees any value sees this one: of the values that
    are seen first it is the least. `o3` is when, in microseconds.
    """

    def seen(value: Value) -> exp.Expression:
        if value.late is not None:
            return col(value.late, ROW)
        name = events.reference_time or (events.seen if events.timed else None)
        return number(0) if name is None else col(name, ROW)

    first = exp.select(*(col(key, ROW) for key in keys)).from_(table(events.name, ROW), copy=False)
    for value in values:
        earliest = call("MIN", when(is_not_null(value.row), seen(value)))
        first = first.select(named(earliest, f"o{value.position}"), copy=False)
    if keys:
        first = first.group_by(*(col(key, ROW) for key in keys), copy=False)
    query = exp.select(*(col(key, ROW) for key in keys)).from_(table(events.name, ROW), copy=False)
    query = query.join(
        first.subquery("first", copy=False),
        on=all_of([col(key, ROW).eq(col(key, "first")) for key in keys]),
        copy=False,
    )
    for value in values:
        time = col(f"o{value.position}", "first")
        least = call("MIN", when(seen(value).eq(time), value.row))
        query = query.select(
            named(least, f"x{value.position}"),
            named(call("MIN", time.copy()), f"o{value.position}"),
            copy=False,
        )
    if keys:
        query = query.group_by(*(col(key, ROW) for key in keys), copy=False)
    return session.create(query, "references")


def combine(
    session: Session,
    contexts: Contexts,
    rows: Rows,
    window: Window,
    forced: Plan | None = None,
) -> str:
    """The table of combined accumulators: `ctx` and a column each, for contexts that see rows.

    Args:
        session: Where tables are made.
        contexts: The entities and times to aggregate at.
        rows: What is combined.
        window: The rows around `visible` to aggregate; without meaning for rows without time.
        forced: Use this plan where it is possible, the cheapest where None.
    """
    plan = choose_plan(session, contexts, rows.events, window, forced)
    if plan is Plan.STATIC:
        return session.create(_static(contexts, rows), "combined")
    if plan is Plan.RANGE:
        return session.create(_range(contexts, rows, window), "combined")
    if plan is Plan.GRID:
        return session.create(_grid(contexts, rows, window), "combined")
    return _sweep(session, contexts, rows, window)


def choose_plan(
    session: Session,
    contexts: Contexts,
    events: Events,
    window: Window,
    forced: Plan | None = None,
) -> Plan:
    """The cheapest of the plans that are possible."""
    if any(value.late for value in events.values):
        return Plan.RANGE
    if not events.timed:
        return Plan.STATIC
    if forced in (Plan.RANGE, Plan.SWEEP) or (forced is Plan.GRID and window.length is not None):
        return forced
    pairs = number_of(session, pair_count(contexts, events))
    if pairs is None:
        return Plan.SWEEP
    rows = number_of(session, count_rows(events.name)) or 0
    entries = number_of(session, count_rows(contexts.name)) or 0
    ends = entries if window.length is None else 2 * entries
    costs = {Plan.RANGE: PAIR_NS * pairs, Plan.SWEEP: SWEPT_NS * (rows + ends)}
    if window.length is not None and min(costs.values()) > LOOKUP_NS * entries:
        overlap = _overlap(session, contexts, window.length)
        costs[Plan.GRID] = round(HIT_NS * rows * overlap + LOOKUP_NS * entries)
    return min(costs, key=lambda plan: costs[plan])


def _overlap(session: Session, contexts: Contexts, length: timedelta) -> float:
    """How many windows of the contexts' distinct times a moment lies in, about."""
    now = col("visible")
    query = exp.select(
        exp.Count(this=exp.Distinct(expressions=[now])), call("MIN", now), call("MAX", now)
    )
    found = session.row(query.from_(table(contexts.name), copy=False))
    if found is None or not found[0]:
        return 0.0
    instants, first, last = (int(moment) for moment in found)
    return float(instants * micros(length) / (last - first + micros(length)))


def states_at_own_times(session: Session, rows: Rows, lookback: timedelta) -> str:
    """What the rows of an entity in `(time - lookback, time]` combine to, at each of their times.

    A table of the keys, `time` and the accumulators: one running window over the rows.
    """
    keys = [key for key, _ in rows.events.keys]
    at_once = exp.select(*map(col, keys), named(col(rows.events.seen), "time"))
    at_once = at_once.select(
        *(
            named(call(part.combine, col(f"in_{part.name}")), part.name)
            for part in rows.accumulators
        ),
        copy=False,
    ).from_(rows.query().subquery("prepared", copy=False), copy=False)
    at_once = at_once.group_by(*map(col, keys), col(rows.events.seen), copy=False)
    frame = range_frame(-lookback, timedelta(0))
    running = exp.select(
        *map(col, keys),
        col("time"),
        *(
            named(
                over(
                    call(part.combine, col(part.name)),
                    [col(key) for key in keys],
                    [col("time")],
                    frame.copy(),
                ),
                part.name,
            )
            for part in rows.accumulators
        ),
    )
    running = running.from_(at_once.subquery("at_once", copy=False), copy=False)
    return session.create(running, "states")


def merged(session: Session, parts: Sequence[str], accumulators: Sequence[Accumulator]) -> str:
    """The combination of several tables that `combine` made of disjoint rows."""
    selects = [exp.select(exp.Star()).from_(table(name), copy=False) for name in parts]
    query = exp.select(col("ctx")).from_(
        exp.union(*selects, distinct=False, copy=False).subquery("stacked", copy=False), copy=False
    )
    query = query.select(
        *(named(call(part.combine, col(part.name)), part.name) for part in accumulators), copy=False
    )
    found = session.create(query.group_by(col("ctx"), copy=False), "merged")
    session.drop(*parts)
    return found


def _static(contexts: Contexts, rows: Rows) -> exp.Select:
    keys = [key for key, _ in rows.events.keys]
    sums = exp.select(*map(col, keys)).from_(
        rows.query().subquery("prepared", copy=False), copy=False
    )
    sums = sums.select(
        *(
            named(call(part.combine, col(f"in_{part.name}")), part.name)
            for part in rows.accumulators
        ),
        copy=False,
    ).group_by(*map(col, keys), copy=False)
    query = exp.select(col("ctx", "c"), *(col(part.name, "s") for part in rows.accumulators))
    query = query.from_(table(contexts.name, "c"), copy=False)
    return query.join(
        sums.subquery("s", copy=False), on=all_of(rows.events.matches("c", "s")), copy=False
    )


def _range(contexts: Contexts, rows: Rows, window: Window) -> exp.Select:
    until = shifted(col("visible", "c"), window.until)

    def combined(part: Accumulator) -> exp.Expression:
        value: exp.Expression = col(f"in_{part.name}", ROW)
        if part.late is not None:
            value = when(col(part.late, ROW) <= until.copy(), value)
        return named(call(part.combine, value), part.name)

    query = exp.select(col("ctx", "c"), *map(combined, rows.accumulators))
    query = query.from_(table(contexts.name, "c"), copy=False)
    on = all_of(rows.events.inside("c", ROW, window))
    return query.join(rows.query().subquery(ROW, copy=False), on=on, copy=False).group_by(
        col("ctx", "c"), copy=False
    )


def _grid(contexts: Contexts, rows: Rows, window: Window) -> exp.Select:
    keys = [key for key, _ in rows.events.keys]
    instants = exp.select(col("visible")).distinct().from_(table(contexts.name), copy=False)
    hits = exp.select(*(col(key, ROW) for key in keys), col("visible", "grid"))
    hits = hits.select(
        *(
            named(call(part.combine, col(f"in_{part.name}", ROW)), part.name)
            for part in rows.accumulators
        ),
        copy=False,
    ).from_(instants.subquery("grid", copy=False), copy=False)
    time, now = col(rows.events.seen, ROW), col("visible", "grid")
    inside: list[exp.Expression] = [time <= shifted(now, window.until)]
    if window.after is not None:
        inside.append(time.copy() > shifted(now.copy(), window.after))
    hits = hits.join(rows.query().subquery(ROW, copy=False), on=all_of(inside), copy=False)
    hits = hits.group_by(*(col(key, ROW) for key in keys), col("visible", "grid"), copy=False)
    query = exp.select(col("ctx", "c"), *(col(part.name, "h") for part in rows.accumulators))
    query = query.from_(table(contexts.name, "c"), copy=False)
    on = [*rows.events.matches("c", "h"), col("visible", "c").eq(col("visible", "h"))]
    return query.join(hits.subquery("h", copy=False), on=all_of(on), copy=False)


def _sweep(session: Session, contexts: Contexts, rows: Rows, window: Window) -> str:
    """Events into the slots between window ends, then a running window over the slots."""
    pairs, seen = rows.events.keys, rows.events.seen
    keys = [context for _, context in pairs]
    upper = shifted(col("visible"), window.until)
    ends = exp.select(*map(col, keys), named(upper, "at")).from_(table(contexts.name), copy=False)
    if window.after is not None:
        lower = shifted(col("visible"), window.after)
        starts = exp.select(*map(col, keys), named(lower, "at")).from_(
            table(contexts.name), copy=False
        )
        both = exp.union(ends, starts, distinct=True, copy=False)
        ends = exp.select(exp.Star()).from_(both.subquery("stacked", copy=False), copy=False)
    else:
        ends = ends.distinct()
    boundaries = session.create(ends, "boundaries")

    # The slot of a row is the first boundary at or after it; later rows have none.
    inputs = [f"in_{part.name}" for part in rows.accumulators]
    entries = exp.select(
        *(named(col(key), context) for key, context in pairs),
        named(col(seen), "at"),
        named(exp.cast(exp.null(), "BIGINT"), "slot"),
        *map(col, inputs),
    ).from_(rows.query().subquery("prepared", copy=False), copy=False)
    marks = exp.select(*map(col, keys), col("at"), named(col("at"), "slot"))
    marks = marks.select(*(named(exp.null(), name) for name in inputs), copy=False).from_(
        table(boundaries), copy=False
    )
    following = over(
        call("MIN", col("slot")),
        [col(key) for key in keys],
        [col("at"), is_not_null(col("slot"))],
        rows_from_here(),
    )
    swept = exp.select(*map(col, keys), named(following, "slot"), *map(col, inputs))
    swept = swept.select(named(col("slot"), "mark"), copy=False)
    swept = swept.from_(
        exp.union(entries, marks, distinct=False, copy=False).subquery("entries", copy=False),
        copy=False,
    )
    slots = exp.select(*map(col, keys), col("slot")).from_(
        swept.subquery("swept", copy=False), copy=False
    )
    slots = slots.where(all_of([col("mark").is_(exp.null()), is_not_null(col("slot"))]), copy=False)
    slots = slots.select(
        *(
            named(call(part.combine, col(f"in_{part.name}")), f"in_{part.name}")
            for part in rows.accumulators
        ),
        copy=False,
    ).group_by(*map(col, keys), col("slot"), copy=False)

    length = window.length
    frame = range_frame(None if length is None else -length, timedelta(0))
    running = exp.select(*(col(key, "b") for key in keys), col("at", "b"))
    running = running.select(
        *(
            named(
                over(
                    call(part.combine, col(f"in_{part.name}", "s")),
                    [col(key, "b") for key in keys],
                    [col("at", "b")],
                    frame.copy(),
                ),
                part.name,
            )
            for part in rows.accumulators
        ),
        copy=False,
    ).from_(table(boundaries, "b"), copy=False)
    same = [col(key, "b").eq(col(key, "s")) for key in keys]
    same.append(col("at", "b").eq(col("slot", "s")))
    running = running.join(
        slots.subquery("s", copy=False), on=all_of(same), join_type="left", copy=False
    )

    query = exp.select(col("ctx", "c"), *(col(part.name, "r") for part in rows.accumulators))
    query = query.from_(table(contexts.name, "c"), copy=False)
    at = [col(key, "c").eq(col(key, "r")) for key in keys]
    at.append(shifted(col("visible", "c"), window.until).eq(col("at", "r")))
    query = query.join(running.subquery("r", copy=False), on=all_of(at), copy=False)
    found = session.create(query, "combined")
    session.drop(boundaries)
    return found
