"""Predictive tasks on synthetic databases: drawn from a grammar, labelled and checked."""

from models.synthetic.tasks.autocomplete import autocomplete_task, leaks
from models.synthetic.tasks.checks import Checks, Reason, TaskReport
from models.synthetic.tasks.grammar import Grammar, NoTask
from models.synthetic.tasks.labels import Labeller, label_table
from models.synthetic.tasks.sample import SampledTask, TaskSample, sample_tasks
from models.synthetic.tasks.task import SyntheticTask, TaskKind

__all__ = [
    "Checks",
    "Grammar",
    "Labeller",
    "NoTask",
    "Reason",
    "SampledTask",
    "SyntheticTask",
    "TaskKind",
    "TaskReport",
    "TaskSample",
    "autocomplete_task",
    "label_table",
    "leaks",
    "sample_tasks",
]
