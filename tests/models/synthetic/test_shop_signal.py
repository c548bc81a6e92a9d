"""The demo shop holds the signal it is meant to hold, and only where it is meant to."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
import pytest

from models.synthetic.shop import ShopConfig, generate_shop

CUTOFFS = pl.DataFrame(
    {"timestamp": pl.datetime_range(datetime(2021, 7, 1), datetime(2023, 11, 1), "30d", eager=True)}
)
DAY = pl.duration(days=1)
Tables = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def shop() -> Tables:
    return generate_shop()


@pytest.fixture(scope="module")
def indifferent() -> Tables:
    """A shop whose customers take no notice of their neighbours."""
    return generate_shop(ShopConfig(neighbour_effect=0.0))


def before(events: pl.DataFrame, time: str, days: int) -> pl.DataFrame:
    """Each event with each cutoff that it precedes by less than `days`."""
    age = pl.col("timestamp") - pl.col(time)
    pairs = events.join(CUTOFFS, how="cross")
    return pairs.filter(age >= 0 * DAY, age < days * DAY)


def churn_labels(shop: Tables) -> pl.DataFrame:
    """Whether customers with an order in the past 90 days place none in the next 30."""
    orders = shop["orders"].select("customer_id", "ordered_at")
    known = before(orders, "ordered_at", 90).select("timestamp", "customer_id").unique()
    wait = pl.col("ordered_at") - pl.col("timestamp")
    stayed = orders.join(CUTOFFS, how="cross").filter(wait > 0 * DAY, wait <= 30 * DAY)
    stayed = stayed.select("timestamp", "customer_id").unique()
    stayed = stayed.with_columns(churned=pl.lit(0))
    return known.join(stayed, on=["timestamp", "customer_id"], how="left").with_columns(
        pl.col("churned").fill_null(1)
    )


def gap(labels: pl.DataFrame, exposure: pl.DataFrame) -> float:
    """Difference in churn rate between the exposed and the others, averaged over cutoffs.

    `exposure` has timestamp, customer_id and a boolean `exposed`. Comparing within cutoffs takes
    season and trend out.
    """
    rates = (
        labels.join(exposure, on=["timestamp", "customer_id"])
        .group_by("timestamp")
        .agg(
            exposed=pl.col("churned").filter(pl.col("exposed")).mean(),
            others=pl.col("churned").filter(~pl.col("exposed")).mean(),
            weight=pl.col("exposed").sum(),
        )
        .drop_nulls()
    )
    difference = (rates["exposed"] - rates["others"]).to_numpy()
    return float(np.average(difference, weights=rates["weight"].to_numpy()))


def late_delivery(shop: Tables) -> pl.DataFrame:
    """Whether the earliest of a customer's deliveries of the past 30 days was late."""
    parcels = shop["shipments"].join(shop["orders"], on="order_id")
    recent = before(parcels, "delivered_at", 30).sort("delivered_at")
    # One delivery each: with many come more chances of a late one, but also more orders.
    return recent.group_by("timestamp", "customer_id").agg(exposed=pl.col("days_late").first() > 0)


def lapsed_referrer(shop: Tables) -> pl.DataFrame:
    """Whether the customer's referrer has not ordered in the past 90 days."""
    referred = shop["customers"].filter(pl.col("referrer_id").is_not_null())
    busy = before(shop["orders"], "ordered_at", 90)
    busy = busy.select("timestamp", referrer_id="customer_id").unique()
    busy = busy.with_columns(busy=pl.lit(True))
    pairs = referred.select("customer_id", "referrer_id").join(CUTOFFS, how="cross")
    pairs = pairs.join(busy, on=["timestamp", "referrer_id"], how="left")
    return pairs.select("timestamp", "customer_id", exposed=pl.col("busy").is_null())


def badly_rated_products(shop: Tables) -> pl.DataFrame:
    """Whether other customers rated the products bought in the past 45 days below the median."""
    ratings = before(shop["reviews"], "reviewed_at", 120).select(
        "timestamp", "product_id", "rating", reviewer="customer_id"
    )
    bought = shop["order_items"].join(shop["orders"].drop("ordered_at"), on="order_id")
    bought = before(bought, "ordered_at", 45).select("timestamp", "customer_id", "product_id")
    seen = bought.join(ratings, on=["timestamp", "product_id"])
    seen = seen.filter(pl.col("reviewer") != pl.col("customer_id"))
    means = seen.group_by("timestamp", "customer_id").agg(pl.col("rating").mean())
    low = pl.col("rating") < pl.col("rating").median().over("timestamp")
    return means.select("timestamp", "customer_id", exposed=low)


