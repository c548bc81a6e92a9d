"""Short names for building sqlglot expressions, with every identifier quoted.

Nothing here belongs to one engine: what engines write differently (the microseconds of a time, wide
integers) has a node of its own, which `render` spells for each. Times are BIGINT microseconds since
1970 in every intermediate table, so that windows are plain integer arithmetic.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from datetime import timedelta
from functools import cache

from sqlglot import exp

# User tables live in this SQL schema, so that none of them can clash with intermediate tables.
SOURCE_SCHEMA = "source"
MICROSECOND = timedelta(microseconds=1)
_EPOCH = "EPOCH_US"


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
    return exp.Cast(this=expression, to=_data_type(sql_type).copy())


@cache
def _data_type(sql_type: str) -> exp.DataType:
    return exp.DataType.build(sql_type, dialect="duckdb")


def number(value: int | float) -> exp.Expression:
    """A numeric literal."""
    literal = exp.Literal.number(abs(value))
    return literal if value >= 0 else exp.paren(exp.Neg(this=literal))


def text(value: str) -> exp.Expression:
    """A string literal."""
    return exp.Literal.string(value)


def all_of(conditions: Sequence[exp.Expression]) -> exp.Expression:
    """The conjunction; TRUE of no condition."""
    return _typed(exp.and_(*conditions) if conditions else exp.true())


def when(condition: exp.Expression, value: exp.Expression) -> exp.Expression:
    """`CASE WHEN condition THEN value END`."""
    return exp.Case().when(condition, value, copy=False)


def one_if(condition: exp.Expression) -> exp.Expression:
    """`CASE WHEN condition THEN 1 ELSE 0 END`."""
    return exp.Case().when(condition, number(1), copy=False).else_(number(0), copy=False)


def is_not_null(expression: exp.Expression) -> exp.Expression:
    """`expression IS NOT NULL`."""
    return expression.is_(exp.null()).not_()


def epoch(time: exp.Expression) -> exp.Expression:
    """Microseconds since 1970 of a TIMESTAMP, a BIGINT."""
    return exp.Anonymous(this=_EPOCH, expressions=[time])


def micros(duration: timedelta) -> int:
    """A duration in microseconds."""
    return duration // MICROSECOND


def shifted(time: exp.Expression, offset: timedelta) -> exp.Expression:
    """A time in microseconds moved by an offset, which may be negative."""
    return time + number(micros(offset)) if offset else time


def over(
    function: exp.Expression,
    partition: Sequence[exp.Expression] = (),
    order: Sequence[exp.Expression] = (),
    frame: exp.WindowSpec | None = None,
) -> exp.Expression:
    """A window function."""
    return exp.Window(
        this=function,
        partition_by=list(partition),
        order=exp.Order(expressions=[exp.Ordered(this=key) for key in order]) if order else None,
        spec=frame,
    )


def range_frame(after: timedelta | None, until: timedelta) -> exp.WindowSpec:
    """Rows whose order key, in microseconds, is in `(this + after, this + until]`."""
    if after is None:
        start: exp.Expression | str = "UNBOUNDED"
        start_side: str | None = "PRECEDING"
    else:
        start, start_side = _bound(micros(after) + 1)
    end, end_side = _bound(micros(until))
    return exp.WindowSpec(
        kind="RANGE", start=start, start_side=start_side, end=end, end_side=end_side
    )


def _bound(offset: int) -> tuple[exp.Expression | str, str | None]:
    if offset == 0:
        return "CURRENT ROW", None
    return exp.Literal.number(abs(offset)), "FOLLOWING" if offset > 0 else "PRECEDING"


def rows_from_here() -> exp.WindowSpec:
    """This row and those after it."""
    return exp.WindowSpec(kind="ROWS", start="CURRENT ROW", end="UNBOUNDED", end_side="FOLLOWING")


def row_number(
    order: Sequence[exp.Expression] = (), partition: Sequence[exp.Expression] = ()
) -> exp.Expression:
    """`ROW_NUMBER() OVER (...)`."""
    return over(exp.RowNumber(), partition, order)


def create(name: str, query: exp.Query) -> exp.Create:
    """`CREATE TEMPORARY TABLE "name" AS query`."""
    return exp.Create(
        this=exp.table_(name, quoted=True),
        kind="TABLE",
        expression=query,
        properties=exp.Properties(expressions=[exp.TemporaryProperty()]),
    )


def render(
    statement: exp.Expression | exp.Query, dialect: str = "duckdb", pretty: bool = False
) -> str:
    """The statement as SQL of a dialect (a name that sqlglot knows)."""
    if dialect == "duckdb":
        return statement.sql(dialect, pretty=pretty)

    def spelled(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Anonymous) and node.name == _EPOCH:
            seconds = exp.Extract(this=exp.var("EPOCH"), expression=node.expressions[0])
            return cast(seconds * number(1_000_000), "BIGINT")
        if isinstance(node, exp.DataType) and node.this == exp.DataType.Type.INT128:
            return exp.DataType.build("DECIMAL(38, 0)")
        return node

    return _typed(statement.copy().transform(spelled)).sql(dialect, pretty=pretty)
