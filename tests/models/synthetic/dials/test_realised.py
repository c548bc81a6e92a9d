"""Turning a dial moves what it says, evenly, and leaves the rest."""

from __future__ import annotations

import numpy as np
import pytest

from models.synthetic.dials.dials import FACTORS
from models.synthetic.dials.plant import plant
from models.synthetic.dials.sweep import one_dial_sweep
from tests.models.synthetic.dials.small import known_activities, rank_correlation, small

SEEDS = (0, 1, 2)
STEPS = 8
# What each measure may move, from its least to its greatest mean over seeds, in another's sweep.
# Two percent of an AUROC; label measures of 1800 rows have a standard error of about 0.02.
TOLERANCES = {
    "homophily": 0.05,
    "autocorrelation": 0.06,
    "interaction": 0.03,
    "noise": 0.015,
    "oracle_auroc": 0.02,
    "drift": 0.1,
    "rows": 0.0,
    "degree": 0.0,
    "distractors": 0.0,
    "positive_rate": 0.002,
}
# Noise is what bounds the oracle.
TOGETHER = {"noise": {"oracle_auroc"}}


@pytest.mark.parametrize(
    "dial",
    ["homophily", "autocorrelation", "interaction", "noise", "drift", "rows", "degree"],
)
def test_a_dial_moves_its_measure_and_no_other(dial):
    sweep = one_dial_sweep(dial, STEPS, small(degree=4, distractors=2))
    found = [[plant(dials, seed).realised for dials in sweep] for seed in SEEDS]
    asked = np.array([getattr(dials, dial) for dials in sweep])
    for realised in found:
        assert rank_correlation(asked, np.array([one[dial] for one in realised])) >= 0.8
    others = TOLERANCES.keys() - {dial} - TOGETHER.get(dial, set())
    for other in others:
        means = np.mean([[one[other] for one in realised] for realised in found], axis=0)
        assert np.ptp(means) <= TOLERANCES[other], other


@pytest.mark.parametrize("dial", ["homophily", "autocorrelation", "interaction", "noise"])
def test_shares_are_realised_as_asked(dial):
    names = ("homophily", "autocorrelation", "interaction", "noise", "plain")
    for dials in one_dial_sweep(dial, 3, small(entities=600)):
        found = [plant(dials, seed).realised for seed in SEEDS]
        for name in names:
            mean = np.mean([one[f"share_{name}"] for one in found])
            assert mean == pytest.approx(getattr(dials, name), abs=0.03), name


def test_drift_ends_where_it_is_asked():
    for drift in (0.3, 0.7):
        dials = small(drift=drift, entities=1000, noise=0.05, interaction=0.4)
        found = np.mean([plant(dials, seed).realised["drift"] for seed in SEEDS])
        assert found == pytest.approx(drift, abs=0.1)


def test_noise_sets_the_oracle_s_score():
    scores = [plant(dials, 0).realised["oracle_auroc"] for dials in
              one_dial_sweep("noise", STEPS, small(entities=600))]  # fmt: skip
    assert (np.diff(scores) < 0).all()
    assert scores[0] > 0.97
    assert scores[-1] < 0.88


@pytest.mark.parametrize("factors", FACTORS)
def test_products_hide_from_aggregates(factors):
    depth, order = factors
    found = [
        plant(small(depth=depth, order=order), seed).realised["interaction_by_aggregates"]
        for seed in range(5)
    ]
    assert min(found) > 0.97 if order == 1 else max(found) < 0.05


def test_entities_that_stay_in_their_community_have_persistent_labels():
    found = [
        plant(small(homophily=0.5, interaction=0.1, mobility=mobility), 0).realised
        for mobility in (1.0, 0.5, 0.0)
    ]
    raw = [one["label_autocorrelation"] for one in found]
    own = [one["autocorrelation"] for one in found]
    assert raw[0] < raw[1] < raw[2]
    assert raw[2] - raw[0] > 0.15
    assert np.ptp(own) < 0.06


@pytest.mark.parametrize("exponent", [1.5, 3.0])
def test_pareto_degrees_keep_their_mean_and_have_their_tail(exponent):
    planted = plant(small(degree=10, degree_exponent=exponent), 0)
    known = known_activities(planted).group_by("cutoff_time", "entity").len()
    counts = known["len"].to_numpy()
    assert len(counts) == planted.oracle.height
    assert planted.realised["degree"] == pytest.approx(10, rel=0.2)
    lowest = 10 * (exponent - 1) / exponent
    assert np.mean(counts > 3 * lowest) == pytest.approx(3**-exponent, rel=0.25)
