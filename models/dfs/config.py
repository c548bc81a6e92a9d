"""What to enumerate: depth, primitives, windows, conditions and budgets."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from models.aggregation.primitives import AGGREGATES, DEFAULT_PRIMITIVES, TRANSFORMS

PRIMITIVES = (*AGGREGATES, *TRANSFORMS)
WHERE_PRIMITIVES = ("count", "mean")


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """What to enumerate.

    `depth` is the longest path in foreign keys. `primitives` are the aggregates and transforms to
    use, in order of preference. `windows` are lengths of trailing windows that are used next to the
    whole past, on the first step towards children. `where_primitives` are those of the aggregates
    that are also taken over the rows with one value of a category, where such values are given.

    `max_features` is how many features are kept; `max_paths` how many schema paths there may be at
    all. More paths than that are refused, because a depth that offers so many is hardly meant.
    """

    depth: int = 2
    primitives: tuple[str, ...] = DEFAULT_PRIMITIVES
    max_features: int = 500
    windows: tuple[timedelta, ...] = ()
    max_paths: int = 10_000
    where_primitives: tuple[str, ...] = WHERE_PRIMITIVES

    def __post_init__(self) -> None:
        check_names(self.primitives, PRIMITIVES)
        check_names(self.where_primitives, tuple(AGGREGATES))
        if self.depth < 0 or self.max_features < 1 or self.max_paths < 1:
            raise ValueError(
                "depth must be at least 0, max_features and max_paths at least 1 "
                f"(got {self.depth}, {self.max_features}, {self.max_paths})"
            )
        if any(window <= timedelta(0) for window in self.windows):
            raise ValueError(f"windows must be positive (got {list(map(str, self.windows))})")
        for what, values in (
            ("primitives", self.primitives),
            ("windows", tuple(map(str, self.windows))),
        ):
            twice = {value for value in values if values.count(value) > 1}
            if twice:
                raise ValueError(f"{what} are listed twice: {sorted(twice)}; list each once")


def check_names(names: Iterable[str], known: Sequence[str]) -> None:
    """Refuse primitives that are not among the known ones.

    Raises:
        ValueError: Names each unknown primitive, the known one that it resembles, and all known.
    """
    unknown = [_with_suggestion(name, known) for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown primitives: {', '.join(unknown)}; known: {', '.join(known)}")


def _with_suggestion(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=1)
    return f"{name!r}, did you mean {close[0]!r}?" if close else repr(name)
