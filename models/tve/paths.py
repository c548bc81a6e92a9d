"""The schema paths of task vectors: to an entity's events, on to their parents and siblings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from models.aggregation.paths import Hop, Path, hop_label
from models.aggregation.types import is_supported
from models.database.schema import Column, ForeignKey, RelationalSchema, SemanticType

# The types of columns that give targets; keys, texts and times give none.
READABLE = (SemanticType.NUMERICAL, SemanticType.CATEGORICAL, SemanticType.BOOLEAN)


class PathKind(StrEnum):
    """What the rows at the end of a path are to the entity's events."""

    EVENT = "event"
    PARENT = "parent"
    SIBLING = "sibling"


@dataclass(frozen=True, slots=True)
class TargetPath:
    """A path from the entity to its events and at most one step on.

    Siblings of an event are the rows of the same table that share a foreign key with it, the
    event itself included; the step through their parent counts as one.
    """

    kind: PathKind
    hops: Path

    @property
    def event_table(self) -> str:
        """The table of the events that the path begins with."""
        return self.hops[0].target

    @property
    def table(self) -> str:
        """The table whose columns are read."""
        return self.hops[-1].target

    def labels(self, schema: RelationalSchema) -> str:
        """The path inside a target's name: `orders`, `orders.stores`, `orders.stores.orders`."""
        return ".".join(hop_label(schema, hop) for hop in self.hops)


def event_hops(schema: RelationalSchema, entity_table: str) -> list[Hop]:
    """The steps from an entity to rows with an event time, in declared order.

    Raises:
        ValueError: The entity table's primary key is not one column.
    """
    if len(schema.table(entity_table).primary_key) != 1:
        raise ValueError(
            f"entity table {entity_table!r} must have a primary key of one column; give it one in "
            "its staging model"
        )
    return [
        Hop(key, forward=False)
        for key in schema.children(entity_table)
        if schema.table(key.table).time_column is not None
    ]


def target_paths(
    schema: RelationalSchema, entity_table: str, depth: int, max_paths: int
) -> list[TargetPath]:
    """The paths that targets are made of: events first, then their parents, then siblings.

    Siblings through the key that leads to the entity come before those through other keys. Paths
    to parents without a readable column are left out.

    Args:
        schema: The schema with semantic types and event times (`with_inherited`).
        entity_table: Where the paths begin.
        depth: 1 for events alone, 2 for one step on.
        max_paths: The budget; event tables take turns beyond their own rows.
    """
    hops = event_hops(schema, entity_table)
    paths = [TargetPath(PathKind.EVENT, (hop,)) for hop in hops]
    if depth > 1:
        further = [list(_further(schema, hop)) for hop in hops]
        longest = max(map(len, further), default=0)
        turns = [steps[turn] for turn in range(longest) for steps in further if turn < len(steps)]
        kept = set(turns[: max(max_paths - len(paths), 0)])
        paths += [path for steps in further for path in steps if path in kept]
    return paths[:max_paths]


def _further(schema: RelationalSchema, hop: Hop) -> Iterator[TargetPath]:
    """The steps on from the rows that a first step leads to."""
    keys = list(schema.parents(hop.target))
    for key in keys:
        if key != hop.foreign_key and readable(schema, key.parent):
            yield TargetPath(PathKind.PARENT, (hop, Hop(key, forward=True)))
    for key in sorted(keys, key=lambda key: key != hop.foreign_key):
        yield TargetPath(PathKind.SIBLING, (hop, *_sibling_steps(key)))


def _sibling_steps(key: ForeignKey) -> Path:
    return Hop(key, forward=True), Hop(key, forward=False)


def readable(schema: RelationalSchema, table: str) -> list[Column]:
    """The columns that targets may read: numbers, categories and truth values that are no keys."""
    description, keys = schema.table(table), schema.key_columns(table)
    return [
        column
        for column in description.columns
        if column.name not in keys
        and column.name != description.time_column
        and column.semantic_type in READABLE
        and is_supported(column)
    ]
