"""The relational schema: tables, keys, event times, semantic types and prediction tasks.

One immutable object answers every question about a database's structure. It is read from dbt's
manifest (`models.database.manifest`), completed with the column types of the staged data
(`models.database.semantic_types`), and is the only description of a database that the rest of the
library knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Any


class SemanticType(StrEnum):
    """What a column means to a learner, whatever its SQL type."""

    NUMERICAL = "numerical"
    CATEGORICAL = "categorical"
    TEXT = "text"
    TIMESTAMP = "timestamp"
    BOOLEAN = "boolean"
    IDENTIFIER = "identifier"


class TaskType(StrEnum):
    """The kind of label. The values are RelBench's."""

    BINARY_CLASSIFICATION = "binary_classification"
    MULTICLASS_CLASSIFICATION = "multiclass_classification"
    REGRESSION = "regression"


class Protocol(StrEnum):
    """What a prediction cutoff after `as_of` may see.

    FROZEN: rows up to `as_of` only (RelBench's rule). ROLLING: rows up to the cutoff itself.
    """

    FROZEN = "frozen"
    ROLLING = "rolling"


class Metric(StrEnum):
    """Metrics a task can be selected on."""

    ROC_AUC = "roc_auc"
    AVERAGE_PRECISION = "average_precision"
    ACCURACY = "accuracy"
    MACRO_F1 = "macro_f1"
    MAE = "mae"
    RMSE = "rmse"
    R2 = "r2"

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is a better score."""
        return self not in (Metric.MAE, Metric.RMSE)


DEFAULT_METRIC = {
    TaskType.BINARY_CLASSIFICATION: Metric.ROC_AUC,
    TaskType.MULTICLASS_CLASSIFICATION: Metric.ACCURACY,
    TaskType.REGRESSION: Metric.MAE,
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a staged table.

    `sql_type` is DuckDB's name of the type, empty until the staged data are known.
    `semantic_type` is None until declared or inferred; `declared` says which of the two it was.
    """

    name: str
    sql_type: str = ""
    semantic_type: SemanticType | None = None
    declared: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A reference from `table`.`columns` to the primary key of `parent`.

    `tolerance` is the share of non-null references that may dangle before the quality gate blocks.
    `proposed` marks a key that an import guessed from names and inclusion, for the user to review.
    """

    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    tolerance: float = 0.0
    proposed: bool = False

    def __str__(self) -> str:
        return f"{self.table}({', '.join(self.columns)}) -> {self.parent}"


@dataclass(frozen=True, slots=True)
class Table:
    """A staged table: rows with a primary key and, where they are events, a time."""

    name: str
    columns: tuple[Column, ...] = ()
    primary_key: tuple[str, ...] = ()
    time_column: str | None = None
    description: str = ""

    def column(self, name: str) -> Column:
        """The column of that name; KeyError names the table and what it has."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"table {self.name!r} has no column {name!r} (has: {self.column_names})")

    @property
    def column_names(self) -> list[str]:
        """Column names in declared order."""
        return [column.name for column in self.columns]


@dataclass(frozen=True, slots=True)
class Task:
    """A predictive question: one label per (entity, cutoff time).

    The label comes from the window `(cutoff, cutoff + window]`. Training cutoffs lie `stride` apart
    and reach back to the first event; validation cutoffs start at `as_of - validation_span`,
    prediction cutoffs at `as_of`; of each of these there are at most `evaluation_cutoffs`.
    `hidden_columns` are the (table, column) pairs that features must not use. `candidates` are the
    models to train where a run's configuration names none, as plain data (`docs/families.md`).
    """

    name: str
    entity_table: str
    entity_column: str
    time_column: str
    label_column: str
    task_type: TaskType
    window: timedelta
    stride: timedelta
    validation_span: timedelta
    evaluation_cutoffs: int = 1
    metric: Metric = Metric.ROC_AUC
    hidden_columns: tuple[tuple[str, str], ...] = ()
    protocol: Protocol = Protocol.ROLLING
    title: str = ""
    description: str = ""
    candidates: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A raw table and the columns that it is declared to have (empty: not declared)."""

    name: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDeclaration:
    """Where the rows of a database come from.

    `kind` is `demo`, `synthetic`, `relbench` or `attached`; `location` a path, hub name or URL
    without secrets; `tables` the raw tables that dbt's sources name.
    """

    kind: str
    location: str = ""
    options: tuple[tuple[str, str], ...] = ()
    tables: tuple[SourceTable, ...] = ()

    @property
    def table_names(self) -> tuple[str, ...]:
        """Names of the raw tables, in declared order."""
        return tuple(table.name for table in self.tables)


@dataclass(frozen=True, slots=True)
class RelationalSchema:
    """A database: its tables, keys, source and tasks. Immutable; every stage speaks only this.

    `database` is the identifier (the dbt folder), `title` the name its owner uses. `default_as_of`
    is the benchmark's test timestamp where there is one. `first_as_of` is the first partition.
    """

    database: str
    tables: tuple[Table, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    tasks: tuple[Task, ...] = ()
    source: SourceDeclaration = field(default_factory=lambda: SourceDeclaration("demo"))
    title: str = ""
    description: str = ""
    default_as_of: datetime | None = None
    first_as_of: datetime | None = None
    as_of_time: time = time(0, 0)

    def table(self, name: str) -> Table:
        """The table of that name; KeyError lists the tables."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(
            f"database {self.database!r} has no table {name!r} (has: {self.table_names})"
        )

    def task(self, name: str) -> Task:
        """The task of that name or title; KeyError lists the tasks."""
        for task in self.tasks:
            if name in (task.name, task.title):
                return task
        known = [task.name for task in self.tasks]
        raise KeyError(f"database {self.database!r} has no task {name!r} (has: {known})")

    @property
    def table_names(self) -> list[str]:
        """Table names in declared order."""
        return [table.name for table in self.tables]

    def parents(self, table: str) -> Iterator[ForeignKey]:
        """Foreign keys that leave the table (many-to-one steps), in declared order."""
        return (key for key in self.foreign_keys if key.table == table)

    def children(self, table: str) -> Iterator[ForeignKey]:
        """Foreign keys that point at the table (one-to-many steps), in declared order."""
        return (key for key in self.foreign_keys if key.parent == table)

    def key_columns(self, table: str) -> set[str]:
        """Columns of the table that are part of its primary key or of a foreign key."""
        keys = set(self.table(table).primary_key)
        for key in self.parents(table):
            keys.update(key.columns)
        return keys

    def with_tables(self, tables: Iterable[Table]) -> RelationalSchema:
        """The same schema with other table descriptions (columns completed, types inferred)."""
        return replace(self, tables=tuple(tables))


def to_plain(value: Any) -> Any:
    """A schema object as JSON-ready plain data (dicts, lists, strings), for artifacts and hashing."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: to_plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.6f}s"
    if isinstance(value, (datetime, time)):
        return value.isoformat()
    return value
