"""The embedded demo database: an online shop with three years of related events.

Ten tables in which the future of a customer or product depends on its own history and on rows
around it: deliveries, defects, support, other people's reviews, referrers, campaigns, trends. All
of it acts forward in time, so a model that respects time can find it and no row gives it away.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from models.synthetic.shop_config import ShopConfig
from models.synthetic.shop_simulation import simulate
from models.synthetic.shop_tables import build_tables

__all__ = ["ShopConfig", "generate_shop"]


def generate_shop(config: ShopConfig | None = None) -> dict[str, pl.DataFrame]:
    """Generate the demo shop.

    Args:
        config: Size, period and seed; None stands for the defaults (about 100 000 rows).

    Returns:
        The tables by name. Primary keys count from 0 in order of time; timestamps are naive UTC at
        whole seconds; amounts are in euros. Equal configurations give identical frames.
    """
    config = config or ShopConfig()
    rng = np.random.Generator(np.random.PCG64(config.seed))
    world, referrer, log = simulate(config, rng)
    return build_tables(config, world, referrer, log, rng)
