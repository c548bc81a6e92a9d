import numpy as np
import polars as pl
import pytest

from models.relatron.evaluation import BRANCHES, evaluate, left_by_selector
from models.relatron.task_rows import task_rows
from tests.models.relatron.fabricated import fabricated_bank


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return task_rows(fabricated_bank(tmp_path_factory.mktemp("bank"), 0.04, databases=8))


def test_the_selector_is_next_to_its_baselines_in_one_table(rows):
    table = evaluate(rows, "rolling")
    found = {row["chooser"]: row for row in table.to_dicts()}
    assert {"majority", "size stump", "decision tree", "race", "always hybrid"} <= set(found)
    assert found["selector"]["regret"] < 0.5 * found["majority"]["regret"]
    assert found["selector"]["regret"] <= 0.01
    assert found["selector"]["accuracy"] > 0.9
    assert found["always hybrid"]["accuracy"] == 0
    assert (table["regret_low"] <= table["regret"]).all()
    assert (table["regret"] <= table["regret_high"]).all()
    # Near-ties are left out.
    assert 0 < found["selector"]["counted"] < rows.height
    assert found["selector, races what it leaves"]["regret"] <= found["selector"]["regret"]
    left = left_by_selector(rows, "rolling")
    assert sum(left.values()) == rows.height
    assert left.get("race of dfs and rdl and hybrid", 0) < 0.2 * rows.height


def test_a_duel_decides_between_the_two_branches_that_are_left(rows):
    # The bank says that rdl and dfs are alike; then validation alone can tell them apart.
    told = rows.with_columns(told=0.0, gap_rdl=0.0, error_rdl=0.05)
    own = pl.col("database") == "real_0"
    asked = told.with_columns(
        gap_rdl=pl.when(own).then(0.04).otherwise(pl.col("gap_rdl")),
        duel_dfs_rdl=pl.when(own).then(0.25).otherwise(pl.col("duel_dfs_rdl")),
    ).filter(own)
    found = evaluate(pl.concat([asked, told.filter(~own)]), "rolling").to_dicts()
    regret = {row["chooser"]: row["worst"] for row in found}
    assert regret["selector, races what it leaves"] == pytest.approx(0.25 * 0.04)
    assert regret["always dfs"] == pytest.approx(0.04)


def test_noise_is_not_worse_than_the_majority(tmp_path):
    noise = task_rows(fabricated_bank(tmp_path, 0.0, databases=6))
    found = dict(evaluate(noise, "rolling").select("chooser", "regret").rows())
    assert found["selector"] <= found["majority"] + 0.002


def test_no_chooser_sees_the_database_that_is_left_out(rows):
    seen = []

    def chooser(known, asked):
        seen.append((set(known["database"]), set(asked["database"])))
        return np.tile(np.eye(len(BRANCHES))[0], (asked.height, 1))

    evaluate(rows, "rolling", {"watched": chooser})
    assert len(seen) == 8
    assert all(not known & asked and len(asked) == 1 for known, asked in seen)


def test_synthetic_databases_serve_to_fit_but_do_not_count(rows, tmp_path):
    made = task_rows(fabricated_bank(tmp_path, 0.04, 3, "synthetic"))
    table = evaluate(pl.concat([rows, made]), "rolling", None)
    assert table["databases"].unique().to_list() == [8]


def test_one_database_cannot_be_left_out(rows):
    with pytest.raises(ValueError, match="the bank has 1 under the rolling"):
        evaluate(rows.filter(pl.col("database") == "real_0"), "rolling")
