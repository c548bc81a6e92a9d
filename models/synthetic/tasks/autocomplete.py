"""Autocomplete tasks: a column is hidden, and with it the columns that would give it away."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from models.database.schema import TaskType
from models.synthetic.blueprint import ColumnKind, ColumnPlan, KeyPlan, TablePlan
from models.synthetic.database import Place, SyntheticDatabase
from models.synthetic.tasks.task import SyntheticTask, TaskKind

TASK_TYPES = {
    ColumnKind.NUMERICAL: TaskType.REGRESSION,
    ColumnKind.INTEGER: TaskType.REGRESSION,
    ColumnKind.BOOLEAN: TaskType.BINARY_CLASSIFICATION,
    ColumnKind.CATEGORICAL: TaskType.MULTICLASS_CLASSIFICATION,
}
"""The kinds of columns that can be completed."""


def completable(database: SyntheticDatabase) -> list[tuple[TablePlan, ColumnPlan]]:
    """The columns that can be completed: those of a fit kind in tables whose rows have a time."""
    return [
        (table, column)
        for table in database.blueprint.tables
        if table.time_column
        for column in table.columns
        if column.kind in TASK_TYPES
    ]


def autocomplete_task(
    database: SyntheticDatabase, table: TablePlan, column: ColumnPlan
) -> SyntheticTask:
    """The task to complete a column, each row at its own time.

    Raises:
        ValueError: The table has no time, or the column's kind cannot be completed.
    """
    if table.time_column is None or column.kind not in TASK_TYPES:
        raise ValueError(
            f"column {column.name!r} ({column.kind}) of table {table.name!r} cannot be completed: "
            f"that takes a table with a time column and one of {', '.join(TASK_TYPES)}"
        )
    return SyntheticTask(
        name=f"{table.name}-{column.name}",
        kind=TaskKind.AUTOCOMPLETE,
        task_type=TASK_TYPES[column.kind],
        entity_table=table.name,
        entity_column=table.primary_key,
        target_column=column.name,
        time_column=table.time_column,
        remove_columns=leaks(database, (table.name, column.name)),
        description=f"{column.name} of {table.name} rows, each at its own time.",
        terms={"table": table.name, "column": column.name},
    )


def leaks(database: SyntheticDatabase, target: Place) -> tuple[Place, ...]:
    """The columns that come from a column and can be seen at its row's own time.

    These are columns of the same row whose values, or gaps, depend on it, and such columns of
    children that come at that very time or have none; and what comes from those. What happens later
    stays: it tells of earlier rows, whose completion is no question any more. The target itself is
    not listed.
    """
    found = [target]
    for place in found:
        found += [other for other in _computed_from(database, place) if other not in found]
    return tuple(sorted(found[1:]))


def _computed_from(database: SyntheticDatabase, place: Place) -> Iterator[Place]:
    table, column = place
    own = f"own:{column}"
    for mechanism in database.mechanisms:
        if mechanism.table == table:
            if own in (*mechanism.inputs, mechanism.missing):
                yield mechanism.table, mechanism.column
            continue
        child = database.blueprint.table(mechanism.table)
        for key in child.keys:
            given = key.parent == table and f"parent:{key.column}.{column}" in mechanism.inputs
            if given and _at_once(database, child, key):
                yield mechanism.table, mechanism.column


def _at_once(database: SyntheticDatabase, child: TablePlan, key: KeyPlan) -> bool:
    """Whether a child may be seen by the time of its parent."""
    parent = database.blueprint.table(key.parent)
    if child.time_column is None or parent.time_column is None:
        return True
    children = database.tables[child.name].select(key=key.column, time=child.time_column)
    parents = database.tables[parent.name].select(key=parent.primary_key, born=parent.time_column)
    pairs = children.join(parents, on="key")
    return bool(pairs.select((pl.col("time") <= pl.col("born")).any()).item())
