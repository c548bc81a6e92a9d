"""A feature table's settings: conditions on frequent values, and what the budget left out."""

import json
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from models.aggregation.engine import compute_features
from models.database.schema import Protocol, Task, TaskType
from models.dfs.config import FeatureConfig
from models.dfs.feature_table import (
    DEFINITIONS,
    build_feature_table,
    read_feature_table,
    seeds_of,
    stale_seeds_of,
)
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


def test_a_table_can_be_read_without_its_windows(tmp_path):
    config = FeatureConfig(depth=1, primitives=("count", "mean"), windows=(day(2) - day(0),))
    _, table = build(tmp_path, config=config)
    assert table.has_windows
    without = table.within(None, windows=False)
    _, plain = build(tmp_path / "plain", config=replace(config, windows=()))
    assert without.definitions == plain.definitions
    assert not without.has_windows
    assert table.within(1, windows=True).definitions == table.definitions


def test_windows_longer_than_the_past_of_all_training_rows_are_left_out(tmp_path):
    lines = []
    lengths = (day(3) - day(0), timedelta(days=9_000_000))
    config = FeatureConfig(depth=1, primitives=("count",), windows=lengths)
    _, table = build(tmp_path, config=config, progress=lines.append)
    found = {one.window.length for one in table.definitions}
    assert found == {None, lengths[0]}
    assert any("no windows of 9000000 days" in line for line in lines)


@pytest.mark.parametrize(
    "kind",
    [pl.col("at").cast(pl.Date), pl.col("at").dt.replace_time_zone("UTC")],
    ids=["date", "time zone"],
)
def test_event_times_of_any_type_say_where_the_past_begins(tmp_path, kind):
    frames = shop_frames(2)
    lengths = (day(3) - day(0), timedelta(days=9_000_000))
    config = FeatureConfig(depth=1, primitives=("count",), windows=lengths)
    _, table = build(tmp_path, frames | {"orders": frames["orders"].with_columns(kind)}, config)
    assert {one.window.length for one in table.definitions} == {None, lengths[0]}


def many_rows(validation=(16, 18, 20), entities=40):
    """Rows of many entities, the frozen validation rows of which see nothing for 0, 2 and 4 days."""
    cutoffs = {**dict.fromkeys(range(4, 14, 2), "train"), **dict.fromkeys(validation, "val")}
    cutoffs |= dict.fromkeys((24, 26), "test")
    rows = [
        (entity, day(at), 1.0, split) for at, split in cutoffs.items() for entity in range(entities)
    ]
    table = pl.DataFrame(rows, schema=["entity", "cutoff_time", "label", "split"], orient="row")
    times = table.with_columns(pl.col("cutoff_time").cast(pl.Datetime("us")))
    return times.with_row_index("row_id").with_columns(pl.col("row_id").cast(pl.Int64))


def test_stale_rows_see_as_little_as_frozen_validation_rows_do_and_the_test_rows_have_none():
    rows = many_rows()
    stale = stale_seeds_of(rows, TASK, AS_OF)
    assert set(stale["row_id"]) == set(rows.filter(pl.col("split") != "test")["row_id"])
    shares = (stale["cutoff_time"] - stale["visible_until"]).value_counts(normalize=True)
    found = dict(shares.iter_rows())
    assert set(found) == {timedelta(days=2), timedelta(days=4)}
    assert min(found.values()) > 0.4
    # An entity's rows are not all stale by as much.
    age = pl.col("cutoff_time") - pl.col("visible_until")
    assert (stale.group_by("entity").agg(age=age.n_unique())["age"] == 2).mean() > 0.9


def test_how_stale_a_row_is_depends_on_no_other_row():
    rows = many_rows()
    whole = stale_seeds_of(rows, TASK, AS_OF)
    few = rows.filter((pl.col("row_id") % 3 == 0) | (pl.col("split") == "val"))
    assert stale_seeds_of(few, TASK, AS_OF).equals(whole.join(few, on="row_id", how="semi"))
    # A refit has the validation rows among the training rows too.
    twice = pl.concat(
        [rows, rows.filter(pl.col("split") == "val").with_columns(split=pl.lit("train"))]
    )
    assert stale_seeds_of(twice, TASK, AS_OF).equals(whole)
    assert stale_seeds_of(many_rows(validation=(16,)), TASK, AS_OF).is_empty()


def test_stale_features_are_those_of_the_earlier_moment(tmp_path):
    rows, frames = many_rows(entities=8), shop_frames(2)
    files = store(frames, tmp_path / "tables")
    config = FeatureConfig(depth=1, primitives=("count", "last", "time_since_last", "time_since"))
    found = build_feature_table(SHOP, TASK, rows, AS_OF, files, config, tmp_path, 1)
    table = read_feature_table(tmp_path)
    stale = stale_seeds_of(rows, TASK, AS_OF)
    assert found["stale_rows"] == table.stale.height == stale.height
    # What was then plain to see is seen, and no more: the same as at that moment itself.
    then = stale.with_columns(cutoff_time="visible_until")
    expected = compute_features(SHOP, table.definitions, files, then, entity_table="customers")
    kept = [one.name for one in table.definitions if not one.is_elapsed]
    assert table.stale.select(kept).equals(expected.select(kept))
    assert not table.stale.select(kept).equals(
        table.features.join(stale, on="row_id", how="semi").select(kept)
    )
    ages = (stale["cutoff_time"] - stale["visible_until"]).dt.total_seconds()
    assert table.stale["TIME_SINCE(visible_until)"].to_list() == ages.to_list()
    assert table.features["TIME_SINCE(visible_until)"].unique().to_list() == [0.0]
    frozen = seeds_of(rows, TASK, AS_OF, Protocol.FROZEN).join(table.frozen, on="row_id")
    hidden = (frozen["cutoff_time"] - frozen["visible_until"]).dt.total_seconds()
    assert frozen["TIME_SINCE(visible_until)"].to_list() == hidden.to_list()
