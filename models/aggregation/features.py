"""Feature definitions: a path, a column, primitives and a window, with a name and a JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from models.aggregation.paths import Hop, Path, describe, hop_label
from models.aggregation.primitives import AGGREGATES
from models.database.schema import ForeignKey, RelationalSchema, SemanticType, to_plain


@dataclass(frozen=True, slots=True)
class Feature:
    """One value per (row of `table`, cutoff time).

    From a row of `table` the `path` is walked; what it reaches is reduced by `primitives`, one
    aggregate per step towards children, the outermost first. `column` is the column of the path's
    last table that is read, None for COUNT. `transform` is
    `age` (seconds from the timestamp to the cutoff), or `month` / `weekday` (of the cutoff).
    `window` restricts the outermost aggregate to rows in `(visible_until - window, visible_until]`.
    """

    name: str
    table: str
    path: Path
    column: str | None
    primitives: tuple[str, ...]
    semantic_type: SemanticType
    transform: str | None = None
    window: timedelta | None = None

    @property
    def primitive(self) -> str | None:
        """The outermost primitive: an aggregate, a transform, or None for a value as it is."""
        return self.primitives[0] if self.primitives else self.transform

    @property
    def is_elapsed(self) -> bool:
        """Whether the value is a time until the query's end, where it becomes seconds."""
        return self.primitive in ("age", "time_since_last")

    @property
    def inner(self) -> Feature:
        """The nameless feature after the path's first step, on the table the step leads to."""
        first = self.path[0]
        if first.forward:
            return replace(self, name="", table=first.target, path=self.path[1:])
        rest = self.primitives[1:]
        output = AGGREGATES[rest[0]].output if rest else None
        return Feature(
            "", first.target, self.path[1:], self.column, rest, output or self.semantic_type
        )

    @property
    def description(self) -> str:
        """The path as text."""
        return describe(self.table, self.path)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form; `feature_from_plain` reads it."""
        plain: dict[str, Any] = to_plain(self)
        plain["window"] = None if self.window is None else self.window / timedelta(seconds=1)
        return plain


def feature_from_plain(plain: Mapping[str, Any]) -> Feature:
    """The feature whose `to_plain` this is."""
    values = dict(plain)
    values["path"] = tuple(_hop_from_plain(hop) for hop in plain["path"])
    values["primitives"] = tuple(plain["primitives"])
    values["semantic_type"] = SemanticType(plain["semantic_type"])
    seconds = plain["window"]
    values["window"] = None if seconds is None else timedelta(seconds=seconds)
    return Feature(**values)


def _hop_from_plain(plain: Mapping[str, Any]) -> Hop:
    key = dict(plain["foreign_key"])
    key["columns"] = tuple(key["columns"])
    key["parent_columns"] = tuple(key["parent_columns"])
    return Hop(ForeignKey(**key), plain["forward"])


def feature_name(schema: RelationalSchema, feature: Feature) -> str:
    """The featuretools-like name: `nationality`, `races.circuits.lat`, `MEAN(results.races.round)`.

    A window is appended in days, hours or seconds, whichever is whole: `SUM(orders.price, 30 days)`.
    """
    return _name(schema, feature.path, feature.primitives, feature)


def _name(
    schema: RelationalSchema, path: Path, primitives: tuple[str, ...], feature: Feature
) -> str:
    if not path:
        return _column_name(feature)
    label = hop_label(schema, path[0])
    if path[0].forward:
        return f"{label}.{_name(schema, path[1:], primitives, feature)}"
    rest = _name(schema, path[1:], primitives[1:], feature)
    window = (
        ""
        if feature.window is None or len(primitives) < len(feature.primitives)
        else (f", {_duration(feature.window)}")
    )
    return f"{primitives[0].upper()}({label}{'.' if rest else ''}{rest}{window})"


def _column_name(feature: Feature) -> str:
    column = feature.column or ""
    return f"{feature.transform.upper()}({column})" if feature.transform else column


def _duration(window: timedelta) -> str:
    for unit in ("days", "hours"):
        if window % timedelta(**{unit: 1}) == timedelta(0):
            return f"{window // timedelta(**{unit: 1})} {unit}"
    return f"{window.total_seconds():g} seconds"
