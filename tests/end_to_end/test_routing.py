"""Signals, routing and search in the pipeline, and the editions of the bank."""

from __future__ import annotations

import json
from collections.abc import Iterator

import polars as pl
import pytest

from assets.bank import trials_folder
from models.bank.store import SHIPPED, read_bank
from models.database.schema import Protocol
from tests.end_to_end.club import TEST
from tests.end_to_end.conftest import Tiny
from tests.end_to_end.installation import Execution, Installation, another_home, day
from tests.end_to_end.networks import FAMILIES

AS_OF = day(TEST)
JOB = "tiny_club__member_comes__pipeline"
TASK = "tiny_club/member_comes"
SUBJECT = f"tiny_club/member_comes/{AS_OF}"


def run_config(branch: str = "", **search: object) -> dict[str, object]:
    encoder = {"epochs": 1, "steps": 2, "batch_size": 64, "channels": 8, "fan_out": 4}
    small = {"trials": 3, "trial_seeds": 1, "trial_seconds": 1.0} | search
    return {
        "ops": {
            "tiny_club__pretrained_encoder__tve": {"config": encoder},
            "tiny_club__member_comes__signals": {"config": {"rows": 500, "probe_rows": 300}},
            "tiny_club__member_comes__routing": {"config": {"branch": branch}},
            "tiny_club__member_comes__model": {"config": small},
        }
    }


@pytest.fixture(scope="module", autouse=True)
def families(own_settings: None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FAMILIES.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def searched(
    tiny: Tiny, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Installation, Execution]:
    """The club's first task, every branch explored so that no bank decides."""
    folder = tmp_path_factory.mktemp("routing")
    home = another_home(folder, tiny.installation)
    done = home.execute_here(JOB, AS_OF, run_config(explore=True, trials=4))
    assert done.success, done.messages()
    return home, done


def test_signals_and_routing_say_what_they_found(searched: tuple[Installation, Execution]):
    home, done = searched
    assert {f"{TASK}/signals", f"{TASK}/routing", f"{TASK}/model"} <= done.computed
    groups = {row.data["group"] for row in done.assets[f"{TASK}/signals"]["signals"].records}
    assert groups == {"homophily", "labels", "context", "size", "probes"}
    decision = json.loads((home.artifacts()["routing", SUBJECT].path / "decision.json").read_text())
    assert set(decision["gaps"]) == {"dfs", "rdl", "hybrid"}
    assert sum(decision["probabilities"].values()) == pytest.approx(1)
    assert decision["reasons"]
    assert set(decision["branches"]) <= {"dfs", "rdl", "hybrid"}
    assert done.assets[f"{TASK}/routing"]["decision"] == decision["decision"]


def test_every_trial_is_noted_for_the_bank_with_the_tasks_signals(
    searched: tuple[Installation, Execution],
):
    home, done = searched
    noted = read_bank([trials_folder(home.settings)])
    assert done.assets[f"{TASK}/model"]["trials"].records
    assert noted.select("family", "settings").n_unique() == 4
    assert set(noted["protocol"]) == {"frozen", "rolling"}
    assert noted["test"].null_count() == 0
    (signals,) = {text for text in noted["signals"]}
    assert json.loads(signals)["log_training_rows"] > 0


def test_a_second_run_goes_on_with_the_same_study(searched: tuple[Installation, Execution]):
    home, _ = searched
    again = home.execute_here(JOB, AS_OF, run_config(explore=True, trials=4))
    assert again.computed == set()
    longer = home.execute_here(JOB, AS_OF, run_config(explore=True, trials=5))
    assert longer.computed == {f"{TASK}/model", f"{TASK}/predictions"}
    trials = [row.data["reused"] for row in longer.assets[f"{TASK}/model"]["trials"].records]
    assert len(trials) == 5


def test_a_user_can_force_a_branch(searched: tuple[Installation, Execution]):
    home, _ = searched
    forced = home.execute_here(JOB, AS_OF, run_config("dfs"))
    assert forced.assets[f"{TASK}/routing"]["decision"] == "dfs"
    board = home.artifact("model", "member_comes", AS_OF).metadata["leaderboard"]
    assert {row["family"] for row in board} == {"lightgbm"}
    wrong = home.execute_here(JOB, AS_OF, run_config("forest"))
    assert not wrong.success
    assert "branch must be one of dfs, rdl, hybrid or empty (got 'forest')" in wrong.messages()


def test_named_candidates_are_noted_too(searched: tuple[Installation, Execution]):
    home, _ = searched
    named = [{"family": "lightgbm", "settings": {"seeds": 1, "rounds": 7}}]
    config = run_config(candidates=named)
    assert home.execute_here(JOB, AS_OF, config).success
    noted = read_bank([trials_folder(home.settings)])
    settings = [json.loads(text) for text in noted["settings"]]
    assert sum(one.get("rounds") == 7 for one in settings) == len(Protocol)


def test_an_edition_of_the_bank_has_the_trials_run_here(
    searched: tuple[Installation, Execution],
):
    home, _ = searched
    made = home.execute_here("performance_bank_edition", None)
    assert made.success
    edition = pl.read_parquet(
        home.artifacts()["performance_bank", "performance_bank"].path / "bank.parquet"
    )
    assert "tiny_club" in edition["database"].to_list()
    shipped = read_bank([SHIPPED])
    assert edition.height >= shipped.height + 8
    # The club's own trials, of whatever date, say nothing of the club.
    routed = home.execute_here(JOB, AS_OF, run_config("dfs"))
    assert routed.success
    nearest = home.artifacts()["routing", SUBJECT].metadata["nearest"]
    assert "tiny_club" not in {one["database"] for one in nearest}
