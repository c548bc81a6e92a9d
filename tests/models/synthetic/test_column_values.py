from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import kurtosis

from models.synthetic.blueprint import ColumnKind, ColumnPlan
from models.synthetic.column_values import (
    MOST_SCORED,
    ColumnValues,
    NumberShape,
    ScoreLook,
    Shown,
    SliceLook,
    significant,
)
from models.synthetic.draws import Fixed
from models.synthetic.generator import SECOND
from models.synthetic.random_functions import REFERENCE

ROWS = 5000
LATENTS = list(np.random.default_rng(0).standard_normal((3, REFERENCE + ROWS)))
X = LATENTS[0][REFERENCE:]
NOW = np.arange(ROWS) * SECOND
LABELS = tuple(f"label {number}" for number in range(12))


def shown(
    kind: ColumnKind, settings: ColumnValues | None = None, seed: int = 0, timed: bool = True
) -> Shown:
    plan = ColumnPlan("c", kind, LABELS if kind == ColumnKind.CATEGORICAL else ())
    generator = np.random.default_rng(seed)
    look = (settings or ColumnValues()).look(plan, timed, generator)
    return look(LATENTS[: look.latents], NOW, generator)


def number(shape: NumberShape, **settings: object) -> np.ndarray:
    plain = {"shape": Fixed(shape), "rounded": Fixed(0.0)} | settings
    found = shown(ColumnKind.NUMERICAL, ColumnValues(**plain))  # type: ignore[arg-type]
    return found.values.to_numpy()


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (ColumnKind.NUMERICAL, pl.Float64),
        (ColumnKind.INTEGER, pl.Int64),
        (ColumnKind.BOOLEAN, pl.Boolean),
        (ColumnKind.CATEGORICAL, pl.String),
        (ColumnKind.TIMESTAMP, pl.Datetime("us")),
        (ColumnKind.TEXT, pl.String),
    ],
)
def test_types_lengths_and_what_others_read(kind, dtype):
    for seed in range(20):
        found = shown(kind, seed=seed)
        assert found.values.dtype == dtype
        assert len(found.values) == ROWS
        assert found.values.null_count() == 0
        assert found.carried.shape == (REFERENCE + ROWS,)
        assert abs(found.carried[REFERENCE:].mean()) < 0.3
        assert 0.6 < found.carried[REFERENCE:].std() < 1.4


def test_numbers_have_six_significant_digits():
    for seed in range(20):
        values = shown(ColumnKind.NUMERICAL, seed=seed).values
        assert values.to_list() == [float(f"{value:.6g}") for value in values.to_list()]


def test_significant_digits_are_those_of_decimal_rounding():
    random = np.random.default_rng(0)
    values = random.standard_normal(3000) * 10.0 ** random.uniform(-8, 22, 3000)
    values = np.concatenate([values, [0.0, 9.999999e5, -9.999996e-3, 1e5, 0.5]])
    for digits in (3, 6):
        rounded = significant(values, digits).tolist()
        assert rounded == [float(f"{value:.{digits}g}") for value in values.tolist()]


@pytest.mark.parametrize("shape", list(NumberShape))
def test_numbers_in_steps_recur_and_others_read_what_is_shown(shape):
    def found(steps: float) -> Shown:
        settings = ColumnValues(shape=Fixed(shape), rounded=Fixed(1.0), steps=Fixed(steps))
        return shown(ColumnKind.NUMERICAL, settings)

    few, many = found(3.0), found(30.0)
    # Nearly all of a normal number lies within three standard deviations.
    assert few.values.n_unique() <= 3 * 8
    assert many.values.n_unique() <= 30 * 9
    # Prices are whole numbers less a cent: steps of a thirtieth do not show.
    assert few.values.n_unique() < many.values.n_unique() or shape == NumberShape.PRICE
    pairs = pl.DataFrame({"shown": few.values, "read": few.carried[REFERENCE:]}).unique()
    assert pairs.height <= 3 * 9
    exact = number(shape)
    assert np.corrcoef(many.values.rank(), pl.Series(exact).rank())[0, 1] > 0.98


def test_the_probability_of_steps():
    def recurring(rounded: float) -> float:
        settings = ColumnValues(
            shape=Fixed(NumberShape.NORMAL), rounded=Fixed(rounded), steps=Fixed(5.0)
        )
        found = [shown(ColumnKind.NUMERICAL, settings, seed).values for seed in range(40)]
        return float(np.mean([values.n_unique() < 100 for values in found]))

    assert (recurring(0.0), recurring(1.0)) == (0.0, 1.0)
    assert recurring(0.5) == pytest.approx(0.5, abs=0.2)


