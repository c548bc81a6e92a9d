"""Series without causes."""

import numpy as np
import pytest
from scipy import stats

from models.synthetic.draws import Choice, Fixed
from models.synthetic.plurel.sources import Family, Rhythm, SourceSettings


def numbers(family, seed, activity=True, rows=1000, **settings):
    rng = np.random.default_rng(seed)
    return SourceSettings(**settings).numbers(family, rows, activity, rng)


@pytest.mark.parametrize("family", list(Family))
def test_values_lie_between_zero_and_the_scale(family):
    for seed in range(40):
        for activity in (True, False):
            found = numbers(family, seed, activity, scale=Fixed(10.0))
            assert found.shape == (1000,)
            if family != Family.SERIES:
                assert found.min() >= 0
                assert found.max() <= 10


def test_uniform_gaussian_and_beta_have_their_shapes():
    for seed in range(5):
        found = numbers(Family.UNIFORM, seed, rows=4000)
        low, high = found.min(), found.max()
        assert stats.kstest((found - low) / (high - low), "uniform").pvalue > 1e-3
        found = numbers(Family.GAUSSIAN, seed, rows=4000)
        middle, half = (found.max() + found.min()) / 2, (found.max() - found.min()) / 2
        # Two standard deviations to each side, the rest cut off.
        assert found.std() / half == pytest.approx(0.48, abs=0.03)
        assert abs(found.mean() - middle) < 0.05 * half
        assert np.mean(found == found.max()) == pytest.approx(0.023, abs=0.012)
        found = numbers(Family.BETA, seed, rows=4000, alpha=Fixed(0.5), beta=Fixed(0.5))
        inner = (found - found.min()) / (found.max() - found.min())
        assert stats.kstest(inner, "beta", (0.5, 0.5)).statistic < 0.03


def test_entity_series_sit_on_one_value_in_half_of_the_rows():
    for seed in range(20):
        found = numbers(Family.SERIES, seed, activity=False, scale=Fixed(1.0))
        _, counts = np.unique(found, return_counts=True)
        assert counts.max() >= 450


def test_activity_series_are_mostly_a_function_of_time():
    smooth = []
    for seed in range(60):
        found = numbers(
            Family.SERIES, seed, scale=Fixed(1.0), persistence=Fixed(0.0), half_cycle=Fixed(1.0)
        )
        smooth.append(1 - np.mean(np.diff(found) ** 2) / 2 / max(found.var(), 1e-12))
    assert np.median(smooth) > 0.99
    noisy = numbers(
        Family.SERIES, 3, rows=4000, scale=Fixed(1e6), persistence=Fixed(0.8),
        activity=True,
    )  # fmt: skip
    assert len(np.unique(noisy)) > 1


def test_persistence_is_the_autocorrelation_of_the_noise():
    rhythm = Rhythm(Fixed(0.0), Fixed(0.0), 1.0)
    found = []
    for seed in range(30):
        values = numbers(Family.SERIES, seed, rows=5000, activity=False, entity=rhythm,
                         scale=Fixed(50.0), persistence=Fixed(0.7))  # fmt: skip
        lower = values.min()
        if np.mean(values == lower) < 0.55:
            positive = values > lower
            found.append(np.corrcoef(values[1:][positive[1:]], values[:-1][positive[1:]])[0, 1])
    assert np.mean(found) == pytest.approx(0.5, abs=0.15)


def test_a_mixture_draws_each_row_from_one_of_its_parts():
    found = [numbers(Family.MIXED, seed, scale=Choice((0.01, 100.0))) for seed in range(60)]
    # Parts of scales far apart leave a gap: some rows are tiny and others large.
    gaps = [np.mean(values < 0.011) for values in found]
    assert any(0.2 < gap < 0.8 for gap in gaps)


def test_categories_of_series_change_with_time_and_others_do_not():
    def categories(family, seed):
        rng = np.random.default_rng(seed)
        rhythm = Rhythm(Fixed(10.0), Fixed(10.0), 0.05)
        settings = SourceSettings(scale=Fixed(10.0), activity=rhythm)
        return settings.categories(family, 3, 4000, True, rng)

    def moves(values):
        periods = np.array([np.bincount(part, minlength=3) for part in np.split(values, 20)])
        return stats.chi2_contingency(periods[:, periods.sum(axis=0) > 0]).pvalue < 1e-4

    series = [categories(Family.SERIES, seed) for seed in range(30)]
    others = [categories(Family.BETA, seed) for seed in range(30)]
    for values in (*series, *others):
        assert values.min() >= 0
        assert values.max() <= 2
    assert not any(map(moves, others))
    assert np.mean(list(map(moves, series))) > 0.6
    # Dirichlet(1): the first category's share is uniform on its triangle, of mean a third.
    shares = [np.mean(values == 0) for values in others]
    assert np.mean(shares) == pytest.approx(1 / 3, abs=0.13)
    assert np.std(shares) > 0.1
