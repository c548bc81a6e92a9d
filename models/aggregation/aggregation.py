"""Aggregates of events per context, by the plan that suits the histories.

STATIC: rows without time are grouped by entity once. RANGE: contexts are joined with the rows that
they see, and grouped. PREFIX: running aggregates along each history, and an as-of look-up per
context. RANGE costs contexts x history, PREFIX (contexts + history) x log. All give the same bits,
because every accumulator combines exactly (`sums`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlglot import exp

from models.aggregation.accumulators import (
    Accumulator,
    Value,
    accumulators,
    result,
    window_columns,
)
from models.aggregation.relations import Contexts, Events, count_rows
from models.aggregation.session import Session
from models.aggregation.sql import (
    all_of,
    call,
    col,
    is_not_null,
    named,
    over,
    row_number,
    table,
    when,
)
from models.aggregation.windows import PAST, Window

# Measured with DuckDB 1.5 on a million events: a joined pair costs about an 80th of a row that
# goes through running windows.
PAIRS_PER_ROW = 80


class Plan(StrEnum):
    """How events are brought to contexts."""

    STATIC = "static"
    RANGE = "range"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True)
class Request:
    """One aggregate to compute: the output column, the primitive and what it reads."""

    alias: str
    primitive: str
    value: Value | None


def aggregate(
    session: Session,
    contexts: Contexts,
    events: Events,
    requests: Sequence[Request],
    window: Window = PAST,
    forced: Plan | None = None,
) -> str:
    """The table of aggregates: `ctx` and one column a request, a row for every context.

    Args:
        session: Where tables are made.
        contexts: The entities and times to aggregate at.
        events: The rows.
        requests: The aggregates. MODE and NUM_UNIQUE need the whole past (`window` PAST).
        window: The rows around `visible` to aggregate.
        forced: Use this plan wherever it is possible (for tests and measurements).
    """
    ranks = _ranks(session, events, requests)
    needed = {part.name: part for request in requests for part in _parts(request)}
    parts = list(needed.values())
    prepared = _prepare(session, events, requests, parts, ranks)
    plan = choose_plan(session, contexts, events, window, forced)
    combined = session.create(_COMBINE[plan](contexts, events, prepared, parts, window), "combined")
    found = session.create(_results(contexts, events, requests, combined, ranks), "aggregates")
    session.drop(prepared, combined, *ranks.values())
    return found


def choose_plan(
    session: Session,
    contexts: Contexts,
    events: Events,
    window: Window,
    forced: Plan | None = None,
) -> Plan:
    """The cheaper of the plans that are possible."""
    if any(value.late for value in events.values):
        return Plan.RANGE
    if not events.timed:
        return Plan.STATIC
    if window != PAST:
        return Plan.RANGE
    if forced in (Plan.RANGE, Plan.PREFIX):
        return forced
    pairs = session.scalar(pair_count(contexts, events))
    rows = session.scalar(count_rows(events.name))
    entries = session.scalar(count_rows(contexts.name))
    if pairs is None or rows is None or entries is None:
        return Plan.RANGE
    return Plan.RANGE if pairs <= PAIRS_PER_ROW * (rows + entries) else Plan.PREFIX


def pair_count(contexts: Contexts, events: Events) -> exp.Select:
    """The number of (context, event) pairs of the same entity, whatever their times."""
    count = named(call("COUNT", exp.Star()), "n")
    columns = [col(context) for _, context in events.keys]
    left = exp.select(*columns, count).from_(table(contexts.name)).group_by(*columns)
    keys = events.key_columns()
    right = exp.select(*keys, count.copy()).from_(table(events.name)).group_by(*keys)
    product = call("SUM", col("n", "c") * col("n", "e"))
    query = exp.select(product).from_(left.subquery("c"))
    return query.join(right.subquery("e"), on=all_of(events.matches("c", "e")))


def _parts(request: Request) -> list[Accumulator]:
    return accumulators(request.primitive, request.value)


def _values(requests: Sequence[Request], *primitives: str) -> Iterator[Value]:
    """The distinct values that any of the primitives reads."""
    seen = {}
    for request in requests:
        if request.primitive in primitives and request.value is not None:
            seen[request.value.position] = request.value
    return iter(seen.values())


def _ranks(session: Session, events: Events, requests: Sequence[Request]) -> dict[int, str]:
    """For each value that is counted by value: the table of its distinct values, ranked."""
    tables = {}
    for value in _values(requests, "mode", "num_unique"):
        column = value.column("v")
        distinct = exp.select(named(column, "value")).distinct().from_(table(events.name))
        distinct = distinct.where(is_not_null(column.copy()))
        ranked = exp.select(col("value"), named(row_number([col("value")]), "rank"))
        tables[value.position] = session.create(ranked.from_(distinct.subquery("d")), "ranks")
    return tables


def _prepare(
    session: Session,
    events: Events,
    requests: Sequence[Request],
    parts: Sequence[Accumulator],
    ranks: dict[int, str],
) -> str:
    """The events with a column per accumulator, a row's contribution to it."""
    ranked = exp.select(exp.Column(this=exp.Star(), table=exp.to_identifier("e", quoted=True)))
    ranked = ranked.from_(table(events.name, "e"))
    for position, name in ranks.items():
        on = col(f"v{position}", "e").eq(col("value", name))
        ranked = ranked.select(named(col("rank", name), f"r{position}"))
        ranked = ranked.join(table(name), on=on, join_type="left")
    windows: dict[str, exp.Expression] = {}
    for request in requests:
        if request.value is not None:
            order = [col(request.value.late)] if request.value.late else []
            order.append(col("ordinal"))
            keys = events.key_columns()
            windows |= window_columns(request.primitive, request.value, keys, order)
    ordered = exp.select(exp.Star(), *(named(what, name) for name, what in windows.items()))
    ordered = ordered.from_(ranked.subquery("ranked"))
    late = {value.late for value in events.values if value.late}
    kept = [*(key for key, _ in events.keys), *(["time"] if events.timed else []), *sorted(late)]
    columns = [named(part.row, f"in_{part.name}") for part in parts]
    query = exp.select(*map(col, kept), *columns).from_(ordered.subquery("ordered"))
    return session.create(query, "prepared")


