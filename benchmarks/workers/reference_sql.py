"""Sums, means and so on of sibling rows in the next window, as the paper's experiments ask for them.

Truong et al. (arXiv 2507.09837): the path's rows are joined as a whole, siblings with siblings,
and the grid of cutoffs is joined to them by inequalities. On DuckDB, one thread.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from benchmarks.case import Measurement, Request, write_measurements
from benchmarks.metering import Meter

SQL = {
    "sum": "coalesce(sum({column}), 0)",
    "mean": "avg({column})",
    "min": "min({column})",
    "max": "max({column})",
    "std": "stddev_samp({column})",
    "count": "count(*)",
}


def statement(request: Request) -> str:
    """The query of all seeds."""
    case = request.case
    (path,) = request.paths
    down, up, _ = path
    events = case.table(down.table)
    (column,) = events.numerical
    at = events.time_column
    names = request.primitives or ()
    values = ", ".join(f"{SQL[name].format(column=column)} AS {name}" for name in names)
    # Rows without any sibling in the window have a sum and a count of nothing all the same.
    zero = {"sum": "0", "count": "0"}
    shown = ", ".join(
        f"coalesce(found.{name}, {zero[name]}) AS {name}" if name in zero else f"found.{name}"
        for name in names
    )
    return f"""
    WITH events AS (SELECT * FROM read_parquet('{events.file}')),
    seeds AS (SELECT * FROM read_parquet('{case.seeds}')),
    path AS MATERIALIZED (
        SELECT event.{down.column} AS entity, event.{at} AS at, sibling.{column} AS {column}
        FROM events AS event
        JOIN events AS sibling ON sibling.{up.column} = event.{up.column}
            AND sibling.{at} <= event.{at}
            AND sibling.{at} > event.{at} - {_seconds(request.lookback_days)}
    ),
    grid AS (SELECT DISTINCT cutoff_time FROM seeds),
    found AS (
        SELECT grid.cutoff_time, path.entity, {values}
        FROM grid
        LEFT JOIN path ON path.at > grid.cutoff_time
            AND path.at <= grid.cutoff_time + {_seconds(request.window_days)}
        GROUP BY grid.cutoff_time, path.entity
    )
    SELECT seeds.row_id, {shown}
    FROM seeds
    LEFT JOIN found ON found.entity = seeds.entity AND found.cutoff_time = seeds.cutoff_time
    ORDER BY seeds.row_id
    """


def _seconds(days: float | None) -> str:
    return f"to_seconds({round((days or 0.0) * 86_400)})"


def run(request: Request) -> Measurement:
    """Compute, write and measure."""
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.execute(f"SET temp_directory = '{request.home}'")
    with Meter() as meter:
        found = connection.execute(statement(request)).pl()
    found.write_parquet(request.result)
    counted = connection.execute(
        f"SELECT count(*), count(DISTINCT cutoff_time) FROM read_parquet('{request.case.seeds}')"
    )
    rows, cutoffs = counted.fetchone() or (0, 0)
    return Measurement(
        f"range joins, DuckDB {duckdb.__version__}",
        rows,
        cutoffs,
        len(request.primitives or ()),
        meter.wall_s,
        meter.cpu_s,
        0.0,
        meter.peak_mb,
    )


if __name__ == "__main__":
    answer = run(Request.read(Path(sys.argv[1])))
    write_measurements(Path(sys.argv[2]), [answer])
