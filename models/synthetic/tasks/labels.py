"""Training tables of tasks on a synthetic database, straight from its frames.

Cutoffs, visibility and columns are those of RelBench's task tables and of this project's dbt macros
(`dbt_project/macros/training_table.sql`, `cutoff_grid.sql`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

import duckdb
import polars as pl

from models.database.durations import format_duration
from models.database.quoting import literal, quote
from models.database.schema import TaskType
from models.synthetic.blueprint import Blueprint, TablePlan
from models.synthetic.database import SyntheticDatabase
from models.synthetic.tasks.task import SyntheticTask, TaskKind

SPLITS = ("train", "val", "test")


class Labeller:
    """Asks a synthetic database for labels; its frames are loaded into DuckDB once.

    Attributes:
        database: The database.
        first_event: Its earliest time up to the test's start.
        last_event: Its latest time.
    """

    def __init__(self, database: SyntheticDatabase) -> None:
        """Loads the frames: all rows, and those that are visible at the test's start.

        Raises:
            ValueError: No table has rows with a time up to the test's start.
        """
        self.database = database
        plan = database.blueprint
        times = [
            database.tables[table.name][table.time_column]
            for table in plan.tables
            if table.time_column
        ]
        # Polars' type of a maximum does not know that these are times.
        found = pl.concat([series.alias("time") for series in times]) if times else pl.Series()
        early = found.filter(found <= plan.test) if times else found
        if early.is_empty():
            raise ValueError(
                f"database {plan.name!r} has no row with a time up to its test's start {plan.test}, "
                "so no cutoff can be placed"
            )
        self.first_event: datetime = early.min()  # type: ignore[assignment]
        self.last_event: datetime = found.max()  # type: ignore[assignment]
        # With one thread sums of floats have one order.
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("CREATE SCHEMA everything; CREATE SCHEMA visible")
        for table in plan.tables:
            self._load(table, database.tables[table.name])

    def _load(self, table: TablePlan, frame: pl.DataFrame) -> None:
        self._connection.register("frame", frame)
        name = quote(table.name)
        until = _until(table, self.database.blueprint.test)
        self._connection.execute(f"CREATE TABLE everything.{name} AS FROM frame")
        self._connection.execute(f"CREATE TABLE visible.{name} AS FROM frame{until}")
        self._connection.unregister("frame")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets the copies of the frames go."""
        self._connection.close()

    @property
    def longest_window(self) -> timedelta:
        """A longer window would leave validation or the test without a cutoff."""
        plan = self.database.blueprint
        return min(plan.test - plan.validation, self.last_event - plan.test)

    def table(self, task: SyntheticTask) -> pl.DataFrame:
        """The task's training table, sorted by cutoff time and entity.

        Returns:
            row_id (Int64, from 0), entity (Int64), cutoff_time (Datetime, microseconds), label,
            split (train, val or test). Labels of train and val are computed from rows up to the
            test's start; entities that come later are left out.

        Raises:
            ValueError: The window is too long for a cutoff of some split, or the SQL does not work.
        """
        if task.kind == TaskKind.AUTOCOMPLETE:
            rows = self._hidden_column(task)
        else:
            grid = self._grid(task)
            rows = pl.concat([self._rows(task, split, times) for split, times in grid.items()])
            rows = rows.join(self._born(task), on="entity", how="semi")
        rows = rows.sort("cutoff_time", "entity", maintain_order=True)
        return rows.with_row_index("row_id").with_columns(pl.col("row_id").cast(pl.Int64))

    def training_labels(self, task: SyntheticTask) -> pl.Series:
        """The labels of a forecast's training split; nothing after validation's start is read."""
        return self._rows(task, "train", self._grid(task)["train"])["label"]

    def _grid(self, task: SyntheticTask) -> dict[str, list[datetime]]:
        assert task.timedelta is not None
        return cutoff_grid(
            self.database.blueprint,
            self.first_event,
            self.last_event,
            task.timedelta,
            task.evaluation_cutoffs,
        )

    def _rows(self, task: SyntheticTask, split: str, cutoffs: list[datetime]) -> pl.DataFrame:
        assert task.sql is not None
        assert task.timedelta is not None
        schema = "everything" if split == "test" else "visible"
        frame = pl.DataFrame({"timestamp": pl.Series(cutoffs, dtype=pl.Datetime("us"))})
        self._connection.register("timestamps", frame)
        columns = [task.entity_column, task.time_column, task.target_column]
        entity, time, label = map(quote, columns)
        body = task.sql.replace("{timedelta}", format_duration(task.timedelta))
        query = (
            f"SELECT CAST({entity} AS BIGINT) AS entity, CAST({time} AS TIMESTAMP) AS cutoff_time, "
            f"{label} AS label, {literal(split)} AS split FROM (\n{body}\n)"
        )
        try:
            return self._ask(schema, query)
        except duckdb.Error as error:
            raise ValueError(f"task {task.name!r}: {error}\n{body}") from error
        finally:
            self._connection.unregister("timestamps")

    def _born(self, task: SyntheticTask) -> pl.DataFrame:
        """The entities that are there at the test's start."""
        table = self.database.blueprint.table(task.entity_table)
        frame = self.database.tables[table.name]
        if table.time_column:
            frame = frame.filter(pl.col(table.time_column) <= self.database.blueprint.test)
        return frame.select(entity=pl.col(table.primary_key).cast(pl.Int64))

    def _hidden_column(self, task: SyntheticTask) -> pl.DataFrame:
        """Rows of the entity table with a value in the target column, split by their own times."""
        plan = self.database.blueprint
        time = pl.col(task.time_column)
        split = (
            pl.when(time <= plan.validation)
            .then(pl.lit("train"))
            .when(time <= plan.test)
            .then(pl.lit("val"))
            .otherwise(pl.lit("test"))
        )
        label = pl.col(task.target_column)
        if task.task_type == TaskType.BINARY_CLASSIFICATION:
            label = label.cast(pl.Int64)
        return (
            self.database.tables[task.entity_table]
            .select(
                entity=pl.col(task.entity_column).cast(pl.Int64),
                cutoff_time=time,
                label=label,
                split=split,
            )
            .drop_nulls("label")
        )

    def _ask(self, schema: str, query: str) -> pl.DataFrame:
        self._connection.execute(f"USE {schema}")
        return self._connection.execute(query).pl()


