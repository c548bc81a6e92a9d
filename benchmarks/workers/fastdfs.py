"""fastdfs on its DuckDB engine, one thread, tables in memory as it wants them."""

from __future__ import annotations

import os
import re
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"
warnings.filterwarnings("ignore")

import fastdfs  # noqa: E402
import pandas as pd  # noqa: E402
from loguru import logger  # noqa: E402

from benchmarks.case import Case, Measurement, Request, write_measurements  # noqa: E402
from benchmarks.metering import Meter  # noqa: E402


def database(case: Case) -> fastdfs.RDB:
    """The case as fastdfs' database, with the same roles of columns."""
    return fastdfs.create_rdb(
        name="database",
        tables={table.name: pd.read_parquet(table.file) for table in case.tables},
        primary_keys={table.name: table.primary_key for table in case.tables},
        foreign_keys=[
            (table.name, column, parent, case.table(parent).primary_key)
            for table in case.tables
            for column, parent in table.foreign_keys
        ],
        time_columns={t.name: t.time_column for t in case.tables if t.time_column is not None},
        type_hints={
            table.name: dict.fromkeys(table.numerical, "float")
            | dict.fromkeys(table.categorical, "category")
            for table in case.tables
        },
    )


def run(request: Request) -> Measurement:
    """Compute, write and measure."""
    case = request.case
    key = case.table(case.entity_table).primary_key
    with Meter() as setup:
        rows = pd.read_parquet(case.seeds)
        tables = database(case)
    wanted = rows.rename(columns={"entity": key})
    # The rows refer to the entity table by a key, which is a step of its depth.
    options = {
        "max_depth": request.depth + 1,
        "engine": "dfs2sql",
        "agg_primitives": list(request.primitives or ()),
        "include_cutoff_time": True,
        "dfs2sql_threads": 1,
        "dfs2sql_merge_queries": True,
    }
    with Meter() as meter:
        found = fastdfs.compute_dfs_features(
            rdb=tables,
            target_dataframe=wanted,
            key_mappings={key: f"{case.entity_table}.{key}"},
            cutoff_time_column="cutoff_time",
            config_overrides=options,
        )
    found = found.drop(columns=[key, "cutoff_time"])
    # Its names begin with the depth and the entity table: d2__users.MEAN(events.amount).
    prefix = re.compile(rf"^d\d+__{re.escape(case.entity_table)}\.")
    found = found.rename(columns=lambda name: prefix.sub("", name))
    found.to_parquet(request.result)
    return Measurement(
        f"fastdfs {version('fastdfs')}",
        len(rows),
        rows["cutoff_time"].nunique(),
        found.shape[1] - 1,
        meter.wall_s,
        meter.cpu_s,
        setup.cpu_s,
        meter.peak_mb,
    )


if __name__ == "__main__":
    logger.remove()
    logger.add(sys.stderr, level="ERROR")
    answer = run(Request.read(Path(sys.argv[1])))
    write_measurements(Path(sys.argv[2]), [answer])
