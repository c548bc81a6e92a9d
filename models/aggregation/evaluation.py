"""Features at contexts: the recursion over a feature's path.

A feature is evaluated at (row of its table, last visible instant). A step to a parent evaluates the
rest of the path once per distinct (parent, instant); a step to children aggregates values of the
child rows, or, when those are features themselves, evaluates them at every (child, instant) pair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sqlglot import exp

from models.aggregation.accumulators import Value
from models.aggregation.aggregation import Plan, Request, aggregate
from models.aggregation.events import Reading, child_events, read_value, time_of
from models.aggregation.features import Feature
from models.aggregation.paths import Hop
from models.aggregation.primitives import AGGREGATES
from models.aggregation.relations import Contexts, Events, key_pairs
from models.aggregation.session import Session
from models.aggregation.sql import all_of, call, cast, col, named, row_number, source, table
from models.aggregation.sums import usable
from models.aggregation.windowed import aggregate_in_window, by_slices
from models.aggregation.windows import Window
from models.database.schema import RelationalSchema, SemanticType

# Bounds the memory of one query: accumulator columns and joined pairs that are materialised.
VALUES_PER_QUERY = 24
PAIRS_PER_QUERY = 4_000_000

Features = Mapping[str, Feature]

_READ_AS = {
    "mode": SemanticType.CATEGORICAL,
    "num_unique": SemanticType.CATEGORICAL,
    "percent_true": SemanticType.BOOLEAN,
}


class Evaluator:
    """Compiles features to statements and hands them to a session.

    `plan` forces a plan where it is possible; `pairs_per_query` bounds the pairs that nested
    features materialise at a time.
    """

    def __init__(
        self,
        session: Session,
        schema: RelationalSchema,
        plan: Plan | None = None,
        pairs_per_query: int = PAIRS_PER_QUERY,
    ) -> None:
        self._session, self._schema = session, schema
        self._plan, self._pairs_per_query = plan, pairs_per_query

    def evaluate(self, table_name: str, features: Features, contexts: Contexts) -> str:
        """The table with `ctx` and a column per feature (by alias), a row for every context.

        Times (AGE, TIME_SINCE_LAST) are given as instants.
        """
        own, forward, backward = _by_first_step(features)
        parts = [self._own(table_name, own, contexts)] if own else []
        parts += [self._forward(hop, group, contexts) for hop, group in forward.items()]
        for (hop, window, nested), group in backward.items():
            step = self._nested if nested else self._rows
            parts += step(hop, group, contexts, window)
        return self._joined(contexts, parts, list(features))

    def _joined(self, contexts: Contexts, parts: Sequence[str], aliases: Sequence[str]) -> str:
        if len(parts) == 1:
            return parts[0]
        query = exp.select(col("ctx", "c"), *map(col, aliases)).from_(table(contexts.name, "c"))
        for part in parts:
            on = col("ctx", "c").eq(col("ctx", part))
            query = query.join(table(part), on=on, join_type="left")
        joined = self._session.create(query, "joined")
        self._session.drop(*parts)
        return joined

    def _own(self, table_name: str, features: Features, contexts: Contexts) -> str:
        """Columns of the contexts' own rows, NULL where the row isn't visible."""
        columns = [
            named(self._own_value(table_name, feature), alias)
            for alias, feature in features.items()
        ]
        query = exp.select(col("ctx", "c"), *columns).from_(table(contexts.name, "c"))
        on = self._row_condition(table_name, "row", "c")
        return self._session.create(
            query.join(source(table_name, "row"), on=on, join_type="left"), "own"
        )

    def _own_value(self, table_name: str, feature: Feature) -> exp.Expression:
        assert feature.column is not None, feature
        read_as = (
            SemanticType.TIMESTAMP
            if feature.transform in ("time_since", "age")
            else feature.semantic_type
        )
        reading = Reading((), feature.column, read_as)
        return read_value(self._session, table_name, reading, "row")

    def _row_condition(self, table_name: str, row: str, context: str) -> exp.Expression:
        """That a staged row is the context's row and visible to it."""
        description = self._schema.table(table_name)
        conditions: list[exp.Expression] = [
            col(column, row).eq(col(f"k{position}", context))
            for position, column in enumerate(description.primary_key)
        ]
        time = time_of(description, row)
        return all_of(
            [*conditions, time <= col("visible", context)] if time is not None else conditions
        )

    def _forward(self, hop: Hop, features: Features, contexts: Contexts) -> str:
        """Features of the parent row, NULL where either row isn't visible."""
        links = self._links(hop, contexts)
        parents = self._parents(hop, links)
        inner = {alias: feature.inner for alias, feature in features.items()}
        found = self.evaluate(hop.target, inner, parents)
        names = [*(f"k{i}" for i in range(parents.keys)), "visible"]
        same = all_of([col(name, "l").eq(col(name, "p")) for name in names])
        query = exp.select(col("ctx", "l"), *(col(alias, "f") for alias in features))
        query = query.from_(table(links, "l")).join(table(parents.name, "p"), on=same)
        query = query.join(table(found, "f"), on=col("ctx", "f").eq(col("ctx", "p")))
        part = self._session.create(query, "forward")
        self._session.drop(links, parents.name, found)
        return part

    def _links(self, hop: Hop, contexts: Contexts) -> str:
        """(ctx, key of the parent, visible) for every context whose row is visible."""
        pairs = key_pairs(self._schema, hop.foreign_key)
        columns = [named(col(column, "row"), key) for column, key in pairs]
        query = exp.select(col("ctx", "c"), *columns, col("visible", "c"))
        query = query.from_(table(contexts.name, "c"))
        on = self._row_condition(hop.foreign_key.table, "row", "c")
        return self._session.create(
            query.join(source(hop.foreign_key.table, "row"), on=on), "links"
        )

    def _parents(self, hop: Hop, links: str) -> Contexts:
        """The distinct (parent, instant) pairs whose parent exists and is visible."""
        keys = len(hop.foreign_key.columns)
        names = [*(f"k{i}" for i in range(keys)), "visible"]
        distinct = exp.select(*map(col, names)).distinct().from_(table(links))
        query = exp.select(named(row_number(), "ctx"), *(col(name, "d") for name in names))
        query = query.from_(distinct.subquery("d"))
        on = self._row_condition(hop.target, "row", "d")
        query = query.join(source(hop.target, "row"), on=on)
        return Contexts(self._session.create(query, "parents"), keys)

    def _rows(self, hop: Hop, features: Features, contexts: Contexts, window: Window) -> list[str]:
        """Aggregates of values that child rows have by themselves or from their parents."""
        parts = []
        for chunk in _chunks(features):
            readings = list(dict.fromkeys(filter(None, map(_reading, chunk.values()))))
            events = child_events(self._session, self._schema, hop, contexts, readings)
            requests = [
                Request(alias, feature.primitives[0], _value(events, readings, feature))
                for alias, feature in chunk.items()
            ]
            parts += self._aggregates(contexts, events, requests, window)
            self._session.drop(events.name)
        return parts

    def _aggregates(
        self,
        contexts: Contexts,
        events: Events,
        requests: Sequence[Request],
        window: Window,
    ) -> list[str]:
        return aggregate_in_window(
            self._session, contexts, events, requests, window, self._plan, self._pairs_per_query
        )

    def _nested(
        self, hop: Hop, features: Features, contexts: Contexts, window: Window
    ) -> list[str]:
        """Aggregates of features of the child rows."""
        parts = []
        for chunk in _chunks(features):
            inner = list(dict.fromkeys(feature.inner for feature in chunk.values()))
            requests = [
                Request(alias, feature.primitives[0], Value(inner.index(feature.inner)))
                for alias, feature in chunk.items()
            ]
            base = child_events(self._session, self._schema, hop, contexts, with_primary_key=True)
            if all(is_settled(self._session, self._schema, hop, feature) for feature in inner):
                events = self._settled_events(hop, base, inner)
                parts += self._aggregates(contexts, events, requests, window)
                self._session.drop(events.name)
            else:
                parts.append(self._of_pairs(hop, base, inner, contexts, requests, window))
            self._session.drop(base.name)
        return parts

    def _settled_events(self, hop: Hop, base: Events, inner: Sequence[Feature]) -> Events:
        """The child rows with their features as of their own times, as plain values."""
        keys = len(self._schema.table(hop.target).primary_key)
        columns = [named(col(f"p{i}"), f"k{i}") for i in range(keys)]
        # Where neither table has times, any instant will do.
        now = col("time") if base.timed else cast(exp.Literal.string("2000-01-01"), "TIMESTAMP")
        rows = exp.select(named(col("ordinal"), "ctx"), *columns, named(now, "visible"))
        name = self._session.create(rows.from_(table(base.name)), "children")
        found = self.evaluate(hop.target, _numbered(inner), Contexts(name, keys))
        kept = [*(key for key, _ in base.keys), "ordinal", *(["time"] if base.timed else [])]
        query = exp.select(*(col(column, "b") for column in kept), *_inner_values(inner))
        query = query.from_(table(base.name, "b"))
        query = query.join(table(found, "f"), on=col("ctx", "f").eq(col("ordinal", "b")))
        events = self._session.create(query, "events")
        self._session.drop(name, found)
        return replace(base, name=events, values=tuple(Value(i) for i in range(len(inner))))

    def _of_pairs(
        self,
        hop: Hop,
        base: Events,
        inner: Sequence[Feature],
        contexts: Contexts,
        requests: Sequence[Request],
        window: Window,
    ) -> str:
        """Evaluate the child's features at every (child, instant) pair, then aggregate them."""

        def of_slice(piece: Contexts) -> str:
            pairs = self._pairs(hop, piece, base, window)
            values = self.evaluate(hop.target, _numbered(inner), pairs)
            query = exp.select(col("owner", "p"), col("ordinal", "p"), *_inner_values(inner))
            query = query.from_(table(pairs.name, "p"))
            query = query.join(table(values, "f"), on=col("ctx", "f").eq(col("ctx", "p")))
            events = Events(self._session.create(query, "events"), (("owner", "ctx"),), False)
            found = aggregate(self._session, piece, events, requests)
            self._session.drop(pairs.name, values, events.name)
            return found

        return by_slices(self._session, contexts, base, of_slice, self._pairs_per_query)

    def _pairs(self, hop: Hop, contexts: Contexts, base: Events, window: Window) -> Contexts:
        """The visible child rows of every context, themselves contexts that know their owner."""
        keys = len(self._schema.table(hop.target).primary_key)
        columns = [named(col(f"p{i}", "e"), f"k{i}") for i in range(keys)]
        query = exp.select(named(row_number(), "ctx"), named(col("ctx", "c"), "owner"), *columns)
        query = query.select(col("visible", "c"), col("ordinal", "e"))
        query = query.from_(table(contexts.name, "c"))
        query = query.join(table(base.name, "e"), on=all_of(base.visible("c", "e", window)))
        return Contexts(self._session.create(query, "pairs"), keys)


