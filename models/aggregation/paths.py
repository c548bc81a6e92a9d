"""Schema paths: walks along foreign keys from an entity table, in either direction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from models.database.schema import ForeignKey, RelationalSchema


@dataclass(frozen=True, slots=True)
class Hop:
    """One step along a foreign key: to the parent row (`forward`) or to the child rows."""

    foreign_key: ForeignKey
    forward: bool

    @property
    def target(self) -> str:
        """The table the step leads to."""
        return self.foreign_key.parent if self.forward else self.foreign_key.table

    def __str__(self) -> str:
        arrow = "->" if self.forward else "<-"
        return f"{arrow} {self.target} ({', '.join(self.foreign_key.columns)})"


Path = tuple[Hop, ...]


def end_of(table: str, path: Path) -> str:
    """The table that a path from `table` leads to."""
    return path[-1].target if path else table


def describe(table: str, path: Path) -> str:
    """A path as text, such as `drivers <- results (driverId) -> races (raceId)`."""
    return " ".join([table, *map(str, path)])


def hops_from(schema: RelationalSchema, table: str, previous: Hop | None) -> Iterator[Hop]:
    """Steps that may follow `previous` at `table`: parents first, then children, declared order.

    From a child row the key just walked down is not walked up again: it leads back to the row
    that the children belong to.
    """
    for key in schema.parents(table):
        if previous is None or previous.forward or previous.foreign_key != key:
            yield Hop(key, forward=True)
    for key in schema.children(table):
        yield Hop(key, forward=False)


def enumerate_paths(schema: RelationalSchema, table: str, depth: int) -> list[Path]:
    """All paths of at most `depth` steps from `table`, the empty one included, shallow first."""
    paths: list[Path] = [()]
    level: list[Path] = [()]
    for _ in range(depth):
        level = [
            (*path, hop)
            for path in level
            for hop in hops_from(schema, end_of(table, path), path[-1] if path else None)
        ]
        paths += level
    return paths


def hop_label(schema: RelationalSchema, hop: Hop) -> str:
    """The step's name inside a feature name: `results`, or `flights[origin_id]` when ambiguous.

    As in featuretools, the key columns are given when several foreign keys join the same two
    tables, and here also when a table refers to itself.
    """
    key = hop.foreign_key
    rivals = [
        other
        for other in schema.foreign_keys
        if (other.table, other.parent) in {(key.table, key.parent), (key.parent, key.table)}
    ]
    if len(rivals) == 1 and key.table != key.parent:
        return hop.target
    return f"{hop.target}[{','.join(key.columns)}]"
