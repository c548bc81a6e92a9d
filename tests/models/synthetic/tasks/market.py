"""A small market made by hand: shops, customers who order more or less, orders and their items."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from models.synthetic.blueprint import (
    Blueprint,
    ColumnKind,
    ColumnPlan,
    KeyPlan,
    TableKind,
    TablePlan,
)
from models.synthetic.database import Columns, Generator, Mechanism, Place, SyntheticDatabase
from models.synthetic.generator import generate, moments
from models.synthetic.rows import Rows
from models.synthetic.streams import Streams

CUSTOMERS, ORDERS, ITEMS, SHOPS, PRODUCTS = 150, 2500, 3000, 12, 40
START = datetime(2020, 1, 1)


def market_layout(streams: Streams) -> Blueprint:
    number, flag, kind = ColumnKind.NUMERICAL, ColumnKind.BOOLEAN, ColumnKind.CATEGORICAL
    entity, activity = TableKind.ENTITY, TableKind.ACTIVITY
    tables = (
        TablePlan("shops", entity, SHOPS, "shop_id", (), (ColumnPlan("size", number),)),
        TablePlan(
            "products",
            entity,
            PRODUCTS,
            "product_id",
            (),
            (ColumnPlan("price", number), ColumnPlan("sort", kind, ("food", "tool", "book"))),
        ),
        TablePlan(
            "customers",
            entity,
            CUSTOMERS,
            "customer_id",
            (KeyPlan("shop_id", "shops"),),
            (ColumnPlan("vip", flag), ColumnPlan("motto", ColumnKind.TEXT)),
            "created_at",
        ),
        TablePlan(
            "orders",
            activity,
            ORDERS,
            "order_id",
            (KeyPlan("customer_id", "customers"), KeyPlan("gift_for_id", "customers", 0.7)),
            (
                ColumnPlan("amount", number),
                ColumnPlan("paid", flag),
                ColumnPlan("channel", kind, ("web", "shop", "phone")),
                ColumnPlan("fee", number),
                ColumnPlan("due_at", ColumnKind.TIMESTAMP),
            ),
            "ordered_at",
        ),
        TablePlan(
            "items",
            activity,
            ITEMS,
            "item_id",
            (KeyPlan("order_id", "orders"), KeyPlan("product_id", "products")),
            (ColumnPlan("quantity", ColumnKind.INTEGER), ColumnPlan("rebate", number)),
            "packed_at",
        ),
    )
    end = START + timedelta(days=500)
    dates = START + timedelta(days=400), START + timedelta(days=450)
    return Blueprint(f"market_{streams.seed}", tables, START, end, *dates)


def market_rows(blueprint: Blueprint, streams: Streams) -> dict[str, Rows]:
    random = streams.generator("rows")
    eagerness = random.normal(size=CUSTOMERS)
    born = np.sort(np.maximum(0.0, random.uniform(-1, 1, CUSTOMERS)))
    popularity = np.exp(1.2 * eagerness)
    customer = random.choice(CUSTOMERS, ORDERS, p=popularity / popularity.sum())
    ordered = born[customer] + random.random(ORDERS) * (1 - born[customer])
    by_time = np.argsort(ordered, kind="stable")
    customer, ordered = customer[by_time], ordered[by_time]
    gift = np.where(random.random(ORDERS) < 0.7, -1, random.integers(CUSTOMERS, size=ORDERS))
    gift[gift >= 0] = np.where(born[gift] <= ordered, gift, -1)[gift >= 0]
    order = random.integers(ORDERS, size=ITEMS)
    # Every third item is packed at once.
    packed = ordered[order] + random.exponential(0.004, ITEMS) * (np.arange(ITEMS) % 3 > 0)
    by_time = np.argsort(packed, kind="stable")

    def rows(times: np.ndarray | None, parents: dict[str, np.ndarray], states: np.ndarray) -> Rows:
        return Rows(times, parents, states.reshape(len(states), 1, -1))

    return {
        "shops": rows(None, {}, random.normal(size=SHOPS)),
        "products": rows(None, {}, random.normal(size=PRODUCTS)),
        "customers": rows(born, {"shop_id": random.integers(SHOPS, size=CUSTOMERS)}, eagerness),
        "orders": rows(
            ordered, {"customer_id": customer, "gift_for_id": gift}, eagerness[customer]
        ),
        "items": rows(
            packed[by_time],
            {"order_id": order[by_time], "product_id": random.integers(PRODUCTS, size=ITEMS)},
            random.normal(size=ITEMS),
        ),
    }


def market_columns(
    blueprint: Blueprint,
    rows: Mapping[str, Rows],
    streams: Streams,
    interventions: Mapping[Place, float],
) -> Columns:
    random = streams.generator("columns")
    eager = rows["orders"].states[:, 0, 0]
    amount = np.round(20 + 6 * eager + 4 * random.normal(size=ORDERS), 2)
    paid = amount + 5 * random.normal(size=ORDERS) > 20
    channel = np.array(["web", "shop", "phone"])[np.digitize(random.random(ORDERS), [0.6, 0.9])]
    due = moments(blueprint, rows["orders"].times_or(0)) + 10**12
    of_order = rows["items"].parents["order_id"]
    rebate = np.round(amount[of_order] / 10 + random.normal(size=ITEMS), 3)
    values = {
        "shops": {"size": pl.Series(np.round(rows["shops"].states[:, 0, 0], 3))},
        "products": {
            "price": pl.Series(np.round(10 + rows["products"].states[:, 0, 0], 2)),
            "sort": pl.Series(np.array(["food", "tool", "book"])[np.arange(PRODUCTS) % 3]),
        },
        "customers": {
            "vip": pl.Series(rows["customers"].states[:, 0, 0] > 0.5),
            "motto": pl.Series(["onward"] * CUSTOMERS),
        },
        "orders": {
            "amount": pl.Series(amount).set(pl.Series(random.random(ORDERS) < 0.1), None),
            "paid": pl.Series(paid),
            "channel": pl.Series(channel),
            "fee": pl.Series(np.round(paid + random.normal(size=ORDERS), 3)),
            "due_at": pl.Series(due).cast(pl.Datetime("us")),
        },
        "items": {
            "quantity": pl.Series(random.poisson(1.5, ITEMS)),
            "rebate": pl.Series(rebate),
        },
    }
    mechanisms = (
        Mechanism("orders", "amount", ("state",), 0.7),
        Mechanism("orders", "paid", ("own:amount",), 0.6),
        Mechanism("orders", "fee", ("own:paid",), 0.2),
        Mechanism("orders", "channel", (), 0.0, missing="own:fee"),
        Mechanism("items", "rebate", ("parent:order_id.amount",), 0.3),
        Mechanism("items", "quantity", (), 0.0),
    )
    return Columns(values, mechanisms)


def market(seed: int = 3) -> SyntheticDatabase:
    return generate(Generator(market_layout, market_rows, market_columns), seed)
