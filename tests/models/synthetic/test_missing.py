from __future__ import annotations

import numpy as np
import pytest

from models.synthetic.draws import Fixed
from models.synthetic.missing import Gaps, MissingKind, MissingValues

CAUSE = np.random.default_rng(0).standard_normal(20_000)


@pytest.mark.parametrize("kind", list(MissingKind))
@pytest.mark.parametrize("rate", [0.0, 0.02, 0.3])
def test_the_rate_is_kept(kind, rate):
    lacking = Gaps(kind, rate, 0.7)(CAUSE, np.random.default_rng(1))
    assert lacking.mean() == pytest.approx(rate, rel=0.1)


@pytest.mark.parametrize(
    ("kind", "strength", "sign"),
    [
        (MissingKind.COMPLETELY_AT_RANDOM, 0.7, 0),
        (MissingKind.AT_RANDOM, 0.7, -1),
        (MissingKind.NOT_AT_RANDOM, -0.7, 1),
    ],
)
def test_rows_with_a_gap_differ_in_the_cause(kind, strength, sign):
    lacking = Gaps(kind, 0.2, strength)(CAUSE, np.random.default_rng(1))
    gap = CAUSE[lacking].mean() - CAUSE[~lacking].mean()
    assert abs(gap - sign * 1.2) < 0.1


def test_a_stronger_cause_tells_more():
    def gap(strength: float) -> float:
        lacking = Gaps(MissingKind.AT_RANDOM, 0.2, strength)(CAUSE, np.random.default_rng(1))
        return CAUSE[~lacking].mean() - CAUSE[lacking].mean()

    assert gap(0.1) < gap(0.4) - 0.3 < gap(0.8) - 0.6


def test_kinds_are_a_third_each_and_signs_even():
    settings = MissingValues()
    gaps = [settings.gaps(np.random.default_rng(seed)) for seed in range(600)]
    for kind in MissingKind:
        assert 160 < sum(gap.kind == kind for gap in gaps) < 240
    assert 250 < sum(gap.strength < 0 for gap in gaps) < 350


def test_a_rate_of_everything_is_refused():
    with pytest.raises(ValueError, match=r"rate of missing values must be from 0 to 0\.99 .got 1 "):
        MissingValues(rate=Fixed(1.0)).gaps(np.random.default_rng(0))
