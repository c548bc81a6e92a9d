"""The demo shop is reproducible, consistent and of the promised size."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.synthetic.shop import ShopConfig, generate_shop

ROOT = Path(__file__).parents[3]
TINY = ShopConfig(customers=200, days=200, products=30)
TIMES = {
    "products": "launched_at",
    "campaigns": "announced_at",
    "customers": "signed_up_at",
    "orders": "ordered_at",
    "order_items": "ordered_at",
    "shipments": "delivered_at",
    "returns": "returned_at",
    "reviews": "reviewed_at",
    "support_contacts": "contacted_at",
}
KEYS = {
    "categories": "category_id",
    **{name: f"{name.removesuffix('s')}_id" for name in TIMES},
}
FOREIGN_KEYS = [
    ("products", "category_id", "categories"),
    ("campaigns", "category_id", "categories"),
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
]


def fingerprint(tables: dict[str, pl.DataFrame]) -> str:
    digest = hashlib.sha256()
    for name, frame in tables.items():
        digest.update(name.encode())
        digest.update(str(frame.schema).encode())
        digest.update(frame.write_csv().encode())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def shop() -> dict[str, pl.DataFrame]:
    return generate_shop()


def test_equal_configurations_give_identical_tables(shop):
    assert fingerprint(shop) == fingerprint(generate_shop(ShopConfig()))


def test_identical_in_another_process():
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "5"}
    done = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint(generate_shop(TINY))


def test_another_seed_gives_other_tables():
    other = ShopConfig(seed=8, customers=200, days=200, products=30)
    tables, others = generate_shop(TINY), generate_shop(other)
    assert all(not tables[name].equals(others[name]) for name in TIMES)


def test_about_100_000_rows(shop):
    assert 90_000 <= sum(frame.height for frame in shop.values()) <= 115_000
    assert shop.keys() == KEYS.keys()
    assert shop["customers"].height == ShopConfig().customers
    assert shop["products"].height == ShopConfig().products


def test_primary_keys_count_from_zero_in_order_of_time(shop):
    for name, key in KEYS.items():
        frame = shop[name]
        assert frame[key].to_list() == list(range(frame.height)), name
        if name in TIMES:
            assert frame[TIMES[name]].is_sorted(), name


def test_foreign_keys_resolve(shop):
    for table, column, parent in FOREIGN_KEYS:
        values = shop[table][column].drop_nulls()
        assert values.len() > 0, (table, column)
        assert values.is_in(shop[parent][KEYS[parent]].implode()).all(), (table, column)


def test_denormalised_references_agree(shop):
    items = shop["order_items"].join(
        shop["orders"].select("order_id", "customer_id", placed_at="ordered_at"), on="order_id"
    )
    assert (items["ordered_at"] == items["placed_at"]).all()
    reviews = shop["reviews"].join(items, on="order_item_id", suffix="_item")
    assert (reviews["customer_id"] == reviews["customer_id_item"]).all()
    assert (reviews["product_id"] == reviews["product_id_item"]).all()
    contacts = shop["support_contacts"].join(shop["orders"], on="order_id", suffix="_order")
    assert (contacts["customer_id"] == contacts["customer_id_order"]).all()


@pytest.mark.parametrize(
    ("child", "column", "parent"), [key for key in FOREIGN_KEYS if key[2] != "categories"]
)
def test_no_row_precedes_what_it_refers_to(shop, child, column, parent):
    parents = shop[parent].select(
        pl.col(KEYS[parent]).alias(column), pl.col(TIMES[parent]).alias("parent_time")
    )
    rows = shop[child].join(parents, on=column)
    early = rows.filter(pl.col(TIMES[child]) < pl.col("parent_time"))
    assert early.height == 0


def test_reviews_and_returns_follow_the_delivery(shop):
    delivered = shop["order_items"].join(
        shop["shipments"].select("order_id", "delivered_at"), on="order_id"
    )
    for name in ("reviews", "returns"):
        rows = shop[name].join(delivered, on="order_item_id")
        assert (rows[TIMES[name]] > rows["delivered_at"]).all()


def test_types_and_period(shop):
    end = datetime(2024, 1, 1)
    for name, column in TIMES.items():
        series = shop[name][column]
        assert series.dtype == pl.Datetime("us")
        assert series.null_count() == 0
        assert (series.dt.microsecond() == 0).all()
        assert series.max() < end
        assert name == "products" or series.min() >= datetime(2021, 1, 1)
    nullable = {
        ("products", "warranty_months"),
        ("customers", "referrer_id"),
        ("customers", "birth_year"),
        ("orders", "coupon_code"),
        ("reviews", "review_text"),
        ("support_contacts", "order_id"),
        ("support_contacts", "satisfaction"),
    }
    for name, frame in shop.items():
        for column in frame.columns:
            assert bool(frame[column].null_count()) == ((name, column) in nullable), column
            assert frame[column].dtype in (
                pl.Int64,
                pl.Float64,
                pl.String,
                pl.Boolean,
                pl.Datetime("us"),
            )


def test_amounts_add_up(shop):
    items = shop["order_items"]
    expected = items["quantity"] * items["unit_price"] * (1 - items["discount"])
    assert np.allclose(items["amount"].to_numpy(), expected.to_numpy(), atol=0.006)
    returns = shop["returns"].join(items, on="order_item_id")
    assert (returns["refund"] == returns["amount"]).all()


def test_sizes_follow_the_configuration():
    small = generate_shop(TINY)
    large = generate_shop(ShopConfig(customers=800, days=200, products=60))
    long = generate_shop(ShopConfig(customers=200, days=400, products=30))
    assert small["customers"].height == 200
    assert small["products"].height == 30
    assert 2.5 < large["orders"].height / small["orders"].height < 6.0
    assert long["orders"].height > small["orders"].height


def test_start_shifts_the_period():
    tables = generate_shop(ShopConfig(customers=50, days=60, products=12, start=date(2015, 6, 1)))
    times = tables["orders"]["ordered_at"]
    assert times.min() >= datetime(2015, 6, 1)
    assert times.max() < datetime(2015, 7, 31)


@pytest.mark.parametrize(("customers", "days"), [(1, 1), (5, 3), (20, 40)])
def test_extremely_small_shops(customers, days):
    tables = generate_shop(ShopConfig(customers=customers, days=days, products=12))
    reference = generate_shop(TINY)
    assert {name: frame.schema for name, frame in tables.items()} == {
        name: frame.schema for name, frame in reference.items()
    }


@pytest.mark.parametrize(
    "values", [{"customers": 0}, {"days": 0}, {"products": 5}, {"neighbour_effect": -1.0}]
)
def test_impossible_configurations_are_refused(values):
    with pytest.raises(ValueError):
        ShopConfig(**values)


if __name__ == "__main__":
    print(fingerprint(generate_shop(TINY)))
