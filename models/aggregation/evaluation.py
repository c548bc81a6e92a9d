"""Features at contexts: the recursion over a feature's path.

A feature is evaluated at (row of its table, last visible instant). A step to a parent evaluates the
rest of the path once per distinct (parent, instant); a step to children aggregates values of the
child rows, which may be features themselves (`nesting`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from sqlglot import exp

from models.aggregation.accumulators import Request, of_order
from models.aggregation.aggregation import aggregate
from models.aggregation.combining import Plan
from models.aggregation.events import Wanted, child_events
from models.aggregation.features import Feature
from models.aggregation.flat import flat_aggregates
from models.aggregation.nesting import nested_aggregates
from models.aggregation.paths import Hop
from models.aggregation.reading import Reading, read_value, reading_of, time_of
from models.aggregation.relations import Contexts, Events, key_pairs
from models.aggregation.requests import conditions_of, distinct_readings, request_of
from models.aggregation.session import Session
from models.aggregation.sql import all_of, col, named, row_number, source, table
from models.aggregation.windows import Window
from models.database.schema import RelationalSchema, SemanticType

# Bounds the memory of one query: value columns that are read, and joined pairs materialised.
VALUES_PER_QUERY = 24
PAIRS_PER_QUERY = 4_000_000

Features = Mapping[str, Feature]


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
        self.session, self.schema = session, schema
        self.plan, self.pairs_per_query = plan, pairs_per_query

    def evaluate(self, table_name: str, features: Features, contexts: Contexts) -> str:
        """The table with `ctx` and a column per feature (by alias).

        A context without a row in it has no values.

        Times (AGE, TIME_SINCE_LAST, ...) are given as instants, in microseconds.
        """
        own, forward, backward = _by_first_step(features)
        parts = [self._own(table_name, own, contexts)] if own else []
        parts += [self._forward(hop, group, contexts) for hop, group in forward.items()]
        for (hop, kind), group in backward.items():
            for chunk in _chunks(group):
                if kind == "flat":
                    parts += flat_aggregates(self, hop, chunk, contexts)
                elif kind == "nested":
                    parts += nested_aggregates(self, hop, chunk, contexts)
                else:
                    parts += self._rows(hop, chunk, contexts)
        return self._joined(contexts, parts, list(features))

    def aggregates(
        self,
        contexts: Contexts,
        events: Events,
        requests: Mapping[Window, Sequence[Request]],
    ) -> list[str]:
        """Tables of the aggregates of events in each window."""
        parts = []
        for window, group in requests.items():
            parts += aggregate(self.session, contexts, events, group, window, self.plan)
        return parts

    def _joined(self, contexts: Contexts, parts: Sequence[str], aliases: Sequence[str]) -> str:
        if len(parts) == 1:
            return parts[0]
        query = exp.select(col("ctx", "c"), *map(col, aliases)).from_(
            table(contexts.name, "c"), copy=False
        )
        for part in parts:
            on = col("ctx", "c").eq(col("ctx", part))
            query = query.join(table(part), on=on, join_type="left", copy=False)
        joined = self.session.create(query, "joined")
        self.session.drop(*parts)
        return joined

    def _own(self, table_name: str, features: Features, contexts: Contexts) -> str:
        """Columns of the contexts' own rows, NULL where the row isn't visible."""
        columns = [
            named(self._own_value(table_name, feature), alias)
            for alias, feature in features.items()
        ]
        query = exp.select(col("ctx", "c"), *columns).from_(table(contexts.name, "c"), copy=False)
        on = self._row_condition(table_name, "row", "c")
        return self.session.create(
            query.join(source(table_name, "row"), on=on, join_type="left", copy=False), "own"
        )

    def _own_value(self, table_name: str, feature: Feature) -> exp.Expression:
        assert feature.column is not None, feature
        read_as = SemanticType.TIMESTAMP if feature.is_elapsed else feature.semantic_type
        reading = Reading((), feature.column, read_as, feature.transform, feature.component)
        return read_value(self.session, table_name, reading, "row")

    def _row_condition(self, table_name: str, row: str, context: str) -> exp.Expression:
        """That a staged row is the context's row and visible to it."""
        description = self.schema.table(table_name)
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
        query = query.from_(table(links, "l"), copy=False).join(
            table(parents.name, "p"), on=same, copy=False
        )
        query = query.join(
            table(found, "f"),
            on=col("ctx", "f").eq(col("ctx", "p")),
            join_type="left",
            copy=False,
        )
        part = self.session.create(query, "forward")
        self.session.drop(links, parents.name, found)
        return part

    def _links(self, hop: Hop, contexts: Contexts) -> str:
        """(ctx, key of the parent, visible) for every context whose row is visible."""
        pairs = key_pairs(self.schema, hop.foreign_key)
        columns = [named(col(column, "row"), key) for column, key in pairs]
        query = exp.select(col("ctx", "c"), *columns, col("visible", "c"))
        query = query.from_(table(contexts.name, "c"), copy=False)
        on = self._row_condition(hop.foreign_key.table, "row", "c")
        return self.session.create(
            query.join(source(hop.foreign_key.table, "row"), on=on, copy=False), "links"
        )

    def _parents(self, hop: Hop, links: str) -> Contexts:
        """The distinct (parent, instant) pairs whose parent exists and is visible."""
        keys = len(hop.foreign_key.columns)
        names = [*(f"k{i}" for i in range(keys)), "visible"]
        distinct = exp.select(*map(col, names)).distinct().from_(table(links), copy=False)
        query = exp.select(named(row_number(), "ctx"), *(col(name, "d") for name in names))
        query = query.from_(distinct.subquery("d", copy=False), copy=False)
        on = self._row_condition(hop.target, "row", "d")
        query = query.join(source(hop.target, "row"), on=on, copy=False)
        return Contexts(self.session.create(query, "parents"), keys)

    def _rows(self, hop: Hop, features: Features, contexts: Contexts) -> list[str]:
        """Aggregates of values that child rows have by themselves or from their parents."""
        readings = distinct_readings(
            reading_of(feature, feature.path[1:]) for feature in features.values()
        )
        conditions = conditions_of(features, 0)
        wanted = Wanted(
            readings,
            conditions,
            ordered=any(of_order(feature.primitives[0]) for feature in features.values()),
            until=max(feature.window.until for feature in features.values()),
        )
        events = child_events(self.session, self.schema, hop, contexts, wanted)
        requests: dict[Window, list[Request]] = defaultdict(list)
        for alias, feature in features.items():
            reading = reading_of(feature, feature.path[1:])
            value = None if reading is None else events.values[readings.index(reading)]
            requests[feature.window].append(
                request_of(alias, feature, value, conditions, feature.primitives[0])
            )
        parts = self.aggregates(contexts, events, requests)
        self.session.drop(events.name)
        return parts


