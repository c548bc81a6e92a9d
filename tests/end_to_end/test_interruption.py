"""A run killed anywhere, or two runs at once, end as an undisturbed run does."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.end_to_end.club import TEST
from tests.end_to_end.conftest import Tiny
from tests.end_to_end.installation import Installation, day

AS_OF = day(TEST)
EARLIER = day(TEST - timedelta(days=40))
TASK_JOB = "tiny_club__member_comes__pipeline"
STAGES = (
    "database",
    "dbt path:models/tiny_club/staging",
    "staging",
    "dbt tiny_club__member_comes",
    "training_table",
    "checks",
    "features",
    "model",
    "predictions",
    "write-back",
)
pytestmark = pytest.mark.end_to_end


def kill_in(stage: str, home: Installation, marker: Path) -> None:
    """Starts the job, waits until it is in the middle of the stage, kills it but not its child."""
    tags = json.dumps({"dagster/partition": AS_OF})
    dagster_home = home.home / "dagster"
    dagster_home.mkdir(parents=True, exist_ok=True)
    arguments = [stage, marker, "job", "execute", "-m", "orchestration.definitions"]
    started = home.start_module(
        "tests.end_to_end.paused",
        *arguments,
        *("-j", TASK_JOB, "--tags", tags),
        DAGSTER_HOME=str(dagster_home),
    )
    started.kill_once(marker.exists)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc for dbt's open files")
def test_a_run_killed_in_every_stage_ends_with_the_artifacts_of_an_undisturbed_one(
    tiny: Tiny, elsewhere: Installation, tmp_path: Path
):
    for number, stage in enumerate(STAGES):
        kill_in(stage, elsewhere, tmp_path / f"marker{number}")
    finished = elsewhere.execute(TASK_JOB, AS_OF)
    assert finished.returncode == 0, finished.stdout
    undisturbed = tiny.installation.contents()
    found = elsewhere.contents()
    assert {stage for stage, _ in found} == {stage for stage, _ in undisturbed}
    assert found == {key: undisturbed[key] for key in found}
    assert list((elsewhere.store.root / "building").iterdir()) == []
    sql = "select entity, cutoff_time, prediction from tiny_club_predictions.member_comes "
    sql += f"where as_of = '{AS_OF}' order by all"
    rows = elsewhere.query("tiny_club", sql)
    assert rows
    assert rows == tiny.installation.query("tiny_club", sql)
    assert elsewhere.execute_here(TASK_JOB, AS_OF).computed == set()


def test_a_kill_while_results_are_exported_leaves_the_earlier_results_whole(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
):
    from orchestration import results

    folder = tiny.exported("member-comes")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(before) == 4

    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(results.shutil, "copyfile", die)
    predictions = tiny.installation.artifact("predictions", "member_comes", AS_OF)
    with pytest.raises(KeyboardInterrupt):
        results._lay_out(tiny.installation.store, predictions, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_runs_at_once_give_what_they_give_one_after_the_other(
    tiny: Tiny, elsewhere: Installation, tmp_path: Path
):
    """Three on a home that does not exist yet: two of the same date, one of another."""
    started = {}
    for number, date in enumerate((AS_OF, EARLIER, AS_OF)):
        output = tmp_path / str(number)
        arguments = ["--source", "tiny-club", "--task", "member-comes", "--as-of", date]
        started[output] = (date, elsewhere.start(*arguments, "--output", output))
    for _, run in started.values():
        finished = run.finish()
        assert finished.returncode == 0, finished.stdout
    assert tiny.installation.execute_here(TASK_JOB, EARLIER).success
    alone, together = tiny.installation.contents(), elsewhere.contents()
    assert ("predictions", f"tiny_club/member_comes/{EARLIER}") in together
    assert together == {key: alone[key] for key in together}
    for output, (date, _) in started.items():
        exported = pl.read_parquet(output / "tiny-club" / "member-comes" / "predictions.parquet")
        artifact = tiny.installation.artifact("predictions", "member_comes", date)
        assert exported.equals(pl.read_parquet(artifact.path / "predictions.parquet"))
    sql = "select distinct strftime(as_of, '%Y-%m-%d') from tiny_club_predictions.member_comes"
    assert {date for (date,) in elsewhere.query("tiny_club", sql)} == {AS_OF, EARLIER}
