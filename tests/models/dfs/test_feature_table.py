"""A feature table's settings: conditions on frequent values, and what the budget left out."""

import json
from datetime import timedelta

import polars as pl
import pytest

from models.database.schema import Task, TaskType
from models.dfs.config import FeatureConfig
from models.dfs.feature_table import DEFINITIONS, build_feature_table, read_feature_table
from tests.models.dfs.shop import SHOP, day, shop_frames, store

AS_OF = day(24)
TASK = Task(
    "spend", "customers", "customer", "at", "label", TaskType.REGRESSION, timedelta(days=4),
    timedelta(days=4), timedelta(days=8), hidden_columns=(("orders", "price"),),
)  # fmt: skip
ROWS = pl.DataFrame(
    {
        "row_id": range(4),
        "entity": [0, 1, 0, 1],
        "cutoff_time": [day(8), day(8), day(16), AS_OF],
        "label": [1.0, 2.0, 3.0, None],
        "split": ["train", "train", "val", "predict"],
    },
    schema_overrides={"cutoff_time": pl.Datetime("us")},
)
CONFIG = FeatureConfig(depth=1, primitives=("count", "mean"), max_features=10_000)


def build(folder, frames=None, config=CONFIG, **more):
    frames = frames if frames is not None else shop_frames(2)
    files = store(frames, folder / "tables")
    metadata = build_feature_table(SHOP, TASK, ROWS, AS_OF, files, config, folder, 1, **more)
    return metadata, read_feature_table(folder)


def conditions(table):
    return {feature.where for feature in table.definitions if feature.where is not None}


def test_conditions_are_off_unless_asked_for(tmp_path):
    _, plain = build(tmp_path)
    assert conditions(plain) == set()


def test_conditions_are_on_values_frequent_before_validation(tmp_path):
    frames = shop_frames(2)
    late = pl.col("at") > AS_OF - TASK.validation_span
    channel = pl.when(late).then(pl.lit("late")).otherwise("channel")
    frames["orders"] = frames["orders"].with_columns(channel=channel)
    assert (frames["orders"]["channel"] == "late").mean() > 0.3
    _, table = build(tmp_path, frames, conditions=True)
    found = {(where.column, where.value) for where in conditions(table)}
    assert found >= {("channel", "a"), ("paid", "true"), ("topic", "t")}
    assert ("channel", "late") not in found
    assert "COUNT(orders WHERE channel = a)" in table.features.columns


def test_the_folder_and_the_metadata_say_what_was_kept_of_how_many(tmp_path):
    everything, _ = build(tmp_path / "all")
    lines = []
    metadata, table = build(
        tmp_path / "few",
        config=FeatureConfig(depth=1, primitives=("count", "mean"), max_features=5),
        progress=lines.append,
    )
    assert everything["features"] == everything["offered"] > 5
    assert metadata["features"] == len(table.definitions) == 5
    assert (metadata["offered"], metadata["paths"]) == (everything["offered"], 4)
    written = json.loads((tmp_path / "few" / DEFINITIONS).read_text())
    assert (written["offered"], written["paths"]) == (everything["offered"], 4)
    assert f"kept 5 of {everything['offered']} features along 4 schema paths" in lines


def test_too_many_paths_stop_the_stage(tmp_path):
    with pytest.raises(ValueError, match=r"4 schema paths of depth 1 .* max_paths=3"):
        build(tmp_path, config=FeatureConfig(depth=1, max_paths=3))


def test_a_table_can_be_read_up_to_a_depth(tmp_path):
    _, table = build(tmp_path, config=FeatureConfig(depth=2, primitives=("count", "mean")))
    depths = {len(feature.path) for feature in table.definitions}
    assert depths == {0, 1, 2} or depths == {1, 2}
    assert {len(f.path) for f in table.within(1).definitions} == depths - {2}
    assert table.within(None) is table
    with pytest.raises(ValueError, match=r"none of the .* features has depth -1 or less"):
        table.within(-1)
