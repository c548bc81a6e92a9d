"""Orders of customers, of any size: a database whose rows have the same surroundings as it grows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.case import Case, CaseTable
from benchmarks.databases import write_case

START = datetime(2021, 1, 1)
SPAN_S = 2 * 365 * 86_400
ORDERS_PER_CUSTOMER = 10
LINES_PER_ORDER = 3
CUSTOMERS_PER_PRODUCT = 5
CUSTOMERS_PER_SEED = 2
# A customer's orders refer to the customer, their lines to the order and to a product.
EDGES_PER_CUSTOMER = ORDERS_PER_CUSTOMER * (1 + 2 * LINES_PER_ORDER)
ROLES = {
    "customers": CaseTable("customers", "", "customer_id", None, (), ("age",), ("country",)),
    "products": CaseTable("products", "", "product_id", None, (), ("price",), ("category",)),
    "orders": CaseTable(
        "orders",
        "",
        "order_id",
        "at",
        (("customer_id", "customers"),),
        ("shipping",),
        ("channel",),
    ),
    "lines": CaseTable(
        "lines",
        "",
        "line_id",
        "at",
        (("order_id", "orders"), ("product_id", "products")),
        ("amount", "discount"),
        (),
    ),
}


@dataclass(frozen=True, slots=True)
class OrderSize:
    """How many foreign key values the tables hold together; all else follows from it."""

    edges: int

    @property
    def customers(self) -> int:
        """Rows of the entity table."""
        return max(self.edges // EDGES_PER_CUSTOMER, CUSTOMERS_PER_PRODUCT)

    @property
    def seeds(self) -> int:
        """Training rows: one for every second customer, so that they grow with the graph."""
        return max(self.customers // CUSTOMERS_PER_SEED, 1)


def make_orders(size: OrderSize, seed: int = 0) -> dict[str, pl.DataFrame]:
    """Tables `customers`, `products`, `orders`, `lines`, and `seeds` with a binary label.

    Orders spread evenly over two years and over customers, lines over products. Cutoffs are in the
    second year; the label says whether the customer orders within 60 days.
    """
    random = np.random.default_rng(seed)
    customers, products = size.customers, size.customers // CUSTOMERS_PER_PRODUCT
    orders = customers * ORDERS_PER_CUSTOMER
    lines = orders * LINES_PER_ORDER
    ordered = np.sort(random.integers(0, SPAN_S, orders))
    of_order = np.repeat(np.arange(orders), LINES_PER_ORDER)
    tables = {
        "customers": pl.DataFrame(
            {
                "customer_id": np.arange(customers),
                "age": random.normal(40.0, 12.0, customers),
                "country": _labels(random.integers(0, 40, customers), "country"),
            }
        ),
        "products": pl.DataFrame(
            {
                "product_id": np.arange(products),
                "price": random.lognormal(3.0, 0.8, products),
                "category": _labels(random.integers(0, 60, products), "category"),
            }
        ),
        "orders": pl.DataFrame(
            {
                "order_id": np.arange(orders),
                "customer_id": random.integers(0, customers, orders),
                "at": _moments(ordered),
                "shipping": random.gamma(2.0, 2.0, orders),
                "channel": _labels(random.integers(0, 4, orders), "channel"),
            }
        ),
        "lines": pl.DataFrame(
            {
                "line_id": np.arange(lines),
                "order_id": of_order,
                "product_id": random.integers(0, products, lines),
                "at": _moments(ordered[of_order]),
                "amount": random.lognormal(2.0, 1.0, lines),
                "discount": random.random(lines),
            }
        ),
    }
    cutoffs = random.integers(SPAN_S // 2, SPAN_S * 9 // 10, size.seeds)
    seeds = pl.DataFrame(
        {
            "entity": random.choice(customers, size.seeds, replace=False),
            "cutoff_time": _moments(cutoffs),
        }
    ).with_row_index("row_id")
    return {**tables, "seeds": _labelled(seeds, tables["orders"])}


def write_orders(name: str, folder: Path, size: OrderSize) -> Case:
    """The database of that size, as files."""
    return write_case(name, folder, "customers", make_orders(size), ROLES)


def _labelled(seeds: pl.DataFrame, orders: pl.DataFrame) -> pl.DataFrame:
    """The seeds with whether the entity's next order comes within 60 days."""
    bought = orders.select(entity="customer_id", next="at").sort("next")
    soon = (pl.col("next") - pl.col("cutoff_time")) <= pl.duration(days=60)
    return (
        seeds.sort("cutoff_time")
        .join_asof(
            bought,
            left_on="cutoff_time",
            right_on="next",
            by="entity",
            strategy="forward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .with_columns(label=soon.fill_null(False).cast(pl.Int8))
        .sort("row_id")
        .drop("next")
    )


def _moments(seconds: NDArray[np.int64]) -> pl.Series:
    return pl.Series(seconds * 1_000_000).cast(pl.Duration("us")) + START


def _labels(codes: NDArray[np.int64], prefix: str) -> pl.Series:
    return pl.Series([f"{prefix} {code}" for code in range(int(codes.max()) + 1)])[codes]
