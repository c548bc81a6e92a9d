"""What follows an order: delivery, returns, reviews and support contacts, and how they are taken.

Every outcome is drawn when the order is placed, from traits fixed at that time, and carries the day
on which it happens, between 1 and `HORIZON` - 1 days later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from models.synthetic.shop_config import (
    CARRIERS,
    CONTACT_CHANNELS,
    CONTACT_TOPICS,
    COUPONS,
    ORDER_CHANNELS,
    PAYMENT_METHODS,
    RETURN_REASONS,
    SHIPPING_METHODS,
)
from models.synthetic.shop_world import REGION_LATENESS, Bools, Customers, Floats, Ints

HORIZON = 48  # days; longer than any chain of delivery, return, review and contact
# Discontent from a delivery: of any lateness, and per star that the products lack.
LATE_HARM = 1.3
RATING_HARM = 1.3
PICKUP = SHIPPING_METHODS.index("pickup")
PROMISED_DAYS = np.array([4, 2, 1])  # by SHIPPING_METHODS
LATE, DAMAGED, DEFECTIVE, QUESTION = range(len(CONTACT_TOPICS))


class Log(Protocol):
    """Where events are written."""

    def add(self, table: str, columns: dict[str, NDArray]) -> None:
        """Append a batch of rows to a table."""


@dataclass(frozen=True)
class Basket:
    """The orders of one day. `order` is each item's position among the day's orders."""

    day: int
    first_order: int  # id of the day's first order
    first_item: int  # id of the day's first item
    second: Ints  # of the day, per order, ascending
    customer: Ints  # per order
    order: Ints  # per item, as are all that follow
    product: Ints
    quantity: Ints
    price: Floats  # euros per unit before the discount
    discount: Floats
    shown_rating: Floats  # by other customers, when the order was placed

    @property
    def amount(self) -> Floats:
        """What each item costs in euros."""
        return np.round(self.quantity * self.price * (1 - self.discount), 2)


@dataclass
class Consequences:
    """Scheduled effects: (day, customer, discontent) and (day, product, rating) triples."""

    discontent: list[tuple[Ints, Ints, Floats]] = field(default_factory=list)
    ratings: list[tuple[Ints, Ints, Floats]] = field(default_factory=list)


@dataclass(frozen=True)
class Delivery:
    """How each order of the day arrives."""

    day: Ints
    days_late: Ints
    damaged: Bools
    carrier: Ints
    shipped: Bools  # False: picked up, no shipment

    @property
    def late(self) -> Bools:
        """Whether the parcel came after the promised day."""
        return self.days_late > 0


@dataclass(frozen=True)
class Contacts:
    """Support contacts, one entry each."""

    customer: Ints
    order: Ints  # -1: none
    topic: Ints
    day: Ints
    effect_day: Ints  # from when on the contact shows in the customer's discontent


class OrderOutcomes:
    """The day's orders with all that follows from them, written to the log.

    Args:
        basket: The day's orders and items.
        customers: The customers (region decides on lateness, talkativeness on reviews).
        log: Receives orders, order_items, shipments, returns, reviews and support_contacts.
        rng: The generator.
    """

    def __init__(self, basket: Basket, customers: Customers, log: Log, rng: Generator) -> None:
        self.basket = basket
        self.customers = customers
        self.log = log
        self.rng = rng
        self.buyer = basket.customer[basket.order]  # per item
        self.effects = Consequences()

    def draw(self, quality: Floats, lateness: Floats) -> Consequences:
        """Draw and log everything.

        Args:
            quality: Today's quality of each product.
            lateness: Log odds of a late delivery today per carrier.

        Returns:
            The effects on customers' discontent and on products' ratings, with their days.
        """
        method = self._log_orders()
        self._log_items()
        delivery = self._deliver(method, lateness)
        sold_quality = quality[self.basket.product]
        fault = 1 / (1 + np.exp(3.1 + sold_quality))
        defective = self.rng.random(len(fault)) < fault
        self._feel_delivery(delivery)
        self._return(delivery, defective, sold_quality)
        self._review(delivery, defective, sold_quality)
        self._contact(delivery, defective)
        return self.effects

    def _log_orders(self) -> Ints:
        """Log the orders; returns their shipping methods."""
        basket = self.basket
        count = len(basket.customer)
        method = self.rng.choice(len(SHIPPING_METHODS), count, p=[0.62, 0.2, 0.18])
        columns = {
            "customer": basket.customer,
            "day": np.full(count, basket.day),
            "second": basket.second,
            "channel": self.rng.choice(len(ORDER_CHANNELS), count, p=[0.5, 0.42, 0.08]),
            "payment": self.rng.choice(len(PAYMENT_METHODS), count, p=[0.55, 0.28, 0.13, 0.04]),
            "method": method,
            "promised": PROMISED_DAYS[method],
            "coupon": np.where(
                self.rng.random(count) < 0.85, -1, self.rng.integers(0, len(COUPONS), count)
            ),
            "gift": self.rng.random(count) < 0.08,
        }
        self.log.add("orders", columns)
        return method

    def _log_items(self) -> None:
        """Log the items of the orders."""
        basket = self.basket
        columns = {
            "order": basket.first_order + basket.order,
            "product": basket.product,
            "day": np.full(len(basket.order), basket.day),
            "second": basket.second[basket.order],
            "quantity": basket.quantity,
            "price": basket.price,
            "discount": basket.discount,
            "amount": basket.amount,
        }
        self.log.add("order_items", columns)

    def _deliver(self, method: Ints, lateness: Floats) -> Delivery:
        """Draw the deliveries: late by carrier, time and region; damaged more often when late."""
        basket = self.basket
        count = len(basket.customer)
        shipped = method != PICKUP
        carrier = self.rng.integers(0, len(CARRIERS), count)
        odds = lateness[carrier] + REGION_LATENESS[self.customers.region[basket.customer]]
        late = shipped & (self.rng.random(count) < 1 / (1 + np.exp(-odds)))
        delay = 1 + np.minimum(self.rng.poisson(2.2, count), 10)
        early = -((self.rng.random(count) < 0.4) & shipped).astype(np.int64)
        days_late = np.where(late, delay, early)
        damaged = shipped & (self.rng.random(count) < 0.03 + 0.08 * late)
        day = basket.day + PROMISED_DAYS[method] + days_late
        delivery = Delivery(day, days_late, damaged, carrier, shipped)
        columns = {
            "order": basket.first_order + np.arange(count),
            "day": day,
            "second": self.rng.integers(8 * 3600, 20 * 3600, count),
            "carrier": carrier,
            "days_late": days_late,
            "damaged": damaged,
            "odds": odds,
            "cost": np.round(self.rng.normal(5.5, 0.8, count) + 3.0 * (method == 1), 2),
        }
        self.log.add("shipments", {name: values[shipped] for name, values in columns.items()})
        return delivery

    def _feel_delivery(self, delivery: Delivery) -> None:
        """Discontent at delivery: lateness, damage, and products that other people rate badly."""
        basket = self.basket
        feeling = np.where(delivery.late, LATE_HARM + 0.15 * delivery.days_late, -0.12)
        feeling = feeling + 0.8 * delivery.damaged
        count = np.bincount(basket.order, minlength=len(basket.customer))
        ratings = np.bincount(basket.order, basket.shown_rating, minlength=len(basket.customer))
        feeling += RATING_HARM * (3.8 - ratings / np.maximum(count, 1))
        self.effects.discontent.append((delivery.day, basket.customer, feeling))

    def _return(self, delivery: Delivery, defective: Bools, quality: Floats) -> None:
        """Defective items annoy their buyer and usually come back; a few others come back too."""
        basket = self.basket
        count = len(basket.order)
        day = delivery.day[basket.order] + self.rng.integers(1, 15, count)
        returned = self.rng.random(count) < np.where(defective, 0.7, 0.03)
        other = self.rng.integers(1, len(RETURN_REASONS), count)
        columns = {
            "item": basket.first_item + np.arange(count),
            "day": day,
            "second": self.rng.integers(9 * 3600, 18 * 3600, count),
            "reason": np.where(defective, 0, other),
            "refund": basket.amount,
            "quality": quality,
        }
        self.log.add("returns", {name: values[returned] for name, values in columns.items()})
        arrival = delivery.day[basket.order] + 1
        harm = np.full(count, 0.7)
        self.effects.discontent.append((arrival[defective], self.buyer[defective], harm[defective]))

    def _review(self, delivery: Delivery, defective: Bools, quality: Floats) -> None:
        """Some items are reviewed; the rating reflects quality, defects and the delivery."""
        basket = self.basket
        count = len(basket.order)
        late = delivery.late[basket.order]
        damaged = delivery.damaged[basket.order]
        mean = 3.9 + 0.55 * quality
        mean += -1.6 * defective - 0.4 * late - 0.6 * damaged
        rating = np.clip(np.round(mean + self.rng.normal(0.0, 0.8, count)), 1, 5).astype(np.int64)
        written = self.rng.random(count) < self.customers.talkative[self.buyer] + 0.15 * defective
        columns = {
            "item": basket.first_item + np.arange(count),
            "customer": self.buyer,
            "product": basket.product,
            "day": delivery.day[basket.order] + self.rng.integers(1, 18, count),
            "second": self.rng.integers(7 * 3600, 86400, count),
            "rating": rating,
            "expected": mean,
            "complaint": np.where(defective, 2, np.where(late, 1, 0)),
        }
        rows = {name: values[written] for name, values in columns.items()}
        self.log.add("reviews", rows)
        self.effects.ratings.append(
            (rows["day"], rows["product"], rows["rating"].astype(np.float64))
        )

    def _contact(self, delivery: Delivery, defective: Bools) -> None:
        """Bad orders often lead to a support contact, good ones rarely; at most one per order."""
        basket = self.basket
        count = len(basket.customer)
        faulty = np.bincount(basket.order, defective, minlength=count) > 0
        topic = np.select([delivery.damaged, faulty, delivery.late], [DAMAGED, DEFECTIVE, LATE])
        topic = np.where(delivery.damaged | faulty | delivery.late, topic, QUESTION)
        likely = np.array([0.22, 0.5, 0.35, 0.05])[topic]
        chosen = self.rng.random(count) < likely
        day = delivery.day + self.rng.integers(1, 5, count)
        order = basket.first_order + np.arange(count)
        contacts = Contacts(
            customer=basket.customer[chosen],
            order=order[chosen],
            topic=topic[chosen],
            day=day[chosen],
            effect_day=day[chosen],
        )
        log_contacts(contacts, self.effects, self.log, self.rng)


def stray_contacts(active: Bools, day: int, log: Log, rng: Generator) -> Consequences:
    """Contacts without an order: questions that active customers have now and then."""
    customer = np.flatnonzero(active & (rng.random(len(active)) < 0.0012))
    days = np.full(len(customer), day)
    effects = Consequences()
    order = np.full(len(customer), -1)
    # They act from the next day on: this day's discontent is settled already.
    topic = np.full(len(customer), QUESTION)
    contacts = Contacts(customer, order, topic, days, effect_day=days + 1)
    log_contacts(contacts, effects, log, rng)
    return effects


def log_contacts(contacts: Contacts, effects: Consequences, log: Log, rng: Generator) -> None:
    """Log the contacts. Unresolved ones raise discontent, resolved ones soothe."""
    count = len(contacts.customer)
    resolved = rng.random(count) < np.where(contacts.topic == QUESTION, 0.75, 0.5)
    score = np.clip(np.round(rng.normal(2.2 + 1.8 * resolved, 0.8)), 1, 5).astype(np.int64)
    columns = {
        "customer": contacts.customer,
        "order": contacts.order,
        "day": contacts.day,
        "second": rng.integers(8 * 3600, 21 * 3600, count),
        "channel": rng.choice(len(CONTACT_CHANNELS), count, p=[0.45, 0.35, 0.2]),
        "topic": contacts.topic,
        "wait": np.round(rng.gamma(2.0, 6.0, count) * np.where(resolved, 1.0, 1.6), 1),
        "resolved": resolved,
        "satisfaction": np.where(rng.random(count) < 0.55, -1, score),
    }
    log.add("support_contacts", columns)
    effects.discontent.append(
        (contacts.effect_day, contacts.customer, np.where(resolved, -0.25, 0.8))
    )
