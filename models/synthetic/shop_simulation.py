"""The day-by-day simulation of the demo shop.

Each day every customer's discontent fades and takes up what arrived that day, some customers lapse
or return, and the others order. What an order leads to (delivery, returns, reviews, support) is
drawn when it is placed and acts on the day on which it happens, so causes always precede effects.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from models.synthetic.shop_config import ShopConfig
from models.synthetic.shop_outcomes import (
    HORIZON,
    Basket,
    Consequences,
    OrderOutcomes,
    stray_contacts,
)
from models.synthetic.shop_world import (
    FRIEND,
    Bools,
    Campaigns,
    Customers,
    Floats,
    Ints,
    Products,
    draw_campaigns,
    draw_carrier_lateness,
    draw_category_demand,
    draw_customers,
    draw_products,
    draw_quality,
    shop_season,
)

DISCONTENT_HALF_LIFE = 50.0  # days
RATING_HALF_LIFE = 60.0  # days
RATE_PER_DISCONTENT = -2.4  # change of the log order rate per unit of discontent
HAZARD_PER_DISCONTENT = 0.6  # change of the log churn hazard per unit of discontent
REFERRER_RATE = -1.5  # change of the log order rate once the referrer has lapsed
REFERRER_HAZARD = 2.0  # change of the log churn hazard once the referrer has lapsed
BASE_HAZARD = 0.0012  # churn probability per day of a content customer
WIN_BACK = 0.0008  # probability per day that a lapsed customer returns
CAMPAIGN_APPEAL = 5.0  # gain of a product's log weight per unit of discount
PRIOR_RATING = 3.8  # what a product without reviews is taken for, with the weight of 4 reviews
NOT_FOR_SALE = -1e9


class EventLog:
    """Columns of events, collected in batches per table."""

    def __init__(self) -> None:
        self._batches: dict[str, list[dict[str, NDArray]]] = defaultdict(list)

    def add(self, table: str, columns: dict[str, NDArray]) -> None:
        """Append a batch of rows; batches of one table have equal columns."""
        self._batches[table].append(columns)

    def columns(self, table: str) -> dict[str, NDArray]:
        """All rows of the table, in the order in which they were added."""
        batches = self._batches[table]
        return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}

    def until(self, days: int) -> dict[str, dict[str, NDArray]]:
        """All rows before a day, by table and sorted by time (ties keep the order of simulation)."""
        return {table: _until(days, self.columns(table)) for table in self._batches}


def _until(days: int, rows: dict[str, NDArray]) -> dict[str, NDArray]:
    order = np.lexsort((rows["second"], rows["day"]))
    order = order[rows["day"][order] < days]
    return {name: values[order] for name, values in rows.items()}


@dataclass(frozen=True)
class World:
    """Everything that is fixed before the first day."""

    products: Products
    campaigns: Campaigns
    customers: Customers
    quality: Floats  # of each product per (day, product)
    demand: Floats  # log demand per (day, category)
    lateness: Floats  # log odds of a late delivery per (day, carrier)
    season: Floats  # factor on order rates per day


@dataclass
class State:
    """What the past days have left behind; arrays are changed in place.

    The `due_` arrays are ring buffers over the next HORIZON days.
    """

    active: Bools
    referrer: Ints  # -1: none
    discontent: Floats
    rating_sum: Floats
    rating_count: Floats
    due_discontent: Floats  # (HORIZON, customers)
    due_rating_sum: Floats  # (HORIZON, products)
    due_rating_count: Floats
    orders: int = 0
    items: int = 0


def simulate(config: ShopConfig, rng: Generator) -> tuple[World, Ints, EventLog]:
    """Run the shop over all configured days.

    Args:
        config: Size and period.
        rng: The generator; it is consumed in a fixed order, so the result depends on it and on
            `config` alone.

    Returns:
        The fixed world, each customer's referrer (-1: none) and the log of all events. Events that
        would happen after the last day are still in the log.
    """
    products = draw_products(config, rng)
    world = World(
        products=products,
        quality=draw_quality(config, products, rng),
        campaigns=draw_campaigns(config, rng),
        customers=draw_customers(config, rng),
        demand=draw_category_demand(config, rng),
        lateness=draw_carrier_lateness(config, rng),
        season=shop_season(config),
    )
    state = _initial_state(config)
    log = EventLog()
    # Customers may order from the day after they signed up.
    known = np.searchsorted(world.customers.day, np.arange(config.days + 1), side="left")
    for day in range(config.days):
        _settle(state, day)
        _sign_up(world, state, slice(known[day], known[day + 1]), rng)
        buyers = _live_and_choose_buyers(config, world, state, day, int(known[day]), rng)
        basket = _fill_baskets(world, state, day, buyers, rng)
        outcomes = OrderOutcomes(basket, world.customers, log, rng)
        effects = outcomes.draw(world.quality[day], world.lateness[day])
        _schedule(config, state, effects)
        _schedule(config, state, stray_contacts(state.active[: known[day]], day, log, rng))
    return world, state.referrer, log


def _initial_state(config: ShopConfig) -> State:
    return State(
        active=np.zeros(config.customers, dtype=bool),
        referrer=np.full(config.customers, -1, dtype=np.int64),
        discontent=np.zeros(config.customers),
        rating_sum=np.zeros(config.products),
        rating_count=np.zeros(config.products),
        due_discontent=np.zeros((HORIZON, config.customers)),
        due_rating_sum=np.zeros((HORIZON, config.products)),
        due_rating_count=np.zeros((HORIZON, config.products)),
    )


def _settle(state: State, day: int) -> None:
    """Let discontent fade and apply what was scheduled for this day."""
    slot = day % HORIZON
    state.discontent *= 0.5 ** (1 / DISCONTENT_HALF_LIFE)
    state.discontent += state.due_discontent[slot]
    # A customer can be pleased, but only mildly: bad experiences weigh more than good ones.
    np.maximum(state.discontent, -0.4, out=state.discontent)
    # Old reviews count less and less for the rating that the shop shows.
    state.rating_sum *= 0.5 ** (1 / RATING_HALF_LIFE)
    state.rating_count *= 0.5 ** (1 / RATING_HALF_LIFE)
    state.rating_sum += state.due_rating_sum[slot]
    state.rating_count += state.due_rating_count[slot]
    for ring in (state.due_discontent, state.due_rating_sum, state.due_rating_count):
        ring[slot] = 0.0


def _sign_up(world: World, state: State, new: slice, rng: Generator) -> None:
    """Give customers who come through a friend a referrer among the currently active ones."""
    candidates = np.flatnonzero(state.active[: new.start])
    picks = rng.random(new.stop - new.start)
    if len(candidates):
        chosen = candidates[(picks * len(candidates)).astype(np.int64)]
        state.referrer[new] = np.where(world.customers.channel[new] == FRIEND, chosen, -1)
    state.active[new] = True


def _live_and_choose_buyers(
    config: ShopConfig, world: World, state: State, day: int, known: int, rng: Generator
) -> Ints:
    """Let the known customers lapse, return and order on this day; the buyers' indices."""
    active = state.active[:known]
    referrer = state.referrer[:known]
    deserted = (referrer >= 0) & ~state.active[referrer]
    discontent = state.discontent[:known]
    hazard = HAZARD_PER_DISCONTENT * discontent + REFERRER_HAZARD * deserted
    shift = RATE_PER_DISCONTENT * discontent + REFERRER_RATE * deserted
    rate = world.customers.rate[:known] * world.season[day]
    rate *= np.exp(config.neighbour_effect * shift)
    draws = rng.random((2, known))
    leaves = draws[0] < BASE_HAZARD * np.exp(config.neighbour_effect * hazard)
    returns = ~active & (draws[0] < WIN_BACK)
    orders = active & (draws[1] < -np.expm1(-rate))
    state.active[:known] = (active & ~leaves) | returns
    return np.flatnonzero(orders)


