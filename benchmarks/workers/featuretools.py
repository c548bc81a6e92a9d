"""featuretools with cutoff times, one job, tables in memory as it wants them.

Its cost is one of distinct cutoff times; where there are many it computes two samples of them, and
a straight line through the two gives the whole.
"""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import version
from pathlib import Path

warnings.filterwarnings("ignore")

import featuretools as ft  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from woodwork.logical_types import Categorical, Datetime, Double, Integer  # noqa: E402

from benchmarks.case import Case, Measurement, Request, write_measurements  # noqa: E402
from benchmarks.metering import Meter  # noqa: E402

SAMPLES = (100, 300)
FEWEST_TO_SAMPLE = 2_000


def database(case: Case) -> ft.EntitySet:
    """The case as featuretools' entity set, with the same roles of columns."""
    entities = ft.EntitySet("database")
    for table in case.tables:
        types: dict[str, type] = {table.primary_key: Integer}
        types |= dict.fromkeys([key for key, _ in table.foreign_keys], Integer)
        types |= dict.fromkeys(table.numerical, Double)
        types |= dict.fromkeys(table.categorical, Categorical)
        if table.time_column is not None:
            types[table.time_column] = Datetime
        entities.add_dataframe(
            pd.read_parquet(table.file),
            table.name,
            index=table.primary_key,
            time_index=table.time_column,
            logical_types=types,
        )
    for table in case.tables:
        for column, parent in table.foreign_keys:
            entities.add_relationship(parent, case.table(parent).primary_key, table.name, column)
    return entities


def sample(rows: pd.DataFrame, cutoffs: int) -> pd.DataFrame:
    """The rows of that many cutoff times, evenly spread."""
    times = np.sort(rows["time"].unique())
    return rows[rows["time"].isin(times[np.linspace(0, len(times) - 1, cutoffs).astype(int)])]


def measured(
    features: list[ft.FeatureBase], entities: ft.EntitySet, rows: pd.DataFrame
) -> tuple[Meter, pd.DataFrame]:
    """The features of these rows and what they took."""
    with Meter() as meter:
        matrix = ft.calculate_feature_matrix(
            features, entityset=entities, cutoff_time=rows, n_jobs=1, verbose=False
        )
    return meter, matrix


def run(request: Request) -> Measurement:
    """Compute, write and measure."""
    case = request.case
    key = case.table(case.entity_table).primary_key
    rows = pd.read_parquet(case.seeds).rename(columns={"entity": key, "cutoff_time": "time"})
    rows = rows[[key, "time", "row_id"]]
    with Meter() as setup:
        entities = database(case)
        features = ft.dfs(
            entityset=entities,
            target_dataframe_name=case.entity_table,
            agg_primitives=list(request.primitives or ()),
            trans_primitives=[],
            max_depth=request.depth,
            features_only=True,
        )
    cutoffs = rows["time"].nunique()
    extrapolated = cutoffs > FEWEST_TO_SAMPLE
    few, many = SAMPLES
    first, matrix = measured(features, entities, sample(rows, few) if extrapolated else rows)
    wall, cpu, peak = first.wall_s, first.cpu_s, first.peak_mb
    note = ""
    if extrapolated:
        second, matrix = measured(features, entities, sample(rows, many))
        further = (cutoffs - few) / (many - few)
        wall += (second.wall_s - wall) * further
        cpu += (second.cpu_s - cpu) * further
        peak = max(peak, second.peak_mb)
        note = f"extrapolated from {few} and {many} cutoffs"
    for name in matrix.columns:
        if isinstance(matrix[name].dtype, pd.CategoricalDtype):
            matrix[name] = matrix[name].astype("string")
    matrix.reset_index(drop=True).to_parquet(request.result)
    return Measurement(
        f"featuretools {version('featuretools')}",
        len(rows),
        cutoffs,
        len(features),
        wall,
        cpu,
        setup.cpu_s,
        peak,
        note,
    )


if __name__ == "__main__":
    answer = run(Request.read(Path(sys.argv[1])))
    write_measurements(Path(sys.argv[2]), [answer])
