"""From the simulated arrays to the demo shop's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray

from models.synthetic import shop_config as vocabulary
from models.synthetic import shop_text
from models.synthetic.shop_config import ShopConfig
from models.synthetic.shop_simulation import World
from models.synthetic.shop_world import (
    LATE_ODDS,
    ORDERS_PER_DAY,
    Bools,
    Campaigns,
    Customers,
    Floats,
    Ints,
    Products,
)

Columns = dict[str, NDArray]


def build_tables(
    config: ShopConfig,
    world: World,
    referrer: Ints,
    events: Mapping[str, Columns],
    rng: Generator,
) -> dict[str, pl.DataFrame]:
    """All tables, each sorted by its time with a primary key 0, 1, 2, ...

    Args:
        config: The period.
        world: Assortment, campaigns and customers.
        referrer: Each customer's referrer, -1 for none.
        events: The simulated events of the period by table, sorted by time.
        rng: The generator, used for texts only.
    """
    return {
        "categories": _categories(),
        "products": _products(config, world.products, rng),
        "campaigns": _campaigns(config, world.campaigns),
        "customers": _customers(config, world.customers, referrer),
        "orders": _orders(config, events["orders"]),
        "order_items": _order_items(config, events["order_items"]),
        "shipments": _shipments(config, events["shipments"]),
        "returns": _returns(config, events["returns"]),
        "reviews": _reviews(config, events["reviews"], rng),
        "support_contacts": _support_contacts(config, events["support_contacts"], rng),
    }


def latent_states(world: World, events: Mapping[str, Columns]) -> dict[str, Floats]:
    """What no column tells of a row, float64 [rows, dimensions], about of mean 0 and deviation 1.

    Of products the quality, of customers the order rate (log), of shipments the odds of being late
    (log), of returns the quality of what was sold, of reviews the stars to expect and the complaint.
    """
    reviews = events["reviews"]
    states = {
        "products": [world.products.quality],
        "customers": [np.log(world.customers.rate / ORDERS_PER_DAY) / 0.6],
        "shipments": [(events["shipments"]["odds"] - LATE_ODDS) / 1.15],
        "returns": [events["returns"]["quality"]],
        "reviews": [(reviews["expected"] - 3.9) / 0.8, (reviews["complaint"] - 0.35) / 0.65],
    }
    return {table: np.stack(values, axis=1) for table, values in states.items()}


def _categories() -> pl.DataFrame:
    entries = vocabulary.CATEGORIES
    columns = {
        "name": pl.Series([entry[0] for entry in entries], dtype=pl.String),
        "department": pl.Series([entry[1] for entry in entries], dtype=pl.String),
    }
    return _with_key("category_id", columns)


def _products(config: ShopConfig, products: Products, rng: Generator) -> pl.DataFrame:
    columns = {
        "category_id": pl.Series(products.category),
        "launched_at": _time(config, products.launch_day, products.launch_second),
        "name": shop_text.product_names(products.category, rng),
        "brand": _names(vocabulary.BRANDS, products.brand),
        "list_price": pl.Series(products.price),
        "weight_kg": pl.Series(products.weight),
        "warranty_months": _nullable(products.warranty),
        "is_eco": pl.Series(products.eco),
    }
    return _with_key("product_id", columns)


def _campaigns(config: ShopConfig, campaigns: Campaigns) -> pl.DataFrame:
    midnight = np.zeros(len(campaigns.category), dtype=np.int64)
    columns = {
        "category_id": pl.Series(campaigns.category),
        "announced_at": _time(config, campaigns.announce_day, midnight + 9 * 3600),
        "starts_at": _time(config, campaigns.start_day, midnight),
        "ends_at": _time(config, campaigns.end_day + 1, midnight),
        "discount": pl.Series(campaigns.discount),
        "channel": _names(vocabulary.CAMPAIGN_CHANNELS, campaigns.channel),
    }
    return _with_key("campaign_id", columns)


def _customers(config: ShopConfig, customers: Customers, referrer: Ints) -> pl.DataFrame:
    columns = {
        "referrer_id": _nullable(referrer),
        "signed_up_at": _time(config, customers.day, customers.second),
        "region": _names(vocabulary.REGIONS, customers.region),
        "signup_channel": _names(vocabulary.SIGNUP_CHANNELS, customers.channel),
        "birth_year": _nullable(customers.birth_year),
        "is_member": pl.Series(customers.member),
        "newsletter": pl.Series(customers.newsletter),
    }
    return _with_key("customer_id", columns)


def _orders(config: ShopConfig, rows: Columns) -> pl.DataFrame:
    columns = {
        "customer_id": pl.Series(rows["customer"]),
        "ordered_at": _time(config, rows["day"], rows["second"]),
        "channel": _names(vocabulary.ORDER_CHANNELS, rows["channel"]),
        "payment_method": _names(vocabulary.PAYMENT_METHODS, rows["payment"]),
        "shipping_method": _names(vocabulary.SHIPPING_METHODS, rows["method"]),
        "promised_days": pl.Series(rows["promised"]),
        "coupon_code": _names(vocabulary.COUPONS, rows["coupon"]),
        "is_gift": pl.Series(rows["gift"]),
    }
    return _with_key("order_id", columns)


def _order_items(config: ShopConfig, rows: Columns) -> pl.DataFrame:
    columns = {
        "order_id": pl.Series(rows["order"]),
        "product_id": pl.Series(rows["product"]),
        "ordered_at": _time(config, rows["day"], rows["second"]),
        "quantity": pl.Series(rows["quantity"]),
        "unit_price": pl.Series(rows["price"]),
        "discount": pl.Series(rows["discount"]),
        "amount": pl.Series(rows["amount"]),
    }
    return _with_key("order_item_id", columns)


def _shipments(config: ShopConfig, rows: Columns) -> pl.DataFrame:
    columns = {
        "order_id": pl.Series(rows["order"]),
        "delivered_at": _time(config, rows["day"], rows["second"]),
        "carrier": _names(vocabulary.CARRIERS, rows["carrier"]),
        "days_late": pl.Series(rows["days_late"]),
        "is_damaged": pl.Series(rows["damaged"]),
        "cost": pl.Series(rows["cost"]),
    }
    return _with_key("shipment_id", columns)


def _returns(config: ShopConfig, rows: Columns) -> pl.DataFrame:
    columns = {
        "order_item_id": pl.Series(rows["item"]),
        "returned_at": _time(config, rows["day"], rows["second"]),
        "reason": _names(vocabulary.RETURN_REASONS, rows["reason"]),
        "refund": pl.Series(rows["refund"]),
    }
    return _with_key("return_id", columns)


def _reviews(config: ShopConfig, rows: Columns, rng: Generator) -> pl.DataFrame:
    silent = rng.random(len(rows["rating"])) < 0.3
    columns = {
        "customer_id": pl.Series(rows["customer"]),
        "product_id": pl.Series(rows["product"]),
        "order_item_id": pl.Series(rows["item"]),
        "reviewed_at": _time(config, rows["day"], rows["second"]),
        "rating": pl.Series(rows["rating"]),
        "review_text": shop_text.review_texts(rows["rating"], rows["complaint"], silent, rng),
    }
    return _with_key("review_id", columns)


def _support_contacts(config: ShopConfig, rows: Columns, rng: Generator) -> pl.DataFrame:
    columns = {
        "customer_id": pl.Series(rows["customer"]),
        "order_id": _nullable(rows["order"]),
        "contacted_at": _time(config, rows["day"], rows["second"]),
        "channel": _names(vocabulary.CONTACT_CHANNELS, rows["channel"]),
        "topic": _names(vocabulary.CONTACT_TOPICS, rows["topic"]),
        "message": shop_text.support_messages(rows["topic"], rng),
        "wait_minutes": pl.Series(rows["wait"]),
        "is_resolved": pl.Series(rows["resolved"]),
        "satisfaction": _nullable(rows["satisfaction"]),
    }
    return _with_key("support_contact_id", columns)


def _with_key(key: str, columns: dict[str, pl.Series]) -> pl.DataFrame:
    frame = pl.DataFrame(columns)
    return frame.select(pl.int_range(frame.height, dtype=pl.Int64).alias(key), pl.all())


def _time(config: ShopConfig, day: Ints, second: Ints) -> pl.Series:
    """Naive UTC timestamps in microseconds, at whole seconds."""
    start = datetime(config.start.year, config.start.month, config.start.day, tzinfo=UTC)
    seconds = int(start.timestamp()) + day * 86_400 + second
    return pl.Series(seconds * 1_000_000, dtype=pl.Int64).cast(pl.Datetime("us"))


def _names(values: Sequence[str], index: Ints) -> pl.Series:
    """Names for codes; -1 is null."""
    codes = _nullable(index)
    return pl.Series(values, dtype=pl.String).gather(codes)


def _nullable(values: Ints) -> pl.Series:
    """Integers with null for -1."""
    series = pl.Series(values, dtype=pl.Int64)
    missing: Bools = values == -1
    return series.set(pl.Series(missing), None)
