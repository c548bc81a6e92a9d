"""A predictive task on a synthetic database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from models.database.schema import TaskType
from models.synthetic.database import Place


class TaskKind(StrEnum):
    """Where labels come from: what happens after the cutoff, or a hidden column. RelBench's names."""

    FORECAST = "forecast"
    AUTOCOMPLETE = "autocomplete"


@dataclass(frozen=True, slots=True)
class SyntheticTask:
    """A task in the terms of RelBench's task manifests.

    Attributes:
        name: Its name, unique in its database.
        kind: A forecast's labels come from `sql`; an autocomplete task's are a column of the entity
            table, its cutoffs the rows' own times.
        task_type: What the label is.
        entity_table: The table whose rows are predicted.
        entity_column: The column of `sql` (of the entity table, for an autocomplete task) with the
            entity's primary key.
        target_column: The column with the label.
        time_column: The column with the cutoff time.
        timedelta: The window (cutoff, cutoff + timedelta] of a forecast; None for autocomplete.
        evaluation_cutoffs: At most so many cutoffs of validation, and of the test; one window apart.
        sql: DuckDB SQL over the tables and `timestamps(timestamp)`, with '{timedelta}' for the
            window; None for autocomplete.
        remove_columns: The (table, column) pairs that features must not use, besides the target of
            an autocomplete task.
        description: The question in words.
        terms: The choices that made the task, as plain data.
    """

    name: str
    kind: TaskKind
    task_type: TaskType
    entity_table: str
    entity_column: str
    target_column: str
    time_column: str
    timedelta: timedelta | None = None
    evaluation_cutoffs: int = 1
    sql: str | None = None
    remove_columns: tuple[Place, ...] = ()
    description: str = ""
    terms: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind == TaskKind.FORECAST and not (self.sql and self.timedelta):
            raise ValueError(f"task {self.name!r}: a forecast needs sql and a timedelta")
        if self.kind == TaskKind.AUTOCOMPLETE and (self.sql or self.timedelta):
            raise ValueError(
                f"task {self.name!r}: an autocomplete task has neither sql nor timedelta; its "
                f"labels are the column {self.target_column!r} of {self.entity_table!r}"
            )
        if self.evaluation_cutoffs < 1:
            raise ValueError(
                f"task {self.name!r}: evaluation_cutoffs must be at least 1 "
                f"(got {self.evaluation_cutoffs})"
            )

    @property
    def hidden_columns(self) -> tuple[Place, ...]:
        """All (table, column) pairs that features must not use, the target of a completion too."""
        if self.kind == TaskKind.AUTOCOMPLETE:
            return ((self.entity_table, self.target_column), *self.remove_columns)
        return self.remove_columns
