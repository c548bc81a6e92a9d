"""Ensembles as bundles: what they predict, what they refuse, and everything that reads a bundle."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from models.database.schema import Protocol, TaskType
from models.dfs.feature_table import seeds_of
from models.families.bundle import RowsToPredict, load_bundle
from models.families.candidate import Candidate
from models.families.ensemble import quantiles_of, ranks_of, save_ensemble
from models.families.prediction import build_predictions
from models.families.report import FAMILY_TITLES, gather_report, seed_curves
from models.families.trial import TrialInputs, train_candidate
from models.learning.bundle import amend_record
from models.rdl.graph_files import write_graph
from models.rdl.text import HASHED
from tests.models.dfs.shop import day
from tests.models.pretraining import world
from tests.models.tabular.trained import AS_OF

NETWORK = {"seeds": 1, "channels": 8, "layers": 1, "epochs": 2, "max_columns": 8, "device": "cpu"}
VALUES, BINARY = TaskType.REGRESSION, TaskType.BINARY_CLASSIFICATION


@pytest.fixture(scope="module")
def networks(trained, tmp_path_factory):
    """A network of one seed beside the trees of two, by task type."""
    found = {}
    for kind in (VALUES, BINARY):
        made, found[kind] = trained[kind], tmp_path_factory.mktemp(kind.value)
        inputs = TrialInputs(
            made.features.schema, made.task, AS_OF, made.table, made.features, made.files
        )
        train_candidate(Candidate("net", "resnet", NETWORK), inputs, found[kind], 1)
    return found


@pytest.fixture(scope="module")
def ensemble(trained, networks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble") / "bundle"
    members = [(trained[VALUES].folder, 3), (networks[VALUES], 1), (trained[BINARY].folder, 0)]
    scores = [{"frozen": 1.0, "rolling": 0.5}] * 2
    save_ensemble(folder, members, record={"validation_scores": scores})
    return folder


def asked(made, protocol, split="test"):
    rows = made.table.filter(pl.col("split") == split)
    seeds = seeds_of(rows, made.task, AS_OF, protocol)
    return RowsToPredict(seeds, made.files, made.features.under(protocol), threads=1)


@pytest.mark.parametrize("protocol", list(Protocol))
def test_a_seed_is_the_weighted_mean_of_the_members_seeds(trained, networks, ensemble, protocol):
    made = trained[VALUES]
    rows = asked(made, protocol)
    trees, network = (
        load_bundle(f).predict(rows, protocol) for f in (made.folder, networks[VALUES])
    )
    assert (len(trees), len(network)) == (2, 1)
    found = load_bundle(ensemble).predict(rows, protocol)
    np.testing.assert_allclose(found, 0.75 * trees + 0.25 * network, rtol=1e-12)


def test_weights_can_differ_by_protocol(trained, networks, tmp_path):
    made = trained[VALUES]
    each = [{Protocol.FROZEN: 1, Protocol.ROLLING: 1}, {Protocol.FROZEN: 0, Protocol.ROLLING: 3}]
    folders = (made.folder, networks[VALUES])
    save_ensemble(tmp_path / "both", list(zip(folders, each, strict=True)))
    bundle = load_bundle(tmp_path / "both")
    for protocol, shares in ((Protocol.FROZEN, (1, 0)), (Protocol.ROLLING, (0.25, 0.75))):
        rows = asked(made, protocol)
        trees, network = (load_bundle(folder).predict(rows, protocol) for folder in folders)
        expected = shares[0] * trees + shares[1] * network
        np.testing.assert_allclose(bundle.predict(rows, protocol), expected, rtol=1e-12)
    assert bundle.record["parameters"]["member 2"] == "0.0% frozen, 75.0% rolling net (resnet)"
    with pytest.raises(ValueError, match="under the frozen protocol"):
        save_ensemble(tmp_path / "no", [(networks[VALUES], each[1])])


def test_an_ensemble_has_what_its_members_read_and_what_reports_ask_for(
    trained, networks, ensemble
):
    bundle = load_bundle(ensemble)
    members = [load_bundle(folder) for folder in (trained[VALUES].folder, networks[VALUES])]
    names = {feature.name for one in members for feature in one.features}
    assert {feature.name for feature in bundle.features} == names
    assert len(bundle.features) == len(names) == bundle.record["features"]
    assert bundle.task == trained[VALUES].task
    assert (bundle.as_of, tuple(bundle.seeds), len(bundle.members)) == (AS_OF, (0, 1), 2)
    assert bundle.record["family"] in FAMILY_TITLES
    assert bundle.record["validation_scores"][0]["rolling"] == 0.5
    assert bundle.record["parameters"]["member 2"] == "25.0% net (resnet)"
    assert bundle.record["importances"] == pytest.approx(dict(members[0].record["importances"]))
    assert bundle.text_encoder is None


def test_predictions_and_report_are_made_as_of_any_model(trained, ensemble, tmp_path):
    made, bundle = trained[VALUES], load_bundle(ensemble)
    found = build_predictions(made.task, bundle, made.table, made.under(), tmp_path)
    assert {row["split"] for row in found["scores"]} == {"val", "test"}
    schema = made.features.schema
    report = gather_report(schema, made.task, AS_OF, made.table, bundle, tmp_path, (), b"", {})
    assert report.model.startswith("Ensemble, the mean of 2 seeds")
    assert report.features
    assert {"Feature importance", "Learning curve", "Score by cutoff"} <= set(report.plots)
    assert len(seed_curves(bundle, Protocol.FROZEN)) == 2


def test_an_ensemble_scores_a_cutoff_from_the_tables_alone(trained, ensemble, tmp_path):
    made, bundle = trained[VALUES], load_bundle(ensemble)
    rows = made.table.filter(pl.col("cutoff_time") == day(28))
    scored = bundle.score(made.files, rows["entity"], day(28), AS_OF, 1)
    raw = bundle.predict(asked(made, Protocol.FROZEN), Protocol.FROZEN)
    test = made.table.filter(pl.col("split") == "test")
    expected = test.with_columns(prediction=raw.mean(axis=0)).filter(
        pl.col("cutoff_time") == day(28)
    )
    assert_frame_equal(scored, expected.select("entity", "cutoff_time", "prediction"))


def test_an_ensemble_can_be_a_member(trained, ensemble, tmp_path):
    made = trained[VALUES]
    save_ensemble(tmp_path / "nested", [(ensemble, 1), (made.folder, 1)])
    rows = asked(made, Protocol.FROZEN)
    parts = [load_bundle(f).predict(rows, Protocol.FROZEN) for f in (ensemble, made.folder)]
    found = load_bundle(tmp_path / "nested").predict(rows, Protocol.FROZEN)
    np.testing.assert_allclose(found, sum(parts) / 2, rtol=1e-12)


def test_ranks_are_those_among_a_members_validation_predictions(trained, networks, tmp_path):
    made = trained[BINARY]
    folders = [made.folder, networks[BINARY]]
    members = [load_bundle(folder) for folder in folders]
    own = [
        {p: quantiles_of(one.predict(asked(made, p, "val"), p)) for p in Protocol}
        for one in members
    ]
    save_ensemble(tmp_path / "ranks", [(folder, 1) for folder in folders], quantiles=own)
    bundle, protocol = load_bundle(tmp_path / "ranks"), Protocol.ROLLING
    rows = asked(made, protocol)
    trees, network = (
        ranks_of(one.predict(rows, protocol), quantiles[protocol])
        for one, quantiles in zip(members, own, strict=True)
    )
    found = bundle.predict(rows, protocol)
    np.testing.assert_allclose(found, (trees + network) / 2)
    assert found.min() >= 0
    assert found.max() <= 1
    with pytest.raises(ValueError, match="ranks can be averaged in binary classification only"):
        save_ensemble(tmp_path / "no", [(trained[VALUES].folder, 1)], quantiles=own[:1])


def test_members_that_do_not_belong_together_are_refused(trained, networks, tmp_path):
    values, binary = trained[VALUES].folder, trained[BINARY].folder
    with pytest.raises(ValueError, match="differ in their classes"):
        save_ensemble(tmp_path, [(values, 1), (binary, 1)])
    for weights in ([0, 0], [-1, 2], [float("nan"), 1]):
        with pytest.raises(ValueError, match="must not be negative or all 0"):
            save_ensemble(tmp_path, [(values, weights[0]), (networks[VALUES], weights[1])])
    with pytest.raises(FileNotFoundError, match="holds no model bundle"):
        save_ensemble(tmp_path, [(tmp_path / "nowhere", 1)])
    assert not list(tmp_path.iterdir())


def test_a_relational_network_reads_the_runs_graph_in_an_ensemble(tmp_path):
    made = world.World(tmp_path)
    (tmp_path / "graph").mkdir()
    write_graph(made.graph, tmp_path / "graph")
    rows = made.training_table().with_columns(pl.col("row_id").cast(pl.Int64))
    inputs = TrialInputs(
        world.SCHEMA, world.AGAIN, world.AS_OF, rows, tables=made.tables,
        graph=tmp_path / "graph", text_encoder=HASHED,
    )  # fmt: skip
    settings = {"features": False, "seeds": 1, "channels": 8, "heads": 1, "layers": 1, "fan_out": 2}
    settings |= {"epochs": 1, "steps_per_epoch": 1, "device": "cpu"}
    for name in ("one", "two"):
        more = {"first_seed": 1} if name == "two" else {}
        train_candidate(Candidate(name, "rdl", settings | more), inputs, tmp_path / name, 1)
    members = [(tmp_path / "one", 1), (tmp_path / "two", 1)]
    save_ensemble(tmp_path / "both", members)
    bundle = load_bundle(tmp_path / "both")
    assert bundle.text_encoder == HASHED
    seeds = seeds_of(rows.head(20), world.AGAIN, world.AS_OF, Protocol.ROLLING)
    ask = RowsToPredict(seeds, label_history=rows.select("entity", "cutoff_time", "label"),
                        graph=made.graph)  # fmt: skip
    parts = [load_bundle(folder).predict(ask, Protocol.ROLLING) for folder, _ in members]
    assert not np.allclose(*parts)
    np.testing.assert_allclose(bundle.predict(ask, Protocol.ROLLING), sum(parts) / 2)
    amend_record(tmp_path / "two", {"candidate": "of other words"})
    text = (tmp_path / "two" / "bundle.json").read_text().replace(f'"{HASHED}"', '"other"')
    (tmp_path / "two" / "bundle.json").write_text(text)
    with pytest.raises(ValueError, match="graphs of different text encoders"):
        save_ensemble(tmp_path / "no", members)
