"""Primitives as accumulators: what a row contributes, how contributions combine, what results.

Every primitive becomes a few columns that combine by SUM, MIN or MAX and nothing else: a
commutative monoid. So grouping, running windows, tiles and the states of sibling rows evaluate them
alike, and partial results merge. What is counted by value (MODE, ENTROPY, ...) is in `value_counts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from models.aggregation.sql import call, cast, col, is_not_null, number, one_if, when
from models.aggregation.sums import Bounds, at_least, joined, limb, power

ROW, REFERENCE, COMBINED = "e", "reference", "combined"
DAY = 86_400_000_000
# As pandas: a sum of squares or cubes below this is taken to be zero.
NEGLIGIBLE = "1e-14"
ROUNDING = "1e-15"


@dataclass(frozen=True, slots=True)
class Value:
    """A value column of the events table: `v3` for position 3.

    `integer` says that it is a BIGINT; `late` names the column with the time from which the value
    may be seen, where that can be after the row's own time. Its entity's reference value and the
    time of that are `x3` and `o3` in the table of references.
    """

    position: int
    integer: bool = False
    late: str | None = None
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def row(self) -> exp.Column:
        """The value in the events table."""
        return col(f"v{self.position}", ROW)


@dataclass(frozen=True, slots=True)
class Request:
    """One aggregate: output column, primitive, what it reads, the condition column, component."""

    alias: str
    primitive: str
    value: Value | None
    where: str | None = None
    component: int | None = None

    def name(self, part: str) -> str:
        """The name of an accumulator of this request; equal requests share their accumulators."""
        position = "" if self.value is None else str(self.value.position)
        return f"{part}{position}{'' if self.where is None else '_' + self.where}"


@dataclass(frozen=True, slots=True)
class Accumulator:
    """A column that combines over rows: its name, a row's contribution and the aggregate."""

    name: str
    row: exp.Expression
    combine: str = "SUM"
    late: str | None = None


def accumulators(request: Request) -> list[Accumulator]:
    """The accumulators that a request needs."""
    found: list[Accumulator] = []
    for part in PARTS[request.primitive]:
        combine = _COMBINE.get(part, "SUM")
        if part in _SUMS:
            contribution, limbs = _SUMS[part](request)
            pieces = [
                (f"{request.name(part)}_{name}", _limb(request, part, contribution, name, limbs))
                for name in limbs
            ]
        else:
            pieces = [(_name(request, part), _ROWS[part](request))]
        late = None if part in _OF_ROWS or request.value is None else request.value.late
        found += [Accumulator(name, _where(request, row), combine, late) for name, row in pieces]
    return found


def is_decomposable(primitive: str) -> bool:
    """Whether the primitive has accumulators."""
    return primitive in PARTS


def is_mergeable(primitive: str) -> bool:
    """Whether accumulators of disjoint sets of rows merge without knowing a reference value."""
    return is_decomposable(primitive) and not needs_reference(primitive) and not of_order(primitive)


def needs_reference(primitive: str) -> bool:
    """Whether deviations from the entity's first value are summed."""
    return primitive in ("std", "variance", "skew", "trend")


def of_order(primitive: str) -> bool:
    """Whether the order of rows matters."""
    return primitive in ("last", "first")


PARTS: dict[str, tuple[str, ...]] = {
    "count": ("rows",),
    "time_since_last": ("end",),
    "time_since_first": ("begin",),
    "avg_time_between": ("rows", "begin", "end"),
    "last": ("last",),
    "first": ("first",),
    "sum": ("total",),
    "mean": ("n", "total"),
    "std": ("n", "total", "square"),
    "variance": ("n", "total", "square"),
    "skew": ("n", "total", "square", "cube"),
    "trend": ("n", "total", "days", "day_square", "product", "earliest", "latest"),
    "min": ("min",),
    "max": ("max",),
    "percent_true": ("rows", "true"),
    "num_true": ("true",),
    "any": ("rows", "true"),
    "all": ("rows", "false"),
}
_COMBINE = {
    "begin": "MIN", "end": "MAX", "last": "MAX", "first": "MIN", "min": "MIN", "max": "MAX",
    "earliest": "MIN", "latest": "MAX",
}  # fmt: skip
_OF_ROWS = {"rows": "rows", "begin": "begin", "end": "end", "last": "last", "first": "first"}


def _name(request: Request, part: str) -> str:
    """Accumulators of rows do not depend on a value, nor does a count of values without gaps."""
    value = request.value
    if part == "n" and value is not None and value.late is None and value.bounds.complete:
        part = "rows"
    if part in _OF_ROWS:
        return part if request.where is None else f"{part}_{request.where}"
    return request.name(part)


