"""The space: draws are valid candidates, parameters lead back to them, idle axes are left out."""

from __future__ import annotations

from itertools import product

import numpy as np
import optuna
import pytest

from models.families.candidate import Candidate
from models.search.space import ONLY_FOR, SPACE, Branch, Space, branch_of

FULL = Space(
    learners=("lightgbm", "resnet", "ft_transformer", "rdl", "lightgbm_on_embeddings"),
    initialisations=("scratch", "tve"),
)


def draws(space, count=300):
    generator = np.random.default_rng(0)
    return [space.draw(generator) for _ in range(count)]


def test_every_draw_is_a_valid_candidate_that_its_parameters_lead_back_to():
    seen = set()
    for candidate in draws(FULL):
        candidate.config()
        parameters = FULL.parameters_of(candidate)
        assert FULL.candidate(parameters) == candidate
        seen.add((str(branch_of(candidate.family, candidate.settings)), candidate.family))
    assert seen == {(str(branch), name) for branch in Branch for name in FULL.learners_of(branch)}


def test_optuna_suggests_the_same_candidates():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        candidate = FULL.suggest(trial)
        assert FULL.parameters_of(candidate) == trial.params
        study.tell(trial, 0.0)


def test_axes_that_mean_nothing_are_not_chosen():
    for candidate in draws(FULL):
        for axis, convolutions in ONLY_FOR.items():
            if axis in candidate.settings:
                assert candidate.settings["convolution"] in convolutions
        if candidate.settings.get("initialisation") == "tve":
            assert "convolution" not in candidate.settings


def test_candidates_outside_of_the_space_have_no_parameters():
    trees = Space(branches=(Branch.DFS,), learners=("lightgbm",), depth=1)
    assert trees.parameters_of(Candidate("a", "lightgbm", {"depth": 2})) is None
    assert trees.parameters_of(Candidate("b", "lightgbm", {"num_leaves": 9})) is None
    assert trees.parameters_of(Candidate("c", "rdl", {})) is None
    assert trees.parameters_of(Candidate("d", "tabpfn", {})) is None
    # Without a depth, all features are read.
    assert trees.parameters_of(Candidate("e", "lightgbm", {}))["dfs.lightgbm.depth"] == 1


def test_the_number_of_configurations_is_that_of_distinct_ones():
    space = Space(branches=(Branch.RDL,), learners=("rdl",), initialisations=("scratch", "tve"))
    axes = dict(space.axes(Branch.RDL, "rdl"))
    free = [n for n in axes if n not in ("initialisation", "convolution", "aggregation", "heads")]
    shape = ("layers", "channels", "normalization", "skip", "seed_label")
    each = np.prod([len(axes[name]) for name in free])
    scratch = 0.0
    for convolution, layers in product(axes["convolution"], axes["layers"]):
        # More than two hops go with the two narrowest fan-outs.
        hops = 2 * layers if convolution == "relgnn" else layers
        fan_outs = 2 if hops > 2 else len(axes["fan_out"])
        own = [len(axes[axis]) for axis in ONLY_FOR if convolution in ONLY_FOR[axis]]
        share = len(axes["layers"]) * len(axes["fan_out"])
        scratch += each / share * fan_outs * np.prod(own)
    pretrained = each / np.prod([len(axes[name]) for name in shape])
    assert space.configurations() == {"rdl/rdl": scratch + pretrained}
    trees = Space(branches=(Branch.DFS,), learners=("lightgbm",), depth=1)
    every = list(product(*trees.axes(Branch.DFS, "lightgbm").values()))
    assert trees.configurations() == {"dfs/lightgbm": len(every)}


def test_windows_are_an_axis_only_where_there_are_some():
    trees = Space(branches=(Branch.DFS,), learners=("lightgbm",))
    assert {one.settings["windows"] for one in draws(trees, 20)} == {True, False}
    without = Space(branches=(Branch.DFS,), learners=("lightgbm",), windows=False)
    assert not any("windows" in one.settings for one in draws(without, 20))


def test_fixed_settings_are_those_of_every_candidate():
    space = Space(
        learners=("lightgbm", "rdl"), fixed={"rdl": {"epochs": 3}, "lightgbm": {"seeds": 1}}
    )
    for candidate in draws(space, 30):
        expected = ("epochs", 3) if candidate.family == "rdl" else ("seeds", 1)
        assert candidate.settings[expected[0]] == expected[1]
        assert space.candidate(space.parameters_of(candidate)) == candidate


def test_every_value_of_the_space_is_one_that_its_learner_takes():
    for branch, learners in SPACE.items():
        for learner, axes in learners.items():
            for axis, values in axes.items():
                for value in values:
                    # Every number of channels is a multiple of one head.
                    rest = {"heads": 1} if learner == "rdl" and axis == "channels" else {}
                    Candidate(str(branch), learner, {axis: value} | rest).config()


def test_a_space_says_what_is_wrong_with_it():
    with pytest.raises(ValueError, match="no search over the learners forest"):
        Space(learners=("forest",))
    with pytest.raises(ValueError, match="branches rdl, hybrid have none"):
        Space(learners=("lightgbm",))
