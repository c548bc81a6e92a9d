import polars as pl

from models.relatron.transfer import nearest_trials
from models.search.space import Branch, Space
from tests.models.relatron.fabricated import asked, fabricated_bank


def test_the_good_trials_of_the_nearest_tasks_come_first(tmp_path):
    bank = fabricated_bank(tmp_path, 0.04)
    space = Space()
    found = nearest_trials(bank, asked(told=1.0), space, "rolling", without="real_1")
    assert found.candidates
    assert all(space.parameters_of(candidate) for candidate in found.candidates)
    assert len({str(space.parameters_of(c)) for c in found.candidates}) == len(found.candidates)
    assert len(found.tasks) == 5
    assert "real_1" not in {database for database, _, _ in found.tasks}
    layers = found.priors["rdl.rdl.layers"]
    # Trial 0 has one layer and is the best of its branch up to noise.
    assert layers[1] > layers[3]


def test_only_the_spaces_branches_are_taken_over(tmp_path):
    bank = fabricated_bank(tmp_path, 0.04, databases=2)
    found = nearest_trials(bank, asked(told=1.0), Space(branches=(Branch.DFS,)), "rolling")
    assert {candidate.family for candidate in found.candidates} == {"lightgbm"}
    assert not any(name.startswith("rdl") for name in found.priors)


def test_nothing_is_known_without_trials_of_the_protocol(tmp_path):
    bank = fabricated_bank(tmp_path, 0.04, databases=2)
    found = nearest_trials(bank, asked(told=1.0), Space(), "frozen")
    assert (found.candidates, found.priors, found.tasks) == ((), {}, ())


def test_a_learner_that_the_bank_never_tried_has_nothing_against_it(tmp_path):
    bank = fabricated_bank(tmp_path, 0.04)
    assert set(bank["family"]) == {"lightgbm", "rdl"}
    found = nearest_trials(bank, asked(told=1.0), Space(), "rolling", without="real_1")
    weights = found.priors["dfs.learner"]
    assert set(weights) == {"lightgbm", "linear", "resnet"}
    assert len(set(weights.values())) == 1
    # One that was tried and never did well keeps the floor.
    tried = bank.head(1).with_columns(family=pl.lit("linear"), test=pl.lit(0.0))
    once = nearest_trials(
        pl.concat([bank, tried]), asked(told=1.0), Space(), "rolling", without="real_1"
    )
    assert set(once.priors["dfs.learner"]) == {"lightgbm", "resnet"}