def is_settled(session: Session, schema: RelationalSchema, hop: Hop, feature: Feature) -> bool:
    """Whether a feature of the child rows never changes after the child's own time.

    So it is when no row that it aggregates is dated after its child: order lines, say. Taken to be
    false when there are no data.
    """
    child, key = schema.table(hop.target), feature.path[0].foreign_key
    if len(feature.path) != 1 or feature.path[0].forward:
        return False
    own, time = time_of(child, "child"), time_of(schema.table(key.table), "grandchild")
    if time is None or own is None:
        return time is None
    on = [
        col(column, "grandchild").eq(col(referred, "child"))
        for column, referred in zip(key.columns, key.parent_columns, strict=True)
    ]
    query = exp.select(call("COUNT", exp.Star())).from_(source(child.name, "child"))
    query = query.join(source(key.table, "grandchild"), on=all_of(on)).where(time > own)
    return session.scalar(query) == 0


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


def _by_first_step(
    features: Features,
) -> tuple[
    dict[str, Feature],
    dict[Hop, dict[str, Feature]],
    dict[tuple[Hop, Window, bool], dict[str, Feature]],
]:
    """Features of the row itself, by step to a parent, and by (step to children, window, nested)."""
    own: dict[str, Feature] = {}
    forward: dict[Hop, dict[str, Feature]] = defaultdict(dict)
    backward: dict[tuple[Hop, Window, bool], dict[str, Feature]] = defaultdict(dict)
    for alias, feature in features.items():
        if not feature.path:
            own[alias] = feature
        elif feature.path[0].forward:
            forward[feature.path[0]][alias] = feature
        else:
            nested = len(feature.primitives) > 1
            backward[feature.path[0], feature.window, nested][alias] = feature
    return own, forward, backward


def _chunks(features: Features) -> Iterator[dict[str, Feature]]:
    """The features in groups that read a bounded number of columns."""
    columns: dict[object, None] = {}
    chunk: dict[str, Feature] = {}
    for alias, feature in features.items():
        columns[feature.path, feature.column] = None
        if len(columns) > VALUES_PER_QUERY:
            yield chunk
            chunk, columns = {}, {(feature.path, feature.column): None}
        chunk[alias] = feature
    yield chunk


def _reading(feature: Feature) -> Reading | None:
    """What an aggregate over child rows reads; None if it reads rows only."""
    primitive = feature.primitives[0]
    if feature.column is None or not AGGREGATES[primitive].inputs:
        return None
    read_as = _READ_AS.get(primitive, SemanticType.NUMERICAL)
    return Reading(
        feature.path[1:],
        feature.column,
        feature.semantic_type if primitive == "last" else read_as,
    )


def _value(events: Events, readings: Sequence[Reading], feature: Feature) -> Value | None:
    reading = _reading(feature)
    return None if reading is None else events.values[readings.index(reading)]
