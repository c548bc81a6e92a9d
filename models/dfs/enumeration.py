"""Deep Feature Synthesis: which features a schema offers for an entity table.

Kanter and Veeramachaneni, "Deep feature synthesis", DSAA 2015. A feature's depth is the number of
foreign keys on its path, as in featuretools.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import zip_longest

from models.aggregation.features import Feature, feature_name
from models.aggregation.paths import Hop, Path, end_of, enumerate_paths
from models.aggregation.primitives import (
    AGGREGATES,
    CUTOFF_COLUMN,
    CUTOFF_TRANSFORMS,
    DEFAULT_PRIMITIVES,
    TRANSFORMS,
)
from models.aggregation.types import is_supported
from models.aggregation.windows import trailing
from models.database.schema import Column, RelationalSchema, SemanticType, Table

HiddenColumns = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """What to enumerate.

    `depth` is the longest path in foreign keys; `primitives` the aggregates and transforms to use,
    in order of preference; `max_features` the budget; `windows` trailing windows that are used next
    to the whole past, on the first step towards children.
    """

    depth: int = 2
    primitives: tuple[str, ...] = DEFAULT_PRIMITIVES
    max_features: int = 500
    windows: tuple[timedelta, ...] = ()

    def __post_init__(self) -> None:
        known = (*AGGREGATES, *TRANSFORMS)
        unknown = set(self.primitives) - set(known)
        if unknown:
            raise ValueError(f"unknown primitives {sorted(unknown)}; known: {known}")
        if self.depth < 0 or self.max_features < 1:
            raise ValueError("depth must be at least 0 and max_features at least 1")
        if any(window <= timedelta(0) for window in self.windows):
            raise ValueError("windows must be positive")


def enumerate_features(
    schema: RelationalSchema,
    entity_table: str,
    config: FeatureConfig | None = None,
    hidden_columns: HiddenColumns = (),
) -> tuple[Feature, ...]:
    """The features of an entity table, in a fixed order, with unique names.

    Under the budget the shallower features are kept first; among those of one depth the paths take
    turns, and within a path primitives come in the order of `config.primitives`, each over the
    columns in declared order, the whole past before windows. What is kept is listed path by path.

    Args:
        schema: Tables with semantic types; columns without one are not used.
        entity_table: The table whose rows the features describe.
        config: Depth, primitives, budget and windows; the defaults where None.
        hidden_columns: (table, column) pairs that no feature may read; a foreign key with such a
            column is not walked.

    Raises:
        KeyError: The entity table isn't in the schema.
    """
    config = config or FeatureConfig()
    visible = _without(schema, frozenset(hidden_columns))
    visible.table(entity_table)
    by_path = {
        path: list(_path_features(visible, entity_table, path, config))
        for path in enumerate_paths(visible, entity_table, config.depth)
    }
    kept = set(_within_budget(by_path, config.max_features))
    ordered = [feature for features in by_path.values() for feature in features if feature in kept]
    return _with_unique_names(visible, ordered)


def _within_budget(by_path: dict[Path, list[Feature]], budget: int) -> list[Feature]:
    """The first `budget` features: by depth, the paths of one depth taking turns."""
    chosen: list[Feature] = []
    for depth in sorted({len(path) for path in by_path}):
        turns = zip_longest(*(found for path, found in by_path.items() if len(path) == depth))
        chosen += [feature for turn in turns for feature in turn if feature is not None]
    return chosen[:budget]


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


def _path_features(
    schema: RelationalSchema, table: str, path: Path, config: FeatureConfig
) -> Iterator[Feature]:
    """The features of one path: every allowed stack of primitives over every readable column."""
    backward = [hop for hop in path if not hop.forward]
    if not backward:
        yield from _direct_features(schema, table, path, config)
        return
    for primitives in _stacks(len(backward), config.primitives):
        for column, output in _inputs(schema, path, primitives):
            feature = Feature("", table, path, column, primitives, output)
            yield feature
            if schema.table(backward[0].target).time_column is not None:
                yield from (replace(feature, window=trailing(length)) for length in config.windows)


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


def _inputs(
    schema: RelationalSchema, path: Path, primitives: tuple[str, ...]
) -> Iterator[tuple[str | None, SemanticType]]:
    """(column, semantic type of the result) for each column that the innermost aggregate reads."""
    innermost = AGGREGATES[primitives[-1]]
    outermost = AGGREGATES[primitives[0]]
    end = schema.table(path[-1].target)
    if not innermost.inputs:
        # Rows are counted where the step to them ends; past a parent it would be the same count.
        read = end.time_column if innermost.name == "time_since_last" else None
        if not path[-1].forward and (innermost.name == "count" or read is not None):
            yield read, SemanticType.NUMERICAL
        return
    for column in _readable(schema, end):
        if column.semantic_type in innermost.inputs:
            yield column.name, outermost.output or column.semantic_type
    if innermost.name == "num_unique" and not path[-1].forward:
        for name in _keys_elsewhere(schema, path[-1], end):
            yield name, SemanticType.NUMERICAL


def _readable(schema: RelationalSchema, table: Table) -> Iterator[Column]:
    """Columns with a usable type that are no keys and not the event time."""
    keys = schema.key_columns(table.name)
    for column in table.columns:
        if column.name not in keys and column.name != table.time_column and is_supported(column):
            yield column


def _keys_elsewhere(schema: RelationalSchema, hop: Hop, table: Table) -> Iterator[str]:
    """Single-column foreign keys of a child table other than the one that was walked."""
    seen = set(hop.foreign_key.columns) | set(table.primary_key)
    for key in schema.parents(table.name):
        if len(key.columns) == 1 and key.columns[0] not in seen:
            seen.add(key.columns[0])
            yield key.columns[0]


def _direct_features(
    schema: RelationalSchema, table: str, path: Path, config: FeatureConfig
) -> Iterator[Feature]:
    """Values of the entity itself or of a parent, ages of their times, the cutoff's calendar."""
    end = schema.table(end_of(table, path))
    for column in _readable(schema, end):
        if column.semantic_type in AGGREGATES["last"].inputs:
            yield Feature("", table, path, column.name, (), column.semantic_type)
    if "time_since" in config.primitives:
        for name in _times(schema, end):
            yield Feature("", table, path, name, (), SemanticType.NUMERICAL, "time_since")
    if not path:
        for part in CUTOFF_TRANSFORMS:
            if part in config.primitives:
                yield Feature("", table, path, CUTOFF_COLUMN, (), SemanticType.NUMERICAL, part)


def _times(schema: RelationalSchema, table: Table) -> Iterator[str]:
    if table.time_column is not None:
        yield table.time_column
    for column in _readable(schema, table):
        if column.semantic_type is SemanticType.TIMESTAMP:
            yield column.name


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
