"""Trees over frozen embeddings: what they see, what they refuse, and what a bundle carries."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from polars.testing import assert_frame_equal

from models.database.schema import Protocol, TaskType
from models.dfs.config import FeatureConfig
from models.dfs.feature_table import build_feature_table, read_feature_table, seeds_of
from models.families.bundle import RowsToPredict, load_bundle
from models.families.candidate import Candidate
from models.families.embedding_config import EmbeddingFeaturesConfig
from models.families.prediction import RunData, build_predictions
from models.families.report import FAMILY_TITLES, report_plots
from models.families.trial import TrialInputs, train_candidate
from models.learning.labels import LabelEncoder
from models.pretraining.pretraining import pretrain
from models.rdl.build import build_graph
from models.rdl.bundle import RDLBundle
from models.rdl.graph_files import write_graph
from models.rdl.initialisation import load_pretrained, save_pretrained
from models.rdl.text import HASHED
from tests.fixtures import PATIENCE, ROOT
from tests.models.pretraining.world import AGAIN, AS_OF, LIMIT, SCHEMA, World, config

FAMILY = "lightgbm_on_embeddings"
SETTINGS = {"seeds": 2, "rounds": 40, "early_stopping": 10, "min_data_in_leaf": 5}
SETTINGS |= {"learning_rate": 0.1, "fan_out": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def inputs(world, tmp_path_factory):
    """An encoder pretrained for a few seconds, and all else that a trial reads."""
    root = tmp_path_factory.mktemp("inputs")
    folders = {name: root / name for name in ("encoder", "graph", "features")}
    for folder in folders.values():
        folder.mkdir()
    write_graph(world.graph, folders["graph"])
    settings = config(epochs=4, steps=None, learning_rate=0.02, batch_size=64)
    vectors = {"customers": world.vectors()}
    pretrain(SCHEMA, world.graph, vectors, AS_OF, settings, folders["encoder"], device="cpu")
    rows = world.training_table().with_columns(pl.col("row_id").cast(pl.Int64))
    depth = FeatureConfig(depth=1, max_features=12, windows=(timedelta(days=4),))
    folder = folders["features"]
    build_feature_table(SCHEMA, AGAIN, rows, AS_OF, world.tables, depth, folder, 1)
    return TrialInputs(
        SCHEMA,
        AGAIN,
        AS_OF,
        rows,
        features=read_feature_table(folder),
        tables=world.tables,
        graph=folders["graph"],
        text_encoder=HASHED,
        pretrained={"tve": folders["encoder"]},
    )


def train(inputs, folder, **settings):
    return train_candidate(Candidate("hybrid", FAMILY, SETTINGS | settings), inputs, folder, 1)


@pytest.fixture(scope="module", params=[True, False], ids=["with features", "alone"])
def trained(request, inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    return folder, train(inputs, folder, features=request.param), request.param


def asked(inputs, rows, protocol, graph=None, features=True):
    found = inputs.features.under(protocol) if features else None
    seeds = seeds_of(rows, inputs.task, AS_OF, protocol)
    return RowsToPredict(seeds, inputs.tables, features=found, graph=graph, threads=1)


def validation_rows(inputs):
    return inputs.training_table.filter(pl.col("split") == "val")


def test_embeddings_alone_tell_what_was_planted(trained):
    _, metadata, features = trained
    assert np.mean([scores["rolling"] for scores in metadata["validation_scores"]]) > 0.75
    is_embedding = [name.startswith("tve embedding ") for name in metadata["importances"]]
    assert any(is_embedding)
    assert all(is_embedding) != features
    assert metadata["features"] == len(is_embedding)
    assert json.loads(json.dumps(metadata))["parameters"]["fan_out"] == 4


def test_a_loaded_bundle_scores_what_training_did(world, inputs, trained, tmp_path):
    """Under each protocol, so validation rows were embedded as that protocol sees them."""
    folder, metadata, _ = trained
    bundle = load_bundle(folder)
    assert bundle.record["family"] == FAMILY in FAMILY_TITLES
    features = {protocol: inputs.features.under(protocol) for protocol in Protocol}
    data = RunData(AS_OF, inputs.tables, graph=world.graph, threads=1)
    validation = validation_rows(inputs)
    rows = pl.concat([validation, validation.with_columns(split=pl.lit("test"))])
    found = build_predictions(AGAIN, bundle, rows, features, tmp_path, data)
    means = {
        row["protocol"]: row["mean"]
        for row in found["scores"]
        if (row["split"], row["metric"]) == ("val", "roc_auc")
    }
    for protocol in Protocol:
        trained_to = [seed[protocol] for seed in metadata["validation_scores"]]
        assert means[protocol] == pytest.approx(np.mean(trained_to), abs=1e-12)
    assert means["rolling"] != pytest.approx(means["frozen"], abs=0.01)
    assert "Feature importance" in report_plots(AGAIN, rows, bundle, tmp_path)
    described = bundle.record["descriptions"].keys() | {f.name for f in bundle.features}
    assert bundle.record["importances"].keys() <= described


def test_a_graph_or_features_that_are_missing_are_made(world, inputs, trained):
    bundle = load_bundle(trained[0])
    rows = validation_rows(inputs)
    given = bundle.predict(asked(inputs, rows, Protocol.FROZEN, world.graph), Protocol.FROZEN)
    made = bundle.predict(asked(inputs, rows, Protocol.FROZEN, features=False), Protocol.FROZEN)
    assert_array_equal(given, made)
    assert given.shape == (2, rows.height)


def test_a_graph_that_the_encoder_cannot_read_is_made_anew(world, inputs, trained):
    bundle, rows = load_bundle(trained[0]), validation_rows(inputs)
    fewer = dataclasses.replace(SCHEMA, foreign_keys=SCHEMA.foreign_keys[:1])
    other = build_graph(fewer, world.tables)
    found = [
        bundle.predict(asked(inputs, rows, Protocol.ROLLING, graph), Protocol.ROLLING)
        for graph in (world.graph, other)
    ]
    assert_array_equal(*found)


def test_a_fresh_process_predicts_what_this_one_does(world, trained, tmp_path):
    who = pl.DataFrame({"entity": [7, 3, 1200]})
    who.write_parquet(tmp_path / "who.parquet")
    here = load_bundle(trained[0]).score(world.tables, who["entity"], AS_OF, LIMIT, threads=1)
    command = [sys.executable, "-m", "models.families.score", trained[0], world.folder]
    command += ["--cutoff", AS_OF.isoformat(), "--visible-until", LIMIT.isoformat()]
    command += ["--entities", tmp_path / "who.parquet", "--output", tmp_path / "out.parquet"]
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True, timeout=PATIENCE)
    assert_frame_equal(pl.read_parquet(tmp_path / "out.parquet"), here, check_exact=True)
    assert here["entity"].to_list() == [7, 3, 1200]


def test_rows_after_the_limit_move_nothing(world, trained, tmp_path):
    bundle = load_bundle(trained[0])
    changed = World(tmp_path, future=1)
    who = pl.Series(range(0, 1500, 3))
    for until in (LIMIT, None):
        cutoff = LIMIT if until is None else AS_OF
        one, other = (bundle.score(w.tables, who, cutoff, until, 1) for w in (world, changed))
        assert_frame_equal(one, other, check_exact=True)
        assert one["prediction"].n_unique() > 10
    one, other = (bundle.score(w.tables, who, AS_OF, None, 1) for w in (world, changed))
    assert not one.equals(other)


def test_what_trees_learn_from_ignores_the_future(inputs, world, trained, tmp_path):
    """Training rows and frozen validation rows are embedded the same whatever came after LIMIT."""
    embedder = load_bundle(trained[0]).embedder
    graph = World(tmp_path, future=1).graph
    train_rows = inputs.training_table.filter(pl.col("split") == "train")
    for rows in (train_rows, validation_rows(inputs)):
        seeds = seeds_of(rows, AGAIN, AS_OF, Protocol.FROZEN)
        assert seeds["visible_until"].max() <= LIMIT
        found = [embedder.embed(one, "customers", seeds) for one in (world.graph, graph)]
        assert_frame_equal(*found, check_exact=True)
        assert found[0].shape == (rows.height, 16)


def test_the_same_inputs_make_the_same_bundle(inputs, trained, tmp_path):
    folder, _, features = trained
    train(inputs, tmp_path, features=features)
    names = {path.name for path in folder.iterdir()}
    trees = {f"seed_{seed}_{protocol}.txt" for seed in (0, 1) for protocol in Protocol}
    assert names == {"bundle.json", "checkpoint.pt", *trees}
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_bundle_outlives_the_encoder_that_it_copied(world, inputs, trained, tmp_path):
    shutil.copytree(inputs.pretrained["tve"], tmp_path / "encoder")
    moved = dataclasses.replace(inputs, pretrained={"tve": tmp_path / "encoder"})
    train(moved, tmp_path / "bundle", features=trained[2])
    shutil.rmtree(tmp_path / "encoder")
    who = pl.Series([5, 9])
    one, other = (
        load_bundle(folder).score(world.tables, who, AS_OF, threads=1)
        for folder in (trained[0], tmp_path / "bundle")
    )
    assert_frame_equal(one, other, check_exact=True)


def test_no_rows_get_no_predictions(inputs, trained):
    bundle = load_bundle(trained[0])
    for protocol in Protocol:
        found = bundle.predict(asked(inputs, validation_rows(inputs).clear(), protocol), protocol)
        assert found.shape == (2, 0)
        assert found.dtype == np.float64
    assert bundle.score(inputs.tables, pl.Series([], dtype=pl.Int64), AS_OF).is_empty()


@pytest.mark.parametrize(
    ("task_type", "shape"),
    [(TaskType.REGRESSION, (3, 0)), (TaskType.MULTICLASS_CLASSIFICATION, (3, 0, 2))],
)
def test_a_relational_bundle_predicts_no_rows_too(inputs, task_type, shape):
    task = dataclasses.replace(AGAIN, task_type=task_type)
    common = (SCHEMA, task, AS_OF, (), LabelEncoder(("a", "b")), (0, 1, 2), {})
    bundle = RDLBundle(*common, blueprint=None, states=(), label_history=None)
    rows = asked(inputs, validation_rows(inputs).clear(), Protocol.ROLLING)
    assert bundle.predict(rows, Protocol.ROLLING).shape == shape


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": frozenset()}, r"may read visits.secret, which the task hides"),
        ({"limit": AS_OF}, r"after the task's first validation cutoff"),
        ({"edge_types": 2}, r"lacks 2 tables or foreign keys of the graph"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(inputs, tmp_path, changes, message):
    known = load_pretrained(inputs.pretrained["tve"])
    if "edge_types" in changes:
        changes = {"edge_types": known.edge_types[: changes["edge_types"]]}
    save_pretrained(dataclasses.replace(known, **changes), tmp_path / "encoder")
    unfit = dataclasses.replace(inputs, pretrained={"tve": tmp_path / "encoder"})
    with pytest.raises(ValueError, match=message):
        train(unfit, tmp_path / "bundle")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"pretrained": {}}, "reads embeddings by the encoder pretrained on 'tve'"),
        ({"graph": None}, "reads the temporal graph"),
        ({"features": None}, "reads DFS features"),
    ],
)
def test_an_input_that_is_missing_is_named(inputs, tmp_path, missing, message):
    with pytest.raises(ValueError, match=f"candidate 'hybrid' .*{message}"):
        train(dataclasses.replace(inputs, **missing), tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "tev"}, "encoder must be one of tve, .*got 'tev'"),
        ({"strategy": "first"}, "strategy must be one of uniform, last"),
        ({"fan_out": 0}, "fan_out must be at least 1"),
        ({"staleness": 3.0}, "staleness is a share from 0 to 1"),
        ({"rounds": "many"}, "rounds: Input should be a valid integer"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Candidate("hybrid", FAMILY, settings).config()


def test_settings_of_trees_and_of_embeddings_come_together():
    found = Candidate("hybrid", FAMILY, {"rounds": 7, "encoder": "masked"}).config()
    assert found == EmbeddingFeaturesConfig(rounds=7, encoder="masked")
    assert (found.strategy, found.fan_out, found.features) == ("last", 32, True)
