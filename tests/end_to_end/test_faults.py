"""Faulty input: each fault is told in words, nothing is computed after it, nothing earlier is lost."""

from __future__ import annotations

import shutil
import socket
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from tests.end_to_end.club import (
    SPEND,
    START,
    TEST,
    Tables,
    club_tables,
    database_manifest,
    task_manifest,
    write_club,
)
from tests.end_to_end.conftest import Tiny
from tests.end_to_end.installation import Installation, day, new_installation

AS_OF = day(TEST)
pytestmark = pytest.mark.end_to_end


class Faulty:
    """A club that ran well once (database to training tables of one task), then is spoiled."""

    def __init__(self, root: Path, **tasks: dict[str, Any]) -> None:
        self.folder = write_club(root / "source", tasks=tasks or None)
        self.installation = new_installation(root)
        self.output = root / "out"

    def run(self, *arguments: str) -> str:
        finished = self.installation.run(
            "--source", self.folder, "--output", self.output, *arguments
        )
        assert finished.returncode == 1, finished.stdout
        return finished.stdout

    def stages(self) -> set[str]:
        return {path.name for path in self.installation.store.root.iterdir()}


def summary(output: str) -> str:
    """What is printed last, below the log."""
    return output[output.index("\ntiny-club as of ") :]


def spoil(tables: Tables) -> Tables:
    """A doubled key, dangling references, a time in the future."""
    members, visits = tables["members"], tables["visits"]
    visits = visits.with_columns(
        deskId=pl.when(pl.col("visitId") < 26).then(77).otherwise(pl.col("deskId")),
        date=pl.when(pl.col("visitId") == 2599)
        .then(pl.lit(datetime(2190, 5, 4)))
        .otherwise(pl.col("date"))
        .cast(pl.Datetime("ns")),
    )
    doubled = pl.concat([members, members.filter(pl.col("memberId") == 12)])
    return tables | {"members": doubled, "visits": visits}


def unclear_times() -> pl.DataFrame:
    joined = pl.col("joined").dt.strftime("%Y-%m-%d %H:%M:%S")
    unclear = pl.when(pl.col("memberId") < 5).then(pl.lit("last summer")).otherwise(joined)
    return club_tables()["members"].with_columns(joined=unclear)


def test_faulty_rows_are_told_together_and_stop_the_run_before_any_feature(tiny, tmp_path: Path):
    """After a good run the same database arrives spoiled: the good results stay."""
    installation = copy_of(tiny, tmp_path)
    good = installation.contents()
    exported = {p: p.read_bytes() for p in tiny.output.rglob("*") if p.is_file()}
    spoiled = write_club(tmp_path / "spoiled", spoil(club_tables()))
    started = installation.start_module(
        "orchestration.run",
        *("--source", "tiny-club", "--output", tiny.output),
        RELFORGE_SOURCE_TINY_CLUB=str(spoiled),
    )
    finished = started.finish()
    assert finished.returncode == 1
    told = summary(finished.stdout)
    for words in (
        "members: 2 of 61 (3.28 %) rows share their (memberId) with another row",
        "Keep one row a key in the staging model",
        "visits(deskId) -> desks: 26 of 2,600 (1 %) references have no row in desks",
        "raise the key's tolerance",
        "2190-05-04",
        "correct the clock or time zone of the source",
    ):
        assert words in told, f"{words!r} is not in:\n{told}"
    for engine in ("DagsterAssetCheckFailedError", "Traceback", "blocking check"):
        assert engine not in told
    assert "features" not in finished.stdout
    assert "model tiny_club" not in finished.stdout
    after = installation.contents()
    kept = ("training_table", "features", "model", "predictions")
    assert {k: v for k, v in after.items() if k[0] in kept} == {
        k: v for k, v in good.items() if k[0] in kept
    }
    assert {p: p.read_bytes() for p in tiny.output.rglob("*") if p.is_file()} == exported
    rows = installation.query("tiny_club", "select * from tiny_club_predictions.member_comes")
    assert len(rows) > 100


def copy_of(tiny: Tiny, folder: Path) -> Installation:
    shutil.copytree(tiny.installation.home, folder / "home")
    shutil.copytree(tiny.installation.project, folder / "project")
    return Installation(folder / "home", folder / "project")


