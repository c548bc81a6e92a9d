"""What a second run reuses, and what each kind of change computes anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from tests.end_to_end.club import TEST, club_tables, write_club
from tests.end_to_end.conftest import Tiny
from tests.end_to_end.installation import Installation, day

AS_OF = day(TEST)
JOB = "tiny_club__pipeline"
RAW = {"tiny_club/database"} | {
    f"tiny_club/staging/{table}" for table in ("members", "desks", "visits")
}
STAGES = ("training_table", "features", "model", "predictions")


def of_task(task: str, *stages: str) -> set[str]:
    return {f"tiny_club/{task}/{stage}" for stage in stages or STAGES}


VECTORS = {"tiny_club/members/task_vectors"}
EVERYTHING = RAW | VECTORS | of_task("member_comes") | of_task("member_spend")


@pytest.fixture(scope="module")
def copy(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A copy of the first run's home and project, which these tests change and change back."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(tiny.installation.home, folder / "home")
    shutil.copytree(tiny.installation.project, folder / "project")
    return Installation(folder / "home", folder / "project")


@pytest.mark.end_to_end
def test_a_second_run_computes_nothing_and_names_the_run_that_did(tiny: Tiny):
    arguments = ["--source", tiny.folder, "--output", tiny.output]
    finished = tiny.installation.run(*arguments)
    assert finished.returncode == 0, finished.stdout
    assert "0 computed, 13 reused" in finished.stdout
    again = tiny.installation.last_run()
    assert set(again) == set(tiny.assets) == EVERYTHING
    for key, metadata in again.items():
        assert tiny.assets[key]["reused"] is False
        assert metadata["reused"] is True, key
        assert metadata["changed"] == "nothing"
        for name in ("made by run", "fingerprint", "content"):
            assert metadata[name] == tiny.assets[key][name], (key, name)


def test_a_copied_home_is_as_good_as_the_first(copy: Installation):
    assert copy.execute_here(JOB, AS_OF).computed == set()


def test_another_sql_of_a_task_computes_that_task_alone_and_back_again_nothing(
    copy: Installation,
):
    path = copy.project / "models/tiny_club/tasks/tiny_club__member_spend.sql"
    before = path.read_text()
    path.write_text(before.replace("SUM(v.paid)", "2 * SUM(v.paid)"))
    changed = copy.execute_here(JOB, AS_OF)
    assert changed.success
    assert changed.computed == of_task("member_spend")
    text = changed.assets["tiny_club/member_spend/training_table"]["changed"]
    assert "config.model.sql" in text
    assert "inputs.training_table" in changed.assets["tiny_club/member_spend/features"]["changed"]
    path.write_text(before)
    back = copy.execute_here(JOB, AS_OF)
    assert back.computed == set()
    assert "config.model.sql" in back.assets["tiny_club/member_spend/training_table"]["changed"]


def test_another_metric_and_protocol_compute_that_task_alone(copy: Installation):
    path = copy.project / "models/tiny_club/tasks/tiny_club__member_comes.yml"
    before = path.read_text()
    after = before.replace("metric: roc_auc", "metric: average_precision")
    path.write_text(after.replace("protocol: frozen", "protocol: rolling"))
    changed = copy.execute_here(JOB, AS_OF)
    path.write_text(before)
    assert changed.success
    assert "tiny_club/member_comes/model" in changed.computed
    assert changed.computed <= of_task("member_comes")
    metadata = changed.assets["tiny_club/member_comes/predictions"]
    assert "test average_precision, rolling" in metadata


def test_a_new_task_leaves_the_others_alone(copy: Installation):
    folder = copy.project / "models/tiny_club/tasks"
    made = []
    for suffix in ("sql", "yml"):
        path = folder / f"tiny_club__member_spend.{suffix}"
        new = folder / f"tiny_club__spend_again.{suffix}"
        text = path.read_text().replace("tiny_club__member_spend", "tiny_club__spend_again")
        new.write_text(text.replace("title: member-spend", "title: spend-again"))
        made.append(new)
    changed = copy.execute_here(JOB, AS_OF)
    for path in made:
        path.unlink()
    assert changed.success
    assert changed.computed == of_task("spend_again")
    assert changed.reused == EVERYTHING


def test_another_depth_computes_features_and_what_follows(copy: Installation):
    config = {"ops": {"tiny_club__member_comes__features": {"config": {"depth": 1}}}}
    changed = copy.execute_here(JOB, AS_OF, config)
    assert changed.computed == of_task("member_comes", "features", "model", "predictions")
    assert changed.assets["tiny_club/member_comes/features"]["changed"] == "config.depth 2 -> 1"
    assert copy.execute_here(JOB, AS_OF).computed == set()


def test_another_learning_rate_trains_and_predicts_only(copy: Installation):
    def with_rate(rate: float) -> dict[str, object]:
        candidate = {"family": "lightgbm", "settings": {"learning_rate": rate}}
        model = {"config": {"candidates": [candidate]}}
        return {"ops": {"tiny_club__member_comes__model": model}}

    assert copy.execute_here(JOB, AS_OF, with_rate(0.05)).success
    changed = copy.execute_here(JOB, AS_OF, with_rate(0.1))
    assert changed.computed == of_task("member_comes", "model", "predictions")
    (trial,) = changed.assets["tiny_club/member_comes/model"]["trials"].records
    assert "candidate.settings.learning_rate" in trial.data["changed"]


def test_a_forced_stage_gives_the_same_content_so_what_follows_is_reused(
    copy: Installation, tiny: Tiny
):
    force = {"config": {"force": True}}
    ops = {"tiny_club_staging": force, "tiny_club__member_comes__features": force}
    forced = copy.execute_here(JOB, AS_OF, {"ops": ops})
    assert forced.computed == (RAW - {"tiny_club/database"}) | of_task("member_comes", "features")
    for key, metadata in forced.assets.items():
        assert metadata["content"] == tiny.assets[key]["content"], key
        assert metadata["fingerprint"] == tiny.assets[key]["fingerprint"], key


def test_one_changed_row_computes_everything_that_depends_on_it(
    copy: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tables = club_tables()
    row = pl.col("visitId") == 100
    paid = pl.when(row).then(pl.col("paid") + 1).otherwise(pl.col("paid"))
    tables["visits"] = tables["visits"].with_columns(paid)
    write_club(tmp_path, tables)
    monkeypatch.setenv("RELFORGE_SOURCE_TINY_CLUB", str(tmp_path))
    changed = copy.execute_here(JOB, AS_OF)
    assert changed.success
    assert changed.computed == EVERYTHING
    text = changed.assets["tiny_club/database"]["changed"]
    assert text.startswith("inputs.visits ")
    assert "members" not in text
