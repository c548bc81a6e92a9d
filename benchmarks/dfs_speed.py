"""Time of DFS features against featuretools on synthetic events: one table, one command.

    python benchmarks/dfs_speed.py                          # small, both libraries
    python benchmarks/dfs_speed.py --events 1000000 --entities 2000 --cutoffs 250 --only ours

Both compute the same features (COUNT, MEAN, STD, MIN, MAX, MODE, LAST, ...) of the same rows in the
same run, with one worker each; the last column is the largest relative difference of a number.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
warnings.filterwarnings("ignore")

from models.aggregation.aggregation import Plan  # noqa: E402
from models.database.schema import (  # noqa: E402
    Column,
    ForeignKey,
    RelationalSchema,
    SemanticType,
    Table,
)
from models.dfs import Feature, FeatureConfig, compute_features, enumerate_features  # noqa: E402

START, SPAN = datetime(2020, 1, 1), 10_000_000
PRIMITIVES = (
    "count", "sum", "mean", "std", "min", "max", "mode", "num_unique", "percent_true", "last",
    "time_since_last",
)  # fmt: skip


def schema() -> RelationalSchema:
    """Users with events of items: two kinds of path at depth 2."""
    kind = SemanticType
    users = Table("users", (Column("id"), Column("age", "DOUBLE", kind.NUMERICAL)), ("id",))
    items = Table("items", (Column("id"), Column("price", "DOUBLE", kind.NUMERICAL)), ("id",))
    events = Table(
        "events",
        (
            Column("id"),
            Column("user_id"),
            Column("item_id"),
            Column("at", "TIMESTAMP", kind.TIMESTAMP),
            Column("amount", "DOUBLE", kind.NUMERICAL),
            Column("channel", "VARCHAR", kind.CATEGORICAL),
            Column("paid", "BOOLEAN", kind.BOOLEAN),
        ),
        ("id",),
        "at",
    )
    keys = tuple(
        ForeignKey("events", (f"{parent}_id",), f"{parent}s", ("id",))
        for parent in ("user", "item")
    )
    return RelationalSchema("synthetic", (users, items, events), keys)


def tables(events: int, entities: int, seed: int = 0) -> dict[str, pl.DataFrame]:
    """Random rows: normal amounts, five channels, times uniform over 116 days."""
    random = np.random.default_rng(seed)
    seconds = pl.Series(random.integers(0, SPAN, events) * 1_000_000).cast(pl.Duration("us"))
    channels = np.array(["web", "app", "shop", "phone", "mail"])
    frame = pl.DataFrame(
        {
            "id": np.arange(events),
            "user_id": random.integers(0, entities, events),
            "item_id": random.integers(0, 500, events),
            "at": seconds + START,
            "amount": random.normal(20, 5, events),
            "channel": channels[random.integers(0, 5, events)],
            "paid": random.random(events) < 0.9,
        }
    )
    return {
        "users": pl.DataFrame({"id": np.arange(entities), "age": random.normal(40, 9, entities)}),
        "items": pl.DataFrame({"id": np.arange(500), "price": random.gamma(2, 10, 500)}),
        "events": frame,
    }


def seeds(entities: int, cutoffs: int) -> pl.DataFrame:
    """Every entity at equally spaced cutoffs."""
    steps = [SPAN * (at + 1) // cutoffs for at in range(cutoffs)]
    times = (pl.Series("cutoff_time", steps) * 1_000_000).cast(pl.Duration("us")) + START
    frame = pl.DataFrame({"entity": np.arange(entities)}).join(times.to_frame(), how="cross")
    return frame.with_columns(visible_until="cutoff_time").with_row_index("row_id")


def ours(
    frames: dict[str, pl.DataFrame],
    rows: pl.DataFrame,
    features: tuple[Feature, ...],
    plan: Plan | None = None,
) -> pl.DataFrame:
    """Features by this library, the tables' files written beforehand not counted."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.parquet" for name in frames}
        for name, frame in frames.items():
            frame.write_parquet(files[name])
        started = time.perf_counter()
        found = compute_features(
            schema(), features, files, rows, entity_table="users", threads=1, plan=plan
        )
        print_row(f"ours ({plan or 'chosen plan'})", started, rows.height, found.width - 1)
    return found


