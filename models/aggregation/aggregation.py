"""Aggregates of events per context: requests in, one column each out."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from models.aggregation.accumulators import (
    COMBINED,
    REFERENCE,
    Request,
    Value,
    all_accumulators,
    needs_reference,
    of_order,
    result,
)
from models.aggregation.combining import Plan, Rows, choose_plan, combine, references
from models.aggregation.relations import Contexts, Events
from models.aggregation.session import Session
from models.aggregation.sql import all_of, col, named, shifted, table, when
from models.aggregation.value_counts import BY_VALUE, count_by_value
from models.aggregation.windows import PAST, Window


def aggregate(
    session: Session,
    contexts: Contexts,
    events: Events,
    requests: Sequence[Request],
    window: Window = PAST,
    forced: Plan | None = None,
) -> list[str]:
    """Tables of aggregates that together hold all requests: `ctx` and one column a request.

    Args:
        session: Where tables are made.
        contexts: The entities and times to aggregate at.
        events: The rows.
        requests: The aggregates.
        window: The rows around `visible` to aggregate.
        forced: Use this plan wherever it is possible (for tests and measurements).
    """
    parts = []
    plan = choose_plan(session, contexts, events, window, forced)
    plain = [request for request in requests if request.primitive not in BY_VALUE]
    if plain:
        rows = prepared(session, events, plain)
        combined = combine(session, contexts, rows, window, plan)
        parts.append(finished(session, contexts, rows, plain, combined, window))
        session.drop(combined, *([rows.reference] if rows.reference else []))
    groups: dict[object, list[Request]] = {}
    for request in requests:
        if request.primitive in BY_VALUE:
            groups.setdefault((request.value, request.where), []).append(request)
    for group in groups.values():
        parts.append(count_by_value(session, contexts, events, group, window, plan))
    return parts


def prepared(session: Session, events: Events, requests: Sequence[Request]) -> Rows:
    """The events with the accumulators of the requests, and reference values where needed."""
    deviating: dict[int, Value] = {
        request.value.position: request.value
        for request in requests
        if request.value is not None and needs_reference(request.primitive)
    }
    keys = tuple(key for key, _ in events.keys)
    reference = references(session, events, list(deviating.values()), keys) if deviating else None
    return Rows(events, tuple(all_accumulators(requests)), reference, keys)


def finished(
    session: Session,
    contexts: Contexts,
    rows: Rows,
    requests: Sequence[Request],
    combined: str,
    window: Window,
) -> str:
    """Every request's value for every context, from the combined accumulators."""
    events = rows.events
    query = exp.select(col("ctx", "c"))
    joins: dict[str, exp.Expression] = {}
    for request in requests:
        value = result(request)
        if of_order(request.primitive) and request.value is not None:
            alias = f"row_{value.name}"
            joins[alias] = all_of([col("ordinal", alias).eq(value), *events.matches("c", alias)])
            value = col(f"v{request.value.position}", alias)
            if request.value.late is not None:
                until = shifted(col("visible", "c"), window.until)
                value = when(col(request.value.late, alias) <= until, value)
        query = query.select(named(value, request.alias), copy=False)
    query = query.from_(table(contexts.name, "c"), copy=False)
    on = col("ctx", "c").eq(col("ctx", COMBINED))
    query = query.join(table(combined, COMBINED), on=on, join_type="left", copy=False)
    if rows.reference is not None:
        of_entity = {key: context for key, context in events.keys}
        same = [col(of_entity[k], "c").eq(col(k, REFERENCE)) for k in rows.reference_keys]
        query = query.join(
            table(rows.reference, REFERENCE), on=all_of(same), join_type="left", copy=False
        )
    for alias, condition in joins.items():
        query = query.join(table(events.name, alias), on=condition, join_type="left", copy=False)
    return session.create(query, "aggregates")
