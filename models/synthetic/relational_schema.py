"""Synthetic databases in the terms of every other stage: a `RelationalSchema` with its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from models.database.schema import (
    DEFAULT_METRIC,
    Column,
    ForeignKey,
    Protocol,
    RelationalSchema,
    SemanticType,
    SourceDeclaration,
    Table,
    Task,
)
from models.synthetic.blueprint import Blueprint, ColumnKind, TablePlan
from models.synthetic.database import SyntheticDatabase

if TYPE_CHECKING:
    from models.synthetic.tasks.task import SyntheticTask

SEMANTIC_TYPES: Mapping[ColumnKind, SemanticType] = {
    ColumnKind.NUMERICAL: SemanticType.NUMERICAL,
    ColumnKind.INTEGER: SemanticType.NUMERICAL,
    ColumnKind.BOOLEAN: SemanticType.BOOLEAN,
    ColumnKind.CATEGORICAL: SemanticType.CATEGORICAL,
    ColumnKind.TIMESTAMP: SemanticType.TIMESTAMP,
    ColumnKind.TEXT: SemanticType.TEXT,
}
SQL_TYPES: Mapping[ColumnKind, str] = {
    ColumnKind.NUMERICAL: "DOUBLE",
    ColumnKind.INTEGER: "BIGINT",
    ColumnKind.BOOLEAN: "BOOLEAN",
    ColumnKind.CATEGORICAL: "VARCHAR",
    ColumnKind.TIMESTAMP: "TIMESTAMP",
    ColumnKind.TEXT: "VARCHAR",
}


def relational_schema(
    blueprint: Blueprint, tasks: Sequence[SyntheticTask] = ()
) -> RelationalSchema:
    """The schema of a blueprint, all semantic types declared; `default_as_of` is its test time."""
    return RelationalSchema(
        database=blueprint.name,
        title=blueprint.name,
        tables=tuple(_table(table) for table in blueprint.tables),
        foreign_keys=tuple(
            ForeignKey(
                table.name,
                (key.column,),
                key.parent,
                (blueprint.table(key.parent).primary_key,),
            )
            for table in blueprint.tables
            for key in table.keys
        ),
        tasks=tuple(declared_task(blueprint, task) for task in tasks),
        source=SourceDeclaration("relbench"),
        default_as_of=blueprint.test,
        first_as_of=blueprint.start,
    )


def declared_task(blueprint: Blueprint, task: SyntheticTask) -> Task:
    """A task on a synthetic database as the pipeline declares one."""
    window = task.timedelta or timedelta(days=1)
    return Task(
        name=task.name,
        title=task.name,
        description=task.description,
        entity_table=task.entity_table,
        entity_column=task.entity_column,
        time_column=task.time_column,
        label_column=task.target_column,
        task_type=task.task_type,
        window=window,
        stride=window,
        validation_span=blueprint.test - blueprint.validation,
        evaluation_cutoffs=task.evaluation_cutoffs,
        metric=DEFAULT_METRIC[task.task_type],
        hidden_columns=tuple(task.hidden_columns),
        protocol=Protocol.FROZEN,
    )


def write_tables(database: SyntheticDatabase, folder: Path) -> dict[str, Path]:
    """Writes the tables as Parquet, one file each, and returns their paths by table name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.parquet" for name in database.tables}
    for name, frame in database.tables.items():
        frame.write_parquet(paths[name])
    return paths


def _table(table: TablePlan) -> Table:
    columns = [Column(table.primary_key, "BIGINT", SemanticType.IDENTIFIER, declared=True)]
    columns += [
        Column(key.column, "BIGINT", SemanticType.IDENTIFIER, declared=True) for key in table.keys
    ]
    if table.time_column:
        columns.append(
            Column(table.time_column, "TIMESTAMP", SemanticType.TIMESTAMP, declared=True)
        )
    columns += [
        Column(column.name, SQL_TYPES[column.kind], SEMANTIC_TYPES[column.kind], declared=True)
        for column in table.columns
    ]
    return Table(table.name, tuple(columns), (table.primary_key,), table.time_column)
