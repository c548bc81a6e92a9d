"""Retraining, scoring with an older model, dates, and the jobs as Dagster sees them."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import polars as pl
import pytest

from tests.end_to_end.club import TEST
from tests.end_to_end.conftest import Tiny
from tests.end_to_end.installation import Installation, day, new_installation
from tests.fixtures import PATIENCE, ROOT

AS_OF = day(TEST)
TRAINED, LATER = day(TEST - timedelta(days=15)), day(TEST + timedelta(days=18))


@pytest.mark.end_to_end
def test_retraining_makes_a_model_and_scoring_later_uses_it_without_training(
    elsewhere: Installation,
):
    nothing = elsewhere.execute_here("tiny_club__member_comes__score", LATER)
    assert not nothing.success
    assert "no model has been trained at or before" in nothing.messages()

    trained = elsewhere.execute_here("tiny_club__member_comes__retrain", TRAINED)
    assert trained.success, trained.messages()
    assert "tiny_club/member_comes/model" in trained.computed
    stages = {stage for stage, subject in elsewhere.artifacts() if subject.endswith(TRAINED)}
    assert stages == {"training_table", "checks", "features", "model"}
    model = elsewhere.artifact("model", "member_comes", TRAINED)

    # As CI calls it: Dagster applies no configuration of a partitioned job there.
    scored = elsewhere.execute("tiny_club__member_comes__score", LATER)
    assert scored.returncode == 0, scored.stdout
    assert "tiny_club/member_comes/model" not in elsewhere.last_run()
    assert ("model", f"tiny_club/member_comes/{LATER}") not in elsewhere.artifacts()
    predictions = elsewhere.artifact("predictions", "member_comes", LATER)
    assert predictions.inputs["model"] == model.fingerprint
    report = (predictions.path / "report.html").read_text()
    assert f"Scored with the model of {TRAINED}" in report
    frame = pl.read_parquet(predictions.path / "predictions.parquet")
    assert frame["prediction"].n_unique() > 10
    assert day(frame["cutoff_time"].min()) == LATER

    earlier = elsewhere.execute_here("tiny_club__member_comes__score", day(TEST - timedelta(40)))
    assert not earlier.success, "a model of a later date must not score an earlier one"

    pipeline = elsewhere.execute_here("tiny_club__member_comes__pipeline", LATER)
    assert pipeline.success
    assert pipeline.computed == {
        "tiny_club/member_comes/model",
        "tiny_club/member_comes/predictions",
        "tiny_club/members/task_vectors",
    }


def test_a_date_that_does_not_exist_fails_before_any_work(elsewhere: Installation):
    for date in ("2999-01-01", "1999-12-31"):
        done = elsewhere.execute_here("tiny_club__pipeline", date)
        assert not done.success
        assert done.assets == {}
        assert f"as_of '{date}' is no date of database 'tiny_club'" in done.messages()
    assert not elsewhere.store.root.exists()


def test_a_run_without_a_date_says_how_to_give_one(tiny: Tiny):
    done = tiny.installation.execute_here("tiny_club__pipeline", None)
    assert not done.success
    assert "this run has no as_of" in done.messages()
    assert '--tags \'{"dagster/partition": "2024-01-31"}\'' in done.messages()


def test_each_date_of_a_backfill_is_a_run_of_its_own(tiny: Tiny):
    """What the daemon does for `dagster job backfill`: the job once a partition."""
    import dagster as dg

    job = tiny.installation.definitions().resolve_job_def("tiny_club__member_comes__pipeline")
    assert isinstance(job.partitions_def, dg.TimeWindowPartitionsDefinition)
    dates = [AS_OF, day(TEST - timedelta(days=40))]
    assert set(dates) <= set(job.partitions_def.get_partition_keys())
    silent = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        for date in dates:
            done = job.execute_in_process(silent, instance=instance, partition_key=date)
            assert done.success
        key = dg.AssetKey(["tiny_club", "member_comes", "predictions"])
        assert instance.get_materialized_partitions(key) == set(dates)
    scores = [
        tiny.installation.artifact("predictions", "member_comes", date).metadata["scores"]
        for date in dates
    ]
    assert scores[0] != scores[1]


@pytest.mark.end_to_end
def test_dagster_validates_the_workspace(tiny: Tiny):
    dagster_home = tiny.installation.home / "dagster"
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"]
    finished = subprocess.run(
        command,
        cwd=ROOT,
        env=tiny.installation.environment(DAGSTER_HOME=str(dagster_home)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.end_to_end
def test_a_database_declared_with_faults_hides_none_of_the_others(tiny: Tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faulty")
    installation = new_installation(folder, "shop")
    spoiled = installation.project / "models/shop/tasks/shop__customer_churn.yml"
    text = spoiled.read_text().replace("window: 30 days", "window: a while")
    spoiled.write_text(text.replace("entity_table: shop__customers", "entity_table: shop__nobody"))
    arguments = ["--source", tiny.folder, "--task", "nobody"]
    assert installation.run(*arguments).returncode == 2, "imports beside the faulty one"

    definitions = installation.definitions()
    keys = {"/".join(key.path) for key in definitions.resolve_all_asset_keys()}
    assert "tiny_club/member_comes/predictions" in keys
    assert {key for key in keys if key.startswith("shop/")} == {"shop/faulty_declaration"}
    specs = definitions.resolve_all_asset_specs()
    (described,) = [spec.description for spec in specs if "faulty_declaration" in spec.key.path]
    for words in ("window", "a while", "nobody"):
        assert words in described

    finished = installation.run("--source", "shop")
    assert finished.returncode == 2
    for words in ("'shop' is declared with", "'a while'", "'nobody'"):
        assert words in finished.stdout
