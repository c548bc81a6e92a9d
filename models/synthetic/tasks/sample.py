"""Tasks of a synthetic database: drawn from the grammar until enough of them are worth having."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import polars as pl

from models.synthetic.database import SyntheticDatabase
from models.synthetic.streams import Streams
from models.synthetic.tasks.checks import Checks, Reason, TaskReport
from models.synthetic.tasks.grammar import Grammar, NoTask
from models.synthetic.tasks.labels import Labeller
from models.synthetic.tasks.task import SyntheticTask


class SampledTask(NamedTuple):
    """A task, its training table (`Labeller.table`) and what the checks measured."""

    task: SyntheticTask
    labels: pl.DataFrame
    report: TaskReport


@dataclass(frozen=True, slots=True)
class TaskSample:
    """Tasks of a database.

    Attributes:
        tasks: Those that passed, in the order in which they were drawn; their names differ.
        rejected: How many drawn ones did not, by each reason that was found.
        tries: How many were drawn.
    """

    tasks: tuple[SampledTask, ...]
    rejected: Mapping[Reason, int]
    tries: int


def sample_tasks(
    database: SyntheticDatabase,
    streams: Streams,
    count: int,
    grammar: Grammar | None = None,
    checks: Checks | None = None,
    tries: int | None = None,
) -> TaskSample:
    """Draws tasks until `count` pass the checks, or `tries` were drawn.

    Every try has a stream of its own: a greater count begins with the same tasks, and the database
    does not depend on what is asked about it.

    Args:
        database: The database.
        streams: Where the draws come from.
        count: How many tasks are wanted.
        grammar: The tasks' settings; the defaults where None.
        checks: What a task must have; the defaults where None.
        tries: At most so many draws; ten a task where None.

    Raises:
        ValueError: `count` is below 0, or the database has no row with a time before its test.
    """
    if count < 0:
        raise ValueError(f"count must be at least 0 (got {count})")
    grammar, checks = grammar or Grammar(), checks or Checks()
    limit = 10 * count if tries is None else tries
    found: list[SampledTask] = []
    rejected: Counter[Reason] = Counter()
    seen: list[SyntheticTask] = []
    drawn = 0
    with Labeller(database) as labeller:
        while len(found) < count and drawn < limit:
            generator = streams.generator("try", str(drawn))
            drawn += 1
            try:
                task = grammar(labeller, generator)
            except NoTask:
                rejected[Reason.NO_TASK] += 1
                continue
            if any(task == other for other in seen):
                rejected[Reason.DUPLICATE] += 1
                continue
            seen.append(task)
            labels = labeller.table(task)
            report = checks(database, task, labels)
            if report.accepted:
                named = replace(task, name=_free(task.name, found))
                found.append(SampledTask(named, labels, report))
            rejected.update(list(report.faults))
    return TaskSample(tuple(found), dict(rejected), drawn)


def _free(name: str, found: list[SampledTask]) -> str:
    """The name, with a number where it is taken."""
    taken = [sample.task.name for sample in found]
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
