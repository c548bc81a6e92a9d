"""Aggregates in trailing windows, and the materialised pairs that some of them need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlglot import exp

from models.aggregation.accumulators import Value
from models.aggregation.aggregation import Plan, Request, aggregate, pair_count
from models.aggregation.relations import Contexts, Events
from models.aggregation.session import Session
from models.aggregation.sql import all_of, col, named, number, table, when
from models.aggregation.windows import PAST, Window


def aggregate_in_window(
    session: Session,
    contexts: Contexts,
    events: Events,
    requests: Sequence[Request],
    window: Window,
    plan: Plan | None,
    pairs_per_query: int,
) -> list[str]:
    """Tables of aggregates (see `aggregate`) that together hold all requests.

    Running counts per value say nothing about a window, so MODE and NUM_UNIQUE in one are taken of
    the materialised pairs of contexts and rows.
    """
    by_value = [
        request
        for request in requests
        if window != PAST and request.primitive in ("mode", "num_unique")
    ]
    others = [request for request in requests if request not in by_value]
    parts = [aggregate(session, contexts, events, others, window, plan)] if others else []
    if by_value:
        bare = [replace(request, value=_without_lateness(request.value)) for request in by_value]

        def of_pairs(piece: Contexts) -> str:
            pairs = _visible_rows(session, piece, events, window)
            found = aggregate(session, piece, pairs, bare)
            session.drop(pairs.name)
            return found

        parts.append(by_slices(session, contexts, events, of_pairs, pairs_per_query))
    return parts


def by_slices(
    session: Session,
    contexts: Contexts,
    events: Events,
    compute: Callable[[Contexts], str],
    pairs_per_query: int,
) -> str:
    """What `compute` gives, computed for slices of the contexts with a bounded number of pairs."""
    pairs = session.scalar(pair_count(contexts, events)) or 0
    count = -(-pairs // pairs_per_query)
    if count <= 1:
        return compute(contexts)
    found = []
    for piece in range(count):
        query = exp.select(exp.Star()).from_(table(contexts.name))
        query = query.where((col("ctx") % number(count)).eq(number(piece)))
        name = session.create(query, "slice")
        found.append(compute(replace(contexts, name=name)))
        session.drop(name)
    selects = [exp.select(exp.Star()).from_(table(name)) for name in found]
    stacked = session.create(exp.union(*selects, distinct=False), "stacked")
    session.drop(*found)
    return stacked


def _visible_rows(session: Session, contexts: Contexts, events: Events, window: Window) -> Events:
    """The pairs of contexts and rows in their windows, as events that belong to a context."""
    values = [named(_when_visible(value), f"v{value.position}") for value in events.values]
    query = exp.select(named(col("ctx", "c"), "owner"), col("ordinal", "e"), *values)
    query = query.from_(table(contexts.name, "c"))
    on = all_of(events.visible("c", "e", window))
    name = session.create(query.join(table(events.name, "e"), on=on), "pairs")
    return Events(name, (("owner", "ctx"),), timed=False)


def _when_visible(value: Value) -> exp.Expression:
    column = value.column("v", "e")
    if value.late is None:
        return column
    return when(col(value.late, "e") <= col("visible", "c"), column)


def _without_lateness(value: Value | None) -> Value | None:
    return None if value is None else replace(value, late=None)
