from dataclasses import replace

import numpy as np
import pytest

from models.relatron.gap_model import PRIOR, GapRows, fit_gap_model


def made_rows(databases, slope, seed=0, error=0.01, features=30):
    generator = np.random.default_rng(seed)
    count = 3 * databases
    codes = np.repeat(np.arange(databases), 3)
    values = generator.standard_normal((count, features))
    own = 0.02 * generator.standard_normal(databases)[codes]
    gaps = 0.01 + slope * values[:, 4] + own + error * generator.standard_normal(count)
    return GapRows(values, gaps, np.full(count, error), codes, np.ones(count, bool), np.ones(count))


def test_the_signal_that_tells_is_found_among_many_and_others_are_not():
    model = fit_gap_model(made_rows(15, 0.04))
    assert model.chosen == (4,)
    assert model.slopes[0] / model.scale[0] == pytest.approx(0.04, abs=0.01)


def test_noise_is_not_read():
    chosen = [fit_gap_model(made_rows(12, 0.0, seed)).chosen for seed in range(10)]
    assert sum(map(len, chosen)) <= 1


def test_predictions_are_as_uncertain_as_they_should_be():
    inside = []
    for seed in range(10):
        model = fit_gap_model(made_rows(12, 0.03, seed))
        new = made_rows(60, 0.03, 100 + seed)
        mean, error = model.predict(new.features)
        inside.append(np.mean(np.abs(new.gaps - mean) < np.hypot(error, 0.01)))
    assert 0.6 < np.mean(inside) < 0.85


def test_rows_with_large_errors_count_little():
    rows = made_rows(12, 0.0)
    wrong = rows.databases == 0
    gaps = np.where(wrong, 0.1, 0.0)
    trusted = fit_gap_model(replace(rows, gaps=gaps))
    doubted = fit_gap_model(replace(rows, gaps=gaps, errors=np.where(wrong, 1.0, 0.01)))
    at = np.zeros((1, 30))
    assert doubted.predict(at)[0][0] < 0.3 * trusted.predict(at)[0][0]


def test_many_tasks_of_one_database_count_little_more_than_one():
    one = made_rows(1, 0.0)
    many = GapRows(
        np.zeros((300, 30)),
        np.full(300, 0.05),
        np.full(300, 0.001),
        np.zeros(300, dtype=int),
        np.ones(300, bool),
        np.ones(300),
    )
    at = np.zeros((1, 30))
    assert fit_gap_model(many).predict(at)[1][0] > 0.015
    assert fit_gap_model(one).predict(at)[1][0] > 0.015


def test_a_rows_prediction_without_its_database_does_not_know_its_gap():
    rows = made_rows(8, 0.0)
    held = rows.databases == 3
    other = replace(rows, gaps=np.where(held, 0.1, rows.gaps))
    before, after = fit_gap_model(rows).left_out, fit_gap_model(other).left_out
    # The scales are of all rows, so a little moves; a prediction that saw them would follow them.
    assert np.abs(after[held] - before[held]).max() < 0.01


def test_an_unknown_signal_adds_to_the_error():
    model = fit_gap_model(made_rows(15, 0.04))
    known, unknown = np.zeros((1, 30)), np.full((1, 30), np.nan)
    assert model.predict(unknown)[1][0] > 1.2 * model.predict(known)[1][0]


def test_without_rows_the_prediction_is_the_prior():
    nothing = made_rows(3, 0.0).take(np.zeros(9, dtype=bool))
    mean, error = fit_gap_model(nothing, always=[0]).predict(np.zeros((2, 30)))
    assert mean.tolist() == [0.0, 0.0]
    assert (error > PRIOR).all()
