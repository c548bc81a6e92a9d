"""Primitives as accumulators: what is prepared per row, how rows combine, what the result is.

Every primitive becomes a few columns that combine by SUM, MIN or MAX and nothing else, so that
grouping, running windows and any other plan evaluate them alike. Even MODE and NUM_UNIQUE do: with
running counts of each value in time order, the mode of a prefix of the history is the value of the
row with the greatest running count, and the number of distinct values that of first occurrences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from models.aggregation.sql import all_of, call, cast, col, is_not_null, number, over, when
from models.aggregation.sums import fraction, joined, sample_deviation, square, whole

# MODE's code is rank - count * MODE_BASE: the least code has the greatest count, then least value.
MODE_BASE = 2**31


@dataclass(frozen=True, slots=True)
class Value:
    """A value column of the events table.

    `position` numbers its columns: `v3` (value), `x3` (its entity's first value), `r3` (rank among
    the distinct values), `c3` (running count of the value).
    `integer` says that values are integers; `late` names the column with the time from which the
    value may be seen, where that can be after the row's own time.
    """

    position: int
    integer: bool = False
    late: str | None = None

    def column(self, letter: str, table: str | None = None) -> exp.Column:
        """The value's column of that kind."""
        return col(f"{letter}{self.position}", table)


@dataclass(frozen=True, slots=True)
class Accumulator:
    """A column that combines over rows: its name, a row's contribution and the aggregate."""

    name: str
    row: exp.Expression
    combine: str = "SUM"
    value: Value | None = None


ROWS = Accumulator("rows", number(1))
LAST = Accumulator("last", col("ordinal"), "MAX")
LAST_TIME = Accumulator("last_time", col("time"), "MAX")
_ROW_PARTS = {part.name: part for part in (ROWS, LAST, LAST_TIME)}

_PARTS: dict[str, tuple[str, ...]] = {
    "count": ("rows",),
    "time_since_last": ("last_time",),
    "sum": ("whole", "fraction"),
    "mean": ("n", "whole", "fraction"),
    "std": ("n", "whole", "fraction", "first", "square_whole", "square_fraction"),
    "min": ("min",),
    "max": ("max",),
    "mode": ("code",),
    "num_unique": ("rows", "new"),
    "percent_true": ("rows", "true"),
    "last": ("last",),
}
_COMBINE = {"first": "MAX", "min": "MIN", "max": "MAX", "code": "MIN"}


def accumulators(primitive: str, value: Value | None) -> list[Accumulator]:
    """The accumulators that a primitive needs; integers have no fractions."""
    found = []
    for part in _PARTS[primitive]:
        if part in _ROW_PARTS:
            found.append(_ROW_PARTS[part])
        elif value is not None and not (value.integer and part.endswith("fraction")):
            name = f"{part}{value.position}"
            found.append(Accumulator(name, _ROWS[part](value), _COMBINE.get(part, "SUM"), value))
    return found


def _one_if(condition: exp.Expression) -> exp.Expression:
    return exp.Case().when(condition, number(1)).else_(number(0))


def _whole(value: Value) -> exp.Expression:
    return value.column("v") if value.integer else whole(value.column("v"))


def _square(value: Value) -> exp.Expression:
    """The squared difference from the entity's first value."""
    this, first = value.column("v"), value.column("x")
    if value.integer:
        return square(cast(this, "HUGEINT") - cast(first, "HUGEINT"))
    return square(this - first)


def _square_whole(value: Value) -> exp.Expression:
    return _square(value) if value.integer else whole(_square(value))


def _first_occurrence(value: Value) -> exp.Expression:
    return _one_if(all_of([is_not_null(value.column("r")), value.column("c").eq(number(1))]))


def _mode_code(value: Value) -> exp.Expression:
    return value.column("r") - value.column("c") * number(MODE_BASE)


_ROWS: dict[str, Callable[[Value], exp.Expression]] = {
    "n": lambda value: _one_if(is_not_null(value.column("v"))),
    "min": lambda value: value.column("v"),
    "max": lambda value: value.column("v"),
    "first": lambda value: value.column("x"),
    "whole": _whole,
    "fraction": lambda value: fraction(value.column("v")),
    "square_whole": _square_whole,
    "square_fraction": lambda value: fraction(_square(value)),
    "code": _mode_code,
    "new": _first_occurrence,
    "true": lambda value: _one_if(value.column("v")),
}


def window_columns(
    primitive: str, value: Value, keys: Sequence[exp.Expression], order: Sequence[exp.Expression]
) -> dict[str, exp.Expression]:
    """Columns, by name, that a primitive's row contributions read besides `v`: windows per entity.

    Args:
        primitive: The aggregate.
        value: What it reads.
        keys: The columns that identify the entity.
        order: The order in which the entity's values become visible.
    """
    if primitive == "std":
        first = exp.IgnoreNulls(this=exp.FirstValue(this=value.column("v")))
        return {f"x{value.position}": over(first, keys, order, "ROWS")}
    if primitive in ("mode", "num_unique"):
        count = over(exp.RowNumber(), [*keys, value.column("r")], order)
        return {f"c{value.position}": count}
    return {}


def result(primitive: str, value: Value | None) -> exp.Expression:
    """The primitive's value from its accumulators, which are columns of the table `combined`.

    MODE gives the rank of its value, LAST the ordinal of its row, TIME_SINCE_LAST a time.
    """
    if primitive == "count":
        return call("COALESCE", col("rows", "combined"), number(0))
    if primitive in ("last", "time_since_last"):
        return col("last" if primitive == "last" else "last_time", "combined")
    assert value is not None, f"{primitive} reads a column"
    return _RESULTS[primitive](value)


def _combined(part: str, value: Value) -> exp.Expression:
    return col(f"{part}{value.position}", "combined")


def _joined(part: str, value: Value) -> exp.Expression:
    """The DOUBLE of a pair of sums: `part` is empty for the sum, `square_` for that of squares."""
    below = None if value.integer else _combined(f"{part}fraction", value)
    return joined(_combined(f"{part}whole", value), below)


def _mean(value: Value) -> exp.Expression:
    count = _combined("n", value)
    return when(count > number(0), _joined("", value) / cast(count.copy(), "DOUBLE"))


def _deviation(value: Value) -> exp.Expression:
    count, first = _combined("n", value), _combined("first", value)
    units = _combined("whole", value) - count * (first if value.integer else whole(first))
    below = None
    if not value.integer:
        # The product needs 128 bits: 60 of the fraction and those of the count.
        below = _combined("fraction", value) - count.copy() * cast(fraction(first), "HUGEINT")
    return sample_deviation(count.copy(), joined(units, below), _joined("square_", value))


def _mode_rank(value: Value) -> exp.Expression:
    base = number(MODE_BASE)
    return exp.paren(_combined("code", value) % base + base.copy()) % base.copy()


def _distinct(value: Value) -> exp.Expression:
    new = call("COALESCE", _combined("new", value), number(0))
    return when(col("rows", "combined") > number(0), new)


def _share_true(value: Value) -> exp.Expression:
    true = call("COALESCE", _combined("true", value), number(0))
    return cast(true, "DOUBLE") / cast(col("rows", "combined"), "DOUBLE")


_RESULTS: dict[str, Callable[[Value], exp.Expression]] = {
    "sum": lambda value: call("COALESCE", _joined("", value), number(0)),
    "mean": _mean,
    "std": _deviation,
    "min": lambda value: _combined("min", value),
    "max": lambda value: _combined("max", value),
    "mode": _mode_rank,
    "num_unique": _distinct,
    "percent_true": _share_true,
}
