"""The replay of routed searches, over made-up trials."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.routed_search import Replay, branches_left, regrets, table
from models.database.schema import Metric, Protocol, TaskType
from models.relatron.task_rows import task_rows
from models.search.space import Branch
from models.search.validation import ValidationRows
from tests.models.relatron.fabricated import fabricated_bank

ROWS, EACH = 200, 6
OFF = {"dfs": 1.0, "hybrid": 1.1, "rdl": 2.0}


@pytest.fixture(scope="module")
def replay() -> Replay:
    """Trials of dfs are off by 1 on average, of hybrid by 1.1, of rdl by 2 and twice as dear."""
    random = np.random.default_rng(0)
    times = np.datetime64("2024-01-01", "us") + np.arange(ROWS).astype("timedelta64[D]")
    branches = np.repeat(list(OFF), EACH)
    off = np.repeat(list(OFF.values()), EACH) + np.tile(0.01 * np.arange(EACH), len(OFF))
    rows, predictions = {}, {}
    for split in ("val", "test"):
        labels = random.normal(0, 1, ROWS)
        rows[split] = ValidationRows(TaskType.REGRESSION, Metric.MAE, labels, times)
        signs = random.choice([-1.0, 1.0], (branches.size, ROWS))
        predictions[split] = labels + off[:, None] * signs
    seconds = np.where(branches == "rdl", 2.0, 1.0)
    return Replay("made/up/2024-01-01", rows, predictions, [predictions["val"]] * 2, branches,
                  seconds, -1.0)  # fmt: skip


def test_what_routing_leaves_decides_what_is_tried_and_what_it_costs(replay: Replay):
    found = {row["search"]: row for row in regrets(replay, (Branch.DFS, Branch.HYBRID), 9)}
    assert found["always dfs"]["regret"] == 0
    assert found["always rdl"]["regret"] == pytest.approx(0.5)
    # 20 trials of each branch cost 20 + 20 + 40.
    assert found["always rdl"]["cost"] == pytest.approx(0.5)
    assert found["routed, ensemble"]["cost"] == pytest.approx(8 / 80)
    assert found["race of all branches, ensemble"]["cost"] == pytest.approx((3 + 3 + 6) / 80)
    # Four of six trials, whose best is off by at most 0.02 more; errors of many cancel out.
    assert 0 <= found["routed, best on validation"]["regret"] <= 0.01
    assert found["routed, ensemble"]["regret"] < -0.1
    lines = table(pl.DataFrame([{"protocol": "frozen", "task": "up", "database": "made"} | row
                                for row in found.values()]))  # fmt: skip
    assert "| frozen | routed, ensemble |" in lines
    assert "| 10 % |" in lines


def test_the_bank_that_routes_does_not_know_the_tasks_database(tmp_path):
    known = task_rows(fabricated_bank(tmp_path, 0.04, databases=6))
    title = f"real_2/task_1/{known['as_of'][0]:%Y-%m-%d}"
    own = pl.col("database") == "real_2"
    flipped = known.with_columns(gap_rdl=pl.when(own).then(9.0).otherwise(pl.col("gap_rdl")))
    left = [
        branches_left(rows, title, Protocol.ROLLING, ["dfs", "rdl"]) for rows in (known, flipped)
    ]
    assert left[0] == left[1]
    assert branches_left(known, "no/such/2020-01-01", Protocol.ROLLING, ["rdl", "dfs"]) == (
        Branch.DFS,
        Branch.RDL,
    )