def featuretools(
    frames: dict[str, pl.DataFrame], rows: pl.DataFrame, features: tuple[Feature, ...]
) -> pl.DataFrame:
    """The same features by featuretools, one job."""
    import featuretools as ft

    entities: Any = ft.EntitySet("synthetic")
    for table in schema().tables:
        frame = frames[table.name].to_pandas()
        types = {"channel": "Categorical"} if table.name == "events" else {}
        entities.add_dataframe(
            frame, table.name, index="id", time_index=table.time_column, logical_types=types
        )
    for key in schema().foreign_keys:
        entities.add_relationship(key.parent, "id", key.table, key.columns[0])
    wanted = {feature.name for feature in features}
    definitions = [
        definition
        for definition in ft.dfs(
            entityset=entities,
            target_dataframe_name="users",
            agg_primitives=list(PRIMITIVES),
            trans_primitives=[],
            max_depth=2,
            features_only=True,
        )
        if definition.get_name() in wanted
    ]
    cutoffs = rows.select(id="entity", time="cutoff_time").to_pandas()
    started = time.perf_counter()
    matrix = ft.calculate_feature_matrix(
        definitions, entities, cutoff_time=cutoffs, cutoff_time_in_index=True, n_jobs=1
    )
    print_row("featuretools", started, rows.height, matrix.shape[1])
    matrix = matrix.loc[list(cutoffs.itertuples(index=False, name=None))]
    return pl.from_pandas(matrix.reset_index(drop=True).astype(object).infer_objects())


def print_row(name: str, started: float, rows: int, columns: int) -> None:
    """One row of the table: name, rows, features, seconds, values per second."""
    seconds = time.perf_counter() - started
    print(f"{name:24s}{rows:>10,}{columns:>10}{seconds:>10.2f}{rows * columns / seconds:>14,.0f}")


def largest_difference(first: pl.DataFrame, second: pl.DataFrame) -> float:
    """The largest relative difference between the numbers of shared columns."""
    worst = 0.0
    for name in set(first.columns) & set(second.columns):
        if first[name].dtype == pl.Float64 and second[name].dtype.is_numeric():
            a, b = first[name].to_numpy(), second[name].cast(pl.Float64).to_numpy()
            scale = np.maximum(np.abs(b), 1e-9)
            worst = max(worst, float(np.nanmax(np.abs(a - b) / scale, initial=0.0)))
    return worst


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--entities", type=int, default=1_000)
    parser.add_argument("--cutoffs", type=int, default=10)
    parser.add_argument("--only", choices=["ours", "both", "plans"], default="both")
    options = parser.parse_args()
    frames = tables(options.events, options.entities)
    rows = seeds(options.entities, options.cutoffs)
    config = FeatureConfig(depth=2, primitives=PRIMITIVES)
    features = tuple(
        feature
        for feature in enumerate_features(schema(), "users", config)
        if feature.name != "NUM_UNIQUE(events.item_id)"
    )
    print(f"{'':24s}{'rows':>10}{'features':>10}{'seconds':>10}{'values/s':>14}")
    plans: list[Plan | None] = [Plan.RANGE, Plan.PREFIX] if options.only == "plans" else [None]
    run: Callable[[Plan | None], pl.DataFrame] = lambda plan: ours(frames, rows, features, plan)  # noqa: E731
    results = [run(plan) for plan in plans]
    if options.only == "both":
        theirs = featuretools(frames, rows, features)
        print(f"largest relative difference: {largest_difference(results[0], theirs):.1e}")


if __name__ == "__main__":
    main()
