"""A retailer's transactions, for task vectors: many customers, fewer and unevenly popular items."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.case import CaseTable

START = datetime(2019, 9, 2)
WEEK_S = 7 * 86_400
# Shares of items fall with this power of their rank: a few sell hundreds of times a week.
POPULARITY = 0.75
ROLES = {
    "customers": CaseTable("customers", "", "customer_id", None, (), ("age",), ()),
    "items": CaseTable("items", "", "item_id", None, (), ("price",), ()),
    "transactions": CaseTable(
        "transactions",
        "",
        "transaction_id",
        "at",
        (("customer_id", "customers"), ("item_id", "items")),
        ("amount",),
        ("channel",),
    ),
}


@dataclass(frozen=True, slots=True)
class RetailSize:
    """How many rows the tables have, and at how many weekly cutoffs vectors are asked for."""

    transactions: int = 1_000_000
    customers: int = 90_000
    items: int = 6_800
    weeks: int = 52


def make_transactions(size: RetailSize, seed: int = 0) -> dict[str, pl.DataFrame]:
    """Tables `customers`, `items`, `transactions` and `seeds`.

    Transactions spread evenly over the weeks and the one after the last cutoff. The seeds are all
    pairs of a cutoff and a customer who has bought something by then.
    """
    random = np.random.default_rng(seed)
    ranks = np.arange(1, size.items + 1) ** -POPULARITY
    activity = random.gamma(0.7, size=size.customers)
    seconds = np.sort(random.integers(0, (size.weeks + 1) * WEEK_S, size.transactions))
    transactions = pl.DataFrame(
        {
            "transaction_id": np.arange(size.transactions),
            "customer_id": random.choice(
                size.customers, size.transactions, p=activity / activity.sum()
            ),
            "item_id": random.choice(size.items, size.transactions, p=ranks / ranks.sum()),
            "at": pl.Series(seconds * 1_000_000).cast(pl.Duration("us")) + START,
            "amount": random.lognormal(3.0, 1.0, size.transactions).round(2),
            "channel": _channels(random.integers(0, 3, size.transactions)),
        }
    )
    cutoffs = [START + timedelta(weeks=week + 1) for week in range(size.weeks)]
    first = transactions.group_by(entity="customer_id").agg(first=pl.col("at").min())
    grid = pl.DataFrame({"cutoff_time": pl.Series(cutoffs).cast(pl.Datetime("us"))})
    seeds = (
        grid.join(first, how="cross")
        .filter(pl.col("first") <= pl.col("cutoff_time"))
        .select("entity", "cutoff_time")
        .sort("cutoff_time", "entity")
        .with_row_index("row_id")
    )
    customers = np.arange(size.customers)
    items = np.arange(size.items)
    return {
        "customers": pl.DataFrame(
            {"customer_id": customers, "age": random.normal(40.0, 9.0, size.customers)}
        ),
        "items": pl.DataFrame({"item_id": items, "price": random.gamma(2.0, 10.0, size.items)}),
        "transactions": transactions,
        "seeds": seeds,
    }


def _channels(codes: NDArray[np.int64]) -> pl.Series:
    return pl.Series(np.array(["shop", "app", "web"])[codes])
