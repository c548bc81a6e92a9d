"""Builds task vectors of the small shop in a temporary folder."""

from datetime import timedelta

import polars as pl

from models.tve.inheritance import inherited_columns, with_inherited
from models.tve.task_vectors import TaskVectorBuilder, TaskVectorConfig, read_task_vectors
from tests.models.dfs.shop import SHOP, day, shop_frames, store

TILE = timedelta(days=2)
AS_OF = day(26)
# Items are events of the customer of their order.
EVENTS = with_inherited(SHOP, inherited_columns(SHOP, "customers"))
CONFIG = TaskVectorConfig(tile=TILE, horizons=(1, 3), lookback=2, top_k=2)


def shop(seed=1, orders=150):
    return shop_frames(seed, customers=8, orders=orders)


def build(
    frames, folder, as_of=AS_OF, config=CONFIG, earlier=None, schema=SHOP, entity="customers"
):
    """The task vectors of the frames; `folder` gets the tables and the result."""
    tables = store(frames, folder / "tables")
    out = folder / f"vectors-{as_of:%Y%m%d}"
    out.mkdir(exist_ok=True)
    builder = TaskVectorBuilder(schema, entity, tables, config)
    metadata = builder.build(as_of, out, earlier)
    return read_task_vectors(out), metadata, out


def raw(folder):
    return pl.read_parquet(folder / "raw.parquet")


def with_customers(frames):
    """The frames with the customer of each item, looked up one by one; of none before its order."""
    orders = {order["id"]: order for order in frames["orders"].to_dicts()}
    found = []
    for item in frames["items"].to_dicts():
        order = orders.get(item["order_id"])
        known = order is not None and item["at"] is not None and order["at"] <= item["at"]
        found.append(order["customer_id"] if known else None)
    items = frames["items"].with_columns(pl.Series("order_id.customer_id", found, dtype=pl.Int64))
    return {**frames, "items": items}
