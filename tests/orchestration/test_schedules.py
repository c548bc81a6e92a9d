"""The schedules: off until switched on, and each date of a task's grid once."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.database.schema import (
    Protocol,
    RelationalSchema,
    SourceDeclaration,
    Table,
    Task,
    TaskType,
)
from orchestration.schedules import GRID_ORIGIN, newest_as_of, task_schedules

DAYS = st.dates(date(1990, 1, 1), date(2100, 1, 1))
STRIDES = st.integers(1, 900)


def a_task(stride: timedelta) -> Task:
    return Task(
        name="churn",
        title="churn",
        description="",
        entity_table="customers",
        entity_column="id",
        time_column="timestamp",
        label_column="label",
        task_type=TaskType.REGRESSION,
        window=timedelta(days=30),
        stride=stride,
        validation_span=timedelta(days=60),
        evaluation_cutoffs=1,
        metric="mae",
        hidden_columns=(),
        protocol=Protocol.ROLLING,
    )


def a_schema(task: Task, benchmark: date | None = None) -> RelationalSchema:
    moment = datetime.combine(benchmark, datetime.min.time()) if benchmark else None
    return RelationalSchema(
        "shop",
        (Table("customers", (), ("id",)),),
        (),
        (task,),
        source=SourceDeclaration("demo"),
        title="shop",
        default_as_of=moment,
    )


@given(today=DAYS, days=STRIDES, benchmark=st.none() | DAYS)
def test_the_newest_date_lies_on_the_grid_and_less_than_a_stride_before_today(
    today: date, days: int, benchmark: date | None
):
    task = a_task(timedelta(days=days))
    newest = newest_as_of(a_schema(task, benchmark), task, today)
    assert newest <= today
    assert newest > today - timedelta(days=days)
    assert (newest - (benchmark or GRID_ORIGIN)).days % days == 0


def test_a_weekly_task_without_a_benchmark_is_due_on_mondays():
    task = a_task(timedelta(days=7))
    assert newest_as_of(a_schema(task), task, date(2024, 5, 15)) == date(2024, 5, 13)
    assert newest_as_of(a_schema(task), task, date(2024, 5, 13)) == date(2024, 5, 13)
    assert date(2024, 5, 13).weekday() == 0


def test_a_stride_of_hours_still_gives_whole_days():
    task = a_task(timedelta(hours=6))
    assert newest_as_of(a_schema(task), task, date(2024, 5, 15)) == date(2024, 5, 15)


def evaluate(schedule: dg.ScheduleDefinition, morning: datetime) -> dg.RunRequest:
    context = dg.build_schedule_context(scheduled_execution_time=morning)
    request = schedule(context)
    assert isinstance(request, dg.RunRequest)
    return request


@pytest.fixture
def schedule() -> dg.ScheduleDefinition:
    (schedule,) = task_schedules(a_schema(a_task(timedelta(days=7))))
    return schedule


def test_a_schedule_is_off_until_switched_on_and_runs_the_tasks_own_job(
    schedule: dg.ScheduleDefinition,
):
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert schedule.job_name == "shop__churn__pipeline"


def test_every_morning_of_a_stride_asks_for_the_same_run(schedule: dg.ScheduleDefinition):
    monday = datetime(2024, 5, 13, 6)
    week = [evaluate(schedule, monday + timedelta(days=day)) for day in range(8)]
    assert {request.partition_key for request in week[:7]} == {"2024-05-13"}
    assert len({request.run_key for request in week[:7]}) == 1
    assert week[7].partition_key == "2024-05-20"
    assert week[7].run_key != week[0].run_key
