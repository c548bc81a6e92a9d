from __future__ import annotations

import numpy as np
import pytest

from models.synthetic.draws import Fixed
from models.synthetic.random_functions import (
    EVEN_MIX,
    REFERENCE,
    Activation,
    random_function,
    standardised,
)

ROWS = 2000


@pytest.fixture
def inputs() -> list[np.ndarray]:
    return list(np.random.default_rng(0).standard_normal((4, REFERENCE + ROWS)))


def test_a_function_of_normal_inputs_is_about_standard(inputs):
    found = [
        random_function(4, EVEN_MIX, np.random.default_rng(seed))(inputs)[REFERENCE:]
        for seed in range(60)
    ]
    assert abs(np.mean([values.mean() for values in found])) < 0.03
    assert 0.95 < np.median([values.std() for values in found]) < 1.05


def test_every_input_moves_the_function(inputs):
    moves = []
    for seed in range(60):
        function = random_function(4, EVEN_MIX, np.random.default_rng(seed))
        values = function(inputs)
        for place in range(4):
            moved = [x + 1.0 * (place == other) for other, x in enumerate(inputs)]
            # The imaginary rows stay, as under an intervention.
            moved[place][:REFERENCE] = inputs[place][:REFERENCE]
            moves.append(np.abs(function(moved) - values).max())
    assert min(moves) > 0.02
    assert np.quantile(moves, 0.05) > 0.2


def test_a_row_does_not_depend_on_the_rows_after_it(inputs):
    for seed in range(10):
        function = random_function(4, EVEN_MIX, np.random.default_rng(seed))
        short = function([x[: REFERENCE + 7] for x in inputs])
        assert (short == function(inputs)[: REFERENCE + 7]).all()


def test_linear_units_make_a_straight_line_and_products_do_not(inputs):
    design = np.stack([*inputs, np.ones(len(inputs[0]))], axis=1)

    def unexplained(activation: Activation) -> float:
        function = random_function(4, Fixed(activation), np.random.default_rng(3))
        values = function(inputs)
        coefficients = np.linalg.lstsq(design, values, rcond=None)[0]
        return float((values - design @ coefficients).var())

    assert unexplained(Activation.LINEAR) < 1e-12
    assert unexplained(Activation.PRODUCT) > 0.9
    assert 0.005 < unexplained(Activation.TANH) < 0.5


@pytest.mark.parametrize("activation", list(Activation))
def test_one_input_is_enough(activation, inputs):
    function = random_function(1, Fixed(activation), np.random.default_rng(1))
    assert np.isfinite(function(inputs[:1])).all()


def test_what_hardly_varies_is_not_blown_up():
    values = np.zeros(REFERENCE + 10)
    values[0] = 1e-6
    assert np.abs(standardised(values)).max() < 1e-5
