"""Fisher space: points that tell tasks apart, of training and validation rows alone."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models.database.schema import TaskType
from models.families.candidate import Candidate
from models.rdl.build import build_graph
from models.rdl.text import HASHED
from models.search.fisher import fisher_embedding, nearest_tasks, transferred_priors
from tests.models.dfs.shop import SHOP, shop_frames, store
from tests.models.search.toy import TREES
from tests.models.tabular.trained import AS_OF, make_task, training_table

ANCHORS = (
    {"convolution": "sage", "channels": 8, "layers": 1, "fan_out": 8},
    {"convolution": "pna", "channels": 8, "layers": 1, "fan_out": 8, "heads": 1},
)


@pytest.fixture(scope="module")
def frames():
    return shop_frames(seed=3)


@pytest.fixture(scope="module")
def graph(frames, tmp_path_factory):
    return build_graph(SHOP, store(frames, tmp_path_factory.mktemp("shop")))


def embed(graph, task, table):
    return fisher_embedding(task, table, AS_OF, graph, HASHED, ANCHORS, batches=2)


@pytest.mark.parametrize("task_type", list(TaskType))
def test_a_point_has_a_coordinate_an_anchor_and_repeat_the_same_each_time(graph, frames, task_type):
    task = make_task(task_type)
    table = training_table(task, frames)
    point = embed(graph, task, table)
    assert point.shape == (4,)
    assert np.isfinite(point).all()
    assert (point > 1).all()
    assert len(set(point)) == 4
    np.testing.assert_array_equal(point, embed(graph, task, table))
    # Labels of later rows are nothing to it.
    later = pl.when(pl.col("split").is_in(["train", "val"])).then("label")
    np.testing.assert_array_equal(point, embed(graph, task, table.with_columns(label=later)))


def test_near_tasks_are_near():
    others = {
        "far": np.array([9.0, 1.5, 2.0]),
        "near": np.array([2.0, 6.0, 4.0]),
        "middle": np.array([4.0, 4.0, 4.0]),
    }
    found = nearest_tasks(np.array([2.0, 6.5, 4.0]), others, 2)
    assert [name for name, _ in found] == ["near", "middle"]
    assert found[0][1] > 0.9
    assert nearest_tasks(np.ones(3), {}, 2) == []


def test_neighbours_lend_what_was_good_for_them():
    good = {
        "a": [Candidate("x", "lightgbm", {"num_leaves": 7})] * 4,
        "b": [Candidate("y", "lightgbm", {"num_leaves": 31})],
        "c": [Candidate("z", "lightgbm", {"num_leaves": 63})],
    }
    priors = transferred_priors(TREES, [("a", 0.5), ("b", 1.0), ("c", -0.5)], good)
    assert priors["dfs.lightgbm.num_leaves"] == pytest.approx({7: 0.5, 31: 1.0})
