"""Deep Feature Synthesis: which features a schema offers for an entity table.

Kanter and Veeramachaneni, "Deep feature synthesis", DSAA 2015. A feature's depth is the number of
foreign keys on its path, as in featuretools; a transform does not add to it.

Paths may return to tables that they have seen: to siblings through a shared parent, up and down a
table that refers to itself, along another key between the same two tables. One step is pruned: from
child rows, the key that was just walked down is not walked up again, because it leads every one of
them back to the row that it belongs to. Since a path has at most `depth` steps, cycles end there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from models.aggregation.features import Condition, Feature, feature_name, output_type
from models.aggregation.paths import Hop, Path, end_of
from models.aggregation.primitives import AGGREGATES, SEED_FEATURES, TRANSFORMS
from models.aggregation.windows import trailing
from models.database.schema import Column, RelationalSchema, SemanticType, Table
from models.dfs.budget import paths_within, within_budget
from models.dfs.config import FeatureConfig
from models.dfs.reading import (
    Source,
    aggregated_sources,
    component_count,
    plain_sources,
    transformed_sources,
)

HiddenColumns = Iterable[tuple[str, str]]
InterestingValues = Mapping[tuple[str, str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Enumeration:
    """Enumerated features: those kept, how many were offered, and along how many paths."""

    features: tuple[Feature, ...]
    offered: int
    paths: int


def enumerate_features(
    schema: RelationalSchema,
    entity_table: str,
    config: FeatureConfig | None = None,
    hidden_columns: HiddenColumns = (),
    interesting_values: InterestingValues | None = None,
) -> tuple[Feature, ...]:
    """The features of an entity table that the budget keeps; see `offer_features`."""
    return offer_features(schema, entity_table, config, hidden_columns, interesting_values).features


def offer_features(
    schema: RelationalSchema,
    entity_table: str,
    config: FeatureConfig | None = None,
    hidden_columns: HiddenColumns = (),
    interesting_values: InterestingValues | None = None,
) -> Enumeration:
    """The features of an entity table, in a fixed order, with unique names.

    Under the budget the shallower features are kept first; among those of one depth the paths take
    turns. Within a path, values of the row itself or of a parent come as they are, then under each
    transform. Aggregates come in the order of `config.primitives`, each over the columns as
    declared and then over transformed ones, all of the whole past before any in windows; conditions
    come last.
    What is kept is listed path by path.

    Args:
        schema: Tables with semantic types; columns without one are not used.
        entity_table: The table whose rows the features describe.
        config: Depth, primitives, windows and budgets; the defaults where None.
        hidden_columns: (table, column) pairs that no feature may read; a foreign key with such a
            column is not walked.
        interesting_values: Values by (table, column). `config.where_primitives` are also taken over
            the child rows that have such a value, on paths with one step towards children and over
            the whole past. `frequent_values` finds some; without any there are no conditions.

    Raises:
        KeyError: The entity table, or a column of `interesting_values`, isn't in the schema.
        ValueError: There are more paths than `config.max_paths`.
    """
    config = config or FeatureConfig()
    hidden = frozenset(hidden_columns)
    for table, column in interesting_values or {}:
        schema.table(table).column(column)
    visible = _without(schema, hidden)
    visible.table(entity_table)
    values = {
        pair: found for pair, found in (interesting_values or {}).items() if pair not in hidden
    }
    paths = paths_within(visible, entity_table, config.depth, config.max_paths)
    templates = _Templates(visible, config, values)
    offers = {path: templates.of_path(entity_table, path) for path in paths}
    kept = [
        replace(template, table=entity_table, path=path)
        for path, template in within_budget(offers, config.max_features)
    ]
    return Enumeration(
        _with_unique_names(visible, kept), sum(map(len, offers.values())), len(paths)
    )


def _without(schema: RelationalSchema, hidden: frozenset[tuple[str, str]]) -> RelationalSchema:
    """The schema whose hidden columns have no semantic type and whose hidden keys are gone."""
    tables = [
        replace(table, columns=tuple(_blank(table, column, hidden) for column in table.columns))
        for table in schema.tables
    ]
    keys = tuple(
        key
        for key in schema.foreign_keys
        if not any((key.table, column) in hidden for column in key.columns)
    )
    return replace(schema.with_tables(tables), foreign_keys=keys)


def _blank(table: Table, column: Column, hidden: frozenset[tuple[str, str]]) -> Column:
    return replace(column, semantic_type=None) if (table.name, column.name) in hidden else column


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the features of a path depend on; many paths share one shape.

    `rows` and `outer` are the targets of the last and the first step towards children, `levels` the
    number of such steps, `last` the last step. Without such steps only the path's end matters, and
    whether it is the entity table itself.
    """

    end: str
    levels: int = 0
    outer: str = ""
    rows: str = ""
    last: Hop | None = None
    is_entity: bool = False