def _by_first_step(
    features: Features,
) -> tuple[
    dict[str, Feature],
    dict[Hop, dict[str, Feature]],
    dict[tuple[Hop, object], dict[str, Feature]],
]:
    """Features of the row itself, by step to a parent, and by (step to children, kind)."""
    own: dict[str, Feature] = {}
    forward: dict[Hop, dict[str, Feature]] = defaultdict(dict)
    backward: dict[tuple[Hop, object], dict[str, Feature]] = defaultdict(dict)
    for alias, feature in features.items():
        if not feature.path:
            own[alias] = feature
        elif feature.path[0].forward:
            forward[feature.path[0]][alias] = feature
        else:
            backward[feature.path[0], kind_of(feature)][alias] = feature
    return own, forward, backward


def kind_of(feature: Feature) -> str:
    """How the aggregate over the first step to children is taken: of `rows`, `nested` or `flat`."""
    if feature.lookback is not None:
        return "flat"
    return "nested" if len(feature.primitives) > 1 else "rows"


def _chunks(features: Features) -> Iterator[dict[str, Feature]]:
    """The features in groups that read a bounded number of columns."""
    columns: dict[object, None] = {}
    chunk: dict[str, Feature] = {}
    for alias, feature in features.items():
        column = (feature.path, feature.column, feature.primitives[1:])
        if column not in columns and len(columns) == VALUES_PER_QUERY:
            yield chunk
            chunk, columns = {}, {}
        columns[column] = None
        chunk[alias] = feature
    yield chunk