def _combine(part: Accumulator, late: bool = False) -> exp.Expression:
    """The aggregate of an accumulator over events `e`, late values only once they are visible."""
    value = col(f"in_{part.name}", "e")
    if late and part.value is not None and part.value.late:
        return call(part.combine, when(col(part.value.late, "e") <= col("visible", "c"), value))
    return call(part.combine, value)


def _static(
    contexts: Contexts,
    events: Events,
    prepared: str,
    parts: Sequence[Accumulator],
    window: Window,
) -> exp.Select:
    keys = events.key_columns("e")
    sums = exp.select(*keys, *(named(_combine(part), part.name) for part in parts))
    sums = sums.from_(table(prepared, "e")).group_by(*(key.copy() for key in keys))
    query = exp.select(col("ctx", "c"), *(col(part.name, "s") for part in parts))
    query = query.from_(table(contexts.name, "c"))
    return query.join(sums.subquery("s"), on=all_of(events.matches("c", "s")))


def _range(
    contexts: Contexts,
    events: Events,
    prepared: str,
    parts: Sequence[Accumulator],
    window: Window,
) -> exp.Select:
    columns = [named(_combine(part, late=True), part.name) for part in parts]
    query = exp.select(col("ctx", "c"), *columns).from_(table(contexts.name, "c"))
    on = all_of(events.visible("c", "e", window))
    return query.join(table(prepared, "e"), on=on).group_by(col("ctx", "c"))


def _prefix(
    contexts: Contexts,
    events: Events,
    prepared: str,
    parts: Sequence[Accumulator],
    window: Window,
) -> exp.Select:
    # A RANGE frame includes rows of the same time, so any of them is a right answer to the look-up.
    keys = events.key_columns("e")
    columns = [
        named(over(_combine(part), keys, [col("time", "e")], "RANGE"), part.name) for part in parts
    ]
    running = exp.select(*keys, col("time", "e"), *columns).from_(table(prepared, "e"))
    query = exp.select(col("ctx", "c"), *(col(part.name, "r") for part in parts))
    query = query.from_(table(contexts.name, "c"))
    on = all_of([*events.matches("c", "r"), col("visible", "c") >= col("time", "r")])
    return query.join(running.subquery("r"), on=on, join_type="asof")


_COMBINE = {Plan.STATIC: _static, Plan.RANGE: _range, Plan.PREFIX: _prefix}


def _results(
    contexts: Contexts,
    events: Events,
    requests: Sequence[Request],
    combined: str,
    ranks: dict[int, str],
) -> exp.Select:
    """Every request's value for every context, from the combined accumulators."""
    columns = [named(_result(request, ranks), request.alias) for request in requests]
    query = exp.select(col("ctx", "c"), *columns).from_(table(contexts.name, "c"))
    on = col("ctx", "c").eq(col("ctx", "combined"))
    query = query.join(table(combined, "combined"), on=on, join_type="left")
    for value in _values(requests, "mode"):
        name = ranks[value.position]
        on = col("rank", name).eq(result("mode", value))
        query = query.join(table(name), on=on, join_type="left")
    if any(request.primitive == "last" for request in requests):
        row = [*events.matches("c", "last"), col("ordinal", "last").eq(col("last", "combined"))]
        query = query.join(table(events.name, "last"), on=all_of(row), join_type="left")
    return query


def _result(request: Request, ranks: dict[int, str]) -> exp.Expression:
    value = request.value
    if request.primitive == "mode" and value is not None:
        return col("value", ranks[value.position])
    if request.primitive == "last" and value is not None:
        last = value.column("v", "last")
        return when(col(value.late, "last") <= col("visible", "c"), last) if value.late else last
    return result(request.primitive, value)
