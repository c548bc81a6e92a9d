"""The realised value of every dial, measured on the tables and the oracle of a planted task."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from models.synthetic.database import SyntheticDatabase
from models.synthetic.dials.dials import ACTIVITY, ENTITY, GRANDPARTNER, PARTNER, Dials
from models.synthetic.dials.layout import OUTCOME, PERIOD, TRAITS, VALUES
from models.synthetic.dials.measures import (
    coefficient_drift,
    component_shares,
    explained,
    label_autocorrelation,
    label_homophily,
    residual,
)
from models.synthetic.rows import Floats

COMPONENTS = ("homophily", "autocorrelation", "interaction", "plain")


def realised_dials(
    dials: Dials, database: SyntheticDatabase, oracle: pl.DataFrame, terms: Floats
) -> dict[str, float]:
    """The realised values by name, over all entities and the cutoffs of all splits.

    homophily: adjusted label homophily along entity - activity - partner - activity - entity, links
    of the period before a cutoff, labels of the same cutoff; 0 without partners.
    label_autocorrelation: lag 1, within entities, of the labels. autocorrelation: the part of it that
    is the entity's own, which is what the other components leave of the labels in a linear model: a
    community to which entities stay loyal, or traits, make labels persistent too.
    share_<component> and share_noise: of the variance of the outcomes' amounts. interaction is
    share_interaction. noise is share_noise. oracle_auroc: of the true probabilities. drift: of the
    coefficients in a linear model of the label; 0 where no visible column has a share.
    interaction_by_aggregates: R² of the interaction's component in a linear model of mean, maximum,
    last value and share above 0 of each column that it multiplies, an aggregate a column: near 1
    where aggregates find the interaction, near 0 where only products of rows do.
    rows: training rows; degree: activities an entity and period. positive_rate, depth, order,
    distractors: as they are.

    Args:
        dials: What was asked for.
        database: The tables.
        oracle: As in `PlantedTask`.
        terms: The four functions of visible columns whose coefficients drift, float64
            [4, cutoffs, entities].
    """
    cutoffs = oracle["cutoff_time"].unique().sort().to_list()
    activities = before_cutoffs(database.tables[ACTIVITY], cutoffs)
    labels = oracle["label"].to_numpy().astype(np.float64)
    components = {name: oracle[name].to_numpy() for name in COMPONENTS}
    shares = component_shares(components, _amounts(database, oracle))
    numbers = oracle["cutoff_time"].rank("dense").to_numpy().astype(np.float64) - 1
    visible = dials.interaction + dials.plain > 0
    others = np.column_stack([components[name] for name in COMPONENTS if name != "autocorrelation"])
    own = residual(labels, others)
    own_share = float(np.var(own) / np.var(labels))
    found = {
        "homophily": _homophily(dials, oracle, activities),
        "autocorrelation": own_share
        * label_autocorrelation(oracle.with_columns(own=pl.Series(own)), "own"),
        "label_autocorrelation": label_autocorrelation(oracle),
        "interaction": shares["interaction"],
        "noise": 1.0 - sum(shares.values()),
        **{f"share_{name}": share for name, share in shares.items()},
        "share_noise": 1.0 - sum(shares.values()),
        "oracle_auroc": float(roc_auc_score(labels, oracle["probability"])),
        "interaction_by_aggregates": _by_aggregates(dials, database, oracle, activities),
        "drift": (
            coefficient_drift(labels, terms.reshape(len(terms), -1), numbers / numbers.max())
            if visible
            else 0.0
        ),
        "rows": float(oracle.filter("counted", split="train").height),
        "degree": activities.height / oracle.height,
        "positive_rate": float(labels.mean()),
        "depth": float(dials.depth),
        "order": float(dials.order),
        "distractors": float(
            sum(name.startswith("extra_") for t in database.tables.values() for name in t.columns)
        ),
    }
    # Last bits differ from one linear algebra library to another.
    return {name: float(f"{value:.6g}") for name, value in found.items()}


def before_cutoffs(events: pl.DataFrame, cutoffs: Sequence[datetime]) -> pl.DataFrame:
    """Events in the period up to a cutoff with it as cutoff_time, and entity_id as entity; others out.

    Args:
        events: entity_id, happened_at (ascending), ...
        cutoffs: Ascending, one period apart.
    """
    grid = pl.DataFrame({"cutoff_time": cutoffs}, schema={"cutoff_time": pl.Datetime("us")})
    found = events.join_asof(
        grid.set_sorted("cutoff_time"),
        left_on="happened_at",
        right_on="cutoff_time",
        strategy="forward",
        coalesce=False,
    )
    in_time = pl.col("cutoff_time") - pl.col("happened_at") < PERIOD
    return found.filter(in_time).rename({"entity_id": "entity"})


def _homophily(dials: Dials, oracle: pl.DataFrame, activities: pl.DataFrame) -> float:
    if not dials.partners:
        return 0.0
    links = activities.select("cutoff_time", "entity", pl.col("partner_id").alias("partner"))
    return label_homophily(oracle, links)


def _amounts(database: SyntheticDatabase, oracle: pl.DataFrame) -> Floats:
    """The amount of the outcome in the period after each of the oracle's cutoffs."""
    closes = pl.col("cutoff_time") + PERIOD
    ends = oracle.select(closes.unique().sort()).to_series().to_list()
    found = before_cutoffs(database.tables[OUTCOME], ends)
    keyed = oracle.select("entity", cutoff_time=closes)
    both = keyed.join(found, on=["entity", "cutoff_time"], maintain_order="left")
    return both["amount"].to_numpy()


def _by_aggregates(
    dials: Dials, database: SyntheticDatabase, oracle: pl.DataFrame, activities: pl.DataFrame
) -> float:
    if not dials.interaction:
        return 0.0
    tables = database.tables
    known = activities
    if {PARTNER, GRANDPARTNER} & set(dials.factors):
        above = tables[GRANDPARTNER].select("grandpartner_id", *_named(GRANDPARTNER, TRAITS))
        partners = tables[PARTNER].select("partner_id", "grandpartner_id", *_named(PARTNER, TRAITS))
        known = known.join(partners, on="partner_id", maintain_order="left")
        known = known.join(above, on="grandpartner_id", maintain_order="left")
    known = known.rename({name: f"{ACTIVITY}.{name}" for name in VALUES})
    numbers = (0, 1) if dials.drift else (0,)
    aggregates = []
    for table in dials.factors:
        for number in numbers if table != ENTITY else ():
            column = f"{table}.{(VALUES if table == ACTIVITY else TRAITS)[number]}"
            value = pl.col(column)
            aggregates += [
                value.mean().alias(f"{column}.mean"),
                value.max().alias(f"{column}.max"),
                value.last().alias(f"{column}.last"),
                (value > 0).mean().alias(f"{column}.share"),
            ]
    grouped = known.group_by("cutoff_time", "entity", maintain_order=True).agg(aggregates)
    own = tables[ENTITY].select(pl.col("entity_id").alias("entity"), *_named(ENTITY, TRAITS))
    keyed = oracle.select("cutoff_time", "entity").join(
        grouped, on=["cutoff_time", "entity"], maintain_order="left"
    )
    table_features = keyed.join(own, on="entity", maintain_order="left")
    features = table_features.drop("cutoff_time", "entity").to_numpy()
    return explained(oracle["interaction"].to_numpy(), features)


def _named(table: str, columns: Sequence[str]) -> list[pl.Expr]:
    return [pl.col(column).alias(f"{table}.{column}") for column in columns]
