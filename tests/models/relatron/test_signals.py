from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.dfs.config import FeatureConfig
from models.dfs.feature_table import build_feature_table, read_feature_table
from models.rdl.build import build_graph
from models.relatron.context import context_signals
from models.relatron.inputs import LabelledRows, Signal
from models.relatron.signals import signals_as_data, task_signals
from models.synthetic.relational_schema import write_tables
from tests.models.relatron.planted_task import QUICK, by_name, inputs_of, planted

CONFIG = replace(QUICK, reference=True, rows=400, draws=20)


@pytest.fixture(scope="module")
def made():
    return planted(homophily=0.2, autocorrelation=0.2, degree=4)


@pytest.fixture(scope="module")
def inputs(made, tmp_path_factory):
    return inputs_of(made, tmp_path_factory.mktemp("signals"), features=True)


@pytest.fixture(scope="module")
def found(inputs):
    return task_signals(inputs, CONFIG)


def test_nothing_after_the_date_moves_a_signal(made, inputs, found, tmp_path):
    generator = np.random.default_rng(0)
    tables = dict(made.database.tables)
    for name in ("activity", "outcome"):
        frame = tables[name]
        later = pl.col("happened_at") > inputs.as_of
        columns = [c for c in frame.columns if c not in (f"{name}_id", "happened_at")]
        mixed = frame.select(pl.col(columns).gather(generator.permutation(frame.height)))
        changed = frame.with_columns(
            pl.when(later).then(mixed[column]).otherwise(pl.col(column)).alias(column)
            for column in columns
        )
        assert not changed.equals(frame)
        tables[name] = changed
    files = write_tables(replace(made.database, tables=tables), tmp_path)
    test = pl.col("split") == "test"
    table = inputs.training_table.with_columns(
        label=pl.when(test).then(1 - pl.col("label")).otherwise("label")
    )
    (tmp_path / "features").mkdir()
    build_feature_table(
        inputs.schema, inputs.task, table, inputs.as_of, files, FeatureConfig(depth=2),
        tmp_path / "features", 1,
    )  # fmt: skip
    moved = replace(
        inputs,
        training_table=table,
        graph=build_graph(inputs.schema, files, threads=1),
        features=read_feature_table(tmp_path / "features"),
    )
    again = task_signals(moved, CONFIG)
    assert without_seconds(again) == without_seconds(found)


def without_seconds(signals: list[Signal]) -> dict:
    data = signals_as_data(signals)
    return {name: value for name, value in data.items() if name != "seconds"}


def test_names_are_unique_and_data_are_json(found):
    assert len({one.name for one in found}) == len(found)
    data = signals_as_data(found)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["seconds"] == pytest.approx(sum(one.seconds for one in found), abs=0.01)
    assert {one.group for one in found} == {
        "homophily", "labels", "context", "size", "probes", "reference"
    }  # fmt: skip
    nothing = Signal("nothing", "labels", float("nan"))
    assert signals_as_data([nothing]) == {"nothing": None, "seconds": 0.0}


def test_sizes_are_those_of_the_tables(made, inputs, found):
    signals = by_name(found)
    train = inputs.training_table.filter(pl.col("split") == "train")
    assert signals["log_training_rows"].value == pytest.approx(np.log(train.height))
    assert signals["rows_per_entity"].value == train.height / train["entity"].n_unique()
    tables = made.database.tables
    visible = {
        name: frame.filter(pl.col("happened_at") <= inputs.as_of)
        for name, frame in tables.items()
        if "happened_at" in frame.columns
    }
    rows = sum(visible.get(name, frame).height for name, frame in tables.items())
    assert signals["log_database_rows"].value == pytest.approx(np.log(rows))
    children = (
        pl.concat(frame.select("entity_id") for frame in visible.values())
        .filter(pl.col("entity_id").is_in(train["entity"].unique().implode()))
        .group_by("entity_id")
        .len()
    )
    expected = children["len"].quantile(0.5, "linear")
    assert signals["children_50"].value == pytest.approx(expected)


def test_the_context_agrees_where_entities_remember(tmp_path, found):
    without = inputs_of(planted(), tmp_path)
    plain = by_name(context_signals(without, LabelledRows.of(without), CONFIG))
    alike = by_name(found)["context_agreement"]
    assert alike.value > 3 * alike.error
    assert abs(plain["context_agreement"].value) < 3 * plain["context_agreement"].error
    assert 0 < plain["context_sparsity"].value < 0.4
