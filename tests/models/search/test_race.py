"""The race of branches: equal budgets, the worst drops out, near-ties go on."""

from __future__ import annotations

import pytest

from models.search.race import race
from models.search.records import Result
from models.search.space import Branch, Space
from tests.models.search.toy import config

SPACE = Space(learners=("lightgbm", "rdl"))
SCORES = {Branch.DFS: 0.8, Branch.RDL: 0.6, Branch.HYBRID: 0.7}


def branch(candidate):
    if candidate.family == "lightgbm":
        return Branch.DFS
    return Branch.HYBRID if candidate.settings["features"] else Branch.RDL


def evaluate(candidate, number, report):
    return Result(SCORES[branch(candidate)] + number / 1000, error=0.02)


def evaluate_alike(candidate, number, report):
    return Result(SCORES[branch(candidate)], error=0.5)


def fail_networks(candidate, number, report):
    if candidate.family == "rdl":
        raise ValueError("no graph")
    return Result(0.8)


def counts(found):
    return {name: len(records) for name, records in found.records.items()}


def test_the_worst_branch_drops_out_after_each_round(tmp_path):
    lines = []
    found = race(config(18), SPACE, evaluate, tmp_path, "race", lines.append)
    assert found.survivors == (Branch.DFS,)
    assert counts(found) == {Branch.RDL: 2, Branch.HYBRID: 5, Branch.DFS: 11}
    dropped = [line for line in lines if "drops out" in line]
    assert [line.split()[2] for line in dropped] == ["rdl", "hybrid"]
    # Called again, it evaluates nothing and comes to the same.
    assert race(config(18), SPACE, None, tmp_path, "race").survivors == found.survivors


def test_branches_within_a_standard_error_go_on(tmp_path):
    found = race(config(9), SPACE, evaluate_alike, tmp_path, "race")
    assert found.survivors == (Branch.DFS, Branch.HYBRID, Branch.RDL)
    assert counts(found) == dict.fromkeys(Branch, 3)


def test_a_branch_without_a_score_drops_out(tmp_path):
    lines = []
    space = Space(branches=(Branch.DFS, Branch.RDL), learners=("lightgbm", "rdl"))
    found = race(config(12), space, fail_networks, tmp_path, "race", lines.append)
    assert found.survivors == (Branch.DFS,)
    assert any("none of its trials has a score" in line for line in lines)


def test_a_race_needs_a_trial_per_branch_and_round(tmp_path):
    with pytest.raises(ValueError, match="needs 9 trials"):
        race(config(8), SPACE, evaluate, tmp_path, "race")