def cutoff_grid(
    blueprint: Blueprint,
    first_event: datetime,
    last_event: datetime,
    window: timedelta,
    evaluation_cutoffs: int,
) -> dict[str, list[datetime]]:
    """The cutoffs of each split, a window apart, ascending: RelBench's rules.

    Training goes back from a window before validation to the first event. Validation's windows
    close by the test's start, the test's by the last event.

    Raises:
        ValueError: A split has no cutoff.
    """
    start, test = blueprint.validation, blueprint.test
    back = max(0, (start - first_event) // window)
    found = {
        "train": [start - window * step for step in range(back, 0, -1)],
        "val": [start + window * step for step in range(evaluation_cutoffs)],
        "test": [test + window * step for step in range(evaluation_cutoffs)],
    }
    for split, closed in (("val", test), ("test", last_event)):
        found[split] = [cutoff for cutoff in found[split] if cutoff + window <= closed]
    if missing := [split for split in SPLITS if not found[split]]:
        raise ValueError(
            f"no {', '.join(missing)} window of {format_duration(window)} fits: the data reach from "
            f"{first_event} to {last_event}, validation starts at {start}, the test at {test}; "
            "shorten the window"
        )
    return found


def label_table(database: SyntheticDatabase, task: SyntheticTask) -> pl.DataFrame:
    """One task's training table; see `Labeller.table`."""
    with Labeller(database) as labeller:
        return labeller.table(task)


def _until(table: TablePlan, moment: datetime) -> str:
    if not table.time_column:
        return ""
    return f" WHERE {quote(table.time_column)} <= TIMESTAMP {literal(moment)}"
