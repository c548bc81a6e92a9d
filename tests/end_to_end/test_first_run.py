"""One command from a RelBench folder, or from the declared demo, to files, scores and warehouse."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
import yaml

from tests.end_to_end.club import TEST
from tests.end_to_end.conftest import Tiny
from tests.end_to_end.installation import Installation, day, new_installation

TASKS = ("member-comes", "member-spend")
pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The demo, shrunk, with one task."""
    installation = new_installation(tmp_path_factory.mktemp("shop"), "shop")
    folder = installation.project / "models" / "shop"
    sources = yaml.safe_load((folder / "_sources.yml").read_text())
    database = sources["sources"][0]["config"]["meta"]["relforge"]["database"]
    database["source"]["options"] |= {"customers": "150", "days": "400", "products": "30"}
    database["default_as_of"] = "2021-11-01 00:00:00"
    (folder / "_sources.yml").write_text(yaml.safe_dump(sources, sort_keys=False))
    for name in ("customer_spend", "product_units"):
        for path in (folder / "tasks").glob(f"shop__{name}.*"):
            path.unlink()
    return installation


def test_the_job_that_ci_calls_runs_the_demo_to_its_predictions(shop: Installation):
    finished = shop.execute("shop__pipeline", "2021-11-01")
    assert finished.returncode == 0, finished.stdout
    assert "shop/customer_churn/predictions" in shop.last_run()
    predictions = shop.artifacts()["predictions", "shop/customer_churn/2021-11-01"]
    frame = pl.read_parquet(predictions.path / "predictions.parquet")
    assert frame.height > 20
    assert frame["prediction"].is_between(0, 1).all()
    assert not list(predictions.path.glob("*.csv")), "only RelBench's databases have a submission"


def test_the_exported_training_table_has_exactly_its_four_columns(tiny: Tiny):
    for task in TASKS:
        table = pl.read_parquet(tiny.exported(task) / "training_table.parquet")
        assert table.columns == ["entity", "cutoff_time", "label", "split"]
        assert set(table["split"]) == {"train", "val", "test"}
        assert table.select("entity", "cutoff_time").is_unique().all()
        assert table["label"].null_count() == 0


def test_the_exported_predictions_cover_every_row_from_as_of_on(tiny: Tiny):
    for task in TASKS:
        table = pl.read_parquet(tiny.exported(task) / "training_table.parquet")
        predictions = pl.read_parquet(tiny.exported(task) / "predictions.parquet")
        assert predictions.columns == ["entity", "cutoff_time", "prediction"]
        assert predictions["prediction"].is_finite().all()
        assert predictions["cutoff_time"].min() == TEST
        keys = ["entity", "cutoff_time"]
        rows = table.filter(pl.col("split") == "test").select(keys).sort(keys)
        assert predictions.select(keys).sort(keys).equals(rows)


