"""Studies: exact budgets, nothing twice, failures as failures, the same trials from the same seed."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime

import optuna
import pytest

from models.families.candidate import Candidate
from models.search.records import Result, best_of
from models.search.sampling import signature
from models.search.space import Branch, Space
from models.search.storage import open_storage
from models.search.study import run_study, study_name
from tests.models.search.toy import (
    SPACE,
    TREES,
    config,
    evaluate,
    evaluate_slowly,
    plain,
    refuse_networks,
)


def search(folder, configuration=None, space=SPACE, function=evaluate, **settings):
    return run_study(configuration or config(), space, function, folder, "toy", **settings)


def test_a_study_runs_its_trials_and_knows_them(tmp_path):
    lines = []
    records = search(tmp_path, progress=lines.append)
    assert [r.state for r in records] == ["complete"] * 12
    assert len({signature(SPACE.parameters_of(r.candidate)) for r in records}) == 12
    assert all(r.branch == (Branch.RDL if r.candidate.family == "rdl" else "dfs") for r in records)
    assert records[0].error == 0.01
    assert records[0].metrics == {"rows": 7.0}
    assert len(lines) == 12
    assert lines[-1].startswith("trial 12 of 12 (")
    assert f"best {best_of(records, config().metric).score:.4f}" in lines[-1]
    study = optuna.load_study(study_name="toy", storage=open_storage(tmp_path))
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE


def test_the_same_seed_gives_the_same_trials_in_one_call_or_in_two(tmp_path):
    whole = search(tmp_path / "whole", config(14, startup=4))
    search(tmp_path / "parts", config(5, startup=4))
    parts = search(tmp_path / "parts", config(14, startup=4))
    assert plain(parts) == plain(whole)
    other = search(tmp_path / "other", config(14, startup=4, seed=1))
    assert plain(other) != plain(whole)


def test_a_finished_study_evaluates_nothing_again(tmp_path):
    first = search(tmp_path)
    assert plain(search(tmp_path, function=None)) == plain(first)


def test_tpe_finds_what_is_good(tmp_path):
    found = search(tmp_path / "tpe", config(24, startup=8), TREES)
    late = [r.score for r in found[12:]]
    early = [r.score for r in found[:8]]
    assert sum(late) / len(late) > sum(early) / len(early) + 0.05


def test_failures_are_recorded_as_failures_and_never_as_scores(tmp_path):
    records = search(tmp_path, config(12, failures=12), function=refuse_networks)
    failed = [r for r in records if r.state == "failed"]
    assert len(records) == 12
    assert failed
    assert {r.candidate.family for r in failed} == {"rdl"}
    assert all(r.score is None and r.failure == "ValueError: no graph here" for r in failed)


def test_an_undefined_score_is_a_failure(tmp_path):
    records = search(tmp_path, config(2), function=lambda *_: Result(math.nan))
    assert [r.state for r in records] == ["failed", "failed"]
    assert "not defined" in records[0].failure


def test_too_many_failures_in_a_row_end_the_study_with_the_first_cause(tmp_path):
    def refuse(candidate, number, report):
        raise OSError(f"disk {number} is full")

    with pytest.raises(RuntimeError, match=r"3 trials .* in a row, .* OSError: disk 0 is full"):
        search(tmp_path, config(9, failures=3), function=refuse)
    assert [r.state for r in search(tmp_path, config(9))] == ["failed"] * 3 + ["complete"] * 6


def test_seconds_are_counted_over_calls(tmp_path):
    def slow(candidate, number, report):
        return evaluate_slowly(0.1, candidate, number, report)

    first = search(tmp_path, config(8, seconds=0.25), function=slow)
    assert 1 <= len(first) <= 3
    assert len(search(tmp_path, config(8, seconds=0.25), function=None)) == len(first)
    assert len(search(tmp_path, config(8, seconds=600))) == 8


def test_warm_starts_run_first_and_others_are_passed_over(tmp_path):
    warm = [
        Candidate("deep", "lightgbm", {"depth": 2, "learning_rate": 0.1}),
        Candidate("odd", "lightgbm", {"learning_rate": 0.077}),
    ]
    lines = []
    for _ in range(2):
        records = search(tmp_path, config(4), warm_starts=warm, progress=lines.append)
    assert SPACE.parameters_of(records[0].candidate) == SPACE.parameters_of(warm[0])
    assert len(records) == 4
    assert any("'odd' is not in the space" in line for line in lines)


def test_an_exhausted_space_ends_the_study(tmp_path):
    axes = TREES.axes(Branch.DFS, "lightgbm")
    small = {name: values[:1] for name, values in axes.items()} | {"num_leaves": (7, 15)}
    narrow = _Narrow(small)
    lines = []
    records = search(tmp_path, config(6), narrow, progress=lines.append)
    assert len(records) == 2
    assert "no candidate left" in lines[-1]


class _Narrow(Space):
    """A space with axes of its own."""

    def __init__(self, axes):
        super().__init__(branches=(Branch.DFS,), learners=("lightgbm",))
        object.__setattr__(self, "_axes", axes)

    def axes(self, branch, learner):
        return self._axes


def test_a_study_is_of_one_space_one_score_and_the_same_inputs(tmp_path):
    search(tmp_path, config(2, fingerprint="a"))
    for other, message in [
        ((config(2, fingerprint="b"), SPACE), "has the fingerprint a, not b"),
        ((config(2, fingerprint="a"), TREES), "has the space"),
        ((replace(config(2, fingerprint="a"), protocol="rolling"), SPACE), "has the protocol"),
    ]:
        with pytest.raises(ValueError, match=message):
            search(tmp_path, *other)


def test_a_study_is_named_by_task_date_and_inputs():
    name = study_name("rel-f1/dnf", datetime(2010, 1, 2), "f" * 40)
    assert name == f"rel-f1/dnf/2010-01-02/{'f' * 12}"


def test_pruning_stops_a_training_early(tmp_path):
    steps = []

    def train(candidate, number, report):
        for epoch in range(27):
            steps.append(number)
            report((epoch + 1) / 27, 0.9 - 0.05 * number)
        return Result(0.9 - 0.05 * number)

    records = search(tmp_path, config(6, pruner="halving"), TREES, train)
    assert records[0].state == "complete"
    assert {r.state for r in records[1:]} == {"pruned"}
    assert [r.score for r in records[1:]] == [None] * 5
    assert max(records[0].curve) == 26
    assert steps.count(0) == 27
    assert all(steps.count(number) == 1 for number in range(1, 6))


def test_a_pruned_training_stays_pruned_whatever_it_makes_of_it(tmp_path):
    def train(candidate, number, report):
        try:
            report(0.5, 0.9 - number)
        except optuna.TrialPruned as pruned:
            raise RuntimeError("seed 0 failed") from pruned
        return Result(0.9 - number)

    records = search(tmp_path, config(3, pruner="halving"), TREES, train)
    assert [r.state for r in records] == ["complete", "pruned", "pruned"]
