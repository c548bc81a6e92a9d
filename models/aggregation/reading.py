"""How a column is read: as what, through which transform, and what is known of its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from models.aggregation.accumulators import ROW, Value
from models.aggregation.features import Feature
from models.aggregation.paths import Path
from models.aggregation.primitives import AGGREGATES
from models.aggregation.session import Session
from models.aggregation.sql import call, cast, col, epoch, number, one_if, table
from models.aggregation.sums import Bounds, usable
from models.aggregation.types import is_integer
from models.database.schema import SemanticType, Table

# Words are separated as in featuretools; one of punctuation only does not count.
_WORD = r"[^ \n\t]*[^ \n\t!-/:-@\[-`{-~][^ \n\t]*"


@dataclass(frozen=True, slots=True)
class Reading:
    """A column to read, at the end of a path of forward steps from a row.

    `semantic_type` says as what it is read: numbers, truth values, instants (microseconds), or
    anything else as it is. `equals` makes it the truth value of a condition.
    """

    path: Path
    column: str
    semantic_type: SemanticType | None
    transform: str | None = None
    component: int | None = None
    equals: str | None = None


def component_column(column: str, component: int) -> str:
    """The name of the column, beside the staged ones, with a component of a text column."""
    return f"{column}#ngram{component}"


def time_of(description: Table, alias: str) -> exp.Expression | None:
    """The event time in microseconds; None for a table without one."""
    if description.time_column is None:
        return None
    return epoch(cast(col(description.time_column, alias), "TIMESTAMP"))


def read_value(session: Session, table_name: str, reading: Reading, alias: str) -> exp.Expression:
    """The value: a DOUBLE or BIGINT without non-finite numbers, a BOOLEAN, or as it is."""
    if reading.transform == "ngram_hash" and reading.component is not None:
        return col(component_column(reading.column, reading.component), alias)
    value: exp.Expression = col(reading.column, alias)
    if reading.equals is not None:
        return cast(value, "VARCHAR").eq(exp.Literal.string(reading.equals))
    if reading.transform in TRANSFORM_SQL:
        return TRANSFORM_SQL[reading.transform](value)
    if reading.semantic_type is SemanticType.BOOLEAN:
        if session.column_type(table_name, reading.column).upper() == "BOOLEAN":
            return value
        return exp.TryCast(this=value, to=exp.DataType.build("BOOLEAN"))
    if reading.semantic_type is SemanticType.TIMESTAMP:
        return epoch(cast(value, "TIMESTAMP"))
    if reading.semantic_type is not SemanticType.NUMERICAL:
        return value
    if is_integer(session.column_type(table_name, reading.column)):
        return cast(value, "BIGINT")
    return usable(cast(value, "DOUBLE"))


def is_integer_reading(session: Session, table_name: str, reading: Reading) -> bool:
    """Whether the value is read as a BIGINT to sum."""
    if reading.semantic_type is not SemanticType.NUMERICAL:
        return False
    if reading.transform is not None:
        return reading.transform != "ngram_hash"
    return is_integer(session.column_type(table_name, reading.column))


def _calendar(part: str) -> Callable[[exp.Expression], exp.Expression]:
    def extract(value: exp.Expression) -> exp.Expression:
        moment = exp.Extract(this=exp.var(part), expression=cast(value, "TIMESTAMP"))
        return cast(moment, "BIGINT")

    return extract


def _weekday(value: exp.Expression) -> exp.Expression:
    """0 for Monday to 6 for Sunday."""
    return exp.paren(_calendar("ISODOW")(value) - number(1))


def _words(value: exp.Expression) -> exp.Expression:
    matches = call("REGEXP_EXTRACT_ALL", cast(value, "VARCHAR"), exp.Literal.string(_WORD))
    return cast(call("LEN", matches), "BIGINT")


TRANSFORM_SQL: dict[str | None, Callable[[exp.Expression], exp.Expression]] = {
    "weekday": _weekday,
    "month": _calendar("MONTH"),
    "hour": _calendar("HOUR"),
    "day": _calendar("DAY"),
    "year": _calendar("YEAR"),
    "is_weekend": lambda value: _calendar("ISODOW")(value) > number(5),
    "num_characters": lambda value: cast(call("LENGTH", cast(value, "VARCHAR")), "BIGINT"),
    "num_words": _words,
}

_READ_AS = {
    "mode": SemanticType.CATEGORICAL,
    "num_unique": SemanticType.CATEGORICAL,
    "entropy": SemanticType.CATEGORICAL,
    "n_most_common": SemanticType.CATEGORICAL,
    "percent_true": SemanticType.BOOLEAN,
    "num_true": SemanticType.BOOLEAN,
    "any": SemanticType.BOOLEAN,
    "all": SemanticType.BOOLEAN,
}


def reading_of(feature: Feature, path: Path) -> Reading | None:
    """What the innermost aggregate reads at the end of a path; None if it reads rows only."""
    primitive = feature.primitives[-1]
    if feature.column is None or not AGGREGATES[primitive].inputs:
        return None
    read_as = _READ_AS.get(primitive, SemanticType.NUMERICAL)
    if primitive in ("last", "first"):
        read_as = feature.semantic_type
    component = feature.component if feature.transform == "ngram_hash" else None
    return Reading(path, feature.column, read_as, feature.transform, component)


def with_bounds(
    session: Session, name: str, values: Sequence[Value], numerical: Sequence[bool]
) -> tuple[Value, ...]:
    """The values with what the rows of a table show of their size and of fractions."""
    measured = [value for value, wanted in zip(values, numerical, strict=True) if wanted]
    if not measured:
        return tuple(values)
    query = exp.select(call("COUNT", exp.Star())).from_(table(name, ROW))
    for value in measured:
        whole = one_if(value.row.eq(call("TRUNC", value.row)))
        missing = exp.Case().when(value.row.is_(exp.null()), number(1))
        query = query.select(
            call("MAX", call("ABS", cast(value.row, "DOUBLE"))),
            call("MIN", missing.else_(whole)),
            call("COUNT", value.row),
        )
    found = session.row(query)
    bounds = {}
    for at, value in enumerate(measured):
        if found is None:
            bounds[value.position] = Bounds(None, value.integer)
            continue
        largest, whole_numbers, count = found[3 * at + 1 : 3 * at + 4]
        bounds[value.position] = Bounds(
            float(largest or 0.0), value.integer or whole_numbers in (1, None), count == found[0]
        )
    return tuple(
        replace(value, bounds=bounds[value.position]) if value.position in bounds else value
        for value in values
    )
