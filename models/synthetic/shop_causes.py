"""What the demo shop's columns are computed from, as far as one can say it of a row.

Not named are columns whose causes lie further off than a parent: the discount of an item (campaigns
of its product's category) and the topic of a contact (delivery and defects of its order).
"""

from __future__ import annotations

from collections.abc import Mapping

from models.synthetic.database import Place
from models.synthetic.handwritten import Causes

_CHANCE = Causes(signal=0.0)

SHOP_CAUSES: Mapping[Place, Causes] = {
    ("categories", "department"): Causes(("own:name",), 1.0),
    ("products", "name"): Causes(("parent:category_id.name",)),
    ("products", "brand"): _CHANCE,
    ("products", "list_price"): Causes(("parent:category_id.name",)),
    ("products", "weight_kg"): _CHANCE,
    ("products", "warranty_months"): _CHANCE,
    ("products", "is_eco"): _CHANCE,
    ("campaigns", "starts_at"): Causes(("time",)),
    ("campaigns", "ends_at"): Causes(("own:starts_at",)),
    ("campaigns", "discount"): _CHANCE,
    ("campaigns", "channel"): _CHANCE,
    ("customers", "region"): _CHANCE,
    ("customers", "signup_channel"): _CHANCE,
    ("customers", "birth_year"): _CHANCE,
    ("customers", "is_member"): _CHANCE,
    ("customers", "newsletter"): _CHANCE,
    ("orders", "channel"): _CHANCE,
    ("orders", "payment_method"): _CHANCE,
    ("orders", "shipping_method"): _CHANCE,
    ("orders", "promised_days"): Causes(("own:shipping_method",), 1.0),
    ("orders", "coupon_code"): _CHANCE,
    ("orders", "is_gift"): _CHANCE,
    ("order_items", "quantity"): _CHANCE,
    ("order_items", "unit_price"): Causes(("parent:product_id.list_price", "time"), 1.0),
    ("order_items", "amount"): Causes(("own:quantity", "own:unit_price", "own:discount"), 1.0),
    ("shipments", "carrier"): _CHANCE,
    ("shipments", "days_late"): Causes(("state",)),
    ("shipments", "is_damaged"): Causes(("own:days_late",)),
    ("shipments", "cost"): Causes(("parent:order_id.shipping_method",)),
    ("returns", "reason"): Causes(("state",)),
    ("returns", "refund"): Causes(("parent:order_item_id.amount",), 1.0),
    ("reviews", "rating"): Causes(("state",)),
    ("reviews", "review_text"): Causes(("own:rating", "state")),
    ("support_contacts", "channel"): _CHANCE,
    ("support_contacts", "message"): Causes(("own:topic",)),
    ("support_contacts", "wait_minutes"): Causes(("own:is_resolved",)),
    ("support_contacts", "is_resolved"): Causes(("own:topic",)),
    ("support_contacts", "satisfaction"): Causes(("own:is_resolved",)),
}
