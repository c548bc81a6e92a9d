"""Searchers replayed on a bank of finished trials, with and without points in Fisher space."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from benchmarks.searchers import advice_for, finished_tasks, main
from models.bank.store import BANK_SCHEMA, write_bank
from models.database.schema import Protocol
from models.search.space import Branch, Space
from tests.models.search.toy import score

SPACE = Space(branches=(Branch.DFS,), learners=("lightgbm", "resnet"))


@pytest.fixture(scope="module")
def bank():
    """Three databases with a task each, on which the same settings are good."""
    generator = np.random.default_rng(0)
    rows = []
    for database in ("first", "second", "third"):
        for number in range(12):
            candidate = SPACE.draw(generator)
            row = dict.fromkeys(BANK_SCHEMA) | {
                "database": database,
                "task": "task",
                "as_of": datetime(2020, 1, 1),
                "metric": "roc_auc",
                "protocol": "rolling",
                "signals": "{}",
                "family": candidate.family,
                "candidate": str(number),
                "settings": json.dumps(dict(candidate.settings)),
                "seed": 0,
                "validation": score(candidate),
                "test": score(candidate) - 0.01,
            }
            rows.append(row)
    return pl.DataFrame(rows, schema=dict(BANK_SCHEMA))


POINTS = {
    "first/task/2020-01-01": [2.0, 6.0, 4.0],
    "second/task/2020-01-01": [2.0, 5.0, 4.0],
    "third/task/2020-01-01": [9.0, 1.5, 2.0],
}


def test_points_are_given_to_their_tasks_and_lend_the_neighbours_trials(bank):
    tasks = list(finished_tasks(bank, SPACE, Protocol.ROLLING, POINTS))
    assert [task.name.split("/")[0] for task in tasks] == ["first", "second", "third"]
    assert [list(task.fisher) for task in tasks] == list(POINTS.values())
    advice = advice_for("autotransfer", tasks[0], tasks[1:], SPACE)
    assert advice.priors
    [*without] = finished_tasks(bank, SPACE, Protocol.ROLLING, {})
    assert advice_for("autotransfer", without[0], without[1:], SPACE) is None


def test_the_command_prints_a_row_a_searcher(bank, tmp_path, capsys):
    (tmp_path / "bank").mkdir()
    write_bank(bank, tmp_path / "bank" / "bank.parquet")
    (tmp_path / "points.json").write_text(json.dumps(POINTS))
    arguments = ["--bank", str(tmp_path / "bank"), "--trials", "3", "--seeds", "2", "--least", "2"]
    assert main([*arguments, "--fisher", str(tmp_path / "points.json")]) == 0
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "|" in line]
    counts = {row[1].strip(): row[2].strip() for row in rows}
    assert {counts[name] for name in ("random", "tpe", "autotransfer", "relatron")} == {"3"}
