"""The cutoff grid against RelBench's rules, on the macro's own text.

A dbt run an example would take seconds, so the macro is rendered by plain Jinja over DuckDB;
`test_training_table` sees the same macro through dbt.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from types import SimpleNamespace

import duckdb
import jinja2
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.database.durations import format_duration
from tests.fixtures import ROOT

MACRO = (ROOT / "dbt_project" / "macros" / "cutoff_grid.sql").read_text()
T0 = datetime(2020, 3, 1)


class Returned(BaseException):
    """What `return` gives back, as in dbt."""


class CompilerError(Exception):
    """A compiler error raised by the macro."""


class Grid:
    """Renders `cutoff_frames` over one table of events."""

    def __init__(self):
        self.connection = duckdb.connect()
        environment = jinja2.Environment(extensions=["jinja2.ext.do"])
        self.macro = environment.from_string(MACRO, globals=self._vocabulary()).module
        self.as_of = T0

    def _vocabulary(self):
        def give_back(value):
            raise Returned(value)

        def fail(message):
            raise CompilerError(message)

        def run_query(sql):
            rows = self.connection.execute(str(sql)).fetchall()
            return SimpleNamespace(rows=rows)

        node = SimpleNamespace(config=SimpleNamespace(event_time="happened"))
        return {
            "return": give_back,
            "exceptions": SimpleNamespace(raise_compiler_error=fail),
            "run_query": run_query,
            "adapter": SimpleNamespace(quote=lambda name: f'"{name}"'),
            "model": SimpleNamespace(name="club__task"),
            "relforge": SimpleNamespace(
                as_of=lambda: str(self.as_of), model_node=lambda name: node
            ),
        }

    def frames(self, as_of, events, window, span, count, stride=None):
        """The cutoffs of each split, as the task's own query would generate them."""
        self.as_of = as_of
        self.connection.execute("create or replace table events (happened timestamp)")
        self.connection.executemany("insert into events values (?)", [[event] for event in events])
        task = {
            "window": format_duration(window),
            "stride": format_duration(stride or window),
            "validation_span": format_duration(span),
            "evaluation_cutoffs": count,
        }
        try:
            self.macro.cutoff_frames(task, {"club__events": "events"})
        except Returned as returned:
            return {frame["split"]: self._cutoffs(frame) for frame in returned.args[0]}
        raise AssertionError("the macro returned nothing")

    def _cutoffs(self, frame):
        query = (
            f"select unnest(generate_series(timestamp '{frame['first']}', "
            f"timestamp '{frame['last']}', {frame['step']}))"
        )
        found = [row[0] for row in self.connection.execute(query).fetchall()]
        assert sorted(found) == (found if frame["split"] != "train" else found[::-1])
        return sorted(found)


@pytest.fixture(scope="module")
def grid():
    return Grid()


def relbench_grid(val, test, window, count, first, last):
    """The timestamps of `BaseTask._get_table`; None for a test split that it refuses."""
    window = pd.Timedelta(window)
    train = pd.date_range(start=pd.Timestamp(val) - window, end=first, freq=-window)
    until = min(val + window * (count - 1), test - window)
    found = {"train": train, "val": pd.date_range(start=val, end=until, freq=window)}
    if test + window <= last:
        until = min(test + window * (count - 1), last - window)
        found["test"] = pd.date_range(start=test, end=until, freq=window)
    return {split: sorted(times.to_pydatetime()) for split, times in found.items()}


def hours(low, high):
    return st.integers(low, high).map(lambda hour: timedelta(hours=hour))


@settings(max_examples=150, deadline=None)
@given(
    window=hours(1, 24 * 40),
    extra=hours(0, 24 * 90),
    before=hours(1, 24 * 200),
    after=hours(0, 24 * 120),
    moment=hours(0, 24 * 30),
    middle=st.lists(hours(-24 * 100, 24 * 100), max_size=4),
    count=st.integers(1, 7),
)
def test_cutoffs_are_those_of_relbench(grid, window, extra, before, after, moment, middle, count):
    test = T0 + moment
    span = window + extra
    val = test - span
    first, last = val - window - before, test + after
    inside = [test + at for at in middle if first <= test + at <= last]
    expected = relbench_grid(val, test, window, count, first, last)
    assume(expected["train"])
    found = grid.frames(test, [first, *inside, last], window, span, count)
    if "test" not in expected:
        expected["predict"] = [test]
    assert found == expected


@settings(max_examples=60, deadline=None)
@given(
    window=hours(12, 24 * 20),
    stride=hours(6, 24 * 20),
    extra=hours(0, 24 * 60),
    count=st.integers(1, 9),
    after=hours(0, 24 * 60),
)
def test_with_any_stride_windows_close_within_their_bounds(
    grid, window, stride, extra, count, after
):
    span = window + extra
    first, last = T0 - span - window - timedelta(days=30), T0 + after
    found = grid.frames(T0, [first, last], window, span, count, stride)
    assert found["train"][-1] == T0 - span - window
    assert first <= found["train"][0] < first + stride
    assert found["val"][0] == T0 - span
    assert all(cutoff + window <= T0 for cutoff in found["val"])
    # As many as fit, up to the number asked for.
    fit = 1 + (span - window) // stride
    assert len(found["val"]) == min(count, fit)
    if after >= window:
        assert found["test"][0] == T0
        assert len(found["test"]) == min(count, 1 + (after - window) // stride)
    else:
        assert found["predict"] == [T0]
    for cutoffs in found.values():
        steps = {b - a for a, b in itertools.pairwise(cutoffs)}
        assert steps <= {stride}


def test_events_after_as_of_move_nothing_but_the_test_cutoffs(grid):
    window, span = timedelta(days=10), timedelta(days=30)
    first = T0 - timedelta(days=100)
    known = grid.frames(T0, [first, T0], window, span, 3)
    later = grid.frames(T0, [first, T0, T0 + timedelta(days=25)], window, span, 3)
    assert known["train"] == later["train"]
    assert known["val"] == later["val"]
    assert (list(known), list(later)) == (["train", "val", "predict"], ["train", "val", "test"])
    assert len(later["test"]) == 2


def test_a_first_event_after_as_of_leaves_nothing_to_train_on(grid):
    with pytest.raises(CompilerError, match="no training window fits"):
        grid.frames(T0, [T0 + timedelta(days=1)], timedelta(days=1), timedelta(days=2), 1)


def test_a_span_shorter_than_the_window_is_refused_in_words(grid):
    events = [T0 - timedelta(days=90), T0]
    with pytest.raises(CompilerError, match="span must be at least as long as the window"):
        grid.frames(T0, events, timedelta(days=10), timedelta(days=9), 1)