def _shape(table: str, path: Path) -> _Shape:
    backward = [hop.target for hop in path if not hop.forward]
    end = end_of(table, path)
    if not backward:
        return _Shape(end, is_entity=not path)
    return _Shape(end, len(backward), backward[0], backward[-1], path[-1])


class _Templates:
    """Features without name, table and path, listed once per shape of path."""

    def __init__(
        self, schema: RelationalSchema, config: FeatureConfig, values: InterestingValues
    ) -> None:
        self._schema, self._config, self._values = schema, config, values
        self._known: dict[_Shape, tuple[Feature, ...]] = {}

    def of_path(self, table: str, path: Path) -> tuple[Feature, ...]:
        """Every allowed stack of primitives over every readable column at the path's end."""
        shape = _shape(table, path)
        if shape not in self._known:
            list_all = self._aggregates if shape.levels else self._direct
            self._known[shape] = tuple(list_all(shape))
        return self._known[shape]

    @cached_property
    def _transforms(self) -> list[str]:
        return [name for name in self._config.primitives if name in TRANSFORMS]

    def _direct(self, shape: _Shape) -> Iterator[Feature]:
        """Values of the entity itself or of a parent, plain and transformed; those of the seed."""
        end = self._schema.table(shape.end)
        for source in plain_sources(self._schema, end):
            if source.column_type in AGGREGATES["last"].inputs:
                yield from _of_source(source, ())
        for source in transformed_sources(self._schema, end, self._transforms):
            yield from _of_source(source, ())
        if shape.is_entity:
            for column, transform in SEED_FEATURES:
                if transform in self._config.primitives:
                    of_seed = Source(column, SemanticType.TIMESTAMP, (), transform)
                    yield from _of_source(of_seed, ())

    def _aggregates(self, shape: _Shape) -> Iterator[Feature]:
        """Stacks of aggregates in the whole past, then in windows, then under conditions."""
        past = [
            feature
            for primitives in _stacks(shape.levels, self._config.primitives)
            for source in self._inputs(shape, primitives[-1])
            for feature in _of_source(source, primitives)
        ]
        yield from past
        if self._schema.table(shape.outer).time_column is not None:
            # All windows of an aggregate before the next aggregate: a budget cuts at the end.
            for feature in past:
                for length in self._config.windows:
                    yield replace(feature, window=trailing(length))
        if shape.levels == 1:
            yield from self._conditional(shape)

    def _conditional(self, shape: _Shape) -> Iterator[Feature]:
        conditions = [
            Condition(column, value)
            for (table, column), values in self._values.items()
            if table == shape.rows
            for value in values
        ]
        for primitive in self._config.where_primitives:
            if primitive in self._config.primitives:
                for source in self._inputs(shape, primitive):
                    for condition in conditions:
                        if (shape.rows, condition.column) != (shape.end, source.column):
                            for feature in _of_source(source, (primitive,)):
                                yield replace(feature, where=condition)

    def _inputs(self, shape: _Shape, primitive: str) -> Iterator[Source]:
        assert shape.last is not None, shape
        end = self._schema.table(shape.end)
        sources = plain_sources(self._schema, end)
        sources += transformed_sources(self._schema, end, self._transforms)
        return aggregated_sources(self._schema, shape.last, shape.rows, primitive, sources)


def _of_source(source: Source, primitives: tuple[str, ...]) -> Iterator[Feature]:
    """The nameless feature of a value, or one for each component."""
    kind = output_type(primitives, source.transform, source.column_type)
    count = component_count(primitives, source.transform)
    for component in range(count) if count > 1 else (None,):
        yield Feature(
            "", "", (), source.column, primitives, kind, source.transform, component=component
        )


def _stacks(levels: int, allowed: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Stacks of `levels` aggregates, outermost first, that the nesting table permits.

    Ordered by the innermost aggregate first, in the order of `allowed`.
    """
    stacks: list[tuple[str, ...]] = [(name,) for name in allowed if name in AGGREGATES]
    for _ in range(levels - 1):
        stacks = [
            (outer, *stack)
            for stack in stacks
            for outer in allowed
            if outer in AGGREGATES[stack[0]].nests_under
        ]
    return stacks


def _with_unique_names(
    schema: RelationalSchema, features: Iterable[Feature]
) -> tuple[Feature, ...]:
    """The features with their names; a name that is taken gets its table, then a number."""
    taken = {"row_id"}
    named = []
    for feature in features:
        base = name = feature_name(schema, feature)
        if name in taken:
            base = name = f"{feature.table}.{base}"
        number = 2
        while name in taken:
            name, number = f"{base}#{number}", number + 1
        taken.add(name)
        named.append(replace(feature, name=name))
    return tuple(named)
