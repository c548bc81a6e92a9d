from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from benchmarks.shop import START, ShopSize, make_shop
from benchmarks.transactions import RetailSize, make_transactions

SIZE = ShopSize(events=4_000, users=100, items=20, seeds=300, ratings=500)


def test_the_same_seed_gives_the_same_shop_and_another_seed_another():
    first, again, other = make_shop(SIZE), make_shop(SIZE), make_shop(SIZE, seed=1)
    assert all(first[name].equals(again[name]) for name in first)
    assert not first["events"].equals(other["events"])


def test_rows_refer_to_rows_and_seeds_are_unique_and_ordered():
    shop = make_shop(SIZE)
    events, seeds = shop["events"], shop["seeds"]
    assert events.height == 4_000
    assert events["user_id"].is_in(shop["users"]["user_id"].implode()).all()
    assert events["item_id"].is_in(shop["items"]["item_id"].implode()).all()
    assert seeds["row_id"].to_list() == list(range(seeds.height))
    assert seeds.select("entity", "cutoff_time").is_unique().all()
    assert seeds["cutoff_time"].min() >= START + timedelta(days=182)


def test_ratings_come_after_the_event_they_rate():
    shop = make_shop(SIZE)
    both = shop["ratings"].join(shop["events"], on="event_id", suffix="_event")
    assert both.height == 500
    assert (both["at"] >= both["at_event"]).all()


@pytest.mark.parametrize(("even", "expected"), [(True, 0.2), (False, 1.0)])
def test_users_are_active_evenly_only_where_that_is_asked_for(even, expected):
    size = ShopSize(events=10_000, users=100, items=20, seeds=10, even=even)
    counts = make_shop(size)["events"].group_by("user_id").len()["len"]
    spread = counts.std() / counts.mean()
    assert spread < expected if even else spread > expected


def test_retail_seeds_are_the_customers_who_bought_by_then():
    retail = make_transactions(RetailSize(2_000, 150, 30, 6))
    first = retail["transactions"].group_by("customer_id").agg(pl.col("at").min())
    seeds = retail["seeds"].join(first, left_on="entity", right_on="customer_id")
    assert (seeds["at"] <= seeds["cutoff_time"]).all()
    assert seeds["cutoff_time"].n_unique() == 6
    last = seeds["cutoff_time"].max()
    assert (
        seeds.filter(pl.col("cutoff_time") == last).height
        == first.filter(pl.col("at") <= last).height
    )
