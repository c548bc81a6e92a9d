"""Durations: read as RelBench reads them, written so that DuckDB and we read them back."""

from __future__ import annotations

from datetime import timedelta

import duckdb
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.database.durations import format_duration, parse_duration

DURATIONS = st.timedeltas(timedelta(microseconds=1), timedelta(days=4000))


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        yield connection


@given(DURATIONS)
@example(timedelta(hours=1))
@example(timedelta(days=1, hours=12))
@example(timedelta(microseconds=1))
@example(timedelta(days=1, microseconds=999_999))
def test_a_written_duration_reads_back_the_same_for_us_and_for_duckdb(connection, duration):
    text = format_duration(duration)
    assert parse_duration(text) == duration
    read = connection.execute(
        f"select timestamp '2000-01-01' + interval '{text}' - timestamp '2000-01-01'"
    ).fetchone()
    assert read == (duration,)


@given(DURATIONS)
def test_the_text_that_relbench_puts_into_its_sql_is_the_same_duration(connection, duration):
    pandas = str(pd.Timedelta(duration))
    query = "select timestamp '2000-01-01' + interval '{}'"
    assert connection.execute(query.format(pandas)).fetchone() == (
        connection.execute(query.format(format_duration(duration))).fetchone()
    )


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30 days", timedelta(days=30)),
        ("1 day 12:00:00", timedelta(days=1, hours=12)),
        ("365d", timedelta(days=365)),
        ("36h", timedelta(hours=36)),
        ("2W", timedelta(weeks=2)),
    ],
)
def test_durations_are_written_as_people_write_them(text, duration):
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["1 month", "2 years", "soon", "", "-3 days", "0 days", "NaT", "30"]
)
def test_what_is_no_fixed_positive_duration_is_refused(text):
    with pytest.raises(ValueError, match="not a fixed positive duration such as '30 days'"):
        parse_duration(text)
