"""What is fixed before the first order: assortment, demand, campaigns, carriers and customers.

Everything here is drawn once, in a fixed order, from the generator handed in. Days are counted from
the configured start (day 0); a negative day lies before it. The latent traits (quality, popularity,
order rate, taste) appear in no table: a learner sees only what they cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from models.synthetic.shop_config import (
    BRANDS,
    CAMPAIGN_CHANNELS,
    CARRIERS,
    CATEGORIES,
    REGIONS,
    SIGNUP_CHANNELS,
    ShopConfig,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

EARLIEST_LAUNCH = -700  # day of the oldest product possible
FRIEND = SIGNUP_CHANNELS.index("friend")
# How the way a customer was won shifts the log order rate, in the order of SIGNUP_CHANNELS.
CHANNEL_RATE = np.array([0.0, -0.25, -0.45, 0.3, 0.15])
LATE_ODDS = -2.2  # log odds of a late delivery of an average carrier
# Orders per day of an active, content customer who came by search and has no membership (median).
ORDERS_PER_DAY = 0.09
# How a region shifts the log odds of a late delivery, in the order of REGIONS.
REGION_LATENESS = np.array([0.0, -0.3, 0.0, 0.1, 0.9])


@dataclass(frozen=True)
class Products:
    """One entry per product, sorted by launch."""

    category: Ints
    brand: Ints
    launch_day: Ints
    launch_second: Ints
    price: Floats  # list price in euros
    relative_price: Floats  # log of the price over its category's base price
    quality: Floats  # latent long-run quality, standardised
    popularity: Floats  # latent, on the log scale
    decline: Floats  # latent, loss of log popularity per year since launch
    warranty: Ints  # months; -1: unknown
    weight: Floats  # kilograms
    eco: Bools


@dataclass(frozen=True)
class Campaigns:
    """One entry per campaign, sorted by announcement; a campaign discounts one category."""

    category: Ints
    announce_day: Ints
    start_day: Ints
    end_day: Ints  # inclusive
    discount: Floats  # share of the price
    channel: Ints
    by_day: Floats  # the largest running discount, shape (days, categories)


@dataclass(frozen=True)
class Customers:
    """One entry per customer, sorted by sign-up."""

    day: Ints
    second: Ints
    region: Ints
    channel: Ints
    birth_year: Ints  # -1: unknown
    member: Bools
    newsletter: Bools
    rate: Floats  # latent, expected orders per day of an active and content customer
    taste: Floats  # latent log preference, shape (customers, categories)
    price_level: Floats  # latent, preferred log price relative to the category
    talkative: Floats  # latent, probability of reviewing an item


def draw_products(config: ShopConfig, rng: Generator) -> Products:
    """The assortment: half of it launched in the two years before the start, the rest later."""
    count = config.products
    early = rng.random(count) < 0.5
    launch = np.where(
        early,
        rng.integers(EARLIEST_LAUNCH, 0, count),
        rng.integers(0, max(1, int(0.95 * config.days)), count),
    )
    launch.sort()
    # Every category occurs, and occurs early: the oldest products cycle through all of them.
    category = np.concatenate(
        [np.arange(len(CATEGORIES)), rng.integers(0, len(CATEGORIES), count - len(CATEGORIES))]
    )
    launch[: len(CATEGORIES)] = np.minimum(launch[: len(CATEGORIES)], -1)
    brand = rng.integers(0, len(BRANDS), count)
    brand_quality = rng.normal(0.0, 0.6, len(BRANDS))
    relative = rng.normal(0.0, 0.45, count)
    base = np.array([entry[2] for entry in CATEGORIES])
    quality = brand_quality[brand] + 0.5 * relative + rng.normal(0.0, 0.8, count)
    second = np.sort(rng.integers(6 * 3600, 18 * 3600, count))
    return Products(
        category=category,
        brand=brand,
        launch_day=launch,
        launch_second=second,
        price=np.round(base[category] * np.exp(relative), 2),
        relative_price=relative,
        quality=(quality - quality.mean()) / quality.std(),
        popularity=rng.normal(0.0, 0.9, count),
        decline=rng.gamma(2.0, 0.2, count),
        warranty=np.where(rng.random(count) < 0.35, -1, rng.choice([6, 12, 24, 36], count)),
        weight=np.round(rng.lognormal(0.0, 0.8, count), 2),
        eco=rng.random(count) < 0.3,
    )


def draw_campaigns(config: ShopConfig, rng: Generator) -> Campaigns:
    """The campaigns, announced 3 to 14 days before they start."""
    count = config.campaigns
    announce = np.sort(rng.integers(0, config.days, count))
    start = announce + rng.integers(3, 15, count)
    end = start + rng.integers(6, 14, count)
    category = rng.integers(0, len(CATEGORIES), count)
    discount = rng.choice([0.1, 0.15, 0.2, 0.3], count)
    days = np.arange(config.days)[:, None]
    running = (days >= start) & (days <= end)
    by_day = np.zeros((config.days, len(CATEGORIES)))
    for index in range(len(CATEGORIES)):
        offers = running * np.where(category == index, discount, 0.0)
        by_day[:, index] = offers.max(axis=1)
    channel = rng.integers(0, len(CAMPAIGN_CHANNELS), count)
    return Campaigns(category, announce, start, end, discount, channel, by_day)


def draw_customers(config: ShopConfig, rng: Generator) -> Customers:
    """The customers: a first wave in the opening weeks, then slowly growing arrivals."""
    count = config.customers
    opening = rng.random(count) < 0.12
    later = config.days * rng.random(count) ** 0.85
    share = np.where(opening, min(30, config.days) * rng.random(count), later)
    day = np.sort(share.astype(np.int64))
    second = rng.integers(7 * 3600, 23 * 3600, count)
    order = np.lexsort((second, day))
    channel = rng.choice(len(SIGNUP_CHANNELS), count, p=[0.22, 0.18, 0.12, 0.08, 0.40])
    member = rng.random(count) < 0.35
    birth_year = np.round(rng.normal(1983, 13, count)).clip(1935, 2004).astype(np.int64)
    log_rate = np.log(ORDERS_PER_DAY) + CHANNEL_RATE[channel] + 0.3 * member
    log_rate += 0.01 * (1983 - birth_year) + rng.normal(0.0, 0.5, count)
    region = rng.choice(len(REGIONS), count, p=[0.27, 0.25, 0.2, 0.2, 0.08])
    return Customers(
        day=day[order],
        second=second[order],
        region=region,
        channel=channel,
        birth_year=np.where(rng.random(count) < 0.12, -1, birth_year),
        member=member,
        newsletter=rng.random(count) < 0.5,
        rate=np.exp(log_rate),
        taste=rng.normal(0.0, 1.2, (count, len(CATEGORIES))),
        price_level=rng.normal(0.0, 0.5, count) + 0.15 * (region == 2),
        talkative=rng.beta(1.5, 3.5, count),
    )


def draw_category_demand(config: ShopConfig, rng: Generator) -> Floats:
    """Log demand of each category on each day: its yearly season plus a slow random trend.

    Returns:
        Array of shape (days, categories). The trend is a stationary weekly autoregression, so that
        a category's recent sales tell something about its next weeks.
    """
    day_of_year = calendar(config)[0]
    amplitude = np.array([entry[3] for entry in CATEGORIES])
    peak = np.array([entry[4] for entry in CATEGORIES])
    season = amplitude * np.cos(2 * np.pi * (day_of_year[:, None] - peak) / 365.25)
    return season + _weekly_walk(config.days, len(CATEGORIES), 0.95, 0.2, rng)


def draw_carrier_lateness(config: ShopConfig, rng: Generator) -> Floats:
    """Log odds of a late delivery per day and carrier, shape (days, carriers).

    Carriers have better and worse months, and all of them suffer before Christmas.
    """
    level = rng.normal(LATE_ODDS, 0.5, len(CARRIERS))
    peak = np.where(np.isin(calendar(config)[0], np.arange(330, 360)), 0.8, 0.0)
    return level + peak[:, None] + _weekly_walk(config.days, len(CARRIERS), 0.9, 0.45, rng)


def draw_quality(config: ShopConfig, products: Products, rng: Generator) -> Floats:
    """Quality of each product as sold on each day, shape (days, products).

    Batches differ: a product has good and bad months around its long-run quality.
    """
    return 0.7 * products.quality + _weekly_walk(config.days, config.products, 0.94, 0.27, rng)


def shop_season(config: ShopConfig) -> Floats:
    """Factor on every customer's order rate per day: weekends, December and the summer dip."""
    day_of_year, weekday = calendar(config)
    week = np.array([0.9, 0.85, 0.85, 0.9, 1.05, 1.25, 1.2])[weekday]
    december = 0.55 * np.exp(-(((day_of_year - 343) / 14.0) ** 2))
    summer = -0.18 * np.exp(-(((day_of_year - 205) / 25.0) ** 2))
    return week * (1.0 + december + summer)


def calendar(config: ShopConfig) -> tuple[Ints, Ints]:
    """Day of the year (from 1) and weekday (0 is Monday) of every simulated day."""
    dates = [config.start + timedelta(days=day) for day in range(config.days)]
    day_of_year = np.array([day.timetuple().tm_yday for day in dates], dtype=np.int64)
    return day_of_year, np.array([day.weekday() for day in dates], dtype=np.int64)


def _weekly_walk(days: int, width: int, memory: float, noise: float, rng: Generator) -> Floats:
    """A stationary first-order autoregression by week, held constant within each week."""
    weeks = days // 7 + 1
    steps = rng.normal(0.0, noise, (weeks, width))
    steps[0] /= np.sqrt(1 - memory**2)
    for week in range(1, weeks):
        steps[week] += memory * steps[week - 1]
    return np.repeat(steps, 7, axis=0)[:days]
