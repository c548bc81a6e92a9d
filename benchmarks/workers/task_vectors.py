"""Sums, means and so on of sibling rows in the next window, by this project's compiler."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import polars as pl

from benchmarks.case import Measurement, Request, Step, write_measurements
from benchmarks.databases import schema_of
from benchmarks.metering import Meter
from models.aggregation.engine import compute_features
from models.aggregation.features import Feature
from models.aggregation.paths import Hop
from models.aggregation.windows import following
from models.database.schema import ForeignKey, SemanticType


def hop(request: Request, step: Step) -> Hop:
    """A step of a path as this project's."""
    parent_key = request.case.table(step.parent).primary_key
    key = ForeignKey(step.table, (step.column,), step.parent, (parent_key,))
    return Hop(key, step.forward)


def features_of(request: Request) -> list[Feature]:
    """One feature a primitive, over the only path of the request; COUNT reads rows."""
    (path,) = request.paths
    (column,) = request.case.table(path[-1].table).numerical
    return [
        Feature(
            primitive,
            request.case.entity_table,
            tuple(hop(request, step) for step in path),
            None if primitive == "count" else column,
            (primitive,),
            SemanticType.NUMERICAL,
            window=following(timedelta(days=request.window_days or 0)),
            lookback=timedelta(days=request.lookback_days or 0),
        )
        for primitive in request.primitives or ()
    ]


def run(request: Request) -> Measurement:
    """Compute, write and measure."""
    case = request.case
    features = features_of(request)
    seeds = pl.read_parquet(case.seeds).with_columns(visible_until="cutoff_time")
    with Meter() as meter:
        found = compute_features(
            schema_of(case),
            features,
            {table.name: Path(table.file) for table in case.tables},
            seeds,
            entity_table=case.entity_table,
            threads=1,
            allow_future=True,
        )
    found.write_parquet(request.result)
    return Measurement(
        "relforge",
        seeds.height,
        seeds["cutoff_time"].n_unique(),
        len(features),
        meter.wall_s,
        meter.cpu_s,
        0.0,
        meter.peak_mb,
    )


if __name__ == "__main__":
    answer = run(Request.read(Path(sys.argv[1])))
    write_measurements(Path(sys.argv[2]), [answer])
