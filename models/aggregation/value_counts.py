"""What is counted by value: MODE, NUM_UNIQUE, ENTROPY, N_MOST_COMMON.

The general way counts each value per context over the rows that the context sees, which costs
contexts x history. Over the whole past there is a near-linear way for all but N_MOST_COMMON: with
running counts of each value in time order, the mode of a prefix of the history is the value of the
row with the greatest running count, the number of distinct values that of first occurrences, and
sum n ln n, which ENTROPY needs, a sum of increments. Both ways give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from models.aggregation.accumulators import COMBINED, ROW, Accumulator, Request, Value
from models.aggregation.combining import Plan, Rows, combine
from models.aggregation.relations import Contexts, Events
from models.aggregation.session import Session
from models.aggregation.sql import (
    all_of,
    call,
    cast,
    col,
    is_not_null,
    named,
    number,
    one_if,
    over,
    row_number,
    shifted,
    table,
    when,
)
from models.aggregation.sums import joined, limb
from models.aggregation.windows import PAST, Window

BY_VALUE = ("mode", "num_unique", "entropy", "n_most_common")
# MODE's code is rank - count * MODE_BASE: the least code has the greatest count, then least value.
MODE_BASE = 2**31
_LIMBS = ("unit", "fraction")


def count_by_value(
    session: Session,
    contexts: Contexts,
    events: Events,
    requests: Sequence[Request],
    window: Window,
    plan: Plan,
) -> str:
    """The table of the requests that read one value under one condition: `ctx` and their columns.

    Only contexts that see rows have one.
    """
    value, where = requests[0].value, requests[0].where
    assert value is not None, "what is counted by value reads a column"
    ranks = _ranks(session, events, value)
    running = (
        plan is Plan.SWEEP
        and window == PAST
        and all(request.primitive != "n_most_common" for request in requests)
    )
    if running:
        combined = _running(session, contexts, events, ranks, value, where)
        counts = None
    else:
        counts = _counts(session, contexts, events, ranks, value, where, window)
        combined = _summed(session, counts)
    found = session.create(_results(requests, combined, counts, ranks), "by_value")
    session.drop(ranks, combined, *([counts] if counts else []))
    return found


def _ranks(session: Session, events: Events, value: Value) -> str:
    """The distinct values of the column, ranked."""
    column = value.row
    distinct = (
        exp.select(named(column, "value")).distinct().from_(table(events.name, ROW), copy=False)
    )
    distinct = distinct.where(is_not_null(column.copy()), copy=False)
    ranked = exp.select(col("value"), named(row_number([col("value")]), "rank"))
    return session.create(ranked.from_(distinct.subquery("d", copy=False), copy=False), "ranks")


def _ranked(events: Events, ranks: str, value: Value, where: str | None) -> exp.Select:
    """The events' keys, times and the rank of their value (NULL for a missing one)."""
    kept = [key for key, _ in events.keys]
    kept += [events.seen] if events.timed else []
    kept += [value.late] if value.late and value.late not in kept else []
    query = exp.select(*(col(name, ROW) for name in kept), col("rank", "ranks"))
    query = query.from_(table(events.name, ROW), copy=False)
    on = value.row.eq(col("value", "ranks"))
    query = query.join(table(ranks, "ranks"), on=on, join_type="left", copy=False)
    return query if where is None else query.where(col(where, ROW), copy=False)


def _counts(
    session: Session,
    contexts: Contexts,
    events: Events,
    ranks: str,
    value: Value,
    where: str | None,
    window: Window,
) -> str:
    """`ctx`, `rank`, `n`: how often each value, or none, is seen from a context."""
    rank: exp.Expression = col("rank", ROW)
    if value.late is not None:
        until = shifted(col("visible", "c"), window.until)
        rank = when(col(value.late, ROW) <= until, rank)
    pairs = exp.select(col("ctx", "c"), named(rank, "rank")).from_(
        table(contexts.name, "c"), copy=False
    )
    on = all_of(events.inside("c", ROW, window))
    pairs = pairs.join(
        _ranked(events, ranks, value, where).subquery(ROW, copy=False), on=on, copy=False
    )
    query = exp.select(col("ctx"), col("rank"), named(call("COUNT", exp.Star()), "n"))
    query = query.from_(pairs.subquery("pairs", copy=False), copy=False).group_by(
        col("ctx"), col("rank"), copy=False
    )
    return session.create(query, "counts")


def _information(count: exp.Expression) -> exp.Expression:
    """N ln n of a count, 0 of 0."""
    amount = cast(count, "DOUBLE")
    return exp.paren(amount * call("LN", call("GREATEST", amount.copy(), number(1))))


