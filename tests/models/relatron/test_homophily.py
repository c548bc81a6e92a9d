from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.learning.device import one_thread
from models.relatron.agreement import Pairs, Resampling, agreement
from models.relatron.homophily import homophily_signals, meta_paths
from models.relatron.inputs import LabelledRows
from tests.models.relatron.planted_task import QUICK, by_name, inputs_of, planted, shuffled

OUT_AND_BACK = (
    "<-activity.entity_id ->activity.partner_id <-activity.partner_id ->activity.entity_id"
)
NEXT_OUTCOME = "<-activity.entity_id ->activity.partner_id <-outcome.partner_id ->outcome.entity_id"


def signals_of(inputs, config=QUICK):
    with one_thread():
        return by_name(homophily_signals(inputs, LabelledRows.of(inputs), config))


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    return inputs_of(planted(homophily=0.6), tmp_path_factory.mktemp("alike"))


def test_the_more_homophily_is_planted_the_more_is_found(alike, tmp_path):
    without = signals_of(inputs_of(planted(), tmp_path))
    found = signals_of(alike)
    # Outcomes follow the partners of the period before.
    path = f"homophily {NEXT_OUTCOME}"
    assert found[path].value > without[path].value + 5 * found[path].error
    assert found["homophily_max"].value == found[path].value
    for name in ("homophily_mean", "homophily_by_coverage"):
        assert found[name].value > without[name].value + 3 * found[name].error
    assert abs(without["homophily_mean"].value) < 3 * without["homophily_mean"].error


def test_labels_that_were_shuffled_have_none(alike):
    found = signals_of(shuffled(alike))
    for name, one in found.items():
        if name.startswith("homophily <-") or name == "homophily_mean":
            assert abs(one.value) < 3 * one.error


def test_without_caps_the_pairs_are_those_that_joins_find(tmp_path):
    made = planted(homophily=0.6, entities=60, cutoffs=3, rows=150, communities=5)
    inputs = inputs_of(made, tmp_path)
    rows = inputs.training_table.filter(pl.col("split").is_in(["train", "val"]))
    acts = made.database.tables["activity"].select("entity_id", "partner_id", "happened_at")
    seeds = rows.rename({"label": "own"}).select("row_id", "entity", "cutoff_time", "own")
    reached = (
        seeds.join(acts, left_on="entity", right_on="entity_id")
        .filter(pl.col("happened_at") <= pl.col("cutoff_time"))
        .join(acts, on="partner_id", suffix="_back")
        .filter(
            pl.col("happened_at_back") <= pl.col("cutoff_time"),
            pl.col("entity_id") != pl.col("entity"),
        )
        .unique(["row_id", "entity_id"])
    )
    known = rows.select(
        entity_id="entity", closed=pl.col("cutoff_time") + inputs.task.window, other="label"
    )
    newest = (
        reached.join(known, on="entity_id")
        .filter(pl.col("closed") <= pl.col("cutoff_time"))
        .sort("closed")
        .group_by("row_id", "entity_id", maintain_order=True)
        .last()
    )
    everything = replace(QUICK, middles=1000, returns=1000)
    found = signals_of(inputs, everything)
    assert found[f"pairs {OUT_AND_BACK}"].value == newest.height > 500
    coverage = newest["row_id"].n_unique() / rows.height
    assert found[f"coverage {OUT_AND_BACK}"].value == pytest.approx(coverage)
    entity = newest["entity"].to_numpy()
    pairs = Pairs(
        entity,
        newest["own"].to_numpy().astype(float),
        newest["other"].to_numpy().astype(float),
        np.ones(newest.height),
    )
    expected = agreement(pairs, 2, Resampling.of(60, entity, 5, 0))
    assert found[f"homophily {OUT_AND_BACK}"].value == pytest.approx(expected.value)


def test_keys_that_lead_back_at_once_and_hidden_keys_are_no_meta_paths(alike):
    names = {path.name(alike.graph) for path in meta_paths(alike.graph, alike.task, 99)}
    assert len(names) == 4
    assert {OUT_AND_BACK, NEXT_OUTCOME} <= names
    task = replace(alike.task, hidden_columns=(("outcome", "partner_id"),))
    assert [p.name(alike.graph) for p in meta_paths(alike.graph, task, 99)] == [OUT_AND_BACK]
    trivial = [p.name(alike.graph) for p in meta_paths(alike.graph, alike.task, 99, trivial=True)]
    assert "<-activity.entity_id ->activity.entity_id" in trivial


def test_a_database_without_links_has_no_homophily(tmp_path):
    found = signals_of(inputs_of(planted(partners=0, depth=1, order=1), tmp_path))
    assert found["homophily_paths"].value == 0
    assert np.isnan(found["homophily_mean"].value)
