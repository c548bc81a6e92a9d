"""The command line of the performance bank: what it merges, ships and refuses."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from models.bank.store import SHIPPED, append_to_bank, read_bank
from orchestration.bank import main

ROW = {
    "database": "club", "task": "comes", "as_of": datetime(2020, 1, 1), "origin": "real",
    "task_type": "binary_classification", "metric": "roc_auc", "protocol": "rolling",
    "signals": "{}", "family": "lightgbm", "candidate": "trees", "settings": "{}", "seed": 0,
    "validation": 0.7, "test": 0.6, "code_version": "a",
}  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RELFORGE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_bank_of_another_machine_is_merged_and_shipped_once(tmp_path: Path, home: Path):
    append_to_bank(tmp_path / "other", [ROW, ROW | {"seed": 1}])
    for _ in range(2):
        assert main(["--merge", str(tmp_path / "other"), "--ship", str(tmp_path / "out")]) == 0
    assert read_bank([home / "bank"]).height == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["bank.parquet"]
    shipped = read_bank([tmp_path / "out"])
    assert shipped.height == read_bank([SHIPPED]).height + 2
    assert shipped.filter(pl.col("database") == "club")["seed"].to_list() == [0, 1]


def test_an_edition_anew_has_this_installations_trials_alone(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["--ship", str(tmp_path / "out"), "--anew"]) == 2
    assert "no trials in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    append_to_bank(home / "bank", [ROW])
    assert main(["--ship", str(tmp_path / "out"), "--anew"]) == 0
    assert read_bank([tmp_path / "out"])["database"].to_list() == ["club"]


def test_a_renewed_edition_has_new_trials_instead_of_old_ones_task_by_task(
    tmp_path: Path, home: Path
):
    shipped = read_bank([SHIPPED])
    database, task = shipped.filter(pl.col("origin") == "real").select("database", "task").row(0)
    append_to_bank(home / "bank", [ROW | {"database": database, "task": task}])
    assert main(["--ship", str(tmp_path / "out"), "--renew"]) == 0
    found = read_bank([tmp_path / "out"])
    own = (pl.col("database") == database) & (pl.col("task") == task)
    assert found.filter(own)["candidate"].to_list() == ["trees"]
    assert found.filter(~own).equals(shipped.filter(~own))


def test_a_folder_without_a_bank_and_a_command_without_a_purpose_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["--merge", str(tmp_path)]) == 2
    assert "holds no file of a bank" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([])


def test_a_source_that_is_not_there_is_an_error_in_words(capsys: pytest.CaptureFixture[str]):
    assert main(["--source", "/no/such/folder"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_shipped_bank_can_route():
    from models.relatron.selector import fit_selector
    from models.relatron.task_rows import task_rows

    bank = read_bank([SHIPPED])
    assert bank.filter(pl.col("origin") == "real")["database"].n_unique() >= 5
    selector = fit_selector(task_rows(bank), "frozen", without="rel_f1")
    assert "rel_f1" not in selector.rows["database"].to_list()
    assert set(map(str, selector.models)) == {"rdl", "hybrid"}
