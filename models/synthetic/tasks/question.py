"""A forecast question about a synthetic database: its parts, its SQL and its words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from models.database.durations import format_duration
from models.database.quoting import literal, quote
from models.database.schema import TaskType
from models.synthetic.blueprint import Blueprint
from models.synthetic.tasks.routes import Route, Turn
from models.synthetic.tasks.task import SyntheticTask, TaskKind

TIME, LABEL = "timestamp", "label"


class Aggregate(StrEnum):
    """What is asked about the rows of a window."""

    EXISTS = "exists"
    NONE = "none"
    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    MAX = "max"
    COUNT_DISTINCT = "count_distinct"
    SHARE = "share"


OF_ROWS = (Aggregate.EXISTS, Aggregate.NONE, Aggregate.COUNT)
"""These read no column."""
OF_NUMBERS = (Aggregate.SUM, Aggregate.MEAN, Aggregate.MAX)
YES_OR_NO = (Aggregate.EXISTS, Aggregate.NONE)
UNDEFINED_WHEN_EMPTY = (Aggregate.MEAN, Aggregate.MAX, Aggregate.SHARE)
"""Without a value in the window there is no label."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Which rows count: those where a column is equal to, or greater than, a constant."""

    column: str
    value: bool | str | float

    def sql(self, alias: str) -> str:
        """The condition over a table's alias; null where the column is."""
        column = f"{alias}.{quote(self.column)}"
        if isinstance(self.value, bool):
            return column if self.value else f"NOT {column}"
        if isinstance(self.value, str):
            return f"{column} = {literal(self.value)}"
        return f"{column} > {self.value!r}"

    @property
    def words(self) -> str:
        """The condition as people say it."""
        if isinstance(self.value, bool):
            return f"{self.column} {'true' if self.value else 'false'}"
        if isinstance(self.value, str):
            return f"{self.column} {self.value}"
        return f"{self.column} over {self.value:g}"


