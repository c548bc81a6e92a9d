"""The command line of the corpus, as a person calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.corpus import corpus_folder
from models.bank.store import read_bank
from models.settings import Settings
from orchestration.corpus import main


@pytest.mark.end_to_end
def test_the_command_fills_the_bank_through_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("RELFORGE_HOME", str(tmp_path))
    arguments = ["--databases", "0", "--planted", "1", "--model-seeds", "1", "--seconds", "5"]
    assert main(arguments) == 0
    assert "1 of 1: planted_00000: 1 tasks, 4 rows" in capsys.readouterr().out
    bank = read_bank([corpus_folder(Settings.from_environment()) / "bank"])
    assert set(bank["family"]) == {"lightgbm", "rdl"}


def test_a_setting_that_makes_no_sense_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("RELFORGE_HOME", str(tmp_path))
    assert main(["--databases", "0", "--planted", "0"]) == 2
    assert "error: a corpus needs at least one database" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
