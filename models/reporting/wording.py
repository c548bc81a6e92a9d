"""Tasks, times and scores in plain words: the sentences of the report and of Dagster metadata."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from models.database.schema import Protocol, RelationalSchema, Task, TaskType

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def question(task: Task) -> str:
    """The task as one sentence: for each entity, which label over which window."""
    asked = {
        TaskType.BINARY_CLASSIFICATION: f"whether {task.label_column} is true",
        TaskType.MULTICLASS_CLASSIFICATION: f"which class {task.label_column} is",
        TaskType.REGRESSION: f"the value of {task.label_column}",
    }
    subject = f"For each {task.entity_column} in {task.entity_table}"
    return f"{subject}: {asked[task.task_type]} in the {span(task.window)} after the cutoff."


def leakage_statement(
    task: Task, as_of: datetime, schema: RelationalSchema | None = None
) -> tuple[str, ...]:
    """What the label and the features of each kind of cutoff may see, one sentence each.

    With a schema, the tables without an event time are named: no cutoff filters their rows.
    """
    sentences = [
        f"A label is computed from the {span(task.window)} after its cutoff t, the window "
        f"(t, t + {span(task.window)}]; it is never an input at that cutoff.",
        "At a training or validation cutoff t, features see rows with an event time at or before "
        f"t only. All label windows of these cutoffs close at or before {moment(as_of)}.",
        _prediction_sentence(task.protocol, as_of),
    ]
    if task.hidden_columns:
        hidden = ", ".join(f"{table}.{column}" for table, column in task.hidden_columns)
        sentences.append(f"Withheld from the features altogether: {hidden}.")
    static = [t.name for t in schema.tables if t.time_column is None] if schema else []
    if static:
        sentences.append(
            f"Tables without an event time ({', '.join(static)}) are seen whole, as they are "
            "today: whether a value in them was known at the cutoff cannot be checked."
        )
    return tuple(sentences)


def _prediction_sentence(protocol: Protocol, as_of: datetime) -> str:
    if protocol == Protocol.FROZEN:
        return (
            f"Frozen protocol: at a prediction cutoff, features see rows up to {moment(as_of)} "
            "only, however much later the cutoff is."
        )
    return (
        "Rolling protocol: at a prediction cutoff t, features see rows up to t itself; the model "
        f"is not fitted again after {moment(as_of)}."
    )


def span(length: timedelta) -> str:
    """A duration in words: `30 days`, `1 day 12 hours`."""
    rest, words = round(length.total_seconds()), []
    for unit, seconds in _UNITS:
        count, rest = divmod(rest, seconds)
        if count:
            words.append(f"{count:,} {unit}{'s' * (count != 1)}")
    return " ".join(words) or "0 seconds"


def moment(time: datetime | None) -> str:
    """A time in words, without the hour at midnight."""
    if time is None:
        return "unknown"
    midnight = time.hour == time.minute == time.second == 0
    return f"{time:%Y-%m-%d}" if midnight else f"{time:%Y-%m-%d %H:%M}"


def figure(value: float | int | None, digits: int = 4) -> str:
    """A number for a table: whole numbers with separators, others to a few significant digits."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}"
    decimals = digits - 1 - math.floor(math.log10(abs(value))) if value else digits - 1
    return f"{value:,.{min(max(decimals, 0), digits)}f}"


def percent(value: float | None) -> str:
    """A share in percent."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.1%}"


def label_name(name: str) -> str:
    """An identifier for reading: `roc_auc` as `ROC AUC`."""
    shouted = {"roc", "auc", "mae", "rmse", "nmae", "f1", "r2"}
    return " ".join(word.upper() if word in shouted else word for word in name.split("_"))