@dataclass(frozen=True, slots=True)
class Question:
    """A forecast task's choices.

    Attributes:
        route: From the entity to the rows that are aggregated.
        aggregate: What is asked about them.
        column: The column that is summed, averaged or counted, at the end of the route.
        condition: Which rows count; the rows whose share is asked.
        window: Length of the window after the cutoff.
        active_windows: Entities with an activity in so many windows before the cutoff are asked
            about; 0 for all that were born by then.
        evaluation_cutoffs: At most so many cutoffs of validation, and of the test.
        task_type: What the label is: the aggregate itself, whether it lies above the one
            threshold, or how many thresholds it lies above.
        thresholds: Ascending.
    """

    route: Route
    aggregate: Aggregate
    column: str | None
    condition: Condition | None
    window: timedelta
    active_windows: int
    evaluation_cutoffs: int = 1
    task_type: TaskType = TaskType.REGRESSION
    thresholds: tuple[float, ...] = ()

    def plain(self) -> dict[str, Any]:
        """The choices as plain data."""
        condition = self.condition and [self.condition.column, self.condition.value]
        return {
            **self.route.plain(),
            "aggregate": str(self.aggregate),
            "column": self.column,
            "condition": condition,
            "window_days": self.window / timedelta(days=1),
            "active_windows": self.active_windows,
            "thresholds": list(self.thresholds),
        }

    def task(self, blueprint: Blueprint) -> SyntheticTask:
        """The question as a task."""
        route = self.route
        about = [self.column] if self.column else []
        about += [self.condition.column] if self.condition else []
        return SyntheticTask(
            name="-".join([route.entity, self.aggregate, route.end, *about]),
            kind=TaskKind.FORECAST,
            task_type=self.task_type,
            entity_table=route.entity,
            entity_column=blueprint.table(route.entity).primary_key,
            target_column=LABEL,
            time_column=TIME,
            timedelta=self.window,
            evaluation_cutoffs=self.evaluation_cutoffs,
            sql=self.sql(blueprint),
            description=self.words,
            terms=self.plain(),
        )

    def sql(self, blueprint: Blueprint) -> str:
        """DuckDB SQL over `timestamps(timestamp)`: timestamp, the entity's key, label.

        A label reads rows in (timestamp, timestamp + window], the population rows up to timestamp.
        """
        entity = quote(blueprint.table(self.route.entity).primary_key)
        undefined = self.aggregate in UNDEFINED_WHEN_EMPTY
        return "\n".join(
            [
                f"SELECT p.timestamp, CAST(p.entity AS BIGINT) AS {entity}, {self._label()} AS label",
                f"FROM ({self._population(blueprint)}) p",
                f"{'' if undefined else 'LEFT '}JOIN ({self._events(blueprint)}) e",
                "  ON e.entity = p.entity AND e.moment > p.timestamp",
                "  AND e.moment <= p.timestamp + INTERVAL '{timedelta}'",
                "GROUP BY ALL",
                *(["HAVING count(e.value) > 0"] if undefined else []),
            ]
        )

    def _label(self) -> str:
        value = _AGGREGATES[self.aggregate]
        if self.task_type == TaskType.REGRESSION:
            return f"CAST({value} AS DOUBLE)"
        if self.aggregate in YES_OR_NO:
            return f"CAST({value} AS BIGINT)"
        return " + ".join(f"CAST({value} > {limit!r} AS BIGINT)" for limit in self.thresholds)

    def _population(self, blueprint: Blueprint) -> str:
        if self.active_windows:
            activity = blueprint.table(self.route.activity)
            time, key = quote(activity.time_column or ""), quote(self.route.key)
            return (
                f"SELECT DISTINCT t.timestamp, a.{key} AS entity\n"
                f"  FROM timestamps t JOIN {quote(activity.name)} a ON a.{time} <= t.timestamp\n"
                f"    AND a.{time} > t.timestamp - {self.active_windows} * INTERVAL '{{timedelta}}'\n"
                f"  WHERE a.{key} IS NOT NULL"
            )
        entity = blueprint.table(self.route.entity)
        born = f"a.{quote(entity.time_column)} <= t.timestamp" if entity.time_column else "true"
        return (
            f"SELECT t.timestamp, a.{quote(entity.primary_key)} AS entity\n"
            f"  FROM timestamps t JOIN {quote(entity.name)} a ON {born}"
        )

    def _events(self, blueprint: Blueprint) -> str:
        """Rows entity, moment and value: what may happen in a window."""
        route, activity = self.route, blueprint.table(self.route.activity)
        source, timed, end = f"{quote(activity.name)} a", "a", "a"
        if route.second:
            end = "b"
            other = blueprint.table(route.second.table)
            key = quote(route.second.key)
            if route.second.turn == Turn.CHILD:
                timed, activity = "b", other
                on = f"b.{key} = a.{quote(blueprint.table(route.activity).primary_key)}"
            else:
                on = f"b.{quote(other.primary_key)} = a.{key}"
            source += f" JOIN {quote(other.name)} b ON {on}"
        value, where = "1", ""
        if self.aggregate == Aggregate.SHARE and self.condition:
            value = f"CAST({self.condition.sql(end)} AS DOUBLE)"
        elif self.condition:
            where = f"\n  WHERE {self.condition.sql(end)}"
        if self.column:
            value = f"{end}.{quote(self.column)}"
        return (
            f"SELECT a.{quote(route.key)} AS entity, {timed}.{quote(activity.time_column or '')} "
            f"AS moment, {value} AS value\n  FROM {source}{where}"
        )

    @property
    def words(self) -> str:
        """The question in a phrase."""
        route = self.route
        rows, of, has = f"{route.end} rows", "", " with"
        if route.second and route.second.turn == Turn.CHILD:
            rows += f" below {route.activity} rows"
        elif route.second:
            rows = f"{route.activity} rows"
            of = f" of {route.end} (by {route.second.key})"
            has = f" whose {route.end} (by {route.second.key}) has"
        condition = f"{has} {self.condition.words}" if self.condition else ""
        column = f"{self.column}{of}"
        what = {
            Aggregate.EXISTS: f"Any {rows}{condition}",
            Aggregate.NONE: f"No {rows}{condition}",
            Aggregate.COUNT: f"Number of {rows}{condition}",
            Aggregate.SUM: f"Sum of {column} over {rows}",
            Aggregate.MEAN: f"Mean {column} over {rows}",
            Aggregate.MAX: f"Greatest {column} over {rows}",
            Aggregate.COUNT_DISTINCT: f"Number of different {column} over {rows}",
            Aggregate.SHARE: f"Share of {rows}{condition}",
        }[self.aggregate]
        window = f"in the next {format_duration(self.window)}"
        limits = " or ".join(f"{limit:g}" for limit in self.thresholds)
        above = f", above {limits} or not" if limits else ""
        who = f"all {route.entity} rows that exist by then"
        if self.active_windows:
            past = format_duration(self.active_windows * self.window)
            who = f"{route.entity} rows with {route.activity} rows in the past {past}"
        if self.aggregate in UNDEFINED_WHEN_EMPTY:
            who += " and a value in the window"
        return f"{what} {window}{above}, for {who}."


_AGGREGATES = {
    Aggregate.EXISTS: "count(e.value) > 0",
    Aggregate.NONE: "count(e.value) = 0",
    Aggregate.COUNT: "count(e.value)",
    Aggregate.SUM: "coalesce(sum(e.value), 0)",
    Aggregate.MEAN: "avg(e.value)",
    Aggregate.MAX: "max(e.value)",
    Aggregate.COUNT_DISTINCT: "count(DISTINCT e.value)",
    Aggregate.SHARE: "avg(e.value)",
}