def test_the_report_needs_no_other_file_and_no_network(tiny: Tiny):
    for task in TASKS:
        report = (tiny.exported(task) / "report.html").read_text()
        assert task in report
        loaded = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)""", report)
        loaded += re.findall(r"url\(([^)]+)\)", report)
        outside = [place for place in loaded if not place.startswith(("data:", "#"))]
        assert outside == []
        assert "<script src" not in report
        assert report.count("data:image/png;base64") + report.count("<svg") > 3


def test_relbench_itself_accepts_the_submission(tiny: Tiny):
    import relbench
    from relbench import submit

    dataset = relbench.load_dataset(str(tiny.folder))
    for name in TASKS:
        task = dataset.load_task(name)
        expected = task.get_table("test", mask_input_cols=False).df
        submission = pd.read_csv(tiny.exported(name) / f"tiny-club__{name}.csv")
        submission["timestamp"] = pd.to_datetime(submission["timestamp"])
        keys = ["timestamp", "memberId"]
        assert list(submission.columns) == ["memberId", "timestamp", task.target_col]
        assert set(submission[keys].itertuples(index=False, name=None)) == set(
            expected[keys].itertuples(index=False, name=None)
        )
        assert len(submission) == len(expected) > 50
        assert submit._key_cols(task) == ["memberId", "timestamp"]


def test_the_predictions_are_in_the_warehouse_too(tiny: Tiny):
    for task in TASKS:
        name = task.replace("-", "_")
        rows = tiny.installation.query(
            "tiny_club",
            f"select entity, cutoff_time, prediction from tiny_club_predictions.{name} "
            f"where as_of = '{TEST}' order by 2, 1",
        )
        predictions = pl.read_parquet(tiny.exported(task) / "predictions.parquet")
        assert rows == predictions.sort("cutoff_time", "entity").rows()


def test_the_terminal_says_what_was_computed_and_how_good_it_is(tiny: Tiny):
    text = tiny.first.stdout
    assert "tiny-club as of 2021-03-02: 13 computed, 0 reused" in text
    for task in TASKS:
        assert f"-> {tiny.exported(task)}" in text
    for split in ("val", "test"):
        for protocol in ("frozen", "rolling"):
            assert re.search(rf"{split} +{protocol} +roc_auc 0\.\d+ ± ", text)
            assert re.search(rf"{split} +{protocol} +mae \d", text)
    assert "DEBUG" not in text
    assert "Traceback" not in text


def test_one_task_is_chosen_by_its_name_as_well_as_by_its_title(tiny: Tiny, tmp_path: Path):
    arguments = ["--source", "tiny_club", "--task", "member_comes", "--output", tmp_path]
    finished = tiny.installation.run(*arguments)
    assert finished.returncode == 0, finished.stdout
    assert [path.name for path in (tmp_path / "tiny-club").iterdir()] == ["member-comes"]
    assert "tiny_club__member_comes__pipeline" in finished.stdout


def test_several_dates_are_a_backtest(tiny: Tiny, tmp_path: Path):
    dates = [day(TEST - timedelta(days=40)), day(TEST)]
    arguments = ["--source", "tiny-club", "--task", "member-comes", "--output", tmp_path]
    finished = tiny.installation.run(*arguments, "--as-of", ",".join(dates))
    assert finished.returncode == 0, finished.stdout
    for date in dates:
        assert f"tiny-club as of {date}" in finished.stdout
        assert tiny.installation.artifact("predictions", "member_comes", date).metadata["scores"]
        exported = tmp_path / date / "tiny-club" / "member-comes" / "predictions.parquet"
        assert pl.read_parquet(exported)["cutoff_time"].min() >= datetime.fromisoformat(date)
    found = tiny.installation.query(
        "tiny_club",
        "select distinct strftime(as_of, '%Y-%m-%d') from tiny_club_predictions.member_comes "
        "order by 1",
    )
    assert {date for (date,) in found} >= set(dates)


WRONG: dict[str, tuple[list[str], list[str]]] = {
    "task": (["--source", "tiny-club", "--task", "nobody"], ["no task 'nobody'", "member-comes"]),
    "database path": (["--source", "./no/such/folder"], ["./no/such/folder does not exist"]),
    "date": (["--source", "tiny-club", "--as-of", "yesterday"], ["'yesterday' is no date"]),
    "date before the data": (
        ["--source", "tiny-club", "--as-of", "1999-01-01"],
        ["1999-01-01", "2020-01-01"],
    ),
    "date to come": (["--source", "tiny-club", "--as-of", "2999-01-01"], ["2999-01-01"]),
    "one of the dates": (
        ["--source", "tiny-club", "--as-of", "2021-03-02,2021-02-30"],
        ["'2021-02-30' is no date"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_told_at_once_and_nothing_is_written(
    tiny: Tiny, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, case: str
):
    from orchestration import run

    def fail(*arguments: object) -> int:
        raise AssertionError("a job was started")

    monkeypatch.setattr(run, "execute_job", fail)
    monkeypatch.setenv("RELFORGE_HOME", str(tiny.installation.home))
    monkeypatch.setenv("RELFORGE_DBT_PROJECT", str(tiny.installation.project))
    before = files(tiny.installation)
    arguments, words = WRONG[case]
    code = run.main([*arguments, "--output", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("error: ")
    for word in words:
        assert word in error
    assert not (tmp_path / "out").exists()
    assert files(tiny.installation) == before


def test_a_name_that_no_database_has_is_told_with_those_that_are_declared(
    tiny: Tiny, tmp_path: Path
):
    arguments = ["--source", "tiny-clab", "--output", tmp_path / "out"]
    offline = {"HF_HUB_OFFLINE": "1"}
    started = tiny.installation.start_module("orchestration.run", *arguments, **offline)
    finished = started.finish()
    assert finished.returncode == 2
    assert "tiny-clab" in finished.stdout
    assert "tiny_club" in finished.stdout, "the databases that are declared would have helped"
    assert "Traceback" not in finished.stdout


def files(installation: Installation) -> set[Path]:
    folders = (installation.store.root, installation.project / "models")
    return {path for folder in folders for path in folder.rglob("*")}
