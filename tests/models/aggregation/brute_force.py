"""Features the slow, obvious way: loops over rows, one feature at one seed at a time.

Sums are taken in rational arithmetic, so a difference from these values is an error elsewhere.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from string import punctuation
from typing import Any

import polars as pl

from models.aggregation.features import Condition, Feature
from models.aggregation.paths import Hop, Path
from models.aggregation.primitives import CUTOFF_COLUMN, VISIBLE_COLUMN
from models.aggregation.windows import ZERO
from models.database.schema import ForeignKey, RelationalSchema, SemanticType

Row = Mapping[str, Any]
Key = tuple[Any, ...]
MICROSECOND, DAY = timedelta(microseconds=1), timedelta(days=1)
TOO_LARGE = 1e30
NEGLIGIBLE = Fraction(1, 10**14)  # pandas takes less for a rounding error


@dataclass(frozen=True)
class Seed:
    """An entity at a cutoff, with the last instant that it may see."""

    entity: Any
    cutoff: datetime
    visible: datetime


@dataclass(frozen=True)
class Item:
    """One row of a group: its time (None in a table without), and the value read from it."""

    time: datetime | None
    value: Any


class Database:
    """The rows of every table, found by primary key and by foreign key."""

    def __init__(self, schema: RelationalSchema, rows: Mapping[str, Sequence[Row]]) -> None:
        self.schema = schema
        self._rows = {
            table.name: {self.key_of(table.name, row): row for row in rows[table.name]}
            for table in schema.tables
        }
        self._children: dict[ForeignKey, dict[Key, list[Row]]] = {}
        for key in schema.foreign_keys:
            groups = self._children.setdefault(key, {})
            for row in rows[key.table]:
                groups.setdefault(self.parent_of(key, row), []).append(row)

    def key_of(self, table: str, row: Row) -> Key:
        """The row's primary key."""
        return tuple(row[column] for column in self.schema.table(table).primary_key)

    def parent_of(self, key: ForeignKey, row: Row) -> Key:
        """What the row's foreign key refers to, in the order of the parent's primary key."""
        by_column = dict(zip(key.parent_columns, key.columns, strict=True))
        return tuple(row[by_column[part]] for part in self.schema.table(key.parent).primary_key)

    def row(self, table: str, key: Key) -> Row | None:
        """The row with that primary key."""
        return self._rows[table].get(key)

    def children(self, key: ForeignKey, parent: Key) -> list[Row]:
        """The rows whose foreign key refers to the parent; none where a part of it is NULL."""
        return [] if None in parent else self._children[key].get(parent, [])

    def time_of(self, table: str, row: Row) -> datetime | None:
        """The row's event time."""
        column = self.schema.table(table).time_column
        return None if column is None else row[column]


def feature_value(database: Database, feature: Feature, seed: Seed) -> float | str | bool | None:
    """The feature's value at the seed."""
    if not feature.path and feature.column == VISIBLE_COLUMN and feature.is_elapsed:
        return (seed.cutoff - seed.visible_until) / timedelta(seconds=1)
    if feature.column == CUTOFF_COLUMN and not feature.path:
        assert feature.transform is not None
        return float(transformed(feature.transform, seed.cutoff))
    walk = _Walk(database, feature, seed)
    value = walk.value(feature.table, (seed.entity,), feature.path, 0)
    if value is not None and feature.is_elapsed:
        value = seed.cutoff - value
        value = value.days / 365 if feature.primitive == "age" else value / timedelta(seconds=1)
    if value is None:
        return None
    if feature.semantic_type is SemanticType.NUMERICAL:
        return float(value)
    return bool(value) if feature.semantic_type is SemanticType.BOOLEAN else as_text(value)


