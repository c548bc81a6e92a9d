"""The league with another future."""

from datetime import timedelta

import polars as pl

from tests.models.rdl.league import LEAGUE

LATER = timedelta(days=400)


def with_another_future(frames, until):
    """Rows after a time, or without one, changed in every value, some left out, and new ones.

    Rows up to the time keep their values and, before the new ones, their order.
    """
    altered = {}
    for name, frame in frames.items():
        table = LEAGUE.table(name)
        if table.time_column is None:
            altered[name] = frame
            continue
        is_past = (pl.col(table.time_column) <= until).fill_null(False)
        values = [
            column.name
            for column in table.columns
            if column.name not in {*LEAGUE.key_columns(name), table.time_column}
        ]
        future = frame.filter(~is_past).gather_every(2)
        future = future.with_columns(_other(pl.col(value), frame[value].dtype) for value in values)
        part = table.primary_key[-1]
        copies = frame.filter(is_past).with_columns(
            pl.col(part) + 1000,
            pl.lit(until + LATER).cast(pl.Datetime("us")).alias(table.time_column),
            *(_other(pl.col(value), frame[value].dtype) for value in values),
        )
        altered[name] = pl.concat([frame.filter(is_past), future, copies])
    return altered


def _other(column, dtype):
    if dtype == pl.String:
        return pl.lit("Aa, from the future").alias(column.meta.output_name())
    if dtype == pl.Boolean:
        return column.not_()
    if dtype == pl.Datetime("us"):
        return column + LATER
    return (column.fill_null(0) * -7 + 12345).cast(dtype)
