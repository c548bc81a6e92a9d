"""Nothing after `visible_until` matters, on any row of a path; everything up to it counts."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.dfs import FeatureConfig, compute_features, enumerate_features
from tests.models.dfs.shop import SHOP, Draw, S, day, seeds_at, shop_frames, store, typed

FEATURES = enumerate_features(
    SHOP, "customers", FeatureConfig(depth=2, windows=(timedelta(days=7),))
)
TIMES = {table.name: table.time_column for table in SHOP.tables if table.time_column}


def features_of(frames, folder, seeds, features=FEATURES, **options):
    return compute_features(
        SHOP, features, store(frames, folder), seeds, entity_table="customers", **options
    )


def with_another_future(frames, cutoff, seed):
    """The same past; later rows are altered, dropped or doubled, and some are new."""
    changed = dict(frames)
    for name, time in TIMES.items():
        frame = frames[name]
        past = frame.filter(pl.col(time) <= cutoff)
        future = frame.filter(pl.col(time) > cutoff)
        draw = Draw(seed, future.height)
        numbers = [
            (pl.col(column.name) * 1e6 + 0.123456789).alias(column.name)
            for column in SHOP.table(name).columns
            if column.semantic_type is S.NUMERICAL
        ]
        flags = pl.Series(draw.one_of([True, False], 0), dtype=pl.Boolean)
        future = future.with_columns(numbers).filter(flags)
        new = frame.with_columns(
            pl.col("id") + 10_000, pl.lit(cutoff + timedelta(microseconds=1 + seed)).alias(time)
        )
        changed[name] = pl.concat([future, past, new.with_columns(numbers)])
    return changed


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1000), days=st.sampled_from([5, 12, 19]))
def test_no_bit_of_a_feature_depends_on_the_future(tmp_path_factory, seed, days):
    folder, frames = tmp_path_factory.mktemp("shop"), shop_frames(seed)
    # Seeds with later cutoffs do see the change, and must not pass it on to the earlier ones.
    seeds = seeds_at(range(8), [day(2), day(days), day(25)])
    before = features_of(frames, folder / "before", seeds)
    after = features_of(with_another_future(frames, day(days), seed), folder / "after", seeds)
    assert not before.equals(after)
    past = (seeds["cutoff_time"] <= day(days)).to_list()
    assert before.filter(past).equals(after.filter(past))


def test_another_past_does_change_features(tmp_path):
    frames, seeds = shop_frames(1), seeds_at(range(8), [day(19)])
    before = features_of(frames, tmp_path / "before", seeds)
    frames["orders"] = frames["orders"].with_columns(pl.col("at") + timedelta(microseconds=1))
    after = features_of(frames, tmp_path / "after", seeds)
    assert not before.equals(after)


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_a_row_at_the_last_visible_instant_counts_and_one_after_it_does_not(tmp_path, offset):
    frames = shop_frames(1)
    frames["orders"] = typed(
        SHOP,
        "orders",
        {"id": [1], "customer_id": [0], "store_id": [0], "price": [5.0], "channel": ["a"],
         "paid": [True], "at": [day(3) + timedelta(microseconds=offset)]},
    )  # fmt: skip
    found = features_of(frames, tmp_path, seeds_at([0], [day(3)]))
    assert found["COUNT(orders)"].to_list() == [0.0 if offset > 0 else 1.0]
    assert found["LAST(orders.price)"].to_list() == [None if offset > 0 else 5.0]


def test_rows_without_a_time_are_never_visible(tmp_path):
    frames = shop_frames(1)
    frames["orders"] = frames["orders"].with_columns(pl.lit(None, pl.Datetime("us")).alias("at"))
    found = features_of(frames, tmp_path, seeds_at(range(8), [day(99)]))
    assert found["COUNT(orders)"].sum() == 0
    assert found["MEAN(orders.COUNT(items))"].null_count() == 8


def test_parents_without_a_time_are_never_visible(tmp_path):
    frames = shop_frames(1)
    never = pl.lit(None, pl.Datetime("us")).alias("opened")
    frames |= {name: frames[name].with_columns(never) for name in ("stores", "regions")}
    found = features_of(frames, tmp_path, seeds_at(range(8), [day(99)]))
    for name in ("MEAN(orders.stores.area)", "MODE(orders.stores.kind)", "regions.size"):
        assert found[name].null_count() == 8, name
    assert found["COUNT(orders)"].sum() > 0


def test_the_frozen_protocol_hides_rows_after_as_of_and_measures_ages_from_the_cutoff(tmp_path):
    frames = shop_frames(5)
    rolling = features_of(frames, tmp_path, seeds_at(range(8), [day(12)]))
    frozen = features_of(frames, tmp_path, seeds_at(range(8), [day(20)], as_of=day(12)))
    elapsed = [feature.name for feature in FEATURES if feature.is_elapsed]
    calendar = ["MONTH(cutoff_time)", "WEEKDAY(cutoff_time)"]
    assert frozen.drop(*elapsed, *calendar).equals(rolling.drop(*elapsed, *calendar))
    assert frozen["TIME_SINCE(visible_until)"].to_list() == [8 * 86400.0] * 8
    shift = (
        frozen["TIME_SINCE_LAST(orders.at)"] - rolling["TIME_SINCE_LAST(orders.at)"]
    ).drop_nulls()
    assert shift.to_list() == [8 * 86400.0] * len(shift)
    assert len(shift)


def test_an_entity_dated_after_the_cutoff_has_no_direct_features(tmp_path):
    frames = shop_frames(2)
    features = enumerate_features(SHOP, "stores")
    opened = frames["stores"]["opened"][0]
    seeds = seeds_at([0], [opened - timedelta(microseconds=1), opened])
    found = compute_features(SHOP, features, store(frames, tmp_path), seeds, entity_table="stores")
    assert found["TIME_SINCE(opened)"].to_list() == [None, 0.0]
    assert found["kind"].to_list() == [None, frames["stores"]["kind"][0]]


def test_a_parent_dated_after_the_cutoff_is_hidden_with_all_its_features(tmp_path):
    frames = shop_frames(2)
    frames["regions"] = frames["regions"].with_columns(
        pl.lit(day(10)).cast(pl.Datetime("us")).alias("opened"), pl.lit(7.0).alias("size")
    )
    frames["customers"] = frames["customers"].with_columns(pl.lit(0).alias("region_id"))
    found = features_of(frames, tmp_path, seeds_at([0], [day(9), day(10)]))
    assert found["regions.size"].to_list() == [None, 7.0]
    assert found["regions.COUNT(customers)"].to_list() == [None, 8.0]


def test_a_window_takes_rows_after_its_start_up_to_the_last_visible_instant(tmp_path):
    frames = shop_frames(4, orders=200)
    now, start = day(20), day(13)
    windowed = features_of(frames, tmp_path / "all", seeds_at(range(8), [now]))
    # Items are not cut: the window is that of the outermost aggregate.
    frames["orders"] = frames["orders"].filter(pl.col("at") > start)
    cut = features_of(frames, tmp_path / "cut", seeds_at(range(8), [now]))
    names = [
        feature.name
        for feature in FEATURES
        if feature.window.after is not None and "orders" in feature.name
    ]
    assert "MODE(orders.channel, 7 days)" in names
    assert "MEAN(orders.COUNT(items), 7 days)" in names
    for name in names:
        expected = cut[name.replace(", 7 days", "")]
        if "STD" in name:
            # Deviations are taken from the first value of all the past, hence another rounding.
            assert windowed[name].is_null().equals(expected.is_null()), name
            assert (windowed[name] / expected - 1).abs().fill_nan(0).fill_null(0).max() < 1e-9
        else:
            assert windowed[name].to_list() == expected.to_list(), name
