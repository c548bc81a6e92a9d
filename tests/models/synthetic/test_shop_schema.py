"""The demo shop's declared schema: what dbt says, what the simulation makes, what else is asked."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from models.database.dbt import load_manifest
from models.database.manifest import read_databases
from models.database.schema import SourceDeclaration
from models.database.source import DemoSource
from models.synthetic import shop_config as vocabulary
from models.synthetic.blueprint import ColumnKind
from models.synthetic.generator import generate
from models.synthetic.relational_schema import relational_schema
from models.synthetic.shop import (
    SHOP_DDL,
    ShopConfig,
    generate_shop,
    shop_generator,
    shop_layout,
)
from models.synthetic.shop_causes import SHOP_CAUSES
from models.synthetic.streams import Streams

ROOT = Path(__file__).parents[3]
TINY = ShopConfig(customers=200, days=200, products=30)


@pytest.fixture(scope="module")
def shop():
    return generate(shop_generator(TINY), TINY.seed)


@pytest.fixture(scope="module")
def whole():
    return generate(shop_generator(), 7)


@pytest.fixture(scope="module")
def declared(tmp_path_factory):
    manifest = load_manifest(ROOT / "dbt_project", tmp_path_factory.mktemp("dbt"))
    return read_databases(manifest)["shop"].checked()


def test_dbt_declares_the_same_schema(declared):
    ours = relational_schema(shop_layout()(Streams(0)))
    assert {table.name for table in ours.tables} == {table.name for table in declared.tables}
    for table in declared.tables:
        found = ours.table(table.name)
        assert found.primary_key == table.primary_key
        assert found.time_column == table.time_column
        assert [(c.name, c.sql_type) for c in found.columns] == [
            (c.name, c.sql_type) for c in table.columns
        ]
    keys = {(k.table, k.columns, k.parent, k.parent_columns) for k in declared.foreign_keys}
    assert {(k.table, k.columns, k.parent, k.parent_columns) for k in ours.foreign_keys} == keys


def test_dbt_reads_the_declared_columns(declared):
    held = DemoSource(SourceDeclaration("demo")).columns()
    assert {table.name: list(table.columns) for table in declared.source.tables} == held


def test_the_source_holds_the_columns_that_it_names():
    options = (("customers", "20"), ("days", "30"), ("products", "12"))
    source = DemoSource(SourceDeclaration("demo", options=options))
    made = generate_shop(ShopConfig(customers=20, days=30, products=12))
    assert source.columns() == {name: frame.columns for name, frame in made.items()}


def test_declared_values_are_the_vocabulary():
    blueprint = shop_layout()(Streams(0))
    admitted = {
        (table.name, column.name): column.categories
        for table in blueprint.tables
        for column in table.columns
        if column.kind == ColumnKind.CATEGORICAL
    }
    assert admitted == {
        ("categories", "name"): tuple(entry[0] for entry in vocabulary.CATEGORIES),
        ("categories", "department"): tuple(
            dict.fromkeys(entry[1] for entry in vocabulary.CATEGORIES)
        ),
        ("products", "brand"): vocabulary.BRANDS,
        ("campaigns", "channel"): vocabulary.CAMPAIGN_CHANNELS,
        ("customers", "region"): vocabulary.REGIONS,
        ("customers", "signup_channel"): vocabulary.SIGNUP_CHANNELS,
        ("orders", "channel"): vocabulary.ORDER_CHANNELS,
        ("orders", "payment_method"): vocabulary.PAYMENT_METHODS,
        ("orders", "shipping_method"): vocabulary.SHIPPING_METHODS,
        ("orders", "coupon_code"): vocabulary.COUPONS,
        ("shipments", "carrier"): vocabulary.CARRIERS,
        ("returns", "reason"): vocabulary.RETURN_REASONS,
        ("support_contacts", "channel"): vocabulary.CONTACT_CHANNELS,
        ("support_contacts", "topic"): vocabulary.CONTACT_TOPICS,
    }


def test_only_columns_that_may_be_null_are(shop):
    for table in shop_layout().declared:
        nulls = shop.tables[table.name].null_count().row(0, named=True)
        assert not [c for c, count in nulls.items() if count and not table.nullable(c)], table.name


def test_launches_before_the_first_day_keep_their_time(shop):
    launched = shop.tables["products"]["launched_at"]
    assert launched.min() < datetime(2021, 1, 1)
    assert launched.dt.date().n_unique() > 20
    assert shop.rows["products"].times[0] > 0


@pytest.mark.parametrize("days", [1, 2, 5, 9, 10, 200, 1095])
def test_the_split_lies_within_the_simulated_days(days):
    config = ShopConfig(days=days, start=date(2015, 6, 1))
    blueprint = shop_layout(config)(Streams(0))
    assert (blueprint.end - datetime(2015, 6, 1)).days == days
    assert datetime(2015, 6, 1) <= blueprint.test < blueprint.end
    assert days == 1 or blueprint.validation >= datetime(2015, 6, 1)
    if days >= 10:
        assert (blueprint.test - datetime(2015, 6, 1)).days == int(0.9 * days)


def test_planned_rows_are_about_those_simulated(whole):
    for table in whole.blueprint.tables:
        assert 0.7 < len(whole.rows[table.name]) / table.rows < 1.4, table.name


def test_every_cause_is_recorded(shop):
    records = {(m.table, m.column): m for m in shop.mechanisms}
    assert records.keys() == SHOP_CAUSES.keys()
    assert all(m.signal == 0 for m in records.values() if not m.inputs)


@pytest.mark.parametrize(
    ("table", "column", "least", "most"),
    [
        ("orders", "promised_days", 1.0, 1.0),
        ("order_items", "unit_price", 1.0, 1.0),
        ("shipments", "days_late", 0.05, 0.5),
        ("shipments", "is_damaged", 0.005, 0.2),
        ("shipments", "cost", 0.5, 0.95),
        ("returns", "reason", 0.05, 0.7),
        ("reviews", "rating", 0.3, 0.8),
        ("reviews", "review_text", 0.001, 0.2),
        ("support_contacts", "message", 0.1, 0.9),
        ("support_contacts", "satisfaction", 0.2, 0.8),
    ],
)
def test_causes_explain_what_the_simulation_lets_them(whole, table, column, least, most):
    record = next(m for m in whole.mechanisms if (m.table, m.column) == (table, column))
    assert least <= record.signal <= most


def test_exact_records_are_exact(shop):
    promised = shop.tables["orders"].group_by("shipping_method").agg(pl.n_unique("promised_days"))
    assert promised["promised_days"].max() == 1
    items = shop.tables["order_items"].join(shop.tables["products"], on="product_id")
    since = (items["ordered_at"].dt.date() - date(2021, 1, 1)).dt.total_days()
    expected = items["list_price"] * (1 + 0.04 * since / 365.25)
    assert (items["unit_price"] - expected).abs().max() < 0.0051


def test_a_column_added_to_the_schema_is_filled(shop):
    ddl = SHOP_DDL.replace("cost DOUBLE PRECISION NOT NULL", "cost DOUBLE PRECISION, kg DOUBLE")
    ddl = ddl.replace("satisfaction BIGINT", "satisfaction BIGINT, mood VARCHAR(9) NOT NULL")
    wider = generate(shop_generator(TINY, ddl), TINY.seed)
    assert wider.tables["shipments"]["kg"].n_unique() > 100
    assert wider.tables["support_contacts"]["mood"].null_count() == 0
    for name, frame in shop.tables.items():
        assert_frame_equal(wider.tables[name].drop("kg", "mood", strict=False), frame)


@pytest.mark.parametrize("days", [1, 3])
def test_added_columns_of_tables_without_rows(days):
    ddl = SHOP_DDL.replace("refund DOUBLE PRECISION NOT NULL", "refund DOUBLE, weight DOUBLE")
    config = ShopConfig(customers=2, days=days, products=12)
    made = generate(shop_generator(config, ddl), 1).tables["returns"]
    assert made.is_empty()
    assert made.schema["weight"] == pl.Float64


def test_simulated_columns_cannot_be_moved():
    with pytest.raises(ValueError, match="'order_items', column 'quantity': it is simulated"):
        generate(shop_generator(TINY), 1, {("order_items", "quantity"): 1.0})