def _fill_baskets(world: World, state: State, day: int, buyers: Ints, rng: Generator) -> Basket:
    """Choose each buyer's time of day and products; ids grow with the time of the order."""
    seconds = np.sort(rng.triangular(6 * 3600, 19 * 3600, 24 * 3600, len(buyers)).astype(np.int64))
    customer = rng.permutation(buyers)
    size = 1 + np.minimum(rng.poisson(0.7, len(customer)), 5)
    order = np.repeat(np.arange(len(customer)), size)
    product = _choose_products(world, state, day, customer[order], rng)
    inflation = 1.0 + 0.04 * day / 365.25
    basket = Basket(
        day=day,
        first_order=state.orders,
        first_item=state.items,
        second=seconds,
        customer=customer,
        order=order,
        product=product,
        quantity=1 + rng.poisson(0.25, len(order)),
        price=np.round(world.products.price[product] * inflation, 2),
        discount=world.campaigns.by_day[day, world.products.category[product]],
        shown_rating=_shown_rating(state)[product],
    )
    state.orders += len(customer)
    state.items += len(order)
    return basket


def _choose_products(world: World, state: State, day: int, customer: Ints, rng: Generator) -> Ints:
    """One product per item: popularity, season, campaign and ratings meet taste and price level."""
    products, customers = world.products, world.customers
    age = (day - products.launch_day) / 365.25
    appeal = products.popularity - products.decline * age
    appeal += world.demand[day, products.category]
    appeal += CAMPAIGN_APPEAL * world.campaigns.by_day[day, products.category]
    appeal += 1.2 * (_shown_rating(state) - PRIOR_RATING)
    appeal[products.launch_day >= day] = NOT_FOR_SALE
    gap = products.relative_price - customers.price_level[customer][:, None]
    score = appeal + customers.taste[customer][:, products.category] - 2.0 * gap**2
    score -= score.max(axis=1, keepdims=True, initial=NOT_FOR_SALE)
    cumulated = np.cumsum(np.exp(score), axis=1)
    threshold = rng.random((len(customer), 1)) * cumulated[:, -1:]
    return (cumulated <= threshold).sum(axis=1)


def _shown_rating(state: State) -> Floats:
    """The average rating shown for each product today, shrunk towards the prior."""
    return (state.rating_sum + 4 * PRIOR_RATING) / (state.rating_count + 4)


def _schedule(config: ShopConfig, state: State, effects: Consequences) -> None:
    """Put the consequences into the ring buffers; those after the last day are dropped."""
    for day, customer, amount in effects.discontent:
        kept = day < config.days
        np.add.at(state.due_discontent, (day[kept] % HORIZON, customer[kept]), amount[kept])
    for day, product, rating in effects.ratings:
        kept = day < config.days
        where = (day[kept] % HORIZON, product[kept])
        np.add.at(state.due_rating_sum, where, rating[kept])
        np.add.at(state.due_rating_count, where, 1.0)
