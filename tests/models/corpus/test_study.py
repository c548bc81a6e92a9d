from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl
import pytest

from models.bank.store import BANK_SCHEMA
from models.corpus.study import draw_gaps, gaps


def bank(*rows: dict[str, Any]) -> pl.DataFrame:
    common = {
        "database": "d",
        "as_of": datetime(2020, 1, 1),
        "origin": "planted",
        "protocol": "rolling",
        "signals": "{}",
        "settings": "{}",
        "code_version": "a",
        "test_error": 0.01,
        "seconds": 1.0,
        "train_rows": 100,
    }
    filled = [{name: (common | row).get(name) for name in BANK_SCHEMA} for row in rows]
    return pl.DataFrame(filled, schema=dict(BANK_SCHEMA))


def pair(task: str, metric: str, trivial: float, dfs: float, rdl: float) -> list[dict[str, Any]]:
    return [
        {"task": task, "metric": metric, "trivial_test": trivial, "candidate": name, "test": test,
         "seed": 0}
        for name, test in (("dfs", dfs), ("rdl", rdl))
    ]  # fmt: skip


def test_a_gap_is_the_share_of_what_the_trivial_predictor_leaves():
    found = gaps(bank(*pair("auc", "roc_auc", 0.61, 0.7, 0.8), *pair("mae", "mae", 4.0, 3.0, 2.0)))
    values = dict(zip(found["task"], found["gap"], strict=True))
    assert values["auc"] == pytest.approx(0.1 / 0.5)
    assert values["mae"] == pytest.approx(1.0 / 4.0)
    errors = dict(zip(found["task"], found["error"], strict=True))
    assert errors["auc"] == pytest.approx(2**0.5 * 0.01 / 0.5)


def test_seeds_are_averaged_and_their_spread_counts():
    rows = pair("auc", "roc_auc", 0.5, 0.6, 0.8)
    rows += [row | {"seed": 1, "test": row["test"] + 0.1} for row in rows]
    found = gaps(bank(*rows))
    assert found["gap"].to_list() == pytest.approx([0.4])
    spread = 2 * (0.01**2 + 0.1**2 / 2 / 2)
    assert found["error"].to_list() == pytest.approx([spread**0.5 / 0.5])


def test_a_task_that_one_family_failed_at_has_no_gap():
    rows = pair("auc", "roc_auc", 0.5, 0.6, 0.8)
    rows[1] |= {"failure": "why", "test": None}
    assert gaps(bank(*rows)).is_empty()


def test_the_plot_is_a_png():
    found = gaps(bank(*pair("auc", "roc_auc", 0.5, 0.6, 0.8)))
    assert draw_gaps(found).startswith(b"\x89PNG")
