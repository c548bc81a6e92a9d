"""What training starts from: the parts of a task's rows, and what each of them sees."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from models.database.schema import Protocol, TaskType
from models.dfs.feature_table import seeds_of, stale_seeds_of
from models.rdl.preparation import prepare
from models.search.refit import with_validation
from tests.models.dfs.shop import shop_frames
from tests.models.tabular.trained import AS_OF, make_task, train_small, training_table


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    task = make_task(TaskType.BINARY_CLASSIFICATION)
    frames = shop_frames(3, customers=12, orders=140)
    return train_small(task, tmp_path_factory.mktemp("made"), frames, training_table(task, frames))


def test_stale_rows_are_the_training_rows_in_their_order_with_features_of_then(made):
    found = prepare(made.task, made.table, AS_OF, made.features, with_stale=True)
    train, stale = found.parts["train"], found.parts["stale"]
    assert train.seeds["row_id"].equals(stale.seeds["row_id"])
    assert train.seeds["cutoff_time"].equals(stale.seeds["cutoff_time"])
    assert (stale.seeds["visible_until"] < stale.seeds["cutoff_time"]).all()
    assert_array_equal(train.labels, stale.labels)
    expected = stale.seeds.select("row_id").join(
        made.features.stale, on="row_id", how="left", maintain_order="left"
    )
    assert found.seed_inputs is not None
    assert_array_equal(stale.features, found.seed_inputs.transform(expected))
    assert not np.array_equal(stale.features, train.features)
    for protocol in Protocol:
        rows = made.table.filter(pl.col("split") == "val")
        assert found.parts[str(protocol)].seeds.equals(seeds_of(rows, made.task, AS_OF, protocol))


def test_a_refit_sees_the_validation_rows_stale_too(made):
    rows = with_validation(made.table)
    found = prepare(made.task, rows, AS_OF, made.features, with_stale=True)
    assert len(found.parts["stale"].labels) == len(found.parts["train"].labels) == 12 * (7 + 4)
    seeds = stale_seeds_of(made.table, made.task, AS_OF)
    assert found.parts["stale"].seeds.sort("row_id").equals(seeds.sort("row_id"))


def test_there_are_stale_rows_only_where_they_are_wanted_and_validation_asks_for_them(made):
    assert "stale" not in prepare(made.task, made.table, AS_OF, made.features).parts
    first = made.table.filter(pl.col("split") == "val")["cutoff_time"].min()
    one = made.table.filter((pl.col("split") != "val") | (pl.col("cutoff_time") == first))
    found = prepare(made.task, one, AS_OF, made.features, with_stale=True)
    assert set(found.parts) == {"train", "frozen", "rolling"}
