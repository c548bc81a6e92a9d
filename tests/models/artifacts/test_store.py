"""The store: one artifact a fingerprint, visible only when complete, whoever builds it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from models.artifacts import ArtifactStore, Recipe
from tests.fixtures import PATIENCE, ROOT, wait_for

RECIPE = Recipe("features", "shop/churn/2020", "c1", {"depth": 2}, {"staging": "s1"})


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "store")


def producer(text="rows", calls=None):
    def produce(folder: Path):
        if calls is not None:
            calls.append(folder)
        (folder / "deep").mkdir()
        (folder / "deep" / "table.txt").write_text(text)
        return {"rows": len(text)}

    return produce


def visible(store, stage="features"):
    return sorted(path.name for path in (store.root / stage).glob("*"))


def leftovers(store):
    return list((store.root / "building").glob("*"))


def test_an_artifact_is_built_once_and_then_reused(store):
    calls = []
    first = store.build(RECIPE, producer(calls=calls), run_id="run 1")
    second = store.build(RECIPE, producer(calls=calls), run_id="run 2")
    assert len(calls) == 1
    assert (first.reused, second.reused) == (False, True)
    assert first.made_by == second.made_by == "run 1"
    assert second.artifact.path == first.artifact.path
    assert (second.artifact.path / "deep" / "table.txt").read_text() == "rows"
    assert second.artifact.metadata == {"rows": 4}
    assert second.artifact.inputs == {"staging": "s1"}
    assert leftovers(store) == []


def test_what_changed_is_told_against_the_subjects_previous_recipe(store):
    deeper = replace(RECIPE, config={"depth": 3})
    assert store.build(RECIPE, producer()).changed == ("first run",)
    assert store.build(RECIPE, producer()).changed == ()
    assert store.build(deeper, producer()).changed == ("config.depth 2 -> 3",)
    # Back to the first recipe: reused, though it differs from what was asked for last.
    back = store.build(RECIPE, producer())
    assert back.reused
    assert back.changed == ("config.depth 3 -> 2",)


def test_two_subjects_of_one_recipe_share_the_artifact(store):
    first = store.build(RECIPE, producer())
    other = store.build(replace(RECIPE, subject="shop/spend/2020"), producer())
    assert other.reused
    assert other.changed == ("first run",)
    assert other.artifact.fingerprint == first.artifact.fingerprint


def test_the_latest_artifact_and_the_subjects_of_a_stage_are_found(store):
    newer = replace(RECIPE, code="c2")
    store.build(RECIPE, producer())
    store.build(newer, producer("new"))
    store.build(replace(RECIPE, subject="shop/churn/2019"), producer())
    store.build(replace(RECIPE, stage="training", subject="shop/churn/2021"), producer())
    store.build(replace(RECIPE, subject="shopping/churn/2020"), producer())
    latest = store.latest("features", "shop/churn/2020")
    assert latest is not None
    assert latest.fingerprint == newer.fingerprint
    assert store.subjects("features", "shop/") == ["shop/churn/2019", "shop/churn/2020"]
    assert store.latest("features", "unknown") is None
    assert store.subjects("unknown", "") == []


def test_an_unknown_fingerprint_is_an_error_that_names_it(store):
    assert store.find("features", "abc") is None
    with pytest.raises(KeyError, match="features artifact abc"):
        store.get("features", "abc")


def test_equal_contents_have_equal_content_digests(store):
    one = store.build(RECIPE, producer("a")).artifact
    same = store.build(replace(RECIPE, code="c2"), producer("a")).artifact
    other = store.build(replace(RECIPE, code="c3"), producer("b")).artifact
    assert one.fingerprint != same.fingerprint
    assert one.content == same.content
    assert one.content != other.content


def test_a_producer_that_fails_leaves_nothing(store):
    def fail(folder):
        (folder / "part.txt").write_text("half")
        raise RuntimeError("no more rows")

    with pytest.raises(RuntimeError, match="no more rows"):
        store.build(RECIPE, fail)
    assert visible(store) == []
    assert leftovers(store) == []
    assert store.latest("features", RECIPE.subject) is None
    assert store.build(RECIPE, producer()).reused is False


def test_force_builds_again_and_shows_the_new_files(store):
    store.build(RECIPE, producer("old"), run_id="run 1")
    forced = store.build(RECIPE, producer("new"), run_id="run 2", force=True)
    assert not forced.reused
    assert forced.made_by == "run 2"
    assert (forced.artifact.path / "deep" / "table.txt").read_text() == "new"
    assert visible(store) == [RECIPE.fingerprint]
    store.build(replace(RECIPE, code="c2"), producer())
    assert leftovers(store) == []


def test_force_that_fails_keeps_the_old_artifact(store):
    store.build(RECIPE, producer("old"))

    def fail(folder):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        store.build(RECIPE, fail, force=True)
    assert (store.get("features", RECIPE.fingerprint).path / "deep" / "table.txt").exists()


BUILD_IN_CHILD = """
import sys, time
from pathlib import Path
from models.artifacts import ArtifactStore, Recipe

root, signals, name, wait = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]

def produce(folder):
    (folder / "part.txt").write_text("half")
    (signals / name).touch()
    while not (signals / wait).exists():
        time.sleep(0.01)
    (folder / "part.txt").write_text("whole")
    return {"rows": 1}

recipe = Recipe("features", "shop/churn/2020", "c1", {"depth": 2}, {"staging": "s1"})
outcome = ArtifactStore(root).build(recipe, produce, run_id=name)
print(outcome.artifact.path, outcome.made_by, (outcome.artifact.path / "part.txt").read_text())
"""


def start_build(store, signals, name, wait):
    signals.mkdir(exist_ok=True)
    command = [sys.executable, "-c", BUILD_IN_CHILD, str(store.root), str(signals), name, wait]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: (signals / name).exists() or child.poll() is not None)
    assert child.poll() is None
    return child


def test_a_killed_build_shows_nothing_and_the_next_build_sweeps_it(store, tmp_path):
    child = start_build(store, tmp_path / "signals", "killed", "never")
    assert visible(store) == []
    assert len(leftovers(store)) == 1
    # While the child lives its work is nobody else's to remove.
    store.sweep()
    assert len(leftovers(store)) == 1
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert store.find("features", RECIPE.fingerprint) is None
    assert store.latest("features", RECIPE.subject) is None
    outcome = store.build(RECIPE, producer())
    assert not outcome.reused
    assert leftovers(store) == []


def test_two_processes_that_build_one_fingerprint_both_succeed_with_one_artifact(store, tmp_path):
    signals = tmp_path / "signals"
    children = [start_build(store, signals, name, "go") for name in ("first", "second")]
    (signals / "go").touch()
    told = [child.communicate(timeout=PATIENCE)[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert told[0] == told[1]
    assert told[0][2] == "whole"
    assert visible(store) == [RECIPE.fingerprint]
    assert leftovers(store) == []


def test_work_of_another_machine_is_left_alone(store):
    theirs = store.root / "building" / f"elsewhere-{os.getpid()}-abc"
    theirs.mkdir(parents=True)
    store.build(RECIPE, producer())
    assert leftovers(store) == [theirs]


def test_the_record_lists_every_file_with_its_digest(store):
    artifact = store.build(RECIPE, producer()).artifact
    record = json.loads((artifact.path / "artifact.json").read_text())
    assert list(record["files"]) == ["deep/table.txt"]
    assert record["subject"] == RECIPE.subject
    assert record["recipe"]["config"] == {"depth": 2}
