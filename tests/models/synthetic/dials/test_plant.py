"""Planted databases are valid, reproducible, and know nothing of their future."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import relbench

from models.synthetic.dials.dials import FACTORS, Aggregate
from models.synthetic.dials.plant import PlantedTask, plant
from models.synthetic.relbench_folder import write_relbench_folder
from models.synthetic.tasks.labels import label_table
from tests.models.synthetic.dials.small import (
    in_oracle_order,
    known_activities,
    rank_correlation,
    small,
)

ROOT = Path(__file__).parents[4]
CHANGES = {
    "homophily": {"homophily": 0.3},
    "noise": {"noise": 0.05},
    "drift": {"drift": 0.5},
    "rows": {"rows": 700},
    "degree": {"degree": 5},
    "degree_exponent": {"degree_exponent": 2.0},
    "distractors": {"distractors": 11},
    "positive_rate": {"positive_rate": 0.3},
    "aggregate": {"aggregate": Aggregate.LAST},
    "order": {"order": 1},
    "depth": {"depth": 3},
    "mobility": {"mobility": 0.5},
}


def fingerprint(planted: PlantedTask) -> str:
    digest = hashlib.sha256()
    for name, frame in [*planted.database.tables.items(), ("oracle", planted.oracle)]:
        digest.update(name.encode())
        digest.update(str(frame.schema).encode())
        digest.update(frame.write_csv().encode())
    digest.update(repr(planted.realised).encode())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def planted() -> PlantedTask:
    return plant(small(), 3)


def test_identical_in_another_process(planted):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "5"}
    done = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint(planted)


def test_another_seed_gives_another_database(planted):
    assert fingerprint(plant(small(), 4)) != fingerprint(planted)


@pytest.mark.parametrize("dial", CHANGES)
def test_every_dial_changes_the_task(planted, dial):
    assert fingerprint(plant(small(**CHANGES[dial]), 3)) != fingerprint(planted)


@pytest.mark.parametrize("dial", ["homophily", "noise", "drift", "positive_rate", "order", "rows"])
def test_a_dial_of_the_label_moves_nothing_but_outcomes(planted, dial):
    moved = plant(small(**CHANGES[dial]), 3).database.tables
    for name, frame in planted.database.tables.items():
        kept = frame.columns
        if name == "outcome":
            kept = [column for column in kept if column not in ("happened", "amount", "counted")]
        assert moved[name].select(kept).equals(frame.select(kept)), name


def test_more_distractors_leave_the_others_as_they_are(planted):
    more = plant(small(distractors=20), 3)
    for name, frame in planted.database.tables.items():
        assert more.database.tables[name].select(frame.columns).equals(frame)
    assert more.oracle.equals(planted.oracle)


def test_keys_and_times_are_valid(planted):
    plan, tables = planted.database.blueprint, planted.database.tables
    for table in plan.tables:
        frame = tables[table.name]
        assert frame.height == table.rows == len(planted.database.rows[table.name])
        assert frame.columns[1 + len(table.keys) + bool(table.time_column) :] == table.column_names
        for key in table.keys:
            assert frame[key.column].null_count() == 0
            assert frame[key.column].is_between(0, tables[key.parent].height - 1).all()
        if table.time_column:
            times = frame[table.time_column]
            assert times.is_sorted()
            assert times.is_between(plan.start, plan.end).all()


def test_the_task_s_labels_are_the_oracle_s(planted):
    labels = label_table(planted.database, planted.task)
    counted = planted.oracle.filter("counted")
    for column in ("entity", "cutoff_time", "label", "split"):
        assert labels[column].to_list() == counted[column].to_list(), column
    assert labels["split"].value_counts().sort("split").rows() == [
        ("test", 300),
        ("train", 900),
        ("val", 300),
    ]


def test_relbench_makes_the_same_labels(planted, tmp_path):
    folder = write_relbench_folder(planted.database, tmp_path / "planted", tasks=[planted.task])
    task = relbench.load_dataset(str(folder)).load_task(planted.task.name)
    for split in ("train", "val", "test"):
        found = task.get_table(split, mask_input_cols=False).df
        found = found.sort_values(["timestamp", "entity_id"])
        oracle = planted.oracle.filter("counted", split=split)
        assert found["label"].tolist() == oracle["label"].to_list()
        assert found["entity_id"].tolist() == oracle["entity"].to_list()


def test_training_rows_are_other_entities_at_every_cutoff():
    counted = plant(small(rows=402), 1).oracle.filter("counted", split="train")
    groups = counted.group_by("cutoff_time", maintain_order=True).agg("entity")["entity"].to_list()
    assert [len(group) for group in groups] == [101, 101, 100, 100]
    # 300 entities by chance: a third of each hundred is in the next.
    assert 15 < len({*groups[0]} & {*groups[1]}) < 55


@pytest.mark.parametrize(("depth", "order"), FACTORS)
@pytest.mark.parametrize("aggregate", Aggregate)
def test_the_interaction_is_computed_from_rows_before_the_cutoff(depth, order, aggregate):
    if depth == 0 and aggregate != Aggregate.MEAN:
        return
    planted = plant(small(depth=depth, order=order, aggregate=aggregate), 5)
    last = planted.oracle["cutoff_time"].max()
    known = known_activities(planted, until=last)
    columns = {
        "entity": "own_1",
        "activity": "value_1",
        "partner": "trait_1",
        "grandpartner": "trait_1_above",
    }
    parts = [pl.col(columns[table]) for table in FACTORS[depth, order] if table != "entity"]
    product = pl.lit(1.0)
    for part in parts:
        product = product * part
    value = {
        Aggregate.MEAN: product.mean(),
        Aggregate.MAX: product.max(),
        Aggregate.LAST: product.last(),
        Aggregate.THRESHOLD: (product > 0.7).mean(),
    }[aggregate]
    value = value if parts else pl.lit(1.0)
    own = pl.col("own_1").first() if "entity" in FACTORS[depth, order] else pl.lit(1.0)
    found = known.group_by("cutoff_time", "entity", maintain_order=True).agg(value=value * own)
    # Equal products differ in their last bits, which ranks would take for an order.
    seen = in_oracle_order(planted, found)["value"].round(9).to_numpy()
    assert rank_correlation(seen, planted.oracle["interaction"].to_numpy()) > 0.9999


def test_labels_follow_the_oracle_s_probabilities(planted):
    oracle = plant(small(entities=1000, rows=4000, noise=0.5, homophily=0.1), 1).oracle
    tenth = pl.col("probability").qcut(10, labels=[str(i) for i in range(10)])
    groups = oracle.group_by(tenth.alias("tenth")).agg(
        said=pl.col("probability").mean(), found=pl.col("label").mean(), rows=pl.len()
    )
    error = (groups["said"] * (1 - groups["said"]) / groups["rows"]).sqrt()
    assert ((groups["said"] - groups["found"]).abs() < 4 * error).all()


def test_partners_columns_cannot_tell_communities_apart(planted):
    frame = planted.database.tables["partner"]
    community = pl.int_range(pl.len()) // planted.dials.partners
    kept = [name for name in frame.columns if not name.endswith("_id")]
    for _, part in frame.group_by(community):
        assert part.select(kept).equals(frame.head(planted.dials.partners).select(kept))


def test_outcomes_are_with_a_partner_of_the_period_before(planted):
    tables, start = planted.database.tables, planted.database.blueprint.start
    since = pl.col("happened_at") - start - pl.duration(seconds=1)
    number = (since.dt.total_days() // 30).alias("period")
    met = tables["activity"].select("entity_id", "partner_id", number + 1)
    outcomes = tables["outcome"].select("entity_id", "partner_id", number)
    assert outcomes.join(met, on=outcomes.columns, how="semi").height == outcomes.height
    assert outcomes["period"].min() == 1


def test_every_cutoff_has_an_activity_at_its_very_moment(planted):
    # What happens at the cutoff is known at the cutoff, so these rows tell < from <=.
    times = planted.database.tables["activity"]["happened_at"]
    assert planted.oracle["cutoff_time"].unique().is_in(times.implode()).all()


def test_a_database_without_partners():
    planted = plant(small(partners=0, homophily=0.0, depth=1, communities=1), 2)
    assert list(planted.database.tables) == ["entity", "activity", "outcome"]
    assert planted.realised["homophily"] == 0.0
    assert planted.realised["interaction"] == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_the_ends_of_noise(noise):
    shares = {"homophily": 0.0, "autocorrelation": 0.0, "interaction": 1 - noise, "noise": noise}
    planted = plant(small(**shares), 2)
    assert planted.realised["oracle_auroc"] == pytest.approx(1 - noise / 2, abs=0.02)
    assert np.isfinite(planted.oracle["probability"].to_numpy()).all()


if __name__ == "__main__":
    print(fingerprint(plant(small(), 3)))