class _Walk:
    """One feature at one seed."""

    def __init__(
        self, database: Database, feature: Feature, seed: Seed, horizon: datetime | None = None
    ) -> None:
        self._database, self._feature, self._seed = database, feature, seed
        # A window into the future shows what is known at its end.
        self._horizon = horizon or seed.visible + max(feature.window.until, ZERO)

    def value(self, table: str, key: Key, path: Path, level: int) -> Any:
        """The value for the row of `table` with that key, after `level` steps to children."""
        if not path:
            row = self._visible_row(table, key)
            return None if row is None else self._read(row)
        hop = path[0]
        if hop.forward:
            row = self._visible_row(table, key)
            if row is None:
                return None
            parent = self._database.parent_of(hop.foreign_key, row)
            if self._visible_row(hop.target, parent) is None:
                return None
            return self.value(hop.target, parent, path[1:], level)
        rows = self._rows(hop, key, level)
        if level == 0:
            rows = [row for row in rows if self._in_window(hop.target, row)]
        if self._feature.lookback is not None:
            items = [item for row in rows for item in self._siblings(row, path)]
            return self._aggregated(items, 0)
        items = [self._item(hop.target, row, path[1:], level) for row in rows]
        return self._aggregated(items, level)

    def _aggregated(self, items: Sequence[Item], level: int) -> Any:
        value = aggregate(self._feature.primitives[level], items)
        if isinstance(value, tuple):
            assert self._feature.component is not None
            return value[self._feature.component]
        return value

    def _siblings(self, row: Row, path: Path) -> list[Item]:
        """The rows that share a parent's key with a row, in the lookback up to its time."""
        child, parent, sibling = path[:3]
        time, lookback = self._database.time_of(child.target, row), self._feature.lookback
        assert time is not None
        assert lookback is not None
        key = self._database.parent_of(parent.foreign_key, row)
        then = _Walk(self._database, self._feature, self._seed, time)  # as of the row's time
        items = [
            then._item(sibling.target, other, path[3:], 1) for other in then._rows(sibling, key, 1)
        ]
        return [item for item in items if item.time and time - lookback < item.time]

    def _item(self, table: str, row: Row, path: Path, level: int) -> Item:
        value = None
        if self._feature.column is not None or len(self._feature.primitives) > level + 1:
            value = self.value(table, self._database.key_of(table, row), path, level + 1)
        return Item(self._database.time_of(table, row), value)

    def _rows(self, hop: Hop, key: Key, level: int) -> list[Row]:
        """Visible children that fulfil the condition, ordered by time and primary key."""
        table, database = hop.target, self._database
        rows = [
            row
            for row in database.children(hop.foreign_key, key)
            if self._visible(table, row) and _fulfils(self._feature.where, level, row)
        ]
        return sorted(
            rows,
            key=lambda row: (
                database.time_of(table, row) or datetime.min,
                database.key_of(table, row),
            ),
        )

    def _in_window(self, table: str, row: Row) -> bool:
        time, window = self._database.time_of(table, row), self._feature.window
        if time is None:  # a table without times: its rows are always there
            return True
        begins = window.after is None or time > self._seed.visible + window.after
        return begins and time <= self._seed.visible + window.until

    def _visible_row(self, table: str, key: Key) -> Row | None:
        row = self._database.row(table, key)
        return row if row is not None and self._visible(table, row) else None

    def _visible(self, table: str, row: Row) -> bool:
        if self._database.schema.table(table).time_column is None:
            return True
        time = self._database.time_of(table, row)
        return time is not None and time <= self._horizon

    def _read(self, row: Row) -> Any:
        assert self._feature.column is not None
        value = row[self._feature.column]
        if value is None:
            return None
        if self._feature.transform == "ngram_hash":
            assert self._feature.component is not None
            return transformed("ngram_hash", value)[self._feature.component]
        if self._feature.transform not in (None, "time_since", "age"):
            value = transformed(self._feature.transform, value)
        if isinstance(value, float) and not abs(value) < TOO_LARGE:
            return None
        return value


def _fulfils(where: Condition | None, level: int, row: Row) -> bool:
    if where is None or where.level != level:
        return True
    value = row[where.column]
    return value is not None and as_text(value) == where.value


def as_text(value: Any) -> str:
    """A value as text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def transformed(transform: str, value: Any) -> Any:
    """A transform of one value that isn't NULL."""
    return _TRANSFORMS[transform](value)


def _ngram_hash(text: str) -> tuple[float, ...]:
    from models.aggregation.text_components import ngram_components

    (row,) = ngram_components(pl.Series([text])).rows()
    return tuple(row)


_TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "weekday": lambda time: time.weekday(),
    "month": lambda time: time.month,
    "hour": lambda time: time.hour,
    "day": lambda time: time.day,
    "year": lambda time: time.year,
    "is_weekend": lambda time: time.weekday() in (5, 6),
    "num_characters": len,
    "num_words": lambda text: sum(
        1 for word in re.split("[ \n\t]", text) if word.strip(punctuation)
    ),
    "ngram_hash": _ngram_hash,
}


