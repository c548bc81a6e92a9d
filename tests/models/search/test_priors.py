"""Priors: what candidates chose, with a floor; they move the first draws and no later ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.families.candidate import Candidate
from models.search.priors import FLOOR, priors_of, probabilities
from models.search.searchers import SEARCHERS, Advice, search
from models.search.space import Branch
from models.search.study import run_study
from tests.models.search.toy import SPACE, TREES, config, evaluate


def test_a_prior_is_the_weight_of_what_was_chosen():
    trees = Candidate("a", "lightgbm", {"depth": 2, "num_leaves": 31})
    small = Candidate("b", "lightgbm", {"depth": 1, "num_leaves": 7})
    odd = Candidate("c", "lightgbm", {"num_leaves": 8})
    priors = priors_of(TREES, [(trees, 3.0), (small, 1.0), (small, 0.0), (odd, 9.0)])
    assert priors["branch"] == {"dfs": 4.0}
    assert priors["dfs.lightgbm.num_leaves"] == {31: 3.0, 7: 1.0}
    assert not any(name.startswith("rdl") for name in priors)


def test_probabilities_have_a_floor_and_sum_to_one():
    found = probabilities((1, 2, 3, None), {2: 3.0, None: 1.0})
    assert found.sum() == pytest.approx(1)
    assert found[[0, 2]] == pytest.approx(FLOOR)
    assert found[1] - FLOOR == pytest.approx(3 * (found[3] - FLOOR))
    assert np.allclose(probabilities((1, 2), {}), 0.5)
    assert np.allclose(probabilities((1, 2), {7: 1.0}), 0.5)
    with pytest.raises(ValueError, match="finite weights"):
        probabilities((1, 2), {1: -1.0})


def test_priors_move_the_first_draws(tmp_path):
    priors = {"branch": {"rdl": 1.0}, "rdl.rdl.convolution": {"pna": 1.0}}
    found = run_study(config(10), SPACE, evaluate, tmp_path, "toy", priors=priors)
    assert sum(r.branch == Branch.RDL for r in found) >= 9
    pna = [r.candidate.settings.get("convolution") == "pna" for r in found]
    assert sum(pna) >= 8


def test_searchers_differ_in_what_they_take(tmp_path):
    warm = Candidate("warm", "lightgbm", {"depth": 2, "learning_rate": 0.1})
    advice = Advice(TREES, (warm,), {"branch": {"rdl": 1.0}})
    found = {
        name: search(name, config(5), SPACE, evaluate, tmp_path, name, advice=advice)
        for name in SEARCHERS
    }
    assert all(len(records) == 5 for records in found.values())
    settings = {
        name: [dict(record.candidate.settings) for record in records]
        for name, records in found.items()
    }
    assert settings["relatron"][0]["learning_rate"] == 0.1
    assert {record.candidate.family for record in found["relatron"]} == {"lightgbm"}
    assert sum(record.branch == Branch.RDL for record in found["autotransfer"]) >= 4
    assert {record.branch for record in found["random"]} != {Branch.RDL}
    assert settings["random"] != settings["tpe"]


def test_a_searcher_says_what_it_lacks(tmp_path):
    with pytest.raises(ValueError, match="no searcher 'grid'"):
        search("grid", config(5), SPACE, evaluate, tmp_path, "toy")
    with pytest.raises(ValueError, match="without advice"):
        search("relatron", config(5), SPACE, evaluate, tmp_path, "toy")
    with pytest.raises(ValueError, match="no sampler"):
        run_study(replace(config(2), sampler="annealing"), SPACE, evaluate, tmp_path, "toy")
