"""What is to be checked, before Great Expectations runs: checks, figures and the frames they need.

A check is made of figures. A figure is a number that DuckDB computed over the whole table, with
the limits it must respect. On a table of at most `ROW_LIMIT` rows, Great Expectations judges the
rows behind the figure, where it has such a form; on a larger one it judges the figure itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from models.database.quoting import quote
from models.quality.relation import ROW_LIMIT, Relation, literal
from models.quality.results import CheckDefinition, Severity

if TYPE_CHECKING:
    import pandas


class Frame(StrEnum):
    """The pandas frames that a table is validated as; the value is the suffix of the suite."""

    ROWS = ""
    FIGURES = " (figures)"
    COLUMNS = " (columns)"
    COUNT = " (row count)"


@dataclass(frozen=True)
class Expectation:
    """A Great Expectations expectation in plain form, and the frame that it is about."""

    type: str
    kwargs: Mapping[str, Any]
    frame: Frame = Frame.ROWS
    severity: Severity = Severity.CRITICAL


@dataclass(frozen=True)
class Figure:
    """A number with its limits; `rows` judges the rows behind it, `columns` is what these read.

    `columns` maps a name in the frame to the SQL that yields it.
    """

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    rows: tuple[Expectation, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def within(self) -> bool:
        """Whether the number respects its limits."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def as_expectation(self) -> Expectation:
        """The expectation on the number itself."""
        limits = {"min_value": self.at_least, "max_value": self.at_most}
        kwargs = {key: float(value) for key, value in limits.items() if value is not None}
        return Expectation(
            "expect_column_values_to_be_between", {"column": self.name, **kwargs}, Frame.FIGURES
        )


@dataclass(frozen=True)
class Check:
    """A check on one table: its figures, and what to say when they hold and when they do not.

    A check without figures is as severe as the expectations that fail (a user's). Without either
    there is nothing to judge, and the check passes. `severity` overrides that of the catalogue.
    """

    definition: CheckDefinition
    passed: str
    failed: str = ""
    figures: tuple[Figure, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    observed: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity | None = None

    @property
    def gravity(self) -> Severity:
        """The severity of the check as a whole."""
        return self.severity or self.definition.severity

    def all_expectations(self, large: bool) -> list[Expectation]:
        """What Great Expectations is asked, of a large table or of one that fits into pandas."""
        asked: list[Expectation] = []
        for figure in self.figures:
            rows = figure.rows if not large else ()
            asked.extend(rows or (figure.as_expectation(),))
        graded = [replace(expectation, severity=self.gravity) for expectation in asked]
        return graded + list(self.expectations)

    @property
    def within(self) -> bool:
        """Whether every figure respects its limits."""
        return all(figure.within for figure in self.figures)


@dataclass(frozen=True)
class TablePlan:
    """The checks of one table."""

    relation: Relation
    checks: tuple[Check, ...]

    def frame(self, kind: Frame) -> pandas.DataFrame:
        """The pandas frame of that kind."""
        import pandas

        if kind is Frame.ROWS:
            return self._rows()
        if kind is Frame.COLUMNS:
            return pandas.DataFrame(columns=list(self.relation.types))
        if kind is Frame.COUNT:
            return pandas.DataFrame(index=pandas.RangeIndex(self.relation.rows))
        figures = [figure for check in self.checks for figure in check.figures]
        return pandas.DataFrame({figure.name: [float(figure.value)] for figure in figures})

    def _rows(self) -> pandas.DataFrame:
        """The columns that the checks read; a repeatable sample of rows if the table is large."""
        columns: dict[str, str] = {}
        for check in self.checks:
            sources = [] if self.relation.large else [figure.columns for figure in check.figures]
            for read in [*sources, check.columns]:
                columns.update(read)
        selected = ", ".join(f"{sql} as {quote(name)}" for name, sql in columns.items())
        source, keep = quote(self.relation.name), ""
        if self.relation.large:
            source = f"read_parquet({literal(self.relation.path)}, file_row_number = true)"
            keep = f" where hash(file_row_number) % {math.ceil(self.relation.rows / ROW_LIMIT)} = 0"
        # The foreign keys' SQL calls the table that refers to another one its child.
        query = f"select {selected} from {source} as child{keep}"
        return self.relation.connection.execute(query).df()


def true_everywhere(name: str, violations: int, column: str, sql: str) -> Figure:
    """A count of rows that must be zero, judged on a column that is false in just these rows."""
    only_true = {"column": column, "value_set": [True]}
    expectation = Expectation("expect_column_values_to_be_in_set", only_true)
    return Figure(name, violations, at_most=0, rows=(expectation,), columns={column: sql})


def share(part: int, whole: int) -> str:
    """A share for people: `3 of 1,200 (0.25 %)`."""
    return f"{part:,} of {whole:,} ({100 * part / whole if whole else 0:.3g} %)"
