"""Aggregates of features of the child rows, each child's feature taken as of the cutoff.

As featuretools evaluates them: `MEAN(orders.SUM(items.price))` at t is the mean over the orders up
to t of the sum over each one's items up to t. A child's value is final once everything below it has
happened (`settling`); final values are aggregated like a column, dated when they became final. Only
children that a cutoff sees before that are evaluated at every such (child, cutoff) pair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from models.aggregation.accumulators import Request, Value, is_mergeable, of_order
from models.aggregation.aggregation import aggregate, finished, prepared
from models.aggregation.combining import Rows, combine, merged
from models.aggregation.events import Wanted, child_events
from models.aggregation.features import Feature
from models.aggregation.paths import Hop
from models.aggregation.reading import with_bounds
from models.aggregation.relations import Contexts, Events
from models.aggregation.requests import conditions_of, request_of
from models.aggregation.session import number_of
from models.aggregation.settling import BEGINNING, with_settling
from models.aggregation.sql import (
    all_of,
    call,
    cast,
    col,
    named,
    number,
    row_number,
    table,
)
from models.aggregation.sums import usable
from models.aggregation.windows import PAST, Window
from models.database.schema import SemanticType

if TYPE_CHECKING:
    from models.aggregation.evaluation import Evaluator


def nested_aggregates(
    evaluator: Evaluator, hop: Hop, features: Mapping[str, Feature], contexts: Contexts
) -> list[str]:
    """Tables of `ctx` and a column a feature that together hold all features."""
    return _Nested(evaluator, hop, features, contexts).tables()


class _Nested:
    """The features of one step to children whose values are features of the child."""

    def __init__(
        self,
        evaluator: Evaluator,
        hop: Hop,
        features: Mapping[str, Feature],
        contexts: Contexts,
    ) -> None:
        self._evaluator, self._session = evaluator, evaluator.session
        self._hop, self._contexts = hop, contexts
        self._inner = list(dict.fromkeys(feature.inner for feature in features.values()))
        conditions = conditions_of(features, 0)
        ordered = any(of_order(feature.primitives[0]) for feature in features.values())
        wanted = Wanted(conditions=conditions, ordered=ordered, primary_key=True)
        schema = evaluator.schema
        self._keys = len(schema.table(hop.target).primary_key)
        self._base = child_events(self._session, schema, hop, contexts, wanted)
        self._children = with_settling(
            self._session,
            schema,
            hop,
            self._base.name,
            self._base.timed,
            [feature.path for feature in self._inner],
        )
        self._kept = [
            *(["time"] if self._base.timed else []),
            *(["ordinal"] if ordered else []),
            *(f"w{at}" for at in range(len(conditions))),
        ]
        self._requests: dict[Window, list[Request]] = defaultdict(list)
        for alias, feature in features.items():
            value = Value(self._inner.index(feature.inner))
            request = request_of(alias, feature, value, conditions, feature.primitives[0])
            self._requests[feature.window].append(request)

    def tables(self) -> list[str]:
        """See `nested_aggregates`."""
        final = self._final()
        if not self._is_late():
            events = replace(final, timed=self._base.timed, seen="time")
            parts = self._evaluator.aggregates(self._contexts, events, self._measured(final))
        else:
            parts = []
            # Nothing is known of values at a cutoff, which may be larger than the final ones.
            for window, group in self._requests.items():
                merging = [
                    request
                    for request in group
                    if window == PAST and is_mergeable(request.primitive)
                ]
                if merging:
                    parts.append(self._of_both(final, merging))
                others = [request for request in group if request not in merging]
                if others:
                    parts += self._of_pairs(final, others, window)
        self._session.drop(self._base.name, self._children, final.name)
        return parts

    def _is_late(self) -> bool:
        """Whether some child is seen before its values are final (assumed without data)."""
        own: exp.Expression = col("time") if self._base.timed else number(BEGINNING)
        query = exp.select(call("COUNT", exp.Star())).from_(table(self._children), copy=False)
        return number_of(self._session, query.where(col("seen") > own, copy=False)) != 0

    def _measured(self, final: Events) -> dict[Window, list[Request]]:
        """The requests with what is known of their values, which are all final."""
        numerical = [feature.semantic_type is SemanticType.NUMERICAL for feature in self._inner]
        values = with_bounds(self._session, final.name, final.values, numerical)
        return {
            window: [
                replace(request, value=values[request.value.position])
                for request in group
                if request.value is not None
            ]
            for window, group in self._requests.items()
        }

    def _final(self) -> Events:
        """The child rows with their final values, those that become final while cutoffs see them."""
        last = exp.select(call("MAX", col("visible"))).from_(table(self._contexts.name), copy=False)
        rows = exp.select(
            col("ctx"),
            *(named(col(f"p{i}"), f"k{i}") for i in range(self._keys)),
            named(col("seen"), "visible"),
        ).from_(table(self._children), copy=False)
        rows = rows.where(col("seen") <= exp.paren(last.subquery(copy=False)), copy=False)
        name = self._session.create(rows, "final")
        found = self._evaluator.evaluate(
            self._hop.target, _numbered(self._inner), Contexts(name, self._keys)
        )
        kept = [*(key for key, _ in self._base.keys), *self._kept, "seen"]
        query = exp.select(*(col(column, "b") for column in kept), *_inner_values(self._inner))
        query = query.from_(table(self._children, "b"), copy=False)
        query = query.join(
            table(found, "f"), on=col("ctx", "f").eq(col("ctx", "b")), join_type="left", copy=False
        )
        events = self._session.create(query, "events")
        self._session.drop(name, found)
        values = tuple(Value(i) for i in range(len(self._inner)))
        ordered = "ordinal" in self._kept
        return Events(events, self._base.keys, True, values, ordered, seen="seen")

    def _of_both(self, final: Events, requests: Sequence[Request]) -> str:
        """Final values and those of children that are not final yet, combined and merged."""
        rows = prepared(self._session, final, requests)
        parts = [combine(self._session, self._contexts, rows, PAST, self._evaluator.plan)]

        def of_slice(piece: Contexts) -> None:
            events = self._transient(piece, PAST)
            found = combine(self._session, piece, Rows(events, rows.accumulators), PAST)
            self._session.drop(events.name)
            parts.append(found)

        self._by_slices(of_slice)
        combined = merged(self._session, parts, rows.accumulators)
        result = finished(self._session, self._contexts, rows, requests, combined, PAST)
        self._session.drop(combined)
        return result

    def _of_pairs(self, final: Events, requests: Sequence[Request], window: Window) -> list[str]:
        """Every (context, child) pair as an event of its context, final values or not."""
        stacks: list[list[str]] = []

        def of_slice(piece: Contexts) -> None:
            transient = self._transient(piece, window)
            on = [*final.matches("c", "e"), col("seen", "e") <= col("visible", "c")]
            if self._base.timed:
                on += replace(final, seen="time").inside("c", "e", window)
            query = exp.select(named(col("ctx", "c"), "owner"))
            query = query.select(*(col(name, "e") for name in self._kept), copy=False)
            query = query.select(*(col(f"v{i}", "e") for i in range(len(self._inner))), copy=False)
            query = query.from_(table(piece.name, "c"), copy=False).join(
                table(final.name, "e"), on=all_of(on), copy=False
            )
            rest = exp.select(exp.Star()).from_(table(transient.name), copy=False)
            name = self._session.create(exp.union(query, rest, distinct=False, copy=False), "pairs")
            timed = "time" if self._base.timed else None
            events = replace(transient, name=name, reference_time=timed)
            found = aggregate(self._session, piece, events, requests, window)
            self._session.drop(transient.name, name)
            stacks.append(found)

        self._by_slices(of_slice)
        if len(stacks) == 1:
            return stacks[0]
        parts = []
        for pieces in zip(*stacks, strict=True):
            selects = [exp.select(exp.Star()).from_(table(name), copy=False) for name in pieces]
            stacked = exp.union(*selects, distinct=False, copy=False)
            parts.append(self._session.create(stacked, "stacked"))
            self._session.drop(*pieces)
        return parts

    def _transient(self, contexts: Contexts, window: Window) -> Events:
        """Children that a context sees before they are final, with their values at that time."""
        columns = [named(col(f"p{i}", "e"), f"k{i}") for i in range(self._keys)]
        query = exp.select(named(row_number(), "ctx"), named(col("ctx", "c"), "owner"), *columns)
        query = query.select(
            col("visible", "c"), *(col(name, "e") for name in self._kept), copy=False
        )
        query = self._pairs_from(query, contexts, window)
        pairs = self._session.create(query, "pairs")
        values = self._evaluator.evaluate(
            self._hop.target, _numbered(self._inner), Contexts(pairs, self._keys)
        )
        query = exp.select(col("owner", "p"), *(col(name, "p") for name in self._kept))
        query = query.select(*_inner_values(self._inner), copy=False).from_(
            table(pairs, "p"), copy=False
        )
        query = query.join(
            table(values, "f"), on=col("ctx", "f").eq(col("ctx", "p")), join_type="left", copy=False
        )
        name = self._session.create(query, "events")
        self._session.drop(pairs, values)
        kinds = tuple(Value(i) for i in range(len(self._inner)))
        ordered = "ordinal" in self._kept
        return Events(name, (("owner", "ctx"),), False, kinds, ordered)

    def _pairs_from(self, query: exp.Select, contexts: Contexts, window: Window) -> exp.Select:
        query = query.from_(table(contexts.name, "c"), copy=False)
        on = [*self._base.inside("c", "e", window), col("visible", "c") < col("seen", "e")]
        return query.join(table(self._children, "e"), on=all_of(on), copy=False)

    def _by_slices(self, compute: Callable[[Contexts], None]) -> None:
        """Calls `compute` for slices of the contexts with a bounded number of pairs."""
        count = exp.select(call("COUNT", exp.Star()))
        pairs = number_of(self._session, self._pairs_from(count, self._contexts, PAST)) or 0
        slices = -(-pairs // self._evaluator.pairs_per_query)
        if slices <= 1:
            compute(self._contexts)
            return
        for piece in range(slices):
            query = exp.select(exp.Star()).from_(table(self._contexts.name), copy=False)
            query = query.where((col("ctx") % number(slices)).eq(number(piece)), copy=False)
            name = self._session.create(query, "slice")
            compute(replace(self._contexts, name=name))
            self._session.drop(name)


def _numbered(features: Sequence[Feature]) -> dict[str, Feature]:
    return {f"v{position}": feature for position, feature in enumerate(features)}


def _inner_values(features: Sequence[Feature]) -> list[exp.Expression]:
    """The value columns of inner features, found in the table `f`."""
    columns = []
    for alias, feature in _numbered(features).items():
        value: exp.Expression = col(alias, "f")
        if feature.semantic_type is SemanticType.NUMERICAL:
            value = usable(cast(value, "DOUBLE"))
        columns.append(named(value, alias))
    return columns
