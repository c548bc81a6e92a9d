"""Small planted tasks for tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from models.synthetic.dials.dials import Dials
from models.synthetic.dials.plant import PlantedTask
from models.synthetic.dials.realised import before_cutoffs

SMALL = Dials(entities=300, cutoffs=4, rows=900, communities=10, degree=6)


def small(**dials) -> Dials:
    return replace(SMALL, **dials)


def known_activities(planted: PlantedTask, until=None) -> pl.DataFrame:
    """Activities of the period before each cutoff with what can be reached from them."""
    tables = planted.database.tables
    activities = tables["activity"]
    if until is not None:
        activities = activities.filter(pl.col("happened_at") <= until)
    partners = tables["partner"].join(
        tables["grandpartner"], on="grandpartner_id", suffix="_above", maintain_order="left"
    )
    owners = tables["entity"].select(
        pl.col("entity_id").alias("entity"), own_1="trait_1", own_2="trait_2"
    )
    cutoffs = planted.oracle["cutoff_time"].unique().sort().to_list()
    found = before_cutoffs(activities, cutoffs)
    found = found.join(partners, on="partner_id", maintain_order="left")
    return found.join(owners, on="entity", maintain_order="left")


def in_oracle_order(planted: PlantedTask, values: pl.DataFrame) -> pl.DataFrame:
    return planted.oracle.select("cutoff_time", "entity").join(
        values, on=["cutoff_time", "entity"], how="left", maintain_order="left"
    )


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    ranks = pl.DataFrame({"first": first, "second": second}).select(
        pl.corr("first", "second", method="spearman")
    )
    return float(ranks.item())
