"""The same names give the same numbers as featuretools, on random and on real databases."""

from dataclasses import replace
from datetime import datetime, timedelta

import featuretools as ft
import polars as pl
import pytest
from hypothesis import assume, given

from models.aggregation.primitives import AGGREGATES
from models.database.relbench_import import read_relbench
from models.database.schema import ForeignKey, RelationalSchema, Table
from models.database.semantic_types import complete_schema
from models.dfs.config import FeatureConfig
from models.dfs.enumeration import enumerate_features
from models.dfs.featuretools_entity_set import entity_set
from models.synthetic.shop import generate_shop
from models.synthetic.shop_config import ShopConfig
from tests.fixtures import real_databases
from tests.models.aggregation.random_databases import TIME, databases, examples, seed_frame
from tests.models.dfs.featuretools_parity import PRIMITIVES, assert_parity
from tests.models.dfs.shop import SHOP, day, seeds_at, shop_frames, store

# One of each primitive and kind of path, so that agreement on names cannot be agreement on nothing.
EXPECTED = {
    "age", "tier", "regions.size", "COUNT(orders)", "SUM(orders.price)", "STD(orders.price)",
    "MODE(orders.channel)", "NUM_UNIQUE(orders.channel)", "PERCENT_TRUE(orders.paid)",
    "LAST(orders.price)", "LAST(orders.channel)", "LAST(notes.score)", "TIME_SINCE_LAST(orders.at)",
    "MEAN(orders.stores.area)", "MODE(orders.stores.kind)", "PERCENT_TRUE(orders.stores.online)",
    "LAST(orders.stores.area)", "MEAN(orders.COUNT(items))", "MAX(orders.SUM(items.quantity))",
    "STD(orders.MEAN(items.quantity))", "MODE(orders.MODE(items.colour))",
    "MEAN(orders.MIN(items.quantity))", "MEAN(orders.PERCENT_TRUE(items.returned))",
    "LAST(orders.paid)", "MEAN(orders.NUM_UNIQUE(items.colour))",
    "MEAN(orders.STD(items.quantity))", "COUNT(notes)", "NUM_UNIQUE(notes.topic)",
    "NUM_UNIQUE(orders.stores.kind)", "STD(orders.stores.area)", "VARIANCE(orders.price)",
    "SKEW(orders.price)", "FIRST(orders.price)", "TREND(orders.price, at)",
    "TIME_SINCE_FIRST(orders.at)", "AVG_TIME_BETWEEN(orders.at)", "ENTROPY(orders.channel)",
    "NUM_TRUE(orders.paid)", "ANY(orders.paid)", "ALL(orders.paid)",
    "regions.TIME_SINCE(opened)",
}  # fmt: skip


def everything(schema, entity, **config):
    settings = FeatureConfig(**{"primitives": PRIMITIVES, "max_features": 5000} | config)
    return [
        feature
        for feature in enumerate_features(schema, entity, settings)
        # At the length of a missing text featuretools stops, and those of hidden parents are.
        if not feature.primitives
        or feature.transform not in ("num_words", "num_characters")
        or not any(hop.forward for hop in feature.path)
    ]


def test_what_featuretools_enumerates_has_our_names():
    definitions = ft.dfs(
        entityset=entity_set(SHOP, shop_frames(3)),
        target_dataframe_name="customers",
        agg_primitives=list(AGGREGATES),
        trans_primitives=["time_since", "age", "weekday", "month", "hour", "day", "is_weekend"],
        max_depth=2,
        features_only=True,
    )
    theirs = {name for definition in definitions for name in definition.get_feature_names()}
    ours = {feature.name for feature in everything(SHOP, "customers")}
    assert theirs & ours >= EXPECTED


@pytest.mark.parametrize("seed", [3, 11])
def test_the_shop(tmp_path, seed):
    frames = shop_frames(seed)
    seeds = seeds_at(range(8), [day(4), day(15), day(40)])
    features = everything(SHOP, "customers")
    spoken = assert_parity(SHOP, features, frames, store(frames, tmp_path), seeds, "customers")
    assert spoken >= EXPECTED - {"SKEW(orders.price)"}


def test_windows_of_the_shop(tmp_path):
    frames = shop_frames(5)
    # Times are half-days, so no row lies at the beginning of the window, where the two differ.
    offered = everything(SHOP, "customers", depth=1, windows=(timedelta(hours=169),))
    features = [feature for feature in offered if feature.window.after is not None]
    # featuretools stops where a window has no rows at all.
    seeds = seeds_at(range(8), [day(9), day(15), day(25)])
    spoken = assert_parity(SHOP, features, frames, store(frames, tmp_path), seeds, "customers")
    assert "SUM(orders.price, 169 hours)" in spoken