def _where(request: Request, row: exp.Expression) -> exp.Expression:
    return row if request.where is None else when(col(request.where, ROW), row)


def _v(request: Request) -> exp.Expression:
    assert request.value is not None, f"{request.primitive} reads a column"
    return request.value.row


def _x(request: Request, letter: str = "x") -> exp.Expression:
    assert request.value is not None, f"{request.primitive} reads a column"
    return col(f"{letter}{request.value.position}", REFERENCE)


def _limb(
    request: Request, part: str, amount: exp.Expression, name: str, limbs: tuple[str, ...]
) -> exp.Expression:
    """A limb of a row's contribution; a BIGINT's total is its own limb."""
    if part == "total" and request.value is not None and request.value.integer:
        return amount.copy()
    return limb(amount.copy(), name, limbs)


def _deviation(request: Request) -> exp.Expression:
    """The difference from the reference value, a DOUBLE."""
    this, first = _v(request), _x(request)
    if request.value is not None and request.value.integer:
        return cast(this, "DOUBLE") - cast(first, "DOUBLE")
    return exp.paren(this - first)


def _power(request: Request, exponent: int) -> exp.Expression:
    assert request.value is not None, f"{request.primitive} reads a column"
    return power(_deviation(request), exponent, request.value.bounds)


def _days(request: Request) -> exp.Expression:
    """Days since the time of the reference value, NULL for a row without a value."""
    days = cast(col("time", ROW) - _x(request, "o"), "DOUBLE") / number(DAY)
    return exp.paren(when(is_not_null(_v(request)), days))


def _limbs(request: Request, exponent: int = 1, deviation: bool = False) -> tuple[str, ...]:
    assert request.value is not None, f"{request.primitive} reads a column"
    if request.value.integer and not deviation:
        return ("unit",)
    return request.value.bounds.limbs(exponent, deviation)


_ALL_LIMBS = Bounds().limbs()
_ROWS: dict[str, Callable[[Request], exp.Expression]] = {
    "rows": lambda request: number(1),
    "begin": lambda request: col("time", ROW),
    "end": lambda request: col("time", ROW),
    "last": lambda request: col("ordinal", ROW),
    "first": lambda request: col("ordinal", ROW),
    "n": lambda request: one_if(is_not_null(_v(request))),
    "min": _v,
    "max": _v,
    "earliest": lambda request: when(is_not_null(_v(request)), col("time", ROW)),
    "latest": lambda request: when(is_not_null(_v(request)), col("time", ROW)),
    "true": lambda request: one_if(_v(request)),
    "false": lambda request: one_if(_v(request).not_()),
}
_SUMS: dict[str, Callable[[Request], tuple[exp.Expression, tuple[str, ...]]]] = {
    "total": lambda request: (_v(request), _limbs(request)),
    "square": lambda request: (_power(request, 2), _limbs(request, 2, True)),
    "cube": lambda request: (_power(request, 3), _limbs(request, 3, True)),
    "days": lambda request: (_days(request), ("unit", "fraction")),
    "day_square": lambda request: (_days(request) * _days(request), ("unit", "fraction")),
    "product": lambda request: (_power(request, 1) * _days(request), _ALL_LIMBS),
}


def result(request: Request) -> exp.Expression:
    """The request's value from its accumulators, which are columns of the table `combined`.

    LAST and FIRST give the ordinal of their row, TIME_SINCE_LAST and _FIRST a time.
    """
    return _RESULTS[request.primitive](request)


def _part(request: Request, part: str) -> exp.Expression:
    return col(_name(request, part), COMBINED)


def _count(request: Request, part: str) -> exp.Expression:
    return call("COALESCE", _part(request, part), number(0))


def _sum(request: Request, part: str) -> exp.Expression:
    return joined(
        _SUMS[part](request)[1], lambda name: col(f"{request.name(part)}_{name}", COMBINED)
    )


def _shifted(request: Request) -> exp.Expression:
    """The sum of deviations from the reference value: limb by limb, so no digit cancels."""
    _, limbs = _SUMS["total"](request)
    first = _x(request)

    def difference(name: str) -> exp.Expression:
        of_first = _limb(request, "total", first, name, limbs)
        return col(f"{request.name('total')}_{name}", COMBINED) - _part(request, "n") * of_first

    return joined(limbs, difference)


