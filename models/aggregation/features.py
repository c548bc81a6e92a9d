"""Feature definitions: a path, a column, primitives and a window, with a name and a JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from models.aggregation.paths import Hop, Path, describe, hop_label
from models.aggregation.primitives import AGGREGATES, TRANSFORMS
from models.aggregation.windows import PAST, Window, trailing
from models.database.schema import ForeignKey, RelationalSchema, SemanticType, to_plain


@dataclass(frozen=True, slots=True)
class Condition:
    """Rows are only aggregated where `column` has `value` (compared as text).

    `level` says of which step towards children the rows are: 0 is the first (outermost).
    """

    column: str
    value: str
    level: int = 0


@dataclass(frozen=True, slots=True)
class Feature:
    """One value per (row of `table`, cutoff time).

    From a row of `table` the `path` is walked; what it reaches is reduced by `primitives`, one
    aggregate per step towards children, the outermost first. `column` is the column of the path's
    last table that is read, None for COUNT; `transform` is applied to its value first. `component`
    picks one of the values that the primitive (or else the transform) gives.

    `window` restricts the outermost aggregate to rows in a window around the cutoff; `where`
    restricts the rows of one level. With `lookback` the aggregate is flat: one primitive over all
    rows that the path reaches, counted once per way to reach them, the rows of the second step
    towards children being those in the `lookback` up to the time of the row of the first step,
    with what they read through parents as of that time (sibling rows, see `flat`).
    """

    name: str
    table: str
    path: Path
    column: str | None
    primitives: tuple[str, ...]
    semantic_type: SemanticType
    transform: str | None = None
    window: Window = PAST
    where: Condition | None = None
    component: int | None = None
    lookback: timedelta | None = None

    @property
    def primitive(self) -> str | None:
        """The outermost primitive: an aggregate, a transform, or None for a value as it is."""
        return self.primitives[0] if self.primitives else self.transform

    @property
    def is_elapsed(self) -> bool:
        """Whether the value is a time until the query's end, where it becomes seconds or years."""
        return self.primitive in ("time_since", "age", "time_since_last", "time_since_first")

    @property
    def inner(self) -> Feature:
        """The nameless feature after the path's first step, on the table the step leads to."""
        first = self.path[0]
        if first.forward:
            return replace(self, name="", table=first.target, path=self.path[1:])
        rest = self.primitives[1:]
        output = AGGREGATES[rest[0]].output if rest else None
        where = self.where
        return replace(
            self,
            name="",
            table=first.target,
            path=self.path[1:],
            primitives=rest,
            semantic_type=output or self.semantic_type,
            window=PAST,
            where=None if where is None or where.level == 0 else _lowered(where),
            component=None if AGGREGATES[self.primitives[0]].components > 1 else self.component,
        )

    @property
    def description(self) -> str:
        """The path as text."""
        return describe(self.table, self.path)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form; `feature_from_plain` reads it."""
        plain: dict[str, Any] = to_plain(self)
        plain["window"] = {
            "after": _seconds(self.window.after),
            "until": _seconds(self.window.until),
        }
        plain["lookback"] = _seconds(self.lookback)
        return plain


def _lowered(where: Condition) -> Condition:
    return replace(where, level=where.level - 1)


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration / timedelta(seconds=1)


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def feature_from_plain(plain: Mapping[str, Any]) -> Feature:
    """The feature whose `to_plain` this is."""
    values = dict(plain)
    values["path"] = tuple(_hop_from_plain(hop) for hop in plain["path"])
    values["primitives"] = tuple(plain["primitives"])
    values["semantic_type"] = SemanticType(plain["semantic_type"])
    window = plain["window"]
    values["window"] = Window(
        _duration(window["after"]), _duration(window["until"]) or timedelta(0)
    )
    values["where"] = None if plain["where"] is None else Condition(**plain["where"])
    values["lookback"] = _duration(plain["lookback"])
    return Feature(**values)


def _hop_from_plain(plain: Mapping[str, Any]) -> Hop:
    key = dict(plain["foreign_key"])
    key["columns"] = tuple(key["columns"])
    key["parent_columns"] = tuple(key["parent_columns"])
    return Hop(ForeignKey(**key), plain["forward"])


def feature_name(schema: RelationalSchema, feature: Feature) -> str:
    """The featuretools-like name: `nationality`, `races.circuits.lat`, `MEAN(results.races.round)`.

    `TREND(orders.price, at)` names the event time, `COUNT(orders WHERE channel = web)` a condition,
    `N_MOST_COMMON(orders.channel)[0]` a component. A window is appended to its aggregate in days,
    hours or seconds, whichever is whole: `SUM(orders.price, 30 days)`; so is a lookback.
    """
    component = "" if feature.component is None else f"[{feature.component}]"
    return _name(schema, feature.path, feature.primitives, feature, 0) + component


def _name(
    schema: RelationalSchema,
    path: Path,
    primitives: tuple[str, ...],
    feature: Feature,
    level: int,
) -> str:
    if not path:
        return _column_name(feature)
    label = hop_label(schema, path[0])
    if path[0].forward:
        return f"{label}.{_name(schema, path[1:], primitives, feature, level)}"
    rest = _name(schema, path[1:], primitives[1:], feature, level + 1)
    inside = f"{label}{'.' if rest else ''}{rest}"
    where = ""
    if feature.where is not None and feature.where.level == level:
        where = f" WHERE {feature.where.column} = {feature.where.value}"
    if not primitives:  # a flat aggregate names its only primitive at the first step
        return inside + where
    extra = []
    if primitives[0] == "trend":
        extra.append(schema.table(path[0].target).time_column or "")
    if level == 0 and feature.window != PAST:
        extra.append(str(feature.window))
    if level == 0 and feature.lookback is not None:
        extra.append(f"lookback {trailing(feature.lookback)}")
    return f"{primitives[0].upper()}({', '.join([inside, *extra])}{where})"


def _column_name(feature: Feature) -> str:
    column = feature.column or ""
    return f"{feature.transform.upper()}({column})" if feature.transform else column


def output_type(
    primitives: tuple[str, ...], transform: str | None, read: SemanticType
) -> SemanticType:
    """The semantic type of a feature's values, from the type of the column that it reads."""
    kind = TRANSFORMS[transform].output if transform else read
    for primitive in reversed(primitives):
        kind = AGGREGATES[primitive].output or kind
    return kind
