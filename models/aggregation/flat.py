"""Flat aggregates over sibling rows: one primitive over all ways to reach a row.

From an entity's rows r0 in the window, through a parent of r0, to the rows r1 of that parent in the
`lookback` up to the time of r0: with multiplicity, as a join of the three would give them. For a
commutative monoid the join is not needed: the state of each (parent, time of r0) is combined once,
and the states of the entity's rows are combined like contributions of single rows (task vectors,
Task Vector Estimation, NeurIPS 2025).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlglot import exp

from models.aggregation.accumulators import (
    Accumulator,
    Request,
    Value,
    all_accumulators,
    is_decomposable,
    needs_reference,
    of_order,
)
from models.aggregation.aggregation import finished
from models.aggregation.combining import Rows, combine, states_at_own_times
from models.aggregation.events import Wanted, child_events
from models.aggregation.features import Feature
from models.aggregation.paths import Hop, Path
from models.aggregation.reading import reading_of
from models.aggregation.relations import Contexts, Events, key_pairs
from models.aggregation.requests import conditions_of, distinct_readings, request_of
from models.aggregation.session import Session
from models.aggregation.sql import all_of, cast, col, is_not_null, named, number, row_number, table
from models.aggregation.windows import Window, trailing

if TYPE_CHECKING:
    from models.aggregation.evaluation import Evaluator


def check_flat(feature: Feature) -> None:
    """Whether a flat aggregate can be computed.

    Raises:
        ValueError: The path isn't to children, to a parent of theirs, to children of that (and then
            to parents), or the primitive doesn't decompose.
    """
    steps = [hop.forward for hop in feature.path[:3]]
    if steps != [False, True, False] or not all(hop.forward for hop in feature.path[3:]):
        raise ValueError(f"{feature.name or feature}: a lookback needs a path to sibling rows")
    primitive = feature.primitives[0]
    ok = is_decomposable(primitive) and not of_order(primitive) and primitive != "trend"
    conditioned = feature.where is not None and feature.where.level == 0
    if conditioned or len(feature.primitives) != 1 or not ok:
        raise ValueError(
            f"{feature.name or feature}: over sibling rows only one decomposable primitive is "
            "possible (count, sum, mean, std, min, max, percent_true, ...), with conditions on them"
        )


def flat_aggregates(
    evaluator: Evaluator, hop: Hop, features: Mapping[str, Feature], contexts: Contexts
) -> list[str]:
    """Tables of `ctx` and a column a feature that together hold all features."""
    groups: dict[tuple[Path, timedelta | None], dict[str, Feature]] = defaultdict(dict)
    for alias, feature in features.items():
        groups[feature.path[1:3], feature.lookback][alias] = feature
    parts = []
    for (path, lookback), group in groups.items():
        assert lookback is not None, "flat aggregates have a lookback"
        parts += _siblings(evaluator, hop, path, lookback, group, contexts)
    return parts


def _siblings(
    evaluator: Evaluator,
    hop: Hop,
    path: Path,
    lookback: timedelta,
    features: Mapping[str, Feature],
    contexts: Contexts,
) -> list[str]:
    session, schema = evaluator.session, evaluator.schema
    up, down = path
    links = key_pairs(schema, up.foreign_key)
    wanted = Wanted(
        links=[column for column, _ in links],
        until=max(feature.window.until for feature in features.values()),
    )
    rows = child_events(session, schema, hop, contexts, wanted)

    parents = [(f"q{at}", key) for at, (_, key) in enumerate(links)]
    moment = _moments(session, rows, parents)
    readings = distinct_readings(
        reading_of(feature, feature.path[3:]) for feature in features.values()
    )
    conditions = conditions_of(features, 1)
    siblings = child_events(session, schema, down, moment, Wanted(readings, conditions))
    requests: dict[Window, list[Request]] = defaultdict(list)
    for alias, feature in features.items():
        reading = reading_of(feature, feature.path[3:])
        value = None if reading is None else siblings.values[readings.index(reading)]
        request = request_of(alias, feature, value, conditions, feature.primitives[0], level=1)
        requests[feature.window].append(request)
    everything = [request for group in requests.values() for request in group]
    deviating = list(
        dict.fromkeys(
            request.value
            for request in everything
            if request.value is not None and needs_reference(request.primitive)
        )
    )
    reference = _zeros(session, deviating) if deviating else None
    sibling_rows = Rows(siblings, tuple(all_accumulators(everything)), reference)
    late = any(value.late for value in siblings.values)
    if up.foreign_key == down.foreign_key and not late:
        # The rows are their own siblings, so each (parent, time) is the time of a sibling.
        states = states_at_own_times(session, sibling_rows, lookback)
    else:
        states = _states(evaluator, moment, sibling_rows, lookback)

    # A row contributes its siblings' state.
    query = exp.select(*(col(key, "e") for key, _ in rows.keys), col("time", "e"))
    names = [part.name for part in sibling_rows.accumulators]
    query = query.select(*(col(name, "s") for name in names), copy=False)
    query = query.from_(table(rows.name, "e"), copy=False)
    on = [col(q, "e").eq(col(key, "s")) for q, key in parents]
    on.append(col("time", "e").eq(col("time", "s")))
    query = query.join(table(states, "s"), on=all_of(on), copy=False)
    with_states = Events(session.create(query, "states"), rows.keys, True)
    found = []
    for window, group in requests.items():
        found.append(_of_states(evaluator, contexts, with_states, sibling_rows, group, window))
    session.drop(rows.name, moment.name, siblings.name, states, with_states.name)
    session.drop(*([reference] if reference else []))
    return found


def _moments(session: Session, rows: Events, parents: Sequence[tuple[str, str]]) -> Contexts:
    """One context per (parent, time of a row)."""
    moments = exp.select(*(named(col(q), key) for q, key in parents), named(col("time"), "visible"))
    moments = moments.distinct().from_(table(rows.name), copy=False)
    moments = moments.where(all_of([is_not_null(col(q)) for q, _ in parents]), copy=False)
    query = exp.select(named(row_number(), "ctx"), exp.Star())
    query = query.from_(moments.subquery("m", copy=False), copy=False)
    return Contexts(session.create(query, "moments"), len(parents))


def _zeros(session: Session, values: Sequence[Value]) -> str:
    """Reference values of 0: states of several parents are merged, so they need the same ones.

    And ones that do not depend on which rows are asked about.
    """
    zero = cast(number(0), "DOUBLE")
    return session.create(
        exp.select(*(named(zero.copy(), f"x{value.position}") for value in values)), "references"
    )


def _states(evaluator: Evaluator, moment: Contexts, rows: Rows, lookback: timedelta) -> str:
    """The parents' keys, `time` and what their rows in the lookback combine to."""
    session = evaluator.session
    found = combine(session, moment, rows, trailing(lookback), evaluator.plan)
    query = exp.select(*(col(f"k{at}", "m") for at in range(moment.keys)))
    query = query.select(named(col("visible", "m"), "time"), copy=False)
    query = query.select(*(col(part.name, "s") for part in rows.accumulators), copy=False)
    query = query.from_(table(moment.name, "m"), copy=False)
    query = query.join(table(found, "s"), on=col("ctx", "m").eq(col("ctx", "s")), copy=False)
    states = session.create(query, "states")
    session.drop(found)
    return states


def _of_states(
    evaluator: Evaluator,
    contexts: Contexts,
    events: Events,
    siblings: Rows,
    requests: list[Request],
    window: Window,
) -> str:
    """The states of the rows in a window combined, and the results."""
    session = evaluator.session
    needed = {part.name for part in all_accumulators(requests)}
    merging = tuple(
        Accumulator(part.name, col(part.name, "e"), part.combine)
        for part in siblings.accumulators
        if part.name in needed
    )
    rows = Rows(events, merging, siblings.reference)
    combined = combine(session, contexts, replace(rows, reference=None), window, evaluator.plan)
    found = finished(session, contexts, rows, requests, combined, window)
    session.drop(combined)
    return found
