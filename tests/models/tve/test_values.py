"""Every target equals what nested loops over the rows give, boundaries included."""

import math
from datetime import timedelta

import polars as pl
import pytest

from models.tve.derived import derived_targets
from models.tve.paths import PathKind, target_paths
from models.tve.targets import Kind, enumerate_targets, target_from_plain
from models.tve.timeline import timeline_from_plain
from models.tve.vocabulary import frequent_values
from tests.models.dfs.shop import SHOP, day, typed
from tests.models.tve.brute_force import Walker, expected
from tests.models.tve.building import CONFIG, EVENTS, TILE, build, raw, shop, with_customers

PATHS = {path.labels(EVENTS): path for path in target_paths(EVENTS, "customers", 2, 99)}
LOOKBACK = CONFIG.lookback * TILE


def all_targets(vectors, folder):
    """The targets, those that scaling dropped included, and their values before scaling."""
    timeline = timeline_from_plain(vectors.manifest["timeline"])
    tables = {path.stem: path for path in (folder.parent / "tables").glob("*.parquet")}
    vocabulary = frequent_values(EVENTS, list(PATHS.values()), tables, timeline.train_limit, 2)
    found = enumerate_targets(
        EVENTS, "customers", list(PATHS.values()), (1, 3), TILE, LOOKBACK, vocabulary, 10_000
    )
    return found.targets, derived_targets(raw(folder), found.targets, timeline), vocabulary


def test_every_target_is_what_nested_loops_give(tmp_path):
    frames = shop()
    vectors, _, folder = build(frames, tmp_path)
    targets, values, vocabulary = all_targets(vectors, folder)
    timeline = timeline_from_plain(vectors.manifest["timeline"])
    walker = Walker(EVENTS, with_customers(frames))
    rows = vectors.frame.select("cutoff_time", "entity", "split").with_row_index("at")
    compared = {kind: 0 for kind in Kind}
    for row in rows.gather_every(2).iter_rows(named=True):
        limit = timeline.train_limit if row["split"] == "train" else timeline.known_until
        for target in targets:
            found = values[target.name][row["at"]]
            if row["cutoff_time"] + target.horizon * TILE > limit:
                assert found is None, target.name
                continue
            wanted = expected(
                walker, PATHS[target.path], target, row["entity"], row["cutoff_time"], TILE,
                LOOKBACK, vocabulary,
            )  # fmt: skip
            if wanted is None:
                assert found is None, (target.name, row)
            else:
                assert found == pytest.approx(wanted, rel=1e-9, abs=1e-7), (target.name, row)
                compared[target.kind] += 1
    assert min(compared.values()) > 20, compared


def test_the_paths_and_kinds_of_the_shop_are_all_there(tmp_path):
    vectors, _, _ = build(shop(), tmp_path)
    assert set(PATHS) == {
        "orders", "orders.stores", "orders.customers.orders", "orders.stores.orders",
        "items", "items.orders", "items.customers.items", "items.orders.items",
    }  # fmt: skip
    targets = [target_from_plain(target) for target in vectors.manifest["targets"]]
    assert {target.kind for target in targets} == set(Kind)
    assert {target.path for target in targets} == set(PATHS)
    assert not [t for t in targets if t.column in ("id", "customer_id", "store_id", "at", "opened")]
    assert PATHS["orders.stores"].kind is PathKind.PARENT


def one_customer(times, prices=None, stores=None):
    """Orders of customer 0 at these times; an early one brings the customer into the universe."""
    frames = shop()
    count = len(times)
    frames["orders"] = typed(
        SHOP,
        "orders",
        {
            "id": range(count + 1),
            "customer_id": [0] * (count + 1),
            "store_id": [None, *(stores or [0] * count)],
            "at": [day(0), *times],
            "price": [1.0, *(prices or [1.0] * count)],
            "channel": ["a"] * (count + 1),
            "paid": [True] * (count + 1),
        },
    )
    return frames


def feature_at(folder, name, cutoff):
    frame = raw(folder).filter(pl.col("cutoff_time") == cutoff, pl.col("entity") == 0)
    return frame[name].item()