def _summed(session: Session, counts: str) -> str:
    known = is_not_null(col("rank"))
    code = call("MIN", when(known, col("rank") - col("n") * number(MODE_BASE)))
    query = exp.select(
        col("ctx"),
        named(call("SUM", col("n")), "rows"),
        named(call("SUM", one_if(known.copy())), "distinct"),
        named(call("COUNT", exp.Star()), "kinds"),
        named(code, "code"),
        *(
            named(call("SUM", limb(_information(col("n")), name, _LIMBS)), f"information_{name}")
            for name in _LIMBS
        ),
    )
    return session.create(
        query.from_(table(counts), copy=False).group_by(col("ctx"), copy=False), "summed"
    )


def _running(
    session: Session,
    contexts: Contexts,
    events: Events,
    ranks: str,
    value: Value,
    where: str | None,
) -> str:
    """The same columns as `_summed`, from running counts of each value."""
    partition = [*(col(key) for key, _ in events.keys), col("rank")]
    position = over(exp.RowNumber(), partition, [col(events.seen)])
    counted = exp.select(exp.Star(), named(position, "n"))
    counted = counted.from_(
        _ranked(events, ranks, value, where).subquery("ranked", copy=False), copy=False
    )
    name = session.create(counted, "running")
    count, known = col("n", ROW), is_not_null(col("rank", ROW))
    first = col("n", ROW).eq(number(1))
    parts = [
        Accumulator("rows", number(1)),
        Accumulator("distinct", one_if(all_of([known, first]))),
        Accumulator("kinds", one_if(first.copy())),
        Accumulator(
            "code", when(known.copy(), col("rank", ROW) - count * number(MODE_BASE)), "MIN"
        ),
    ]
    for part in _LIMBS:
        now = limb(_information(count.copy()), part, _LIMBS)
        before = limb(_information(exp.paren(count.copy() - number(1))), part, _LIMBS)
        parts.append(Accumulator(f"information_{part}", now - before))
    ranked = Events(name, events.keys, True, seen=events.seen)
    found = combine(session, contexts, Rows(ranked, tuple(parts)), PAST, Plan.SWEEP)
    session.drop(name)
    return found


def _results(
    requests: Sequence[Request], combined: str, counts: str | None, ranks: str
) -> exp.Select:
    query = exp.select(col("ctx", COMBINED)).from_(table(combined, COMBINED), copy=False)
    # Contexts whose events are all later come out of the running form with NULLs.
    query = query.where(col("rows", COMBINED) > number(0), copy=False)
    for request in requests:
        if request.primitive in ("mode", "n_most_common"):
            alias = f"named_{request.alias}"
            rank: exp.Expression
            if request.primitive == "mode":
                base = number(MODE_BASE)
                code = col("code", COMBINED)
                rank = exp.paren(code % base + base.copy()) % base.copy()
            else:
                assert counts is not None, "the most common values need all counts"
                place = f"place_{request.alias}"
                query = query.join(
                    _placed(counts, request.component or 0).subquery(place, copy=False),
                    on=col("ctx", COMBINED).eq(col("ctx", place)),
                    join_type="left",
                    copy=False,
                )
                rank = col("rank", place)
            on = col("rank", alias).eq(rank)
            query = query.join(table(ranks, alias), on=on, join_type="left", copy=False)
            query = query.select(named(col("value", alias), request.alias), copy=False)
        elif request.primitive == "num_unique":
            query = query.select(named(col("distinct", COMBINED), request.alias), copy=False)
        else:
            query = query.select(named(_entropy(), request.alias), copy=False)
    return query


def _entropy() -> exp.Expression:
    """Ln N - (sum n ln n) / N, in nats."""
    rows = cast(col("rows", COMBINED), "DOUBLE")
    value = (
        call("LN", rows)
        - joined(_LIMBS, lambda name: col(f"information_{name}", COMBINED)) / rows.copy()
    )
    several = col("kinds", COMBINED) > number(1)
    return exp.Case().when(several, value, copy=False).else_(number(0), copy=False)


def _placed(counts: str, component: int) -> exp.Select:
    """The value of each context at a place in the order of counts, ties by value."""
    order = exp.Order(
        expressions=[exp.Ordered(this=col("n"), desc=True), exp.Ordered(this=col("rank"))]
    )
    place = exp.Window(this=exp.RowNumber(), partition_by=[col("ctx")], order=order)
    placed = exp.select(col("ctx"), col("rank"), named(place, "place")).from_(
        table(counts), copy=False
    )
    placed = placed.where(is_not_null(col("rank")), copy=False)
    query = exp.select(col("ctx"), col("rank")).from_(
        placed.subquery("placed", copy=False), copy=False
    )
    return query.where(col("place").eq(number(component + 1)), copy=False)
