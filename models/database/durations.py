"""Durations as people write them in YAML (`30 days`, `1 day 12:00:00`, `365d`)."""

from __future__ import annotations

from datetime import timedelta

import duckdb
import pandas as pd


def parse_duration(text: str) -> timedelta:
    """The duration that the text names; the syntax is RelBench's (pandas.Timedelta).

    Raises:
        ValueError: the text is no fixed positive duration (months and years have no fixed length).
    """
    try:
        duration = pd.Timedelta(text)
    except ValueError:
        duration = None
    # A number without a unit is nanoseconds to pandas, which is no duration here.
    if duration is None or pd.isna(duration) or duration < pd.Timedelta(microseconds=1):
        raise ValueError(f"not a fixed positive duration such as '30 days' or '12 hours': {text!r}")
    return duration.to_pytimedelta()


def check_interval(text: str) -> timedelta:
    """The duration of a text that SQL will read as an interval, as dbt's macros do.

    Raises:
        ValueError: it is no duration, or DuckDB reads it as another one than we do.
    """
    duration = parse_duration(text)
    try:
        row = duckdb.execute("select epoch_us(cast(? as interval))", [text]).fetchone()
    except duckdb.Error:
        row = None
    if row is None or row[0] != duration // timedelta(microseconds=1):
        raise ValueError(
            f"not a duration that SQL reads; write {format_duration(duration)!r}: {text!r}"
        )
    return duration


def format_duration(duration: timedelta) -> str:
    """The duration as DuckDB's interval and dbt's YAML read it: `30 days`, `1 days 12:00:00`."""
    days, rest = duration.days, duration - timedelta(days=duration.days)
    if not rest:
        return f"{days} days"
    clock = str(rest).rjust(8, "0")
    return f"{days} days {clock}" if days else clock
