"""Sums that do not depend on the order of rows.

A floating-point sum depends on the order of its terms, hence on the plan, on the number of threads
and even on rows that the sum leaves out. Here a number is cut into limbs, 64-bit integers that
stand for multiples of 2^60, of 1 and of 2^-60, and each limb is summed as an integer, which is
exact and associative; the sums are put together and rounded once, at the end. So every plan gives
the same bits, sums can be taken in any order, and differences of running sums are exact too.

Where the data show that a limb is zero in every row (no fractions, nothing at or above 2^62), it is
left out, which changes no bit of the result. The limits: numbers of 1e30 or more in size count as
missing; deviations from the reference value are capped (see `power`); fractions are kept to 2^-60.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from models.aggregation.sql import all_of, call, cast, number, when

UNIT = 2**60
NUMBER_LIMIT = "1e30"
# A limb holds numbers below 2^62; larger ones need the high limb.
LIMB_LIMIT = 2.0**62
# The largest deviations whose squares and cubes still fit the limbs.
POWER_CAPS = {1: 10**30, 2: 10**15, 3: 10**12}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known of a column's values.

    The largest size (None: nothing is known), whether all are whole numbers, and whether no row
    lacks a value.
    """

    largest: float | None = None
    whole: bool = False
    complete: bool = False

    def limbs(self, power: int = 1, deviation: bool = False) -> tuple[str, ...]:
        """The limbs that sums of the values (or deviations, of that power) need."""
        size = None if self.largest is None else (self.largest * (2 if deviation else 1)) ** power
        high = () if size is not None and size < LIMB_LIMIT else ("high",)
        return (*high, "unit", *(() if self.whole else ("fraction",)))


def usable(value: exp.Expression) -> exp.Expression:
    """A DOUBLE, NULL where it is not finite or too large to be summed."""
    # NaN is ordered above every number, so the comparison excludes it too.
    return when(call("ABS", value) < exp.Literal.number(NUMBER_LIMIT), value.copy())


def limb(value: exp.Expression, name: str, limbs: tuple[str, ...]) -> exp.Expression:
    """One limb of a DOUBLE, a BIGINT."""
    if name == "high":
        return cast(call("TRUNC", exp.paren(value) / number(UNIT)), "BIGINT")
    if name == "fraction":
        part = exp.paren(exp.paren(value) - call("TRUNC", value.copy())) * number(UNIT)
        return cast(part, "BIGINT")
    if "high" in limbs:
        above = call("TRUNC", exp.paren(value) / number(UNIT)) * number(UNIT)
        value = exp.paren(exp.paren(value.copy()) - above)
    return cast(call("TRUNC", value), "BIGINT")


_WEIGHTS = {"high": float(UNIT), "unit": 1.0, "fraction": 1.0 / UNIT}


def joined(limbs: tuple[str, ...], summed: Callable[[str], exp.Expression]) -> exp.Expression:
    """The DOUBLE that summed limbs, given by name, stand for."""
    total: exp.Expression | None = None
    for name in limbs:
        part = cast(summed(name), "DOUBLE")
        if name == "high":
            part = part * number(UNIT)
        elif name == "fraction":
            part = part / cast(number(UNIT), "DOUBLE")
        total = part if total is None else total + part
    assert total is not None, "a sum has limbs"
    return exp.paren(total)


def power(deviation: exp.Expression, exponent: int, bounds: Bounds) -> exp.Expression:
    """A power of a DOUBLE; deviations beyond the cap of that power are taken to be the cap."""
    cap = POWER_CAPS[exponent]
    base: exp.Expression = exp.paren(deviation)
    if bounds.largest is None or 2 * bounds.largest > cap:
        # LEAST would do, but it ignores NULLs.
        sized = exp.Case()
        for limit, beyond in ((cap, deviation > number(cap)), (-cap, deviation < number(-cap))):
            sized = sized.when(beyond, cast(number(limit), "DOUBLE"), copy=False)
        base = exp.paren(sized.else_(deviation.copy(), copy=False))
    result = base
    for _ in range(exponent - 1):
        result = result * base.copy()
    return result


def at_least(count: exp.Expression, minimum: int, value: exp.Expression) -> exp.Expression:
    """The value where there are so many terms, else NULL."""
    return when(all_of([count >= number(minimum)]), value)