def test_references_within_the_declared_tolerance_pass(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    installation = copy_of(tiny, tmp_path)
    visits = club_tables()["visits"].with_columns(
        deskId=pl.when(pl.col("visitId") < 26).then(77).otherwise(pl.col("deskId"))
    )
    folder = write_club(tmp_path / "dangling", club_tables() | {"visits": visits})
    monkeypatch.setenv("RELFORGE_SOURCE_TINY_CLUB", str(folder))
    path = installation.project / "models/tiny_club/staging/_staging.yml"
    declared = yaml.safe_load(path.read_text())
    (model,) = [m for m in declared["models"] if m["name"] == "tiny_club__visits"]
    (column,) = [c for c in model["columns"] if c["name"] == "deskId"]
    job = "tiny_club__member_spend__pipeline"
    for tolerance, passes in ((0.009, False), (0.01, True)):
        (test,) = [t for t in column["data_tests"] if isinstance(t, dict)]
        test["relationships"]["config"] = {"meta": {"relforge": {"tolerance": tolerance}}}
        path.write_text(yaml.safe_dump(declared, sort_keys=False))
        done = installation.execute_here(job, AS_OF)
        assert done.success == passes, done.messages()
        assert ("(tolerated: 0.9 %)" in done.messages()) != passes


FROM = "FROM timestamps t CROSS JOIN members m"
CLOSED = "WHERE t.timestamp < TIMESTAMP '2020-12-20'"


def labels(label: str, where: str = "", task_type: str = "binary_classification") -> dict:
    sql = (
        f"SELECT t.timestamp AS timestamp, m.memberId AS memberId, {label} AS label\n{FROM} {where}"
    )
    return task_manifest("", task_type, "label", sql)


FAULTY_TASKS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no-labels": (labels("CAST(NULL AS INTEGER)"), ["label_present", "have a NULL label"]),
    "one-class": (labels("1"), ["two_classes"]),
    "no-validation": (
        labels("m.memberId % 2", CLOSED),
        ["splits_not_empty", "val has no labelled"],
    ),
    "no-number": (labels("'much'", task_type="regression"), ["label_type"]),
}
FAULTY_SQL: dict[str, tuple[dict[str, Any], list[str]]] = {
    "other-columns": (
        task_manifest("", "regression", "spend", SPEND.replace("AS spend", "AS costs")),
        ["returns the columns", "costs", "not spend", "label_column 'spend'"],
    ),
    "no-such-table": (
        task_manifest("", "regression", "spend", SPEND.replace("visits v", "vists v")),
        ["vists"],
    ),
}


def faulty_tasks(root: Path, cases: dict[str, tuple[dict[str, Any], list[str]]]) -> Faulty:
    """A club with these tasks and a good one."""
    tasks = {name: task | {"name": name} for name, (task, _) in cases.items()}
    good = {"member-spend": task_manifest("member-spend", "regression", "spend", SPEND)}
    return Faulty(root, **(tasks | good))


def assert_told(cases: dict[str, tuple[dict[str, Any], list[str]]], output: str) -> None:
    told = summary(output)
    for name, (_, words) in cases.items():
        for word in words:
            assert word in told, f"{name}: {word!r} is not in:\n{told}"
    assert "Traceback" not in told
    assert "blocking asset check failed" not in told


def test_faulty_labels_are_told_and_the_good_task_runs_to_its_end(tmp_path: Path):
    faulty = faulty_tasks(tmp_path, FAULTY_TASKS)
    assert_told(FAULTY_TASKS, faulty.run())
    made = {(stage, subject.split("/")[1]) for stage, subject in faulty.installation.artifacts()
            if stage in ("features", "model", "predictions")}  # fmt: skip
    assert made == {(s, "member_spend") for s in ("features", "model", "predictions")}
    assert [path.name for path in (faulty.output / "tiny-club").iterdir()] == ["member-spend"]


def test_faulty_sql_of_several_tasks_is_told_at_once_before_any_feature(tmp_path: Path):
    faulty = faulty_tasks(tmp_path, FAULTY_SQL)
    assert_told(FAULTY_SQL, faulty.run())
    assert "features" not in faulty.stages()


def test_a_table_or_column_that_is_gone_is_told_before_anything_is_copied(tiny, tmp_path: Path):
    installation = copy_of(tiny, tmp_path)
    tables = club_tables()
    tables["visits"] = tables["visits"].drop("paid", "kind")
    folder = write_club(tmp_path / "less", tables)
    (folder / "db" / "desks.parquet").unlink()
    good = installation.contents()
    started = installation.start_module(
        "orchestration.run",
        *("--source", "tiny-club", "--output", tmp_path / "out"),
        RELFORGE_SOURCE_TINY_CLUB=str(folder),
    )
    finished = started.finish()
    assert finished.returncode == 1
    told = summary(finished.stdout)
    for words in (
        "table desks: missing (the source has: members, visits)",
        "table visits: column 'paid' is missing",
        "table visits: column 'kind' is missing",
        "_sources.yml",
    ):
        assert words in told
    assert "Traceback" not in told
    assert installation.contents() == good
    assert not (tmp_path / "out").exists()


