"""This project's compiler: `compute_features` on the Parquet files, one thread."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl

from benchmarks.case import Measurement, Request, write_measurements
from benchmarks.databases import schema_of
from benchmarks.metering import Meter
from models.aggregation.engine import compute_features
from models.aggregation.features import Feature
from models.aggregation.windows import PAST
from models.dfs import FeatureConfig, enumerate_features


def wanted(request: Request) -> tuple[Feature, ...]:
    """The features that the request asks for."""
    config = FeatureConfig(depth=request.depth, max_features=100_000)
    if request.primitives is not None:
        config = replace(config, primitives=request.primitives)
    if request.window_days is not None:
        config = replace(config, windows=(timedelta(days=request.window_days),))
    features = enumerate_features(schema_of(request.case), request.case.entity_table, config)
    if request.select == "windowed":
        return tuple(feature for feature in features if feature.window != PAST)
    if request.select == "nested":
        return tuple(feature for feature in features if len(feature.primitives) > 1)
    return features


def run(request: Request) -> Measurement:
    """Compute, write and measure."""
    case = request.case
    schema = schema_of(case)
    features = wanted(request)
    seeds = pl.read_parquet(case.seeds).with_columns(visible_until="cutoff_time")
    files = {table.name: Path(table.file) for table in case.tables}
    with Meter() as meter:
        found = compute_features(
            schema, features, files, seeds, entity_table=case.entity_table, threads=1
        )
    found.write_parquet(request.result)
    return Measurement(
        "relforge" if request.primitives is not None else "relforge, default primitives",
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
