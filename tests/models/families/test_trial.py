"""Trials: a candidate's bundle and its metadata; the leaderboard and its choice."""

from __future__ import annotations

import json
import math
import shutil

import pytest

from models.database.schema import Protocol, TaskType
from models.families.bundle import load_bundle
from models.families.candidate import Candidate
from models.families.leaderboard import leaderboard
from models.families.prediction import build_predictions
from models.families.report import FAMILY_TITLES, report_plots, seed_curves
from models.families.trial import TrialInputs, train_candidate
from tests.models.tabular.trained import AS_OF

SMALL = {
    "lightgbm": {"seeds": 2, "rounds": 10, "min_data_in_leaf": 3},
    "linear": {"seeds": 2, "epochs": 2, "max_columns": 8},
    "resnet": {"seeds": 2, "channels": 8, "layers": 1, "epochs": 2, "max_columns": 8},
}


def inputs_of(made, **changes):
    settings = {"features": made.features, "tables": made.files} | changes
    return TrialInputs(made.features.schema, made.task, AS_OF, made.table, **settings)


@pytest.fixture(scope="module")
def trials(trained, tmp_path_factory):
    made = trained[TaskType.REGRESSION]
    found = {}
    for family, settings in SMALL.items():
        folder = tmp_path_factory.mktemp(family)
        candidate = Candidate(f"the {family}", family, {**settings, **on_cpu(family)})
        lines: list[str] = []
        inputs = inputs_of(made, checkpoints=folder / "checkpoints")
        metadata = train_candidate(candidate, inputs, folder / "bundle", 1, lines.append)
        found[family] = (folder, metadata, lines)
    return found


def on_cpu(family):
    return {} if family == "lightgbm" else {"device": "cpu"}


@pytest.mark.parametrize("family", list(SMALL))
def test_a_trial_leaves_a_bundle_that_knows_its_candidate(trials, family):
    folder, metadata, lines = trials[family]
    assert metadata["candidate"] == f"the {family}"
    assert metadata["family"] == family
    assert metadata["seconds"] >= 0
    assert json.loads(json.dumps(metadata))
    assert all(line.startswith(f"the {family}: ") for line in lines)
    bundle = load_bundle(folder / "bundle")
    assert bundle.record["candidate"] == f"the {family}"
    assert bundle.record["family"] == family
    assert tuple(bundle.seeds) == (0, 1)
    assert family in FAMILY_TITLES
    assert not (folder / "checkpoints" / f"the {family}").exists()


@pytest.mark.parametrize("family", list(SMALL))
def test_every_familys_bundle_predicts_and_is_drawn(trained, trials, family, tmp_path):
    made, (folder, metadata, _) = trained[TaskType.REGRESSION], trials[family]
    bundle = load_bundle(folder / "bundle")
    found = build_predictions(made.task, bundle, made.table, made.under(), tmp_path)
    for row in found["scores"]:
        if row["split"] == "val" and row["metric"] == "mae":
            scores = [seed[row["protocol"]] for seed in metadata["validation_scores"]]
            assert row["mean"] == pytest.approx(sum(scores) / 2, abs=1e-6)
    drawn = report_plots(made.task, made.table, bundle, tmp_path)
    assert ("Feature importance" in drawn) == (family == "lightgbm")
    assert "Learning curve" in drawn
    curves = seed_curves(bundle, Protocol.FROZEN)
    for curve, best in zip(curves, metadata["best_rounds"], strict=True):
        assert curve.best == best["frozen"] - 1
        assert len(curve.validation) > curve.best


@pytest.mark.parametrize("family", ["linear", "resnet"])
def test_a_bundle_of_older_code_is_read_without_the_settings_that_are_no_more(
    trials, family, tmp_path
):
    bundle = trials[family][0] / "bundle"
    shutil.copytree(bundle, tmp_path / "older")
    content = json.loads((bundle / "bundle.json").read_text())
    content["network"]["keep"] = "best"
    (tmp_path / "older" / "bundle.json").write_text(json.dumps(content))
    assert load_bundle(tmp_path / "older").config == load_bundle(bundle).config


def test_features_that_a_bundle_needs_are_made_from_the_tables(trained, trials, tmp_path):
    from models.families.prediction import RunData

    made, (folder, _, _) = trained[TaskType.REGRESSION], trials["lightgbm"]
    bundle = load_bundle(folder / "bundle")
    for name in ("given", "made"):
        (tmp_path / name).mkdir()
    given = build_predictions(made.task, bundle, made.table, made.under(), tmp_path / "given")
    data = RunData(AS_OF, tables=made.files, threads=1)
    computed = build_predictions(made.task, bundle, made.table, None, tmp_path / "made", data)
    assert computed["scores"] == given["scores"]


def test_a_bundle_of_before_there_were_kinds_is_lightgbms(trials, tmp_path):
    folder, metadata, _ = trials["lightgbm"]
    content = json.loads((folder / "bundle" / "bundle.json").read_text())
    del content["kind"]
    for name in ("family", "candidate", "best_rounds"):
        del content["record"][name]
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    for path in (folder / "bundle").glob("seed_*.txt"):
        (tmp_path / path.name).write_text(path.read_text())
    bundle = load_bundle(tmp_path)
    assert bundle.record["family"] == bundle.record["candidate"] == "lightgbm"
    assert bundle.record["best_rounds"] == metadata["best_rounds"]
    content["kind"] = "oracle"
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="kind 'oracle', which this version does not know"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("family", "missing"), [("resnet", "reads DFS features"), ("rdl", "reads the temporal graph")]
)
def test_an_input_that_is_missing_is_named(trained, tmp_path, family, missing):
    made = trained[TaskType.REGRESSION]
    with pytest.raises(ValueError, match=f"candidate '{family}' .*{missing}"):
        train_candidate(Candidate(family, family), inputs_of(made, features=None), tmp_path, 1)


def trial(name, *scores):
    found = [{"frozen": frozen, "rolling": rolling} for frozen, rolling in scores]
    return {"candidate": name, "family": "rdl", "seconds": 3.0, "validation_scores": found}


def test_the_leaderboard_has_a_row_per_candidate_and_protocol():
    rows = leaderboard([trial("a", (0.6, 0.7), (0.8, 0.7)), trial("b", (0.5, 0.9))])
    assert [(row.candidate, row.protocol) for row in rows] == [
        ("a", "frozen"),
        ("a", "rolling"),
        ("b", "frozen"),
        ("b", "rolling"),
    ]
    assert rows[0].mean == pytest.approx(0.7)
    assert rows[0].std == pytest.approx(math.sqrt(0.02))
    assert (rows[2].std, rows[2].seeds, rows[2].seconds) == (0.0, 1, 3.0)