@examples(4)
@given(database=databases())
def test_random_databases(tmp_path_factory, database):
    database = accepted(database)
    seeds = [seed for seed in database.seeds if has_visible_row(database, seed)]
    assume(seeds and all(database.rows.values()))
    seeds = list({(seed.entity, seed.cutoff): seed for seed in seeds}.values())
    seeds = seed_frame(seeds).with_columns(visible_until="cutoff_time")
    files = database.store(tmp_path_factory.mktemp("random"))
    frames = {name: pl.read_parquet(file) for name, file in files.items()}
    features = everything(database.schema, database.entity_table, max_features=150)
    assert_parity(database.schema, features, frames, files, seeds, database.entity_table)


def accepted(database):
    """The database without what the two treat differently on purpose, or featuretools cannot do.

    Keys and codes are texts there: here they get as many digits each, so that their order is the
    same. Times are whole hours; numbers are finite, and not so large that little is left of their
    differences. No text is missing and no table refers to itself, because featuretools stops there.
    """
    own = {table.name: database.schema.key_columns(table.name) for table in database.schema.tables}

    def plain(table, column, value):
        if column == "note":
            return value or ""
        if isinstance(value, int) and (column in own[table] or column == "code"):
            return value + 100
        if isinstance(value, float) and not abs(value) < 1e8:
            return None
        if isinstance(value, datetime):
            return value.replace(minute=0, second=0, microsecond=0)
        return value

    rows = {
        name: [{column: plain(name, column, row[column]) for column in row} for row in rows]
        for name, rows in database.rows.items()
    }
    (key,) = database.schema.table(database.entity_table).primary_key
    seeds = [
        replace(seed, entity=plain(database.entity_table, key, seed.entity))
        for seed in database.seeds
    ]
    keys = [key for key in database.schema.foreign_keys if key.table != key.parent]
    schema = replace(database.schema, foreign_keys=tuple(keys))
    return replace(database, schema=schema, rows=rows, seeds=tuple(seeds))


def has_visible_row(database, seed):
    """Whether the entity's own row can be seen; else featuretools does not count its children."""
    table = database.schema.table(database.entity_table)
    found = [row for row in database.rows[table.name] if row[table.primary_key[0]] == seed.entity]
    times = [row[TIME] for row in found if table.time_column]
    return bool(found) and all(time is not None and time <= seed.cutoff for time in times)


DEMO_KEYS = (
    ("products", "category_id", "categories"),
    ("customers", "referrer_id", "customers"),
    ("orders", "customer_id", "customers"),
    ("order_items", "order_id", "orders"),
    ("order_items", "product_id", "products"),
    ("shipments", "order_id", "orders"),
    ("returns", "order_item_id", "order_items"),
    ("reviews", "customer_id", "customers"),
    ("reviews", "product_id", "products"),
    ("reviews", "order_item_id", "order_items"),
    ("support_contacts", "customer_id", "customers"),
    ("support_contacts", "order_id", "orders"),
)


def test_the_demo_shop(tmp_path):
    frames = generate_shop(ShopConfig(customers=100, products=30, days=300))
    del frames["campaigns"]
    frames["reviews"] = frames["reviews"].with_columns(pl.col("review_text").fill_null(""))
    frames["support_contacts"] = frames["support_contacts"].with_columns(
        pl.col("message").fill_null("")
    )
    tables = []
    for name, frame in frames.items():
        time = [column for column, kind in frame.schema.items() if kind == pl.Datetime]
        tables.append(Table(name, (), (frame.columns[0],), time[0] if time else None))
    key = {table.name: table.primary_key for table in tables}
    keys = tuple(ForeignKey(child, (c,), parent, key[parent]) for child, c, parent in DEMO_KEYS)
    files = store(frames, tmp_path)
    schema = complete_schema(RelationalSchema("demo", tuple(tables), keys), files, as_of=None)
    now = frames["orders"]["ordered_at"].max() - timedelta(days=40)
    signed_up = frames["customers"].filter(pl.col("signed_up_at") <= now - timedelta(days=60))
    seeds = seeds_at(signed_up["customer_id"][:12], [now - timedelta(days=60), now])
    features = everything(schema, "customers", max_features=250)
    assert_parity(schema, features, frames, files, seeds, "customers")


def test_formula_one(tmp_path):
    found = [folder for folder in real_databases() if folder.name == "rel-f1"]
    if not found:
        pytest.skip("RELFORGE_DATABASES names no folder with rel-f1")
    declared = read_relbench(str(found[0])).schema
    files = {name: found[0] / "db" / f"{name}.parquet" for name in declared.table_names}
    schema = complete_schema(declared, files, as_of=datetime(2005, 1, 1))
    frames = {name: pl.read_parquet(file) for name, file in files.items()}
    drivers = frames["results"].filter(pl.col("date") < datetime(2004, 1, 1))["driverId"]
    seeds = seeds_at(
        drivers.unique().sort()[::40][:12], [datetime(1995, 6, 1), datetime(2004, 6, 1)]
    )
    features = everything(schema, "drivers", max_features=200)
    assert_parity(schema, features, frames, files, seeds, "drivers")
