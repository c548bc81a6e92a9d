"""Durations as people write them in YAML (`30 days`, `1 day 12:00:00`, `365d`)."""

from __future__ import annotations

from datetime import timedelta

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


def format_duration(duration: timedelta) -> str:
    """The duration as DuckDB's interval and dbt's YAML read it: `30 days`, `1 days 12:00:00`."""
    days, rest = duration.days, duration - timedelta(days=duration.days)
    if not rest:
        return f"{days} days"
    clock = str(rest).rjust(8, "0")
    return f"{days} days {clock}" if days else clock
