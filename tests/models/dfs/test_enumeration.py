"""Which features a schema offers, under which names and budget."""

import json
from dataclasses import replace
from datetime import timedelta

import duckdb
import pytest

from models.database.schema import SemanticType
from models.dfs import (
    FeatureConfig,
    compute_features,
    enumerate_features,
    explain,
    feature_from_plain,
)
from tests.models.dfs.shop import SHOP, day, seeds_at, shop_frames, store


def names(entity="customers", schema=SHOP, hidden=(), **config):
    features = enumerate_features(schema, entity, FeatureConfig(**config), hidden)
    return [feature.name for feature in features]


def test_names_are_unique_and_their_order_is_fixed():
    found = names(depth=3, max_features=10_000, windows=(timedelta(days=7),))
    assert len(found) == len(set(found)) > 200
    assert found == names(depth=3, max_features=10_000, windows=(timedelta(days=7),))


def test_depth_bounds_the_number_of_foreign_keys():
    assert names(depth=0) == ["age", "tier", "MONTH(cutoff_time)", "WEEKDAY(cutoff_time)"]
    assert "MEAN(orders.stores.area)" not in names(depth=1)
    assert {"MEAN(orders.stores.area)", "MEAN(orders.COUNT(items))"} <= set(names(depth=2))
    assert "MEAN(orders.MAX(items.quantity))" in names(depth=2)
    assert "regions.MEAN(customers.COUNT(orders))" in names(depth=3)


def test_a_budget_keeps_shallow_features_and_lets_paths_take_turns():
    everything, few = names(), names(max_features=20)
    assert len(few) == 20
    assert few == [name for name in everything if name in few]
    assert set(names(depth=0)) <= set(few)
    assert {"COUNT(orders)", "COUNT(notes)", "regions.size"} <= set(few)
    assert set(names(max_features=10)) <= set(few)


def test_a_child_is_not_left_by_the_key_it_was_reached_by():
    assert not [name for name in names(depth=3) if "orders.customers" in name]
    assert "regions.COUNT(customers)" in names()


def test_hidden_columns_are_neither_read_nor_walked():
    hidden = [("orders", "price"), ("orders", "store_id")]
    found = names(hidden=hidden)
    assert found
    assert not [name for name in found if "price" in name or "store" in name]


def test_keys_text_identifiers_and_unsupported_types_are_not_aggregated():
    def with_orders_column(**changes):
        orders = SHOP.table("orders")
        columns = tuple(
            replace(column, **changes) if column.name == "price" else column
            for column in orders.columns
        )
        tables = [
            replace(table, columns=columns) if table.name == "orders" else table
            for table in SHOP.tables
        ]
        return SHOP.with_tables(tables)

    assert not [name for name in names() if "_id" in name and "NUM_UNIQUE" not in name]
    assert "NUM_UNIQUE(orders.store_id)" in names()
    for changes in (
        {"semantic_type": SemanticType.TEXT},
        {"semantic_type": SemanticType.IDENTIFIER},
        {"semantic_type": None},
        {"sql_type": "DOUBLE[]"},
        {"sql_type": "VARCHAR"},
    ):
        assert not [name for name in names(schema=with_orders_column(**changes)) if "price" in name]


def test_definitions_survive_json():
    features = enumerate_features(SHOP, "customers", FeatureConfig(windows=(timedelta(hours=36),)))
    plain = json.loads(json.dumps([feature.to_plain() for feature in features]))
    assert tuple(map(feature_from_plain, plain)) == features
    assert len(set(features)) == len(features)


def test_unknown_primitives_and_senseless_settings_are_refused():
    for wrong in ({"primitives": ("median",)}, {"depth": -1}, {"windows": (timedelta(0),)}):
        with pytest.raises(ValueError):
            FeatureConfig(**wrong)
    with pytest.raises(KeyError):
        enumerate_features(SHOP, "nowhere")


def test_malformed_seeds_are_refused(tmp_path):
    files = store(shop_frames(1), tmp_path)
    seeds = seeds_at(range(3), [day(1)])
    features = enumerate_features(SHOP, "customers", FeatureConfig(depth=0))
    for wrong in (
        seeds.drop("entity"),
        seeds.with_columns(row_id=0),
        seeds.with_columns(visible_until=day(2)),
        seeds.with_columns(entity=None),
    ):
        with pytest.raises(ValueError, match="seeds"):
            compute_features(SHOP, features, files, wrong, entity_table="customers")


def test_the_explained_sql_gives_the_computed_values(tmp_path):
    files, seeds = store(shop_frames(9), tmp_path), seeds_at(range(8), [day(9), day(18)])
    features = enumerate_features(SHOP, "customers", FeatureConfig(windows=(timedelta(days=5),)))
    computed = compute_features(SHOP, features, files, seeds, entity_table="customers")
    for feature, explained in zip(
        features[::7], explain(SHOP, features[::7], "customers"), strict=True
    ):
        connection = duckdb.connect()
        connection.execute("CREATE SCHEMA source")
        for name, file in files.items():
            connection.execute(f"CREATE VIEW source.{name} AS FROM '{file}'")
        connection.register("frame", seeds.to_arrow())
        connection.execute("CREATE TABLE seeds AS FROM frame")
        found = connection.execute(explained.sql).pl()["f0"]
        assert found.to_list() == computed[feature.name].to_list(), explained.sql
        assert explained.path.startswith("customers")
