"""Candidates: what they may say, and what a wrong word is told."""

from __future__ import annotations

import json
import subprocess
import sys

import polars as pl
import pytest

from models.bank.store import SHIPPED, read_bank
from models.families.candidate import (
    FAMILIES,
    Candidate,
    candidate_from_plain,
    candidates_from_plain,
    recorded_candidate,
)
from models.search.space import Space
from models.tabular.lightgbm_config import LightGBMConfig
from models.tabular.network_config import NetworkConfig
from tests.fixtures import ROOT


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_has_defaults(family):
    candidate = candidate_from_plain({"family": family})
    assert candidate == Candidate(family, family, {})
    assert candidate.config().seeds == 5


def test_settings_become_the_familys_configuration():
    plain = {"name": "small", "family": "lightgbm", "settings": {"rounds": 7, "lambda_l2": 1}}
    assert candidate_from_plain(plain).config() == LightGBMConfig(rounds=7, lambda_l2=1.0)
    found = Candidate("a", "ft_transformer", {"channels": 16}).config()
    assert found == NetworkConfig.of("ft_transformer", channels=16)
    assert found.max_columns is not None
    assert Candidate("b", "resnet").config() == NetworkConfig()


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"family": "lightgmb"}, "unknown family: 'lightgmb', did you mean 'lightgbm'"),
        ({"name": "x"}, "needs a family, one of lightgbm, linear, resnet"),
        ({"family": "rdl", "setings": {}}, "unknown entry .*did you mean 'settings'"),
        (
            {"family": "resnet", "settings": {"chanels": 3}},
            r"setting of the candidate 'resnet' \(resnet\): 'chanels', did you mean 'channels'",
        ),
        ({"family": "resnet", "settings": {"architecture": "resnet"}}, "unknown setting"),
        ({"family": "rdl", "settings": {"fan_outs": 3}}, "did you mean 'fan_out'"),
        (
            {"family": "lightgbm", "settings": {"rounds": "many"}},
            r"rounds: Input should be a valid integer.*got 'many'",
        ),
        ({"family": "resnet", "settings": {"dropout": 2}}, "dropout must be at least 0"),
    ],
)
def test_a_wrong_word_is_told_the_right_one(plain, message):
    with pytest.raises(ValueError, match=message):
        candidate_from_plain(plain)


def test_a_list_of_candidates_has_names_of_their_own():
    plain = [{"family": "lightgbm"}, {"family": "lightgbm", "name": "deep"}]
    assert [candidate.name for candidate in candidates_from_plain(plain)] == ["lightgbm", "deep"]
    with pytest.raises(ValueError, match="share a name: lightgbm"):
        candidates_from_plain([plain[0], plain[0]])
    with pytest.raises(ValueError, match="at least one candidate"):
        candidates_from_plain([])


def test_a_recorded_candidate_keeps_what_its_family_still_knows():
    settings = {"channels": 16, "keep": "best", "architecture": "resnet"}
    found = recorded_candidate("mine", "resnet", settings)
    assert found == Candidate("mine", "resnet", {"channels": 16})
    assert found.config().channels == 16


def test_most_of_the_shipped_banks_networks_are_candidates_of_the_space():
    rows = read_bank([SHIPPED]).filter(pl.col("family") == "rdl", pl.col("origin") == "real")
    assert rows.height > 50
    space = Space(initialisations=("scratch", "tve"))
    texts = rows["settings"].unique()
    candidates = [recorded_candidate("one", "rdl", json.loads(text)) for text in texts]
    # Wide fan-outs over many hops are none any more.
    assert sum(space.parameters_of(one) is not None for one in candidates) > len(candidates) / 2


def test_trials_are_found_again_without_the_libraries_that_train():
    """A run that reuses all of its trials reads their settings; torch takes seconds to import."""
    script = """
import sys
import models.search.trial_runner
from models.families.candidate import FAMILIES, Candidate
for family in set(FAMILIES) - {"tabpfn"}:
    Candidate("one", family).config()
print(*{"lightgbm", "sklearn", "torch", "torch_geometric"} & set(sys.modules))
"""
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.split() == []
