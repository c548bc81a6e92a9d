"""A later date built on an earlier one equals one built from scratch, and costs less."""

import json
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from models.tve.task_vectors import Mode, TaskVectorBuilder, extend, read_task_vectors
from tests.models.dfs.shop import SHOP, store
from tests.models.tve.building import AS_OF, CONFIG, TILE, build, raw, shop

DATES = [AS_OF - 4 * TILE, AS_OF - TILE, AS_OF]


def assert_equal(one, two):
    assert read_task_vectors(one).frame.equals(read_task_vectors(two).frame)
    assert raw(one).equals(raw(two))
    assert (one / "manifest.json").read_bytes() == (two / "manifest.json").read_bytes()


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("tiles", [1, 3])
def test_an_extension_equals_a_rebuild(tmp_path, mode, tiles):
    config = replace(CONFIG, mode=mode)
    earlier_date = AS_OF - tiles * TILE
    # As of then, later rows were not there yet.
    frames = shop()
    past = dict(frames)
    for name, time in (("orders", "at"), ("items", "at")):
        past[name] = frames[name].filter(pl.col(time) <= earlier_date)
    _, _, earlier = build(past, tmp_path / "earlier", earlier_date, config)
    _, metadata, rebuilt = build(frames, tmp_path / "rebuilt", config=config)
    _, extended_metadata, extended = build(
        frames, tmp_path / "extended", config=config, earlier=earlier
    )
    assert_equal(rebuilt, extended)
    assert extended_metadata["how"] == f"extended from {earlier_date}"
    assert extended_metadata["cells_computed"] < metadata["cells_computed"] / 2


def test_extensions_follow_one_another(tmp_path):
    frames, earlier = shop(), None
    tables = store(frames, tmp_path / "tables")
    builder = TaskVectorBuilder(SHOP, "customers", tables, CONFIG)
    for position, date in enumerate(DATES):
        folder = tmp_path / str(position)
        folder.mkdir()
        if earlier is None:
            builder.build(date, folder)
        else:
            assert "extended" in extend(builder, earlier, date, folder)["how"]
        earlier = folder
    assert_equal(build(frames, tmp_path / "rebuilt")[2], earlier)


CHANGES = {
    "another configuration": (lambda frames: frames, AS_OF, replace(CONFIG, lookback=3)),
    "other cutoffs": (lambda frames: frames, AS_OF + timedelta(days=1), CONFIG),
    "have changed": (
        lambda frames: (
            frames
            | {
                "orders": frames["orders"].with_columns(
                    pl.col("price") + pl.int_range(pl.len()) // 99
                )
            }
        ),
        AS_OF,
        CONFIG,
    ),
}


@pytest.mark.parametrize("why", CHANGES)
def test_what_does_not_fit_is_built_from_scratch_and_says_why(tmp_path, why):
    change, date, config = CHANGES[why]
    frames = shop()
    _, _, earlier = build(frames, tmp_path / "earlier", AS_OF - TILE)
    changed = change(frames)
    _, metadata, found = build(changed, tmp_path / "found", date, config, earlier)
    assert why in metadata["how"]
    assert_equal(build(changed, tmp_path / "rebuilt", date, config)[2], found)


def test_new_rows_without_a_time_do_not_spoil_an_extension(tmp_path):
    frames = shop()
    _, _, earlier = build(frames, tmp_path / "earlier", AS_OF - TILE)
    newcomer = frames["customers"].head(1).with_columns(id=pl.lit(77, pl.Int64))
    frames["customers"] = pl.concat([frames["customers"], newcomer])
    _, metadata, _ = build(frames, tmp_path / "later", earlier=earlier)
    assert "extended" in metadata["how"]


def test_the_manifest_tells_everything_that_a_loader_needs(tmp_path):
    _, _, folder = build(shop(), tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["horizons"] == [1, 3]
    assert manifest["timeline"]["tile_seconds"] == TILE.total_seconds()
    assert manifest["lookback_seconds"] == 2 * TILE.total_seconds()
    assert manifest["timeline"]["train_limit"] == (AS_OF - 4 * TILE).isoformat()
    for target in manifest["targets"]:
        assert {"name", "group", "kind", "horizon", "reads", "center", "scale"} <= set(target)
        assert set(target["reads"]) <= {feature["name"] for feature in manifest["features"]}
    assert len(manifest["scaling"]["digest"]) == 24
