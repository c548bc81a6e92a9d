"""Short names for building sqlglot expressions with every identifier quoted."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from datetime import timedelta

from sqlglot import exp

# User tables live in this SQL schema, so that none of them can clash with intermediate tables.
SOURCE_SCHEMA = "source"


def col(name: str, table: str | None = None) -> exp.Column:
    """A quoted column reference."""
    return exp.column(name, table=table, quoted=True)


def _typed(expression: object) -> exp.Expression:
    # The builders of sqlglot 30 promise a class that older releases do not have.
    return typing.cast(exp.Expression, expression)


def table(name: str, alias: str | None = None) -> exp.Expression:
    """A quoted intermediate table."""
    reference = exp.table_(name, quoted=True)
    return _typed(exp.alias_(reference, alias or name, table=True, quoted=True))


def source(name: str, alias: str) -> exp.Expression:
    """A quoted staged table under an alias."""
    reference = exp.table_(name, db=SOURCE_SCHEMA, quoted=True)
    return _typed(exp.alias_(reference, alias, table=True, quoted=True))


def named(expression: exp.Expression, name: str) -> exp.Expression:
    """`expression AS "name"`."""
    return _typed(exp.alias_(expression, name, quoted=True))


def call(name: str, *arguments: exp.Expression) -> exp.Expression:
    """A function call."""
    return _typed(exp.func(name, *arguments, dialect="duckdb"))


def cast(expression: exp.Expression, sql_type: str) -> exp.Expression:
    """`CAST(expression AS sql_type)`."""
    return exp.cast(expression, exp.DataType.build(sql_type, dialect="duckdb"))


def number(value: int | float) -> exp.Expression:
    """A numeric literal."""
    return exp.Literal.number(value) if value >= 0 else exp.Neg(this=exp.Literal.number(-value))


def all_of(conditions: Sequence[exp.Expression]) -> exp.Expression:
    """The conjunction; TRUE of no condition."""
    return _typed(exp.and_(*conditions) if conditions else exp.true())


def when(condition: exp.Expression, value: exp.Expression) -> exp.Expression:
    """`CASE WHEN condition THEN value END`."""
    return exp.Case().when(condition, value)


def is_not_null(expression: exp.Expression) -> exp.Expression:
    """`expression IS NOT NULL`."""
    return expression.is_(exp.null()).not_()


def over(
    function: exp.Expression,
    partition: Sequence[exp.Expression] = (),
    order: Sequence[exp.Expression] = (),
    frame: str | None = None,
) -> exp.Expression:
    """A window function; `frame` is RANGE or ROWS, from the partition's start to this row."""
    spec = frame and exp.WindowSpec(
        kind=frame, start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW"
    )
    return exp.Window(
        this=function,
        partition_by=list(partition),
        order=exp.Order(expressions=[exp.Ordered(this=key) for key in order]) if order else None,
        spec=spec or None,
    )


def row_number(
    order: Sequence[exp.Expression] = (), partition: Sequence[exp.Expression] = ()
) -> exp.Expression:
    """`ROW_NUMBER() OVER (...)`."""
    return over(exp.RowNumber(), partition, order)


def shifted(time: exp.Expression, offset: timedelta) -> exp.Expression:
    """A time moved by an offset, which may be negative."""
    if not offset:
        return time
    return time + interval(offset) if offset > timedelta(0) else time - interval(-offset)


def interval(duration: timedelta) -> exp.Expression:
    """A duration in microseconds."""
    microseconds = duration // timedelta(microseconds=1)
    return exp.Interval(this=exp.Literal.string(str(microseconds)), unit=exp.var("MICROSECOND"))


def create(name: str, query: exp.Query) -> exp.Create:
    """`CREATE TABLE "name" AS query`."""
    return exp.Create(this=exp.table_(name, quoted=True), kind="TABLE", expression=query)
