import numpy as np
import polars as pl
import pytest

from models.bank.store import BANK_SCHEMA
from models.relatron.decision import draw_decision
from models.relatron.selector import fit_selector
from models.relatron.task_rows import task_rows
from models.search.space import Branch
from tests.models.relatron.fabricated import asked, fabricated_bank


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return task_rows(fabricated_bank(tmp_path_factory.mktemp("bank"), 0.04))


def test_the_planted_relation_routes_and_says_why(rows):
    selector = fit_selector(rows, "rolling")
    ahead, behind = selector.decide(asked(told=1.5)), selector.decide(asked(told=-1.5))
    assert ahead.branches == (Branch.RDL,)
    assert behind.branches == (Branch.DFS,)
    assert ahead.gaps[Branch.RDL] == pytest.approx(0.06 / 0.81, abs=0.02)
    assert ahead.confidence > 0.95
    assert ahead.probabilities[Branch.HYBRID] < 0.05
    assert sum(ahead.probabilities.values()) == pytest.approx(1)
    assert ahead.expected_regret[Branch.DFS] > 0.04
    assert any("told" in reason for reason in ahead.reasons)
    for decision, word in ((ahead, "better"), (behind, "worse")):
        share = f"{100 * abs(decision.gaps[Branch.RDL]):.1f} %"
        assert any(f"rdl is expected to do {share} {word} than dfs" in r for r in decision.reasons)
    assert ahead.nearest[0].distance <= ahead.nearest[-1].distance
    assert ahead.as_data()["branches"] == ["rdl"]


def test_near_the_tie_two_branches_race_and_far_from_all_that_it_knows_all_do(rows):
    selector = fit_selector(rows, "rolling")
    near = selector.decide(asked(told=0.0), threshold=0.0001)
    assert near.branches == (Branch.DFS, Branch.RDL)
    assert near.words == "race of dfs and rdl"
    assert near.confidence == pytest.approx(1 - near.probabilities[Branch.HYBRID])
    assert "the other is left out" in near.reasons[-1]
    far = selector.decide(asked(told=50.0))
    assert far.branches == tuple(Branch)
    assert "told is 50" in far.reasons[-1]


def test_more_is_left_out_the_more_may_be_lost(rows):
    selector = fit_selector(rows, "rolling")
    kept = [
        len(selector.decide(asked(told=0.2), threshold=accepted).branches)
        for accepted in (0.0, 1e-4, 0.005, 0.5)
    ]
    assert kept == sorted(kept, reverse=True)
    # hybrid never is the best one.
    assert kept[0] == 2
    assert kept[-1] == 1


def test_noise_is_not_routed_by(tmp_path):
    noise = task_rows(fabricated_bank(tmp_path, 0.0))
    selector = fit_selector(noise, "rolling")
    assert all(set(m.chosen) <= {0} for m in selector.models.values())
    decision = selector.decide(asked(told=2.0), [Branch.DFS, Branch.RDL], threshold=0.001)
    assert len(decision.branches) == 2


def test_without_a_bank_or_under_another_protocol_all_branches_race(rows):
    for known in (task_rows(pl.DataFrame(schema=dict(BANK_SCHEMA))), rows):
        decision = fit_selector(known, "frozen").decide(asked(told=1.0))
        assert decision.branches == tuple(Branch)
        assert decision.gaps[Branch.RDL] == 0
        assert draw_decision(decision).startswith(b"\x89PNG")


def test_a_forced_branch_is_followed_and_the_prediction_made_all_the_same(rows):
    selector = fit_selector(rows, "rolling")
    decision = selector.decide(asked(told=1.5), forced=Branch.HYBRID)
    assert decision.branches == (Branch.HYBRID,)
    assert decision.favourite == Branch.RDL
    with pytest.raises(ValueError, match="may be searched: dfs"):
        selector.decide(asked(told=1.5), [Branch.DFS], forced=Branch.RDL)
    assert selector.decide(asked(told=1.5), [Branch.DFS]).branches == (Branch.DFS,)


def test_a_missing_signal_makes_it_less_sure(rows):
    selector = fit_selector(rows, "rolling")
    known, unknown = selector.decide(asked(told=0.0)), selector.decide(asked())
    assert unknown.errors[Branch.RDL] > 1.2 * known.errors[Branch.RDL]


def test_the_database_that_is_left_out_is_not_looked_at(rows):
    own = pl.col("database") == "real_3"
    other = rows.with_columns(
        *[
            pl.when(own).then(0.3).otherwise(pl.col(name)).alias(name)
            for name in ("gap_rdl", "error_rdl", "told", "noise_1")
        ]
    )
    assert not other.equals(rows)
    task = np.ones((1, 13))
    found = [fit_selector(r, "rolling", without="real_3").predict(task) for r in (rows, other)]
    assert (found[0][0] == found[1][0]).all()
    assert (found[0][1] == found[1][1]).all()
    assert (fit_selector(other, "rolling").predict(task)[0] != found[0][0]).any()


def test_synthetic_tasks_stay_only_if_they_help(rows, tmp_path):
    few = rows.filter(pl.col("database").is_in(["real_0", "real_1", "real_2"]))
    alike = task_rows(fabricated_bank(tmp_path / "a", 0.04, 10, "synthetic", seed=7))
    opposite = task_rows(fabricated_bank(tmp_path / "b", -0.04, 10, "synthetic", seed=7))
    helped = fit_selector(pl.concat([few, alike]), "rolling")
    assert helped.synthetic == "kept"
    assert helped.decide(asked(told=1.5)).gaps[Branch.RDL] > 0.03
    assert fit_selector(pl.concat([rows, opposite]), "rolling").synthetic == "dropped"


def test_the_plot_is_the_same_for_the_same_decision(rows):
    decision = fit_selector(rows, "rolling").decide(asked(told=1.5))
    assert decision.signal == "told"
    assert draw_decision(decision) == draw_decision(decision)