@pytest.mark.parametrize(
    ("shift", "before", "after"), [(0, 1.0, 0.0), (1, 0.0, 1.0), (-1, 1.0, 0.0)]
)
def test_a_row_at_the_cutoff_is_past_and_one_at_the_windows_end_is_in_it(
    tmp_path, shift, before, after
):
    """A row that many microseconds after day 10, which ends one tile and begins the next."""
    times = [day(10) + timedelta(microseconds=shift), day(25)]
    _, _, folder = build(one_customer(times), tmp_path)
    name = "COUNT(orders, next 2 days)"
    assert feature_at(folder, name, day(8)) == before
    assert feature_at(folder, name, day(10)) == after


@pytest.mark.parametrize(("shift", "pairs"), [(0, 1.0), (1, 2.0)])
def test_siblings_lie_after_the_start_of_the_lookback(tmp_path, shift, pairs):
    """The row itself is one; another exactly a lookback earlier is none, just after that one is."""
    then = day(11) - LOOKBACK + timedelta(microseconds=shift)
    _, _, folder = build(one_customer([then, day(11), day(25)]), tmp_path)
    name = "COUNT(orders.stores.orders, next 2 days, lookback 4 days)"
    assert feature_at(folder, name, day(10)) == pairs


def test_the_deviation_of_one_value_and_the_mean_of_none_are_masked(tmp_path):
    frames = one_customer([day(11), day(13), day(13.5), day(25)], prices=[5.0, None, None, 1.0])
    vectors, _, folder = build(frames, tmp_path)
    _, values, _ = all_targets(vectors, folder)
    rows = vectors.frame.select("cutoff_time", "entity").hstack(values)
    one = rows.filter(pl.col("cutoff_time") == day(10), pl.col("entity") == 0)
    none = rows.filter(pl.col("cutoff_time") == day(12), pl.col("entity") == 0)
    assert one["std(orders.price, next 2 days)"].item() is None
    assert one["mean(orders.price, next 2 days)"].item() == pytest.approx(math.log(6))
    for kind in ("mean", "min", "max", "std"):
        assert none[f"{kind}(orders.price, next 2 days)"].item() is None
    assert none["sum(orders.price, next 2 days)"].item() == 0.0
    assert none["count(orders, next 2 days)"].item() == pytest.approx(math.log(3))


def test_a_column_without_values_is_dropped_or_constant(tmp_path):
    frames = shop()
    empty = pl.lit(None)
    frames["orders"] = frames["orders"].with_columns(
        empty.cast(pl.Float64).alias("price"), empty.cast(pl.String).alias("channel")
    )
    vectors, _, _ = build(frames, tmp_path)
    assert not [name for name in vectors.names if "price" in name or "channel" in name]
    reasons = {entry["target"]: entry["reason"] for entry in vectors.manifest["scaling"]["dropped"]}
    assert reasons["mean(orders.price, next 2 days)"] == "no training row has a value"
    assert reasons["sum(orders.price, next 2 days)"] == "constant in training"


def test_a_category_that_training_never_saw_counts_as_other(tmp_path):
    frames = shop()
    late = pl.col("at") > day(18)
    channel = pl.when(late).then(pl.lit("new")).otherwise(pl.col("channel"))
    frames["orders"] = frames["orders"].with_columns(channel.alias("channel"))
    vectors, _, _ = build(frames, tmp_path)
    assert not [name for name in vectors.names if "new" in name]
    last = vectors.frame.filter(pl.col("cutoff_time") == day(20))
    assert set(last["category(orders.channel OTHER, next 2 days)"].drop_nulls()) == {1.0}


def test_shares_of_categories_sum_to_one(tmp_path):
    vectors, _, _ = build(shop(), tmp_path)
    groups = {}
    for target in vectors.manifest["targets"]:
        if target["kind"] == "category":
            groups.setdefault(target["group"], []).append(target["name"])
    assert len(groups) > 4
    for names in groups.values():
        shares = vectors.frame.select(names).drop_nulls()
        assert shares.height
        assert (shares.sum_horizontal() - 1).abs().max() < 1e-6
