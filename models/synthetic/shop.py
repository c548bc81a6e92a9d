"""The embedded demo database: an online shop with three years of related events.

Ten tables in which the future of a customer or product depends on its own history and on rows
around it: deliveries, defects, support, other people's reviews, referrers, campaigns, trends. All
of it acts forward in time, so a model that respects time can find it and no row gives it away.

The schema is declared in `shop.sql`; rows and columns come from a simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from importlib import resources

import numpy as np
import polars as pl

from models.synthetic.database import Generator
from models.synthetic.generator import generate
from models.synthetic.handwritten import HandwrittenColumns, HandwrittenRows, Simulated
from models.synthetic.schema_layout import SchemaLayout, TableChoice
from models.synthetic.shop_causes import SHOP_CAUSES
from models.synthetic.shop_config import CATEGORIES, ShopConfig
from models.synthetic.shop_simulation import simulate
from models.synthetic.shop_tables import build_tables, latent_states
from models.synthetic.shop_world import EARLIEST_LAUNCH
from models.synthetic.streams import Streams

__all__ = ["SHOP_DDL", "ShopConfig", "generate_shop", "shop_generator", "shop_layout"]

SHOP_DDL = resources.files("models.synthetic").joinpath("shop.sql").read_text(encoding="utf-8")
"""The CREATE TABLE statements of the shop."""

ORDERS_PER_CUSTOMER_DAY = 1 / 64
ROWS_PER_ORDER = {
    "orders": 1.0,
    "order_items": 1.7,
    "shipments": 0.8,
    "returns": 0.1,
    "reviews": 0.5,
    "support_contacts": 0.12,
}
"""About what the simulation comes to; only made-up columns are scaled by it."""


def generate_shop(config: ShopConfig | None = None) -> dict[str, pl.DataFrame]:
    """Generate the demo shop.

    Args:
        config: Size, period and seed; None stands for the defaults (about 100 000 rows).

    Returns:
        The tables by name. Primary keys count from 0 in order of time; timestamps are naive UTC at
        whole seconds; amounts are in euros. Equal configurations give identical frames.
    """
    config = config or ShopConfig()
    return dict(generate(shop_generator(config), config.seed).tables)


def shop_generator(config: ShopConfig | None = None, ddl: str = SHOP_DDL) -> Generator:
    """The stages of the demo shop; `generate` gives them the seed, the configuration's own is unused.

    Args:
        config: Size and period; None stands for the defaults.
        ddl: The schema: that of the shop, or one with further columns, which are made up, or fewer.

    Raises:
        DdlError: a statement of the schema cannot be parsed.
        SchemaError: no database can be made for the schema.
    """
    config = config or ShopConfig()
    return Generator(
        shop_layout(config, ddl),
        HandwrittenRows(_Simulation(config)),
        HandwrittenColumns(SHOP_CAUSES),
    )


def shop_layout(config: ShopConfig | None = None, ddl: str = SHOP_DDL) -> SchemaLayout:
    """The shop's first stage; arguments and errors are those of `shop_generator`.

    The span begins before the first launch of a product. Validation and test are the ninth and the
    last tenth of the simulated days, or the last two days where these are too few.
    """
    config = config or ShopConfig()
    opening = datetime.combine(config.start, time())
    days = config.days - EARLIEST_LAUNCH
    validation = min(int(0.8 * config.days), config.days - 2) - EARLIEST_LAUNCH
    test = min(int(0.9 * config.days), config.days - 1) - EARLIEST_LAUNCH
    return SchemaLayout.from_ddl(
        ddl,
        "shop",
        tables={name: TableChoice(rows=rows) for name, rows in _planned_rows(config).items()},
        span=(
            opening + timedelta(days=EARLIEST_LAUNCH),
            opening + timedelta(days=config.days),
        ),
        validation=validation / days,
        test=test / days,
    )


@dataclass(frozen=True, slots=True)
class _Simulation:
    config: ShopConfig

    def __call__(self, streams: Streams) -> Simulated:
        # One generator in a fixed order: what happens on a day depends on all days before it.
        rng = np.random.Generator(np.random.PCG64(streams.seed))
        world, referrer, log = simulate(self.config, rng)
        events = log.until(self.config.days)
        tables = build_tables(self.config, world, referrer, events, rng)
        return Simulated(tables, latent_states(world, events))


def _planned_rows(config: ShopConfig) -> dict[str, int]:
    orders = ORDERS_PER_CUSTOMER_DAY * config.customers * config.days
    return {
        "categories": len(CATEGORIES),
        "products": config.products,
        "campaigns": config.campaigns,
        "customers": config.customers,
        **{table: max(1, round(share * orders)) for table, share in ROWS_PER_ORDER.items()},
    }
