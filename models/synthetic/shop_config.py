"""Settings and vocabulary of the demo shop."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

# (name, department, base price, amplitude of the yearly season, day of the year of its peak)
CATEGORIES: tuple[tuple[str, str, float, float, int], ...] = (
    ("cookware", "home", 42.0, 0.2, 340),
    ("bedding", "home", 55.0, 0.3, 20),
    ("lighting", "home", 38.0, 0.4, 330),
    ("garden", "outdoor", 35.0, 1.1, 140),
    ("camping", "outdoor", 60.0, 0.9, 190),
    ("cycling", "outdoor", 48.0, 0.7, 160),
    ("toys", "family", 24.0, 0.8, 345),
    ("books", "family", 16.0, 0.2, 340),
    ("stationery", "family", 12.0, 0.5, 240),
    ("audio", "electronics", 85.0, 0.3, 335),
    ("gadgets", "electronics", 65.0, 0.3, 335),
    ("skincare", "care", 22.0, 0.1, 60),
)
BRANDS = ("Alder", "Birch & Co", "Corvid", "Dunlin", "Elderwood", "Fennel", "Garrick", "Harrow")
REGIONS = ("north", "south", "east", "west", "islands")
SIGNUP_CHANNELS = ("search", "social", "marketplace", "newsletter", "friend")
ORDER_CHANNELS = ("web", "app", "phone")
PAYMENT_METHODS = ("card", "wallet", "invoice", "gift_card")
SHIPPING_METHODS = ("standard", "express", "pickup")
CARRIERS = ("Swift", "Parcelo", "Nordpost", "Roadrunner")
COUPONS = ("WELCOME", "SPRING", "VIP", "THANKS")
RETURN_REASONS = ("defective", "wrong_size", "changed_mind", "not_as_described")
CONTACT_TOPICS = ("late_delivery", "damaged_parcel", "defective_item", "question")
CONTACT_CHANNELS = ("email", "chat", "phone")
CAMPAIGN_CHANNELS = ("email", "television", "social", "in_app")


@dataclass(frozen=True)
class ShopConfig:
    """Size, period and randomness of the demo shop.

    Attributes:
        seed: Seed of the only random generator; equal configs give identical tables.
        customers: Number of customers that sign up over the whole period.
        products: Number of products, about half of them launched before `start`.
        days: Length of the simulated period in days; every event lies within it, except the
            launches of the initial assortment.
        start: First simulated day (UTC).
        neighbour_effect: Factor on everything that a customer's orders and loyalty owe to
            neighbouring rows (deliveries, defects, support, other people's ratings, the referrer).
            1 is the demo, 0 leaves only the customer's own latent traits and the seasons.
    """

    seed: int = 7
    customers: int = 1400
    products: int = 160
    days: int = 1095
    start: date = date(2021, 1, 1)
    neighbour_effect: float = 1.0

    @property
    def campaigns(self) -> int:
        """Number of campaigns: about one every six days."""
        return max(1, self.days // 6)

    def __post_init__(self) -> None:
        if min(self.customers, self.days) < 1:
            raise ValueError("a shop needs at least one customer and one day")
        if self.products < len(CATEGORIES):
            raise ValueError(f"a shop needs at least {len(CATEGORIES)} products")
        if self.neighbour_effect < 0:
            raise ValueError("neighbour_effect must not be negative")
