"""What task vectors depend on: their windows, never what lies beyond; no split sees the next."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.database.schema import RelationalSchema
from models.tve.derived import derived_targets
from models.tve.targets import target_from_plain
from models.tve.timeline import timeline_from_plain
from tests.models.dfs.shop import SHOP, Draw, day, typed
from tests.models.tve.building import AS_OF, CONFIG, TILE, build, raw, shop

KEYS = ["cutoff_time", "entity"]


def spoiled(frames, rows, shift=0):
    """The same frames with other values in the orders that `rows` selects."""
    orders = frames["orders"]
    draw = Draw(99, orders.height)
    changes = {
        "price": pl.Series(draw.one_of([11.0, -400.0, 3e7])),
        "channel": pl.Series(draw.one_of(["c", "zz"])),
        "paid": pl.Series(draw.one_of([True, False])),
        "store_id": pl.Series(draw.one_of(range(4))),
    }
    changed = orders.with_columns(
        pl.when(rows).then(series).otherwise(pl.col(name)).alias(name)
        for name, series in changes.items()
    )
    return {**frames, "orders": changed}


def raw_at(folder, condition, columns=None):
    frame = raw(folder).filter(condition)
    return frame.select(columns or pl.all())


def windows_of(frame, horizon):
    return [name for name in frame.columns if f"next {horizon * TILE.days} days" in name]


def test_rows_after_as_of_change_nothing(tmp_path):
    frames = shop()
    before, _, one = build(frames, tmp_path / "one")
    after, _, two = build(spoiled(frames, pl.col("at") > AS_OF), tmp_path / "two")
    assert before.frame.equals(after.frame)
    assert (one / "manifest.json").read_bytes() == (two / "manifest.json").read_bytes()


def test_training_rows_know_nothing_of_validation(tmp_path):
    """Values, masks and scaling of training rows stand when everything from validation on changes."""
    frames, limit = shop(), AS_OF - 4 * TILE
    before, _, one = build(frames, tmp_path / "one")
    after, _, two = build(spoiled(frames, pl.col("at") > limit), tmp_path / "two")
    train = pl.col("split") == "train"
    assert before.frame.filter(train).equals(after.frame.filter(train))
    assert before.manifest["targets"] == after.manifest["targets"]
    assert before.manifest["scaling"] == after.manifest["scaling"]
    assert not before.frame.filter(~train).equals(after.frame.filter(~train))
    assert not raw(one).equals(raw(two))


@pytest.mark.parametrize("horizon", [1, 3])
def test_no_value_depends_on_rows_after_its_window(tmp_path, horizon):
    frames, cutoff = shop(), day(8)
    end = cutoff + horizon * TILE
    _, _, one = build(frames, tmp_path / "one")
    _, _, two = build(spoiled(frames, pl.col("at") > end), tmp_path / "two")
    here = pl.col("cutoff_time") <= cutoff
    names = windows_of(raw(one), horizon)
    common = [name for name in names if name in raw(two).columns]
    assert len(common) > 20
    assert raw_at(one, here, common).equals(raw_at(two, here, common))
    longer = pl.col("cutoff_time") == cutoff + TILE
    assert not raw_at(one, longer, common).equals(raw_at(two, longer, common))


def test_what_is_not_of_siblings_does_not_depend_on_the_past(tmp_path):
    frames, cutoff = shop(), day(12)
    _, _, one = build(frames, tmp_path / "one")
    _, _, two = build(spoiled(frames, pl.col("at") <= cutoff), tmp_path / "two")
    here = pl.col("cutoff_time") >= cutoff
    both = [name for name in raw(one).columns if name in raw(two).columns]
    # An item in the window may belong to an order before it.
    future = [name for name in both if "lookback" not in name and "items.orders" not in name]
    assert len(future) > 20
    # Deviations are summed from the history's first value, hence another rounding of the same number.
    exact = [name for name in future if not name.startswith("STD")]
    assert raw_at(one, here, exact).equals(raw_at(two, here, exact))
    rounded = [name for name in future if name not in exact]
    before, after = raw_at(one, here, rounded), raw_at(two, here, rounded)
    assert before.null_count().equals(after.null_count())
    for name in rounded:
        assert (before[name] - after[name]).abs().max() < 1e-6 * before[name].abs().max()
    assert not raw_at(one, here, both).equals(raw_at(two, here, both)), "siblings reach back"


def test_a_value_is_censored_exactly_where_its_window_passes_the_end_of_its_split(tmp_path):
    vectors, metadata, folder = build(shop(), tmp_path)
    frame, limit = vectors.frame, AS_OF - 4 * TILE
    assert set(frame["split"]) == {"train", "val"}
    for horizon in (1, 3):
        end = pl.col("cutoff_time") + horizon * TILE
        past = pl.when(pl.col("split") == "train").then(end > limit).otherwise(end > AS_OF)
        assert frame[f"censored_{horizon}"].to_list() == frame.select(past).to_series().to_list()
        censored = frame.filter(pl.col(f"censored_{horizon}"))
        targets = [t["name"] for t in vectors.manifest["targets"] if t["horizon"] == horizon]
        assert targets
        assert censored.select(targets).null_count().sum_horizontal().item() == (
            censored.height * len(targets)
        )
        of_any = [name for name in targets if name.startswith("any")]
        assert frame.filter(~pl.col(f"censored_{horizon}")).select(of_any).null_count().row(0) == (
            0,
        ) * len(of_any)
        # Nor were they computed.
        cells = raw(folder).filter(past).select(windows_of(raw(folder), horizon))
        assert cells.null_count().sum_horizontal().item() == cells.height * cells.width
    assert metadata["censored_share"]["1"] == 0.0
    assert 0.0 < metadata["censored_share"]["3"] < 1.0


def test_two_builds_are_the_same_bytes(tmp_path):
    _, _, one = build(shop(), tmp_path / "one")
    frames = shop()
    frames["orders"] = frames["orders"].sample(fraction=1.0, shuffle=True, seed=5)
    _, _, two = build(frames, tmp_path / "two")
    for name in ("task_vectors.parquet", "raw.parquet"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_a_late_parent_is_unknown_until_its_time(tmp_path):
    frames = shop()
    frames["stores"] = frames["stores"].with_columns(
        pl.lit(day(13)).cast(pl.Datetime("us")).alias("opened"), area=pl.lit(7.0)
    )
    frames["orders"] = frames["orders"].with_columns(store_id=pl.lit(0))
    _, _, folder = build(frames, tmp_path)
    name = "MEAN(orders.stores.area, next 2 days)"
    seen = raw(folder).drop_nulls(name)
    assert set(seen[name]) == {7.0}
    assert seen["cutoff_time"].min() == day(12)
    assert raw_at(folder, (pl.col("cutoff_time") == day(10)) & pl.col("active")).height


def test_an_undated_table_takes_time_and_customer_of_the_row_it_belongs_to(tmp_path):
    columns = [column for column in SHOP.table("items").columns if column.name != "at"]
    lines = replace(SHOP.table("items"), name="lines", columns=tuple(columns), time_column=None)
    kept = [SHOP.table(name) for name in ("customers", "regions", "stores", "orders")]
    keys = (*SHOP.foreign_keys[:3], replace(SHOP.foreign_keys[3], table="lines"))
    schema = RelationalSchema("undated", (*kept, lines), keys)
    frames = {name: frame for name, frame in shop().items() if name not in ("items", "notes")}
    orders = frames["orders"].drop_nulls("customer_id").sort("at")[20]
    order, at, customer = orders["id"][0], orders["at"][0], orders["customer_id"][0]
    frames["lines"] = typed(schema, "lines", {
        "id": range(3), "order_id": [order, order, None], "quantity": [1.0, 2.0, 4.0],
        "colour": ["red"] * 3, "returned": [True] * 3,
    })  # fmt: skip
    _, _, folder = build(frames, tmp_path, schema=schema)
    name = "SUM(lines.quantity, next 2 days)"
    for cutoff, entity, total in raw(folder).select(*KEYS, name).drop_nulls().iter_rows():
        inside = entity == customer and cutoff < at <= cutoff + TILE
        assert total == (3.0 if inside else 0.0)
    assert raw(folder)[name].max() == 3.0


def test_the_scaling_is_that_of_training_rows_alone(tmp_path):
    vectors, _, folder = build(shop(), tmp_path, config=replace(CONFIG, dormant_per_active=None))
    timeline = timeline_from_plain(vectors.manifest["timeline"])
    targets = [target_from_plain(target) for target in vectors.manifest["targets"]]
    values = derived_targets(raw(folder), targets, timeline)
    train = raw(folder)["split"] == "train"
    checked = 0
    for target in vectors.manifest["targets"]:
        known = values.filter(train)[target["name"]].drop_nulls().to_numpy()
        if target["kind"] in ("mean", "count", "min"):
            low, center, high = np.quantile(known, [0.25, 0.5, 0.75])
            assert target["center"] == pytest.approx(center)
            assert target["scale"] == pytest.approx(high - low if high > low else known.std())
            expected = ((values[target["name"]] - target["center"]) / target["scale"]).clip(-5, 5)
            difference = vectors.frame[target["name"]].cast(pl.Float64) - expected
            assert (difference.abs().max() or 0.0) < 1e-6
            checked += 1
        elif target["kind"] in ("any", "share", "category"):
            assert (target["center"], target["scale"]) == (0.0, 1.0)
    assert checked > 8


def test_copies_and_constants_are_dropped_and_say_so(tmp_path):
    frames = shop()
    frames["orders"] = frames["orders"].with_columns(
        price=pl.lit(3.0), paid=pl.lit(True), channel=pl.lit("a")
    )
    vectors, _, _ = build(frames, tmp_path)
    reasons = {entry["target"]: entry["reason"] for entry in vectors.manifest["scaling"]["dropped"]}
    assert reasons["mean(orders.price, next 2 days)"] == "constant in training"
    assert reasons["share(orders.paid, next 2 days)"] == "constant in training"
    assert reasons["category(orders.channel = a, next 2 days)"] == "constant in training"
    assert reasons["distinct(orders.channel, next 2 days)"] == "a copy of any(orders, next 2 days)"
    assert not set(reasons) & set(vectors.names)


def test_matrices_are_zero_where_masked(tmp_path):
    vectors, _, _ = build(shop(), tmp_path)
    values, mask = vectors.matrices()
    assert values.shape == mask.shape == (vectors.frame.height, len(vectors.names))
    assert values.dtype == "float32"
    assert 0 < mask.mean() < 1
    assert (values[~mask] == 0).all()
