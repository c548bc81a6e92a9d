"""Relational networks in the pipeline: graph, pretraining, trials, choice, predictions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from benchmarks import fisher_points
from models.artifacts import Artifact
from tests.end_to_end.club import TEST
from tests.end_to_end.conftest import Tiny
from tests.end_to_end.installation import Execution, Installation, another_home, day
from tests.end_to_end.networks import ENCODER, FAMILIES, NETWORK, small
from tests.end_to_end.test_future import KEYS, rewritten, run_with

AS_OF = day(TEST)
JOB = "tiny_club__member_comes__pipeline"
MODEL = "tiny_club/member_comes/model"
RDL = {"name": "net", "family": "rdl", "settings": NETWORK}
FROM_TVE = {"name": "net from tve", "family": "rdl", "settings": {"initialisation": "tve"} | {
    "seeds": 1, "epochs": 2, "fan_out": 4, "past_labels": True}}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def families(own_settings: None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FAMILIES.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def trained(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> tuple[Installation, Execution]:
    """One task of the club with networks of several kinds."""
    folder = tmp_path_factory.mktemp("networks")
    home = another_home(folder, tiny.installation)
    done = home.execute_here(JOB, AS_OF, small("member_comes", RDL, FROM_TVE))
    assert done.success, done.messages()
    return home, done


def trial_of(home: Installation, candidate: str) -> Artifact:
    return home.artifacts()["trial", f"tiny_club/member_comes/{AS_OF}/{candidate}"]


def test_a_task_has_a_point_in_fisher_space(
    trained: tuple[Installation, Execution], tmp_path: Path
):
    home, _ = trained
    out = tmp_path / "points.json"
    arguments = ["--home", str(home.home), "--repeats", "1", "--batches", "1", "--out", str(out)]
    assert fisher_points.main(arguments) == 0
    [(subject, point)] = json.loads(out.read_text()).items()
    assert subject == f"tiny_club/member_comes/{AS_OF}"
    assert len(point) == 6
    assert min(point) >= 1
    before = out.stat().st_mtime_ns
    assert fisher_points.main(arguments) == 0
    assert out.stat().st_mtime_ns == before


def test_the_pipeline_makes_graph_encoder_and_trials(trained: tuple[Installation, Execution]):
    home, done = trained
    assert {"tiny_club/temporal_graph", ENCODER, MODEL} <= done.computed
    graph = done.assets["tiny_club/temporal_graph"]
    assert graph["edges"] > 1000
    encoder = done.assets[ENCODER]
    assert encoder["linear probes, validation"].records
    for candidate in ("net", "net from tve"):
        trial = trial_of(home, candidate).path
        assert (trial / "bundle" / "seed_0.pt").exists()
    board = json.loads(
        (home.artifact("model", "member_comes", AS_OF).path / "leaderboard.json").read_text()
    )
    assert {(row["candidate"], row["protocol"]) for row in board} == {
        (name, protocol) for name in ("net", "net from tve") for protocol in ("frozen", "rolling")
    }


def test_the_best_candidate_predicts(trained: tuple[Installation, Execution]):
    home, done = trained
    board = home.artifact("model", "member_comes", AS_OF).metadata["leaderboard"]
    own = [row for row in board if row["protocol"] == "rolling"]
    best = max(own, key=lambda row: row["mean"])
    assert done.assets[MODEL]["candidate"] == best["candidate"]
    predictions = home.artifact("predictions", "member_comes", AS_OF)
    frame = pl.read_parquet(predictions.path / "predictions.parquet")
    assert frame["prediction"].is_between(0, 1).all()
    assert frame["prediction"].n_unique() > 10
    assert "Relational deep learning" in (predictions.path / "report.html").read_text()


def test_nothing_is_computed_twice_and_another_candidate_trains_alone(
    trained: tuple[Installation, Execution],
):
    home, _ = trained
    again = home.execute_here(JOB, AS_OF, small("member_comes", RDL, FROM_TVE))
    assert again.computed == set()
    other = {"name": "wide", "family": "rdl", "settings": NETWORK | {"channels": 16, "epochs": 1}}
    more = home.execute_here(JOB, AS_OF, small("member_comes", RDL, FROM_TVE, other))
    assert MODEL in more.computed
    trials = {
        row.data["candidate"]: row.data["reused"] for row in more.assets[MODEL]["trials"].records
    }
    assert trials == {"net": True, "net from tve": True, "wide": False}


def test_rows_after_as_of_move_no_frozen_prediction(
    tiny: Tiny, trained: tuple[Installation, Execution], tmp_path: Path
):
    """With the same graph, encoder and weights below: everything up to as_of is as it was."""
    home, _ = trained
    other = another_home(tmp_path, tiny.installation)
    run_with(other, tmp_path / "source", rewritten(TEST), JOB, small("member_comes", RDL, FROM_TVE))
    for candidate in ("net", "net from tve"):
        before, after = (trial_of(h, candidate) for h in (home, other))
        assert before.metadata["validation_scores"] == after.metadata["validation_scores"]
        assert before.metadata["best_rounds"] == after.metadata["best_rounds"]
    frames = []
    for one in (home, other):
        path = one.artifact("predictions", "member_comes", AS_OF).path
        frames.append(
            pl.read_parquet(path / "predictions_frozen.parquet").select(*KEYS, "prediction")
        )
    known = frames[0].join(frames[1].select(KEYS), on=KEYS, how="semi")
    assert known.height > 50
    assert_frame_equal(known, frames[1].join(known, on=KEYS, how="semi"), check_row_order=False)


@pytest.mark.end_to_end
def test_a_run_killed_in_pretraining_and_in_training_goes_on_to_the_same_result(
    tiny: Tiny, trained: tuple[Installation, Execution], tmp_path: Path
):
    """Killed as soon as each has saved a checkpoint, each in turn."""
    home, _ = trained
    other = another_home(tmp_path, tiny.installation)
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(small("member_comes", RDL, FROM_TVE)))
    tags = json.dumps({"dagster/partition": AS_OF})
    arguments = ["job", "execute", "-m", "orchestration.definitions", "-j", JOB]
    for pattern in ("pretraining/*/stage0/checkpoint.pt", "trial/*/net/seed_0/checkpoint.pt"):
        (other.home / "dagster").mkdir(parents=True, exist_ok=True)
        started = other.start_module(
            "dagster", *arguments, "--tags", tags, "-c", str(config),
            DAGSTER_HOME=str(other.home / "dagster"), **FAMILIES,
        )  # fmt: skip
        work = other.store.root / "work"
        started.kill_once(lambda work=work, pattern=pattern: any(work.glob(pattern)))
    finished = other.execute_here(JOB, AS_OF, small("member_comes", RDL, FROM_TVE))
    assert finished.success, finished.messages()
    before, after = (
        {(key, artifact.fingerprint): content for (key, artifact), content in zip(
            h.artifacts().items(), h.contents().values(), strict=True
        )} for h in (home, other)
    )  # fmt: skip
    both = before.keys() & after.keys()
    assert {"pretraining", "trial"} <= {stage for (stage, _), _ in both}
    # The scores of probes come with the seconds they took.
    different = {key for key, _ in (k for k in both if before[k] != after[k]) if key[0] != "probe"}
    assert not different, "\n".join(differences(home, other, sorted(different)))
    assert list((other.store.root / "work").glob("*/*")) == []


def differences(one: Installation, other: Installation, keys: list[tuple[str, str]]) -> list[str]:
    """The files of these artifacts that differ, JSON files line by line."""
    found = []
    for key in keys:
        folders = [home.artifacts()[key].path for home in (one, other)]
        for path in sorted(path for path in folders[0].rglob("*") if path.is_file()):
            contents = [path.read_bytes(), (folders[1] / path.relative_to(folders[0])).read_bytes()]
            if contents[0] == contents[1] or path.name == "artifact.json":
                continue
            found.append(f"{key}: {path.name}")
            if path.suffix == ".json":
                lines = [content.decode().splitlines() for content in contents]
                found += [f"  {a} | {b}" for a, b in zip(*lines, strict=False) if a != b]
    return found


def test_the_job_of_a_task_needs_no_examples_of_other_tasks(tiny: Tiny, tmp_path: Path):
    project = shutil.copytree(tiny.installation.project, tmp_path / "dbt")
    home = Installation(tmp_path / "home", project)
    [model] = home.project.rglob("tiny_club__member_spend.sql")
    sql = model.read_text()
    model.write_text(sql.replace("GROUP BY", f"AND t.timestamp >= TIMESTAMP '{TEST}'\nGROUP BY"))
    assert model.read_text() != sql
    quick = small("member_comes", {"family": "lightgbm", "settings": {"seeds": 1, "rounds": 5}})
    both = home.execute_here("tiny_club__pipeline", AS_OF, quick)
    assert "member_spend: train has no labelled row" in both.messages()
    alone = home.execute_here(JOB, AS_OF, quick)
    assert alone.success, alone.messages()
    assert {ENCODER, MODEL} <= alone.computed
    probes = alone.assets[ENCODER]["linear probes, validation"].records
    assert {row.data["task"] for row in probes} == {"member_comes"}
