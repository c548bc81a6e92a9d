from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from models.bank.store import BANK_SCHEMA, append_to_bank, read_bank


def row(**other: Any) -> dict[str, Any]:
    return {
        "database": "shop",
        "task": "churn",
        "as_of": datetime(2023, 1, 1),
        "protocol": "rolling",
        "family": "rdl",
        "settings": "{}",
        "seed": 0,
        "code_version": "a",
        "test": 0.7,
    } | other


def test_rows_come_back_in_the_documented_columns(tmp_path: Path):
    append_to_bank(tmp_path, [row(), row(seed=1, test=float("nan"))])
    found = read_bank([tmp_path])
    assert dict(found.schema) == dict(BANK_SCHEMA)
    assert found["test"].to_list() == [0.7, None]


def test_the_same_rows_twice_are_there_once(tmp_path: Path):
    first = append_to_bank(tmp_path, [row()])
    assert append_to_bank(tmp_path, [row()]) == first
    assert len(list(tmp_path.iterdir())) == 1


def test_banks_of_several_machines_merge_and_a_trial_counts_once(tmp_path: Path):
    append_to_bank(tmp_path / "one", [row(), row(seed=1)])
    append_to_bank(tmp_path / "two", [row(test=0.8), row(seed=2)])
    found = read_bank([tmp_path / "one", tmp_path / "two"])
    assert found["seed"].to_list() == [0, 1, 2]
    assert found["test"].to_list() == [0.8, 0.7, 0.7]
    other = read_bank([tmp_path / "one", tmp_path / "two", tmp_path / "none"])
    assert other.equals(found)


@pytest.mark.parametrize("bad", [row(tests=1.0), row(task=None)])
def test_a_row_that_does_not_fit_is_refused(tmp_path: Path, bad: dict[str, Any]):
    with pytest.raises(ValueError, match="unknown columns"):
        append_to_bank(tmp_path, [bad])
    assert not tmp_path.exists() or not list(tmp_path.iterdir())
