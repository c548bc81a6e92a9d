"""Budgets of the enumeration: how many schema paths there may be, how many features are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice, repeat, zip_longest

from models.aggregation.features import Feature
from models.aggregation.paths import Hop, Path, enumerate_paths, hops_from
from models.database.schema import RelationalSchema

Offers = Mapping[Path, Sequence[Feature]]


def count_paths(schema: RelationalSchema, table: str, depth: int) -> int:
    """How many paths of at most `depth` steps leave the table, the empty one included.

    The steps that may follow a path depend on its last step only, so paths are counted by their
    last step and never listed: the work is linear in depth.
    """
    ends: Counter[Hop | None] = Counter({None: 1})
    total = 1
    for _ in range(depth):
        longer: Counter[Hop | None] = Counter()
        for last, paths in ends.items():
            for hop in hops_from(schema, last.target if last else table, last):
                longer[hop] += paths
        ends = longer
        total += ends.total()
    return total


def paths_within(schema: RelationalSchema, table: str, depth: int, most: int) -> list[Path]:
    """All paths of at most `depth` steps, shallow first.

    Raises:
        ValueError: There are more than `most`; found before any is listed.
    """
    found = count_paths(schema, table, depth)
    if found > most:
        raise ValueError(
            f"{found:,} schema paths of depth {depth} lead from table {table!r}, more than "
            f"max_paths={most:,}: use a smaller depth, hide foreign keys that do not matter "
            "(hidden columns), or raise max_paths"
        )
    return enumerate_paths(schema, table, depth)


def within_budget(offers: Offers, budget: int) -> list[tuple[Path, Feature]]:
    """The first `budget` features: by depth, the paths of one depth taking turns.

    They are chosen in that order and returned path by path, in the order of `offers`.
    """
    turns = chain.from_iterable(
        _turns({path: found for path, found in offers.items() if len(path) == depth})
        for depth in sorted({len(path) for path in offers})
    )
    # A path's features are taken in order, so how many it got says which.
    taken = Counter(islice(turns, budget))
    return [(path, feature) for path, found in offers.items() for feature in found[: taken[path]]]


def _turns(offers: Offers) -> Iterator[Path]:
    """The path of each feature, the paths taking turns."""
    for turn in zip_longest(*(repeat(path, len(found)) for path, found in offers.items())):
        yield from (path for path in turn if path is not None)