def _n(request: Request) -> exp.Expression:
    return cast(_part(request, "n"), "DOUBLE")


def _if_rows(request: Request, value: exp.Expression) -> exp.Expression:
    return when(_part(request, "rows") > number(0), value)


def _mean(request: Request) -> exp.Expression:
    return at_least(_part(request, "n"), 1, _sum(request, "total") / _n(request))


def _spread(request: Request) -> exp.Expression:
    """The sum of squared differences from the mean."""
    shifted = _shifted(request)
    squares = _sum(request, "square")
    spread = exp.paren(squares - shifted * shifted.copy() / _n(request))
    # What is left of equal values is the rounding of their squares.
    rounding = squares.copy() * exp.Literal.number(ROUNDING)
    return exp.paren(exp.Case().when(spread > rounding, spread.copy()).else_(number(0)))


def _variance(request: Request) -> exp.Expression:
    ratio = _spread(request) / exp.paren(_n(request) - number(1))
    return at_least(_part(request, "n"), 2, ratio)


def _std(request: Request) -> exp.Expression:
    ratio = _spread(request) / exp.paren(_n(request) - number(1))
    return at_least(_part(request, "n"), 2, call("SQRT", ratio))


def _skew(request: Request) -> exp.Expression:
    """The bias-corrected skewness: n sqrt(n-1) / (n-2) * m3 / m2^1.5 of central sums m2, m3."""
    n, spread = _n(request), _spread(request)
    mean = exp.paren(_shifted(request) / n)
    cubes: exp.Expression = _sum(request, "cube") - number(3) * mean * _sum(request, "square")
    cubes = exp.paren(cubes + number(2) * n.copy() * mean.copy() * mean.copy() * mean.copy())
    scale = n.copy() * call("SQRT", n.copy() - number(1)) / exp.paren(n.copy() - number(2))
    value = scale * cubes / exp.paren(spread * call("SQRT", spread.copy()))
    negligible = exp.or_(
        spread.copy() < exp.Literal.number(NEGLIGIBLE),
        call("ABS", cubes.copy()) < exp.Literal.number(NEGLIGIBLE),
    )
    checked = exp.Case().when(negligible, number(0), copy=False).else_(value, copy=False)
    return at_least(_part(request, "n"), 3, checked)


def _trend(request: Request) -> exp.Expression:
    """The least-squares slope over days; 0 where all times are equal."""
    n, days = _n(request), _sum(request, "days")
    level = _sum(request, "product") - days * _shifted(request) / n
    spread = _sum(request, "day_square") - days.copy() * days.copy() / n.copy()
    flat = _part(request, "earliest").eq(_part(request, "latest"))
    slope = (
        exp.Case()
        .when(flat, number(0), copy=False)
        .else_(exp.paren(level) / exp.paren(spread), copy=False)
    )
    return at_least(_part(request, "n"), 3, slope)


def _between(request: Request) -> exp.Expression:
    span = cast(_part(request, "end") - _part(request, "begin"), "DOUBLE") / number(1_000_000)
    gaps = exp.paren(cast(_part(request, "rows"), "DOUBLE") - number(1))
    return at_least(_part(request, "rows"), 2, span / gaps)


def _share_true(request: Request) -> exp.Expression:
    rows = cast(_part(request, "rows"), "DOUBLE")
    return _if_rows(request, cast(_count(request, "true"), "DOUBLE") / rows)


_RESULTS: dict[str, Callable[[Request], exp.Expression]] = {
    "count": lambda request: _count(request, "rows"),
    "time_since_last": lambda request: _part(request, "end"),
    "time_since_first": lambda request: _part(request, "begin"),
    "avg_time_between": _between,
    "last": lambda request: _part(request, "last"),
    "first": lambda request: _part(request, "first"),
    "sum": lambda request: call("COALESCE", _sum(request, "total"), number(0)),
    "mean": _mean,
    "std": _std,
    "variance": _variance,
    "skew": _skew,
    "trend": _trend,
    "min": lambda request: _part(request, "min"),
    "max": lambda request: _part(request, "max"),
    "percent_true": _share_true,
    "num_true": lambda request: _count(request, "true"),
    "any": lambda request: _if_rows(request, _count(request, "true") > number(0)),
    "all": lambda request: _if_rows(request, _count(request, "false").eq(number(0))),
}


def all_accumulators(requests: Sequence[Request]) -> list[Accumulator]:
    """The distinct accumulators of the requests, in a fixed order."""
    needed = {part.name: part for request in requests for part in accumulators(request)}
    return list(needed.values())
