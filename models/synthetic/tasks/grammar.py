"""Tasks drawn from a grammar: which entity, which rows, what about them, when, for whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

import numpy as np
import polars as pl

from models.database.schema import TaskType
from models.synthetic.blueprint import ColumnKind
from models.synthetic.database import SyntheticDatabase
from models.synthetic.draws import Choice, Draw, Integer, LogUniform, Uniform
from models.synthetic.tasks.autocomplete import autocomplete_task, completable
from models.synthetic.tasks.labels import Labeller
from models.synthetic.tasks.question import (
    OF_NUMBERS,
    OF_ROWS,
    YES_OR_NO,
    Aggregate,
    Condition,
    Question,
)
from models.synthetic.tasks.routes import Route, columns_of, countable, routes
from models.synthetic.tasks.task import SyntheticTask
from models.synthetic.tasks.thresholds import split_points

Element = TypeVar("Element")

COMMON = 0.05
"""A condition holds for at least this share of the rows before validation, and for fewer than the
rest."""


class NoTask(ValueError):
    """The choices drawn do not make a task on this database."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """Settings of the tasks; every field is drawn once a task.

    Attributes:
        autocomplete: Whether a column is hidden instead of asking about a window.
        hops: Foreign keys between the entity and the rows that are aggregated, 1 or 2; where the
            schema has no route of that length, the other.
        aggregate: What is asked about the rows of a window.
        conditional: Whether `exists`, `none` and `count` look at some rows only.
        window: Length of the window, as a share of the database's span.
        active_windows: Asked about are entities with an activity in so many windows before the
            cutoff; 0 for all that were born by then.
        task_type: What becomes of an aggregate that is a number: itself, whether it lies above a
            quantile of the training labels, or in which bin between quantiles.
        quantile: That of a yes-or-no label.
        classes: Bins of a label with several classes.
        condition_quantile: Where a condition on a number cuts the rows before validation.
        evaluation_cutoffs: At most so many cutoffs of validation, and of the test.
    """

    autocomplete: Draw[bool] = Choice((False, True), (0.8, 0.2))
    hops: Draw[int] = Choice((1, 2), (0.5, 0.5))
    aggregate: Draw[Aggregate] = Choice(
        tuple(Aggregate), (0.12, 0.12, 0.12, 0.12, 0.18, 0.12, 0.1, 0.12)
    )
    conditional: Draw[bool] = Choice((False, True), (0.6, 0.4))
    window: Draw[float] = LogUniform(0.02, 0.1)
    active_windows: Draw[int] = Choice((0, 1, 2, 3, 4), (0.3, 0.1, 0.2, 0.2, 0.2))
    task_type: Draw[TaskType] = Choice(
        (
            TaskType.REGRESSION,
            TaskType.BINARY_CLASSIFICATION,
            TaskType.MULTICLASS_CLASSIFICATION,
        ),
        (0.5, 0.35, 0.15),
    )
    quantile: Draw[float] = Uniform(0.3, 0.9)
    classes: Draw[int] = Integer(3, 5)
    condition_quantile: Draw[float] = Uniform(0.2, 0.8)
    evaluation_cutoffs: Draw[int] = Choice((2, 4, 8))

    def __call__(self, labeller: Labeller, generator: np.random.Generator) -> SyntheticTask:
        """A task.

        Thresholds and conditions are chosen by rows and labels before validation.

        Raises:
            NoTask: The choices drawn do not make a task: draw again.
        """
        if self.autocomplete.sample(generator):
            return self._autocomplete(labeller.database, generator)
        route = self._route(labeller.database, generator)
        question = self._question(labeller, route, generator)
        if question.aggregate in YES_OR_NO:
            question = replace(question, task_type=TaskType.BINARY_CLASSIFICATION)
        else:
            question = self._cut(labeller, question, generator)
        return question.task(labeller.database.blueprint)

    def _autocomplete(
        self, database: SyntheticDatabase, generator: np.random.Generator
    ) -> SyntheticTask:
        found = completable(database)
        if not found:
            raise NoTask("no table with a time has a column that could be completed")
        return autocomplete_task(database, *_one_of(found, generator))

    def _route(self, database: SyntheticDatabase, generator: np.random.Generator) -> Route:
        found = routes(database.blueprint)
        if not found:
            raise NoTask("no activity table has a key to an entity table")
        hops = self.hops.sample(generator)
        entity = _one_of(sorted({route.entity for route in found}), generator)
        of_entity = [route for route in found if route.entity == entity]
        return _one_of([route for route in of_entity if route.hops == hops] or of_entity, generator)

    def _question(
        self, labeller: Labeller, route: Route, generator: np.random.Generator
    ) -> Question:
        database = labeller.database
        aggregate = self.aggregate.sample(generator)
        column: str | None = None
        condition: Condition | None = None
        if aggregate in OF_NUMBERS:
            kinds = (ColumnKind.NUMERICAL, ColumnKind.INTEGER)
            names = [column.name for column in columns_of(database.blueprint, route.end, *kinds)]
            column = _one_of(names, generator, f"{route.end} has no number to take the {aggregate}")
        elif aggregate == Aggregate.COUNT_DISTINCT:
            names = countable(database.blueprint, route)
            column = _one_of(names, generator, f"{route.end} has nothing of which to count values")
        conditional = self.conditional.sample(generator) or not route.counts
        if aggregate == Aggregate.SHARE or (aggregate in OF_ROWS and conditional):
            condition = self._condition(database, route, generator)
        return Question(
            route,
            aggregate,
            column,
            condition,
            self._window(labeller, generator),
            self.active_windows.sample(generator),
            self.evaluation_cutoffs.sample(generator),
        )

    def _window(self, labeller: Labeller, generator: np.random.Generator) -> timedelta:
        """Whole days, or whole seconds below one day."""
        drawn = self.window.sample(generator) * labeller.database.blueprint.span
        length = min(drawn, labeller.longest_window)
        day = timedelta(days=1)
        length -= length % (day if length >= day else timedelta(seconds=1))
        if not length:
            raise NoTask("the database ends before a window after the test's start")
        return length

    def _condition(
        self, database: SyntheticDatabase, route: Route, generator: np.random.Generator
    ) -> Condition:
        plan = database.blueprint
        table = plan.table(route.end)
        kinds = (
            ColumnKind.BOOLEAN,
            ColumnKind.CATEGORICAL,
            ColumnKind.NUMERICAL,
            ColumnKind.INTEGER,
        )
        usable = columns_of(plan, table.name, *kinds)
        column = _one_of(usable, generator, f"{table.name} has no column for a condition")
        rows = database.tables[table.name]
        if table.time_column:
            rows = rows.filter(pl.col(table.time_column) <= plan.validation)
        values = rows[column.name].drop_nulls()
        if column.kind == ColumnKind.BOOLEAN:
            return Condition(column.name, _one_of([True, False], generator))
        if column.kind == ColumnKind.CATEGORICAL:
            common = values.value_counts(normalize=True, name="share").filter(
                pl.col("share").is_between(COMMON, 1 - COMMON)
            )
            names = sorted(common[column.name].to_list())
            found = _one_of(names, generator, f"{table.name}.{column.name} has no common value")
            return Condition(column.name, found)
        quantile = self.condition_quantile.sample(generator)
        limits = split_points(values.cast(pl.Float64).to_numpy(), [quantile])
        if not limits:
            raise NoTask(f"{table.name}.{column.name} has less than two values")
        return Condition(column.name, limits[0])

    def _cut(
        self, labeller: Labeller, question: Question, generator: np.random.Generator
    ) -> Question:
        """The question about a number, or about where it lies among the training labels."""
        task_type = self.task_type.sample(generator)
        if task_type == TaskType.REGRESSION:
            return question
        quantiles = [self.quantile.sample(generator)]
        if task_type == TaskType.MULTICLASS_CLASSIFICATION:
            classes = self.classes.sample(generator)
            quantiles = [number / classes for number in range(1, classes)]
        numbers = labeller.training_labels(question.task(labeller.database.blueprint))
        limits = split_points(numbers.drop_nulls().to_numpy(), quantiles)
        wanted = 2 if task_type == TaskType.MULTICLASS_CLASSIFICATION else 1
        if len(limits) < wanted:
            raise NoTask(f"training labels have too few values for {wanted + 1} classes")
        return replace(question, task_type=task_type, thresholds=limits)


def _one_of(
    values: Sequence[Element], generator: np.random.Generator, without: str = ""
) -> Element:
    if not values:
        raise NoTask(without)
    return values[int(generator.integers(len(values)))]