EXPOSURES = [(late_delivery, 0.25), (lapsed_referrer, 0.1), (badly_rated_products, 0.08)]
NAMES = [exposure.__name__ for exposure, _ in EXPOSURES]


@pytest.mark.parametrize(("exposure", "least"), EXPOSURES, ids=NAMES)
def test_churn_depends_on_neighbours(shop, exposure, least):
    assert gap(churn_labels(shop), exposure(shop)) > least


@pytest.mark.parametrize(("exposure", "least"), EXPOSURES, ids=NAMES)
def test_without_the_neighbour_effect_churn_does_not(indifferent, exposure, least):
    assert abs(gap(churn_labels(indifferent), exposure(indifferent))) < least / 2


def test_churn_rate_is_balanced(shop):
    assert 0.3 < churn_labels(shop)["churned"].mean() < 0.65


def test_week_and_year_have_seasons(shop):
    placed = shop["orders"]["ordered_at"]
    by_weekday = placed.dt.weekday().value_counts().sort("ordered_at")["count"].to_numpy()
    assert by_weekday[[5, 6]].mean() > 1.2 * by_weekday[:4].mean()
    monthly = placed.dt.truncate("1mo").value_counts().sort("ordered_at")["count"].to_numpy()
    for year in range(1, 3):
        assert monthly[12 * year + 11] > 1.1 * monthly[12 * year + 5 : 12 * year + 9].mean()
    items = shop["order_items"].join(shop["products"], on="product_id")
    garden = items.filter(pl.col("category_id") == 3)["ordered_at"].dt.month()
    assert garden.is_between(4, 6).sum() > 2 * garden.is_between(10, 12).sum()


def test_recent_buyers_come_back_sooner(shop):
    labels = churn_labels(shop)
    recent = before(shop["orders"], "ordered_at", 20).select("timestamp", "customer_id").unique()
    recent = recent.with_columns(exposed=pl.lit(True))
    exposure = labels.join(recent, on=["timestamp", "customer_id"], how="left")
    exposure = exposure.select("timestamp", "customer_id", pl.col("exposed").fill_null(False))
    assert gap(labels, exposure) < -0.15


def test_campaigns_lift_the_sales_of_their_category(shop):
    items = shop["order_items"].join(
        shop["products"].select("product_id", "category_id"), on="product_id"
    )
    campaigns = shop["campaigns"].filter(pl.col("discount") >= 0.2)
    pairs = items.join(campaigns, on="category_id", suffix="_offer")
    length = pl.col("ends_at") - pl.col("starts_at")
    during = pl.col("ordered_at").is_between("starts_at", "ends_at", closed="left")
    earlier = pl.col("ordered_at").is_between(
        pl.col("starts_at") - length, "starts_at", closed="left"
    )
    counts = pairs.select(during=during.sum(), earlier=earlier.sum())
    assert counts["during"][0] > 1.5 * counts["earlier"][0]


def test_review_texts_follow_the_rating(shop):
    reviews = shop["reviews"].drop_nulls("review_text")
    angry = reviews.filter(
        pl.col("review_text").str.contains("money back|Do not buy|shop elsewhere")
    )
    assert angry.height > 100
    assert angry["rating"].max() <= 2
    assert reviews["review_text"].n_unique() > 100


def test_better_products_are_rated_better_again(shop):
    reviews = shop["reviews"].with_columns(late=pl.col("reviewed_at") > datetime(2022, 10, 1))
    means = reviews.group_by("product_id").agg(
        early=pl.col("rating").filter(~pl.col("late")).mean(),
        later=pl.col("rating").filter(pl.col("late")).mean(),
        count=pl.len(),
    )
    means = means.filter(pl.col("count") > 40).drop_nulls()
    assert means.select(pl.corr("early", "later")).item() > 0.4
