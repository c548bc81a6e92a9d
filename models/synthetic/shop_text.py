"""Short texts of the demo shop: product names, review texts and support messages.

Texts are put together from templates. A review's wording follows its rating and names the complaint
behind it (a late or defective item), so text columns carry signal that the numbers do not.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.random import Generator

from models.synthetic.shop_world import Bools, Ints

_OPENERS = (  # five per rating, from one star to five
    *("Terrible.", "Very disappointed.", "Waste of money.", "Never again.", "Awful quality."),
    *("Not great.", "Expected more.", "Rather poor.", "Below average.", "I regret buying it."),
    *("It is okay.", "Average.", "Does the job.", "Neither good nor bad.", "Acceptable."),
    *("Good purchase.", "Quite happy with it.", "Works well.", "Nice.", "Solid quality."),
    *("Excellent!", "Love it!", "Perfect.", "Best I ever had.", "Absolutely recommended!"),
)
_COMPLAINTS = (  # three each: no complaint, late, defective
    *("Bought it for my sister.", "Used it for a week.", "Looks as in the picture."),
    *("It came days late.", "Delivery took forever.", "The parcel arrived too late."),
    *("It broke at once.", "A part was missing.", "It was faulty from the start."),
)
_CLOSERS = (  # three for up to two stars, three for three stars, three above
    *("I want my money back.", "Will shop elsewhere.", "Do not buy."),
    *("Fine for the price.", "Might try another one.", "Could be better."),
    *("Will order again.", "Great value.", "Thank you!"),
)
_MESSAGES = (  # four per topic
    *("Where is my order?", "My parcel is overdue.", "Tracking has not moved for days.",
      "When will it finally arrive?"),
    *("The box was crushed.", "Parcel arrived open and wet.", "The packaging was torn.",
      "Items damaged in transit."),
    *("The item does not work.", "It stopped working on day one.", "A part is missing.",
      "The product is faulty, please replace it."),
    *("How do I change my address?", "Is this also available in blue?", "Can I get an invoice?",
      "How long is the warranty?"),
)  # fmt: skip
_ADJECTIVES = ("Classic", "Compact", "Deluxe", "Eco", "Light", "Pro", "Smart", "Studio", "Urban")
_NOUNS = (  # three per category, in the order of CATEGORIES
    *("pan", "pot", "knife set", "duvet", "pillow", "sheet set", "lamp", "lantern", "spotlight"),
    *("hose", "planter", "shears", "tent", "sleeping bag", "stove", "helmet", "pump", "bike light"),
    *("puzzle", "building kit", "plush bear", "novel", "cookbook", "atlas"),
    *("notebook", "pen set", "calendar", "headphones", "speaker", "microphone"),
    *("charger", "smart plug", "tracker", "day cream", "soap", "sun lotion"),
)


def product_names(category: Ints, rng: Generator) -> pl.Series:
    """A name per product: an adjective, a noun of its category and a model number."""
    count = len(category)
    adjective = _pick(_ADJECTIVES, rng.integers(0, len(_ADJECTIVES), count))
    noun = _pick(_NOUNS, 3 * category + rng.integers(0, 3, count))
    number = pl.Series(rng.integers(1, 10, count) * 100).cast(pl.String)
    return adjective + " " + noun + " " + number


def review_texts(rating: Ints, complaint: Ints, silent: Bools, rng: Generator) -> pl.Series:
    """A text per review; null where `silent`.

    Args:
        rating: Stars, 1 to 5.
        complaint: 0: none, 1: late, 2: defective.
        silent: Reviews without a text.
        rng: The generator that picks the templates.
    """
    picks = rng.integers(0, (5, 3, 3), (len(rating), 3))
    closer = np.select([rating <= 2, rating == 3], [0, 1], 2)
    text = _pick(_OPENERS, 5 * (rating - 1) + picks[:, 0])
    text = text + " " + _pick(_COMPLAINTS, 3 * complaint + picks[:, 1])
    text = text + " " + _pick(_CLOSERS, 3 * closer + picks[:, 2])
    return text.set(pl.Series(silent), None)


def support_messages(topic: Ints, rng: Generator) -> pl.Series:
    """A message per support contact, by topic."""
    return _pick(_MESSAGES, 4 * topic + rng.integers(0, 4, len(topic)))


def _pick(values: tuple[str, ...], index: Ints) -> pl.Series:
    return pl.Series(values, dtype=pl.String).gather(pl.Series(index, dtype=pl.Int64))
