"""What boosted trees find with aggregates, and what they need the right relatives for."""

from __future__ import annotations

import polars as pl
import pytest
from lightgbm import LGBMClassifier
from sklearn.metrics import roc_auc_score

from models.synthetic.dials.dials import Dials
from models.synthetic.dials.plant import PlantedTask, plant
from tests.models.synthetic.dials.small import in_oracle_order, known_activities

VALUES = ("value_1", "value_2", "value_3", "trait_1", "trait_2", "trait_1_above", "trait_2_above")


def task(**shares) -> PlantedTask:
    none = {"homophily": 0.0, "autocorrelation": 0.0, "interaction": 0.0, "noise": 0.15}
    sizes = {"entities": 800, "cutoffs": 4, "rows": 3200, "degree": 12, "distractors": 0}
    return plant(Dials(**{**sizes, **none, **shares}), 3)


def score(planted: PlantedTask, features: pl.DataFrame) -> float:
    """Test AUROC of LightGBM, trained on the rows before."""
    table = features.drop("cutoff_time", "entity").to_numpy()
    labels = planted.oracle["label"].to_numpy()
    training = (planted.oracle["split"] == "train").to_numpy()
    trees = LGBMClassifier(
        n_estimators=80, learning_rate=0.1, num_leaves=15, n_jobs=1, random_state=0, verbose=-1
    )
    trees.fit(table[training], labels[training])
    return float(roc_auc_score(labels[~training], trees.predict_proba(table[~training])[:, 1]))


def aggregates(planted: PlantedTask) -> pl.DataFrame:
    """Aggregates of every column that an entity's activities lead to, and its own columns."""
    columns = pl.col(*VALUES)
    found = known_activities(planted).group_by("cutoff_time", "entity").agg(
        columns.mean().name.suffix(".mean"),
        columns.max().name.suffix(".max"),
        columns.min().name.suffix(".min"),
        columns.std().name.suffix(".std"),
        columns.last().name.suffix(".last"),
        own_1=pl.col("own_1").first(),
        own_2=pl.col("own_2").first(),
    )  # fmt: skip
    return in_oracle_order(planted, found)


def products(planted: PlantedTask) -> pl.DataFrame:
    value = pl.col("value_1") * pl.col("trait_1")
    known = known_activities(planted).group_by("cutoff_time", "entity")
    return in_oracle_order(planted, known.agg(value=value.mean()))


def histories(planted: PlantedTask) -> tuple[pl.DataFrame, pl.DataFrame]:
    """An entity's own last outcome; the mean of its partners' outcomes of the period before."""
    outcomes = planted.database.tables["outcome"]
    cutoffs = planted.oracle.select(pl.col("cutoff_time").unique(maintain_order=True))
    age = pl.col("cutoff_time") - pl.col("happened_at")
    past = outcomes.join(cutoffs, how="cross").filter(
        age >= pl.duration(), age.dt.total_days() < 30
    )
    own = past.select("cutoff_time", "amount", entity="entity_id")
    at_partners = past.group_by("cutoff_time", "partner_id").agg(pl.col("amount").mean())
    met = known_activities(planted).join(at_partners, on=["cutoff_time", "partner_id"])
    theirs = met.group_by("cutoff_time", "entity").agg(pl.col("amount").mean())
    return in_oracle_order(planted, own), in_oracle_order(planted, theirs)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_aggregates_find_a_single_column_at_any_depth(depth):
    planted = task(interaction=0.85, depth=depth, order=1)
    assert score(planted, aggregates(planted)) > planted.realised["oracle_auroc"] - 0.03


@pytest.mark.parametrize("depth", [2, 3])
def test_aggregates_do_not_find_a_product_across_a_hop(depth):
    planted = task(interaction=0.85, depth=depth, order=2)
    assert score(planted, aggregates(planted)) < 0.68
    if depth == 2:
        assert score(planted, products(planted)) > planted.realised["oracle_auroc"] - 0.03


def test_homophily_shows_in_the_outcomes_of_the_partners_and_nowhere_else():
    planted = task(homophily=0.85)
    own, theirs = histories(planted)
    assert score(planted, theirs) > 0.7
    assert score(planted, own) < 0.56
    assert score(planted, aggregates(planted)) < 0.56


def test_autocorrelation_shows_in_the_own_outcomes_and_not_in_the_partners():
    planted = task(autocorrelation=0.85)
    own, theirs = histories(planted)
    assert score(planted, own) > 0.8
    assert score(planted, theirs) < 0.56
