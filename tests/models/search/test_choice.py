"""The rules that choose a trial, on small records."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.database.schema import Metric
from models.search.choice import Choice, Contender, choose, within_one_error
from models.search.landscape import Landscape

AUC, MAE = Metric.ROC_AUC, Metric.MAE
FLATTEST = Choice.ONE_STANDARD_ERROR_FLATTEST


def terrain(roughness, curvature=None):
    return Landscape(roughness, roughness if curvature is None else curvature, roughness, 1, 33, 0)


def network(name, validation, roughness=None, **others):
    landscape = None if roughness is None else terrain(roughness)
    return Contender(name, "rdl", validation, landscape=landscape, **{"error": 0.02} | others)


def test_the_best_score_is_the_metrics_best_and_undefined_ones_never_are():
    trials = [network("a", 0.7), network("b", math.nan), network("c", 0.8), network("d", 0.8)]
    assert choose(trials, AUC, Choice.BEST_VALIDATION).name == "c"
    assert choose(trials, MAE, Choice.BEST_VALIDATION).name == "a"
    with pytest.raises(ValueError, match="none of 1 trials has a validation roc_auc"):
        choose(trials[1:2], AUC)
    with pytest.raises(ValueError, match="none of 0 trials"):
        choose([], AUC)
    with pytest.raises(ValueError, match="share a name: a"):
        choose([trials[0], trials[0]], AUC)


def test_the_flattest_within_one_standard_error_is_taken():
    trials = [network("best", 0.80, 3), network("flat", 0.79, 1), network("flatter, worse", 0.7, 0)]
    decision = choose(trials, AUC)
    assert (decision.name, decision.rule) == ("flat", FLATTEST)
    assert decision.considered == ("best", "flat")
    assert "best" in decision.reason
    # The same scores as errors: nothing is within 0.02 of 0.70.
    assert choose(trials, MAE).name == "flatter, worse"
    sure = [network(one.name, one.validation, 1 - i, error=0.001) for i, one in enumerate(trials)]
    assert choose(sure, AUC).name == "best"


def test_flatness_is_compared_within_the_best_ones_family_only():
    tree = Contender("tree", "lightgbm", 0.80, 0.02)
    rough, flat = network("rough", 0.795, 9), network("flat", 0.79, 1)
    assert choose([tree, rough, flat], AUC).name == "tree"
    better = network("better", 0.805, 9)
    decision = choose([tree, better, flat], AUC)
    assert decision.name == "flat"
    assert decision.considered == ("better", "flat")
    other = Contender("resnet", "resnet", 0.80, 0.02, landscape=terrain(0))
    assert choose([better, other], AUC).name == "better"


def test_what_was_not_measured_or_has_no_bounds_does_not_count_as_flat():
    best = network("best", 0.80, 3)
    for other in (network("bare", 0.79), network("wild", 0.79, math.inf)):
        assert choose([best, other], AUC).name == "best"
    assert choose([network("bare best", 0.81), network("flat", 0.80, 1)], AUC).name == "bare best"


def test_each_metric_of_a_landscape_counts_alike_whatever_its_size():
    def made(name, slope, curvature, barrier):
        return Contender(
            name, "rdl", 0.8, 0.1, landscape=Landscape(slope, curvature, barrier, 1, 33, 0)
        )

    # Flatter in two of three; the third is large in numbers alone.
    trials = [made("huge", 1, 1000, 1), made("two", 0.1, 1001, 0.1)]
    assert choose(trials, AUC).name == "two"


def test_the_error_of_the_difference_is_that_of_the_pair():
    random = np.random.default_rng(0)
    shared = random.normal(0, 0.05, 200)
    best = network("best", 0.80, 3, error=0.05, resampled=0.80 + shared)
    close = network("close", 0.79, 1, resampled=0.79 + shared + random.normal(0, 0.001, 200))
    apart = network("apart", 0.79, 2, resampled=0.79 + random.normal(0, 0.05, 200))
    assert [one.name for one in within_one_error([close, apart, best], AUC)] == ["best", "apart"]
    assert choose([close, apart, best], AUC).name == "apart"
    short = network("short", 0.79, 1, resampled=shared[:10])
    with pytest.raises(ValueError, match="resampled 200 and 10 times"):
        choose([best, short], AUC)


def test_without_any_error_only_equals_are_near():
    trials = [network("a", 0.8, 3, error=None), network("b", 0.8, 1, error=None)]
    assert choose([*trials, network("c", 0.79, 0, error=None)], AUC).name == "b"


def test_the_vote_weighs_validation_and_flatness_as_published():
    # Of two, shares are 0 or 1: 0.6 for what is flatter in everything, however little.
    pair = [network("best", 0.9, 1.001), network("flatter", 0.1, 1.0)]
    assert choose(pair, AUC, Choice.VOTE).name == "flatter"
    # Validation 1, .5, 0; slope, curvature and barrier 0, 1, .6: 0.4, 0.8, 0.36.
    three = [network("a", 0.8, 10), network("b", 0.7, 0), network("c", 0.6, 4)]
    decision = choose([network("fourth", 0.5, -9), *three], AUC, Choice.VOTE)
    assert decision.considered == ("a", "b", "c")
    assert decision.reason.endswith("a 0.40, b 0.80, c 0.36")
    # Without a landscape: nothing but validation; a constant column: a half for all.
    bare = [network("a", 0.8), network("b", 0.7)]
    assert choose(bare, AUC, Choice.VOTE).reason.endswith("a 0.40, b 0.00")
    equal = [network("a", 0.8, 1), network("b", 0.7, 1)]
    assert choose(equal, AUC, Choice.VOTE).reason.endswith("a 0.70, b 0.30")
    assert choose(pair[:1], AUC, Choice.VOTE).name == "best"


def test_the_last_slice_decides_among_the_top():
    trials = [
        network("a", 3.0, late=3.5), network("b", 3.1, late=3.2), network("c", 3.2, late=3.3),
        network("d", 3.9, late=1.0),
    ]  # fmt: skip
    assert choose(trials, MAE, Choice.LATE_VALIDATION).name == "b"
    assert choose(trials, MAE, Choice.LATE_VALIDATION, top=4).name == "d"
    with pytest.raises(ValueError, match="trials e have no score of the last slice"):
        choose([*trials, network("e", 2.0)], MAE, Choice.LATE_VALIDATION)
