"""Sums that do not depend on the order of rows.

A floating-point sum depends on the order of its terms, hence on the plan, on the number of threads
and even on rows that the sum leaves out. Here a number is split into its whole part and its
fraction (in units of 2^-60), and both are summed as integers, which is exact and associative; the
two are joined and rounded once at the end. So every plan gives the same bits, and differences of
running sums are exact too. The limits: numbers of 1e30 or more in size count as missing, deviations
from the reference value (see `sample_deviation`) are capped at 1e15, and fractions are kept to
2^-60 (8.7e-19).
"""

from __future__ import annotations

from sqlglot import exp

from models.aggregation.sql import call, cast, number, when

FRACTION_UNIT = 2**60
NUMBER_LIMIT = "1e30"
DEVIATION_LIMIT = 10**15


def usable(value: exp.Expression) -> exp.Expression:
    """A DOUBLE, NULL where it is not finite or too large to be summed."""
    # DuckDB orders NaN above every number, so the comparison excludes it too.
    return when(call("ABS", value) < exp.Literal.number(NUMBER_LIMIT), value.copy())


def whole(value: exp.Expression) -> exp.Expression:
    """The whole part of a DOUBLE as a 128-bit integer."""
    return cast(call("TRUNC", value), "HUGEINT")


def fraction(value: exp.Expression) -> exp.Expression:
    """The fractional part of a DOUBLE in units of 2^-60 as a 64-bit integer."""
    part = exp.paren(value - call("TRUNC", value.copy())) * number(FRACTION_UNIT)
    return cast(part, "BIGINT")


def square(deviation: exp.Expression) -> exp.Expression:
    """The square of a deviation, of the same type, capped so that sums of it cannot overflow."""
    # LEAST would do, but it ignores NULLs.
    too_large = call("ABS", deviation) >= number(DEVIATION_LIMIT)
    squared = deviation.copy() * deviation.copy()
    return exp.Case().when(too_large, number(DEVIATION_LIMIT**2)).else_(squared)


def joined(whole_sum: exp.Expression, fraction_sum: exp.Expression | None) -> exp.Expression:
    """The DOUBLE that two exact sums stand for; `fraction_sum` is None for sums of integers."""
    total = cast(whole_sum, "DOUBLE")
    if fraction_sum is None:
        return total
    return exp.paren(total + cast(fraction_sum, "DOUBLE") / number(FRACTION_UNIT))


def sample_deviation(
    count: exp.Expression, shifted_sum: exp.Expression, squares: exp.Expression
) -> exp.Expression:
    """sqrt((sum of y^2 - (sum of y)^2 / n) / (n - 1)), NULL for fewer than two values.

    y is the value less a reference value, the first of the same entity, which takes away the part
    of the squares that would cancel.
    """
    n = cast(count, "DOUBLE")
    spread = squares - shifted_sum * shifted_sum.copy() / n
    variance = call("GREATEST", spread, number(0)) / exp.paren(n.copy() - number(1))
    return when(count.copy() > number(1), call("SQRT", variance))
