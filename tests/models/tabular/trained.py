"""Small models over the random shop: a training table, its features, a saved bundle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.database.schema import DEFAULT_METRIC, Protocol, Task, TaskType
from models.dfs.enumeration import FeatureConfig
from models.dfs.feature_table import FeatureTable, build_feature_table, read_feature_table
from models.tabular.lightgbm_config import LightGBMConfig
from models.tabular.training import train_bundle
from tests.models.dfs.shop import SHOP, day, shop_frames, store

AS_OF = day(24)
CONFIG = LightGBMConfig(
    seeds=2, rounds=60, early_stopping=15, min_data_in_leaf=3, learning_rate=0.15, lambda_l2=1.0
)
CLASSES = ("few", "many", "none")


def make_task(task_type: TaskType, protocol: Protocol = Protocol.ROLLING, **changes: Any) -> Task:
    """A task over the shop's customers: windows of two days, validation from day 16."""
    task = Task(
        name="custom",
        title="custom-task",
        entity_table="customers",
        entity_column="customer",
        time_column="seen_at",
        label_column="answer",
        task_type=task_type,
        window=timedelta(days=2),
        stride=timedelta(days=2),
        validation_span=timedelta(days=8),
        evaluation_cutoffs=4,
        metric=DEFAULT_METRIC[task_type],
        protocol=protocol,
    )
    return replace(task, **changes)


def training_table(task: Task, frames: dict[str, pl.DataFrame], seed: int = 0) -> pl.DataFrame:
    """Every customer at every second day, labelled by its orders of the past six days, with noise."""
    random = np.random.default_rng(seed)
    rows = []
    for at in range(2, 32, 2):
        split = "train" if at <= 14 else "val" if at <= 22 else "test" if at <= 28 else "predict"
        seen = frames["orders"].filter((pl.col("at") <= day(at)) & (pl.col("at") > day(at - 6)))
        for entity in frames["customers"]["id"]:
            own = seen.filter(pl.col("customer_id") == entity)
            amount = own.height + random.normal(0, 0.3)
            rows.append((entity, day(at), _label(task, amount), split))
    schema = {"entity": pl.Int64, "cutoff_time": pl.Datetime("us")}
    table = pl.DataFrame(
        rows, schema=[*schema.items(), "label", "split"], orient="row", strict=False
    ).with_columns(label=pl.when(pl.col("split") != "predict").then("label"))
    return table.with_row_index("row_id").with_columns(pl.col("row_id").cast(pl.Int64))


def _label(task: Task, amount: float) -> Any:
    if task.task_type == TaskType.REGRESSION:
        return round(amount, 3)
    if task.task_type == TaskType.BINARY_CLASSIFICATION:
        return amount > 2.5
    return "none" if amount < 1.5 else "few" if amount < 3.5 else "many"


@dataclass(frozen=True)
class Trained:
    """A bundle's folder and everything that it was made from."""

    task: Task
    table: pl.DataFrame
    files: dict[str, Path]
    features: FeatureTable
    folder: Path
    metadata: dict[str, Any]

    def under(self) -> dict[Protocol, pl.DataFrame]:
        """The features of all rows by protocol."""
        return {protocol: self.features.under(protocol) for protocol in Protocol}


def train_small(
    task: Task,
    root: Path,
    frames: dict[str, pl.DataFrame] | None = None,
    table: pl.DataFrame | None = None,
    as_of: datetime = AS_OF,
    threads: int = 1,
    config: LightGBMConfig = CONFIG,
) -> Trained:
    """Features, model and bundle of a task, in a folder."""
    frames = frames if frames is not None else shop_frames(3, customers=12, orders=140)
    table = table if table is not None else training_table(task, frames)
    files = store(frames, root / "tables")
    (root / "features").mkdir()
    settings = FeatureConfig(depth=1, max_features=80, windows=(timedelta(days=6),))
    schema = replace(SHOP, tasks=(task,), title="The-Shop")
    build_feature_table(schema, task, table, as_of, files, settings, root / "features", 1)
    features = read_feature_table(root / "features")
    metadata = train_bundle(task, table, features, as_of, config, root / "bundle", threads)
    return Trained(task, table, files, features, root / "bundle", metadata)