def broken(folder: Path, case: str) -> Path:
    write_club(folder)
    manifest = database_manifest()
    path = folder / "manifest.yaml"
    if case == "manifest is no yaml":
        path.write_text("name: [tiny")
    elif case == "manifest has no dates":
        del manifest["test_timestamp"]
        path.write_text(yaml.safe_dump(manifest))
    elif case == "dates in the wrong order":
        path.write_text(yaml.safe_dump(manifest | {"val_timestamp": "2021-05-01"}))
    elif case == "manifest names no file":
        manifest["tables"]["rooms"] = {"pkey": "roomId", "time_col": None, "fkeys": {}}
        manifest["tables"]["visits"]["fkeys"] = {"memberId": "people"}
        path.write_text(yaml.safe_dump(manifest))
    elif case == "window longer than the validation span":
        task = folder / "tasks" / "member-spend" / "manifest.yaml"
        task.write_text(task.read_text().replace("20 days", "90 days"))
    return folder


BROKEN = {
    "manifest is no yaml": ["manifest.yaml"],
    "manifest has no dates": ["manifest.yaml", "test_timestamp"],
    "dates in the wrong order": ["val_timestamp", "must lie before test_timestamp"],
    "manifest names no file": ["table rooms", "does not exist", "points at 'people'"],
    "window longer than the validation span": ["task member-spend", "90 days", "60 days"],
}


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """The command line in this process, over an empty installation; returns code and text."""
    from orchestration import run

    installation = new_installation(tmp_path / "installation")
    monkeypatch.setenv("RELFORGE_HOME", str(installation.home))
    monkeypatch.setenv("RELFORGE_DBT_PROJECT", str(installation.project))

    def call(*arguments: str) -> tuple[int, str]:
        code = run.main([*arguments, "--output", str(tmp_path / "out")])
        assert not (tmp_path / "out").exists()
        assert list((installation.project / "models").iterdir()) == []
        assert not installation.store.root.exists()
        captured = capsys.readouterr()
        assert captured.err.startswith("error: ")
        return code, captured.err

    return call


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_told_with_its_faults_and_imports_nothing(
    command: Any, tmp_path: Path, case: str
):
    folder = broken(tmp_path / "source", case)
    code, text = command("--source", str(folder))
    assert code == 2
    for words in BROKEN[case]:
        assert words in text


def test_a_server_that_does_not_answer_is_told_with_its_address(command: Any):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code, text = command("--source", f"postgresql://reader@127.0.0.1:{port}/club")
    assert code == 2
    assert "nothing answers at" in text
    assert "check the host, the port and the network" in text
    assert f"127.0.0.1:{port}" in text


def test_a_date_too_early_or_too_late_for_the_task_is_told_with_the_reach_of_the_data(
    tiny: Tiny, tmp_path: Path
):
    installation = copy_of(tiny, tmp_path)
    job = "tiny_club__member_spend__pipeline"
    early = installation.execute_here(job, day(START + timedelta(days=50)))
    assert "no training window fits into the data" in early.messages()
    assert "Shorten the window or the validation span, or choose a later as_of" in early.messages()
    late = installation.execute_here(job, day(TEST + timedelta(days=900)))
    assert "more than one window" in late.messages()
    assert "Choose an as_of up to 2021-06-0" in late.messages()
    for done in (early, late):
        assert not done.success
        assert {key for key in done.assets if "member_spend" in key} == set()


def test_empty_tables_and_times_that_are_none_stop_the_run_before_staging(
    tiny: Tiny, tmp_path: Path
):
    installation = copy_of(tiny, tmp_path)
    tables = {"members": unclear_times(), "desks": club_tables()["desks"].head(0)}
    folder = write_club(tmp_path / "spoiled", club_tables() | tables)
    started = installation.start_module(
        "orchestration.run",
        *("--source", "tiny-club", "--output", tmp_path / "out"),
        RELFORGE_SOURCE_TINY_CLUB=str(folder),
    )
    finished = started.finish()
    assert finished.returncode == 1
    told = summary(finished.stdout)
    assert "desks: 0 rows" in told
    assert "last summer" in told
    assert "Traceback" not in told
    assert set(installation.last_run()) == {"tiny_club/database"}