def aggregate(primitive: str, items: Sequence[Item]) -> Any:
    """A primitive over rows in order; a tuple of those that have several components."""
    found = [item.value for item in items if item.value is not None]
    if primitive in _OF_NOTHING:
        return _OF_NOTHING[primitive](items, found)
    return _AGGREGATES[primitive](items, found) if items else None


def _number(value: Fraction) -> float:
    return float(value)


def _moments(values: Sequence[Any]) -> tuple[Fraction, Fraction, Fraction]:
    """The mean, and the sums of squares and cubes of what deviates from it."""
    exact = [Fraction(value) for value in values]
    mean = sum(exact, Fraction(0)) / len(exact)
    return (
        mean,
        sum(((value - mean) ** 2 for value in exact), Fraction(0)),
        sum(((value - mean) ** 3 for value in exact), Fraction(0)),
    )


def _variance(values: Sequence[Any]) -> float | None:
    return _number(_moments(values)[1] / (len(values) - 1)) if len(values) > 1 else None


def _deviation(values: Sequence[Any]) -> float | None:
    variance = _variance(values)
    return None if variance is None else math.sqrt(variance)


def _skew(values: Sequence[Any]) -> float | None:
    count = len(values)
    if count < 3:
        return None
    _, squares, cubes = _moments(values)
    if min(squares, abs(cubes)) < NEGLIGIBLE:
        return 0.0
    # Taken from the ratio, which stays in range where the powers would not.
    ratio = math.sqrt(_number(cubes**2 / squares**3)) * (1 if cubes > 0 else -1)
    return count * math.sqrt(count - 1) / (count - 2) * ratio


def _trend(items: Sequence[Item]) -> float | None:
    points = [
        (Fraction((item.time - datetime(2000, 1, 1)) // MICROSECOND), Fraction(item.value))
        for item in items
        if item.value is not None and item.time is not None
    ]
    if len(points) < 3:
        return None
    centre = sum((x for x, _ in points), Fraction(0)) / len(points)
    spread = sum(((x - centre) ** 2 for x, _ in points), Fraction(0))
    if spread == 0:
        return 0.0
    slope = sum(((x - centre) * y for x, y in points), Fraction(0)) / spread
    return _number(slope * (DAY // MICROSECOND))


def _gap(items: Sequence[Item]) -> float | None:
    times = [item.time for item in items if item.time is not None]
    if len(times) < 2:
        return None
    return (max(times) - min(times)) / timedelta(seconds=1) / (len(times) - 1)


def _entropy(values: Sequence[Any]) -> float:
    shares = [count / len(values) for count in Counter(values).values()]
    return -sum(share * math.log(share) for share in shares)


def _by_frequency(values: Sequence[Any]) -> list[Any]:
    counts = Counter(values)
    return sorted(counts, key=lambda value: (-counts[value], value))


Group = Sequence[Item]
# Of no rows these have a value; the others are NULL.
_OF_NOTHING: dict[str, Callable[[Group, list[Any]], Any]] = {
    "count": lambda items, values: len(items),
    "sum": lambda items, values: _number(sum(map(Fraction, values), Fraction(0))),
    "num_true": lambda items, values: sum(values),
}
_AGGREGATES: dict[str, Callable[[Group, list[Any]], Any]] = {
    "mean": lambda items, values: _number(_moments(values)[0]) if values else None,
    "max": lambda items, values: max(values, default=None),
    "min": lambda items, values: min(values, default=None),
    "std": lambda items, values: _deviation(values),
    "variance": lambda items, values: _variance(values),
    "skew": lambda items, values: _skew(values),
    "trend": lambda items, values: _trend(items),
    "mode": lambda items, values: _by_frequency(values)[0] if values else None,
    "n_most_common": lambda items, values: tuple([*_by_frequency(values), None, None, None][:3]),
    "num_unique": lambda items, values: len(set(values)),
    "entropy": lambda items, values: _entropy([item.value for item in items]),
    "percent_true": lambda items, values: sum(values) / len(items),
    "any": lambda items, values: any(values),
    "all": lambda items, values: all(values),
    "last": lambda items, values: items[-1].value,
    "first": lambda items, values: items[0].value,
    "time_since_last": lambda items, values: max(item.time for item in items),
    "time_since_first": lambda items, values: min(item.time for item in items),
    "avg_time_between": lambda items, values: _gap(items),
}