def test_shapes_of_numbers():
    normal = number(NumberShape.NORMAL, location=Fixed(2.0), scale=Fixed(10.0))
    assert normal.mean() == pytest.approx(20, abs=0.5)
    assert normal.std() == pytest.approx(10, rel=0.05)
    log_normal = number(NumberShape.LOG_NORMAL, scale=Fixed(50.0), spread=Fixed(0.8))
    assert np.median(log_normal) == pytest.approx(50, rel=0.1)
    assert np.log(log_normal).std() == pytest.approx(0.8, rel=0.05)
    inflated = number(NumberShape.ZERO_INFLATED, zeros=Fixed(0.6))
    assert (inflated == 0).mean() == pytest.approx(0.6, abs=0.06)
    assert len(np.unique(inflated)) > 0.3 * ROWS
    heavy = [
        kurtosis(number(NumberShape.HEAVY_TAILED, spread=Fixed(spread))) for spread in (0.4, 1.2)
    ]
    assert 0.2 < heavy[0] < 5 < heavy[1]
    price = number(NumberShape.PRICE)
    assert price.min() > 0
    np.testing.assert_allclose(price % 1, 0.99, atol=0.02)


def test_counts_have_their_median():
    found = shown(ColumnKind.INTEGER, ColumnValues(count=Fixed(20.0))).values
    assert found.min() >= 0
    assert found.median() == pytest.approx(20, abs=2)


def test_no_intervention_makes_a_number_overflow():
    for kind in (ColumnKind.NUMERICAL, ColumnKind.INTEGER, ColumnKind.TIMESTAMP):
        for seed in range(20):
            plan, generator = ColumnPlan("c", kind), np.random.default_rng(seed)
            look = ColumnValues().look(plan, True, generator)
            values = look([LATENTS[0] + 1e6], NOW, generator).values.to_physical()
            assert values.cast(pl.Float64).is_finite().all()
            assert values.min() >= 0 or kind == ColumnKind.TIMESTAMP


@pytest.mark.parametrize("rarer", [0.05, 0.3, 0.5])
def test_flags_have_their_rate_and_show_both_ways(rarer):
    rates = [
        shown(ColumnKind.BOOLEAN, ColumnValues(rarer=Fixed(rarer)), seed).values.mean()
        for seed in range(8)
    ]
    for rate in rates:
        assert min(rate, 1 - rate) == pytest.approx(rarer, abs=0.05)
    if rarer < 0.5:
        assert min(rates) < 0.5 < max(rates)


@pytest.mark.parametrize("scored", [0.0, 1.0])
def test_categories_are_those_of_the_plan_and_the_zipf_law_makes_some_rare(scored):
    def largest(zipf: float) -> float:
        settings = ColumnValues(scored=Fixed(scored), zipf=Fixed(zipf))
        found = [shown(ColumnKind.CATEGORICAL, settings, seed).values for seed in range(8)]
        for values in found:
            assert set(values.unique()) <= set(LABELS)
        # No label is the most common one everywhere.
        assert len({values.mode()[0] for values in found}) > 2
        return float(np.mean([values.value_counts()["count"].max() / ROWS for values in found]))

    assert largest(0.0) < largest(1.0) - 0.05 < largest(2.0) - 0.1
    if not scored:
        assert largest(1.0) == pytest.approx(1 / sum(1 / k for k in range(1, 13)), abs=0.04)


def test_of_many_categories_none_wins_by_its_score():
    for count, look in ((MOST_SCORED, ScoreLook), (MOST_SCORED + 1, SliceLook)):
        plan = ColumnPlan("c", ColumnKind.CATEGORICAL, tuple(map(str, range(count))))
        drawn = ColumnValues(scored=Fixed(1.0)).look(plan, True, np.random.default_rng(0))
        assert isinstance(drawn, look)


def test_slices_follow_one_number_and_scores_do_not():
    def within(scored: float) -> float:
        """The share of the number's variance within categories."""
        settings = ColumnValues(scored=Fixed(scored), zipf=Fixed(0.5))
        frame = pl.DataFrame({"x": X, "c": shown(ColumnKind.CATEGORICAL, settings).values})
        return float((X - frame.select(pl.col("x").mean().over("c"))["x"].to_numpy()).var())

    assert within(0.0) < 0.1
    assert within(1.0) > 0.3


def test_timestamps_lie_around_the_row_but_before_the_start_where_rows_have_no_time():
    after = set()
    for seed in range(12):
        offsets = shown(ColumnKind.TIMESTAMP, seed=seed).values.cast(pl.Int64).to_numpy() - NOW
        assert (offsets % SECOND == 0).all()
        assert (offsets > 0).all() or (offsets < 0).all()
        assert abs(np.corrcoef(np.log(np.abs(offsets)), X)[0, 1]) > 0.8
        after.add(bool(offsets[0] > 0))
        untimed = shown(ColumnKind.TIMESTAMP, seed=seed, timed=False).values.cast(pl.Int64)
        assert (untimed.to_numpy() < NOW).all()
    assert after == {False, True}


def test_texts_begin_alike_where_the_number_is_alike():
    texts = shown(ColumnKind.TEXT).values.str.split(" ").list.first()
    frame = pl.DataFrame({"x": X, "word": texts})
    within = frame.select(pl.col("x") - pl.col("x").mean().over("word"))["x"].var()
    assert within is not None
    assert within < 0.1


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"rarer must be from 0 to 0\.5 .got 0\.7"):
        shown(ColumnKind.BOOLEAN, ColumnValues(rarer=Fixed(0.7)))
    with pytest.raises(ValueError, match="zeros must be from 0 to 1"):
        number(NumberShape.ZERO_INFLATED, zeros=Fixed(1.5))
