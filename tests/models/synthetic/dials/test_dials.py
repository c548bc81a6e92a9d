"""Impossible dials are refused with what contradicts what and the mend."""

from __future__ import annotations

import json

import pytest

from models.synthetic.dials.dials import FACTORS, Aggregate, Dials


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"homophily": 0.6, "noise": 0.5}, "sum to 1.45; lower one of them by 0.45"),
        ({"homophily": -0.1}, "homophily must be from 0 to 1 .got -0.1"),
        ({"noise": float("nan")}, "noise must be from 0 to 1"),
        ({"depth": 0, "order": 2}, "raise depth to 1 or lower order to 1"),
        ({"depth": 1, "order": 3}, "raise depth to 2 or lower order to 2"),
        ({"depth": 4}, "depth must be 0, 1, 2 or 3"),
        ({"depth": 0, "order": 1, "aggregate": Aggregate.MAX}, "set aggregate to 'mean'"),
        ({"partners": 0}, r"homophily \(0.15\) needs partners"),
        ({"partners": 0, "homophily": 0.0}, "depth 2 needs partners"),
        ({"partners": 5}, "partners must be even"),
        ({"partners": 2, "depth": 3}, "raise partners to 4"),
        ({"communities": 1}, "raise communities to 2 or more, or set homophily to 0"),
        ({"entities": 30, "rows": 60}, "raise entities or lower communities"),
        ({"rows": 7}, "7 rows cannot be spread over 8 training cutoffs"),
        ({"rows": 8001}, "make 8000 rows, fewer than the 8001 asked for"),
        ({"drift": 0.5, "interaction": 0.0, "noise": 0.75}, "or set drift to 0"),
        ({"degree": 0}, "degree must be at least 1"),
        ({"degree_exponent": 1.0}, "degree_exponent must be a number above 1"),
        ({"positive_rate": 0.0}, "positive_rate must lie between 0 and 1"),
    ],
)
def test_contradictions_name_the_mend(setting, message):
    with pytest.raises(ValueError, match=message):
        Dials(**setting)


def test_the_plain_effect_takes_what_the_shares_leave():
    assert Dials(homophily=0.1, autocorrelation=0.2, interaction=0.3, noise=0.1).plain == (
        pytest.approx(0.3)
    )
    assert Dials(homophily=0.1, autocorrelation=0.2, interaction=0.3, noise=0.4).plain == 0.0


def test_factors_end_at_the_depth_and_are_as_many_as_the_order():
    path = ["entity", "activity", "partner", "grandpartner"]
    for (depth, order), tables in FACTORS.items():
        assert len(set(tables)) == order
        assert tables[-1] == path[depth]
        assert list(tables) == sorted(tables, key=path.index)


def test_plain_data_survives_json():
    dials = Dials(aggregate=Aggregate.LAST, degree_exponent=2.5, rows=1234)
    assert Dials.from_data(json.loads(json.dumps(dials.as_data()))) == dials


def test_an_unknown_dial_is_named():
    with pytest.raises(ValueError, match="no such dial: homofily"):
        Dials.from_data({"homofily": 0.1})
