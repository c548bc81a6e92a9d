"""Schedules: the newest `as_of` of every task, when it is due. Off until switched on."""

from datetime import date, datetime, timedelta

import dagster as dg

from models.database.schema import RelationalSchema, Task
from orchestration.jobs import job_name

# Without a benchmark date the grid is laid from a Monday, so that weekly strides fall on Mondays.
GRID_ORIGIN = date(1970, 1, 5)


def newest_as_of(schema: RelationalSchema, task: Task, today: date) -> date:
    """The newest date up to today on the task's grid: its benchmark date plus whole strides."""
    origin = schema.default_as_of.date() if schema.default_as_of else GRID_ORIGIN
    stride = max(task.stride, timedelta(days=1))
    return origin + timedelta(days=((today - origin) // stride) * (stride / timedelta(days=1)))


def task_schedules(schema: RelationalSchema) -> list[dg.ScheduleDefinition]:
    """One schedule a task: looks every morning whether a new `as_of` is due and runs it once."""
    return [_schedule(schema, task) for task in schema.tasks]


def _schedule(schema: RelationalSchema, task: Task) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{schema.database}__{task.name}__newest_as_of",
        job_name=job_name(schema.database, "pipeline", task.name),
        cron_schedule="0 6 * * *",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=(
            f"Adds the newest as_of of {task.title} every {task.stride.days} days: "
            "retrains, predicts, and reports."
        ),
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        moment: datetime = context.scheduled_execution_time
        key = f"{newest_as_of(schema, task, moment.date()):%Y-%m-%d}"
        # The run key makes a date that has run a no-op on the following mornings.
        return dg.RunRequest(run_key=f"{schema.database}/{task.name}/{key}", partition_key=key)

    return schedule
