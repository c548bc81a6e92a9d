"""What features may read: columns and transformed columns, by the types that primitives accept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.aggregation.paths import Hop
from models.aggregation.primitives import AGGREGATES, TRANSFORMS, Primitive
from models.aggregation.types import is_supported
from models.database.schema import Column, RelationalSchema, SemanticType, Table


@dataclass(frozen=True, slots=True)
class Source:
    """A value that every row of a table has: a column, as it is or transformed.

    `column_type` is the column's semantic type; `read_as` the types as which aggregates may read
    the value; `components` the number of values that the transform gives.
    """

    column: str | None
    column_type: SemanticType
    read_as: tuple[SemanticType, ...]
    transform: str | None = None
    components: int = 1


def readable(schema: RelationalSchema, table: Table) -> Iterator[Column]:
    """Columns with a usable type that are no keys and not the event time."""
    keys = schema.key_columns(table.name)
    for column in table.columns:
        if column.name not in keys and column.name != table.time_column and is_supported(column):
            yield column


def event_time(table: Table) -> str | None:
    """The table's event time, if features may read it (a hidden column has no semantic type)."""
    if table.time_column is None or table.time_column not in table.column_names:
        return table.time_column
    hidden = table.column(table.time_column).semantic_type is None
    return None if hidden else table.time_column


def plain_sources(schema: RelationalSchema, table: Table) -> list[Source]:
    """The table's columns as they are, in declared order."""
    return [
        Source(column.name, column.semantic_type, (column.semantic_type,))
        for column in readable(schema, table)
        if column.semantic_type is not None
    ]


def transformed_sources(
    schema: RelationalSchema, table: Table, transforms: Sequence[str]
) -> list[Source]:
    """The transforms in the given order, each of the event time, then of columns as declared."""
    time = event_time(table)
    columns = [(time, SemanticType.TIMESTAMP)] if time is not None else []
    columns += [
        (column.name, column.semantic_type)
        for column in readable(schema, table)
        if column.semantic_type is not None
    ]
    return [
        transformed(name, kind, transform)
        for transform in transforms
        for name, kind in columns
        if kind in TRANSFORMS[transform].inputs
    ]


def transformed(column: str, kind: SemanticType, transform: str) -> Source:
    """A column's values under a transform."""
    found = TRANSFORMS[transform]
    return Source(column, kind, found.read_as, transform, found.components)


def aggregated_sources(
    schema: RelationalSchema, last_step: Hop, rows_of: str, primitive: str, sources: list[Source]
) -> Iterator[Source]:
    """What the innermost aggregate of a path reads, in the order of `sources`.

    Args:
        schema: The database.
        last_step: The path's last step; values come from its target.
        rows_of: The table whose rows are aggregated: the target of the last step to children.
        primitive: The aggregate.
        sources: The values at the path's end.
    """
    aggregate, rows = AGGREGATES[primitive], schema.table(rows_of)
    if aggregate.of_time and event_time(rows) is None:
        return
    if not aggregate.inputs:
        # Rows are counted where the step to them ends; past a parent it would be the same count.
        if not last_step.forward:
            yield of_rows(aggregate, rows)
        return
    yield from (source for source in sources if set(source.read_as) & set(aggregate.inputs))
    if primitive == "num_unique" and not last_step.forward:
        for name in _keys_elsewhere(schema, last_step, rows):
            yield Source(name, SemanticType.IDENTIFIER, (SemanticType.CATEGORICAL,))


def of_rows(aggregate: Primitive, rows: Table) -> Source:
    """What an aggregate of rows reads: the event time, or nothing."""
    if aggregate.of_time:
        return Source(event_time(rows), SemanticType.TIMESTAMP, ())
    return Source(None, SemanticType.NUMERICAL, ())


def component_count(primitives: Sequence[str], transform: str | None) -> int:
    """The number of values that these primitives over this transform give, one feature each."""
    counts = [AGGREGATES[primitive].components for primitive in primitives]
    counts += [TRANSFORMS[transform].components] if transform else []
    return max(counts, default=1)


def _keys_elsewhere(schema: RelationalSchema, hop: Hop, table: Table) -> Iterator[str]:
    """Single-column foreign keys of a child table other than the one that was walked."""
    seen = set(hop.foreign_key.columns) | set(table.primary_key)
    for key in schema.parents(table.name):
        if len(key.columns) == 1 and key.columns[0] not in seen:
            seen.add(key.columns[0])
            yield key.columns[0]
