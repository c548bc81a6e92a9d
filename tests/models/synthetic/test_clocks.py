"""Times: rates, lives, events by chance, habit and in bursts, delays."""

import numpy as np
import pytest

from models.synthetic.clocks import Clocks, Lives, intensity
from models.synthetic.draws import Fixed, Integer
from models.synthetic.streams import Streams

EVEN = dict(
    trend=Fixed(0.0),
    season=Fixed(0.0),
    spikes=Fixed(0),
    served=Fixed(0.0),
    burst=Fixed(0.0),
    habits=Fixed(0.0),
)


def same_pace(owners, times):
    return np.ones(len(times))


def events(clocks, rows=6000, owners=100, lower=0.0, upper=1.0, pace=same_pace, seed=0):
    return clocks.events(
        rows,
        np.ones(owners),
        np.broadcast_to(np.asarray(lower, float), owners).copy(),
        np.broadcast_to(np.asarray(upper, float), owners).copy(),
        pace,
        Streams(seed),
    )


def gap_variation(owners, times):
    """The coefficient of variation of the gaps between an owner's events, its mean over owners."""
    found = []
    for owner in range(owners.max() + 1):
        gaps = np.diff(times[owners == owner])
        found.append(gaps.std() / gaps.mean())
    return np.mean(found)


@pytest.mark.parametrize("trend", [-2.0, 0.0, 3.0])
def test_trend_is_the_growth_of_the_log_rate(trend):
    _, times = events(Clocks(**{**EVEN, "trend": Fixed(trend)}), rows=20_000)
    first, last = (times < 0.1).sum(), (times >= 0.9).sum()
    assert np.log(last / first) == pytest.approx(0.9 * trend, abs=0.2)


@pytest.mark.parametrize("season", [0.0, 0.4, 0.8])
def test_season_is_the_swing_of_the_rate(season):
    _, times = events(Clocks(**{**EVEN, "season": Fixed(season), "cycles": Fixed(12.0)}), 20_000)
    # The first Fourier coefficient of 1 + s·sin has the modulus s/2.
    seen = 2 * np.abs(np.exp(2j * np.pi * 12 * times).mean())
    assert seen == pytest.approx(season, abs=0.04)


def test_spikes_concentrate_events():
    plain = np.histogram(events(Clocks(**EVEN))[1], bins=200)[0]
    _, times = events(Clocks(**{**EVEN, "spikes": Fixed(2)}))
    spiked = np.histogram(times, bins=200)[0]
    assert plain.max() < 2 * plain.mean()
    assert 1 <= (spiked > 4 * np.median(spiked)).sum() <= 12


def test_shares_of_an_interval_stay_inside_it():
    rate = intensity(1.0, 0.5, 7.0, 0.3, np.array([0.5]))
    lower, upper = np.array([0.2, 0.49999, 0.7]), np.array([0.3, 0.50001, 0.7])
    for share in (1e-12, 0.5, 1.0):
        found = rate.between(lower, upper, np.full(3, share))
        assert ((found >= lower) & (found <= upper)).all()
    np.testing.assert_allclose(rate.between(lower, upper, np.ones(3)), upper, atol=1e-9)


def test_births_are_there_at_the_start_or_later_in_order():
    for share, growth in [(0.3, 0.0), (0.8, 2.0)]:
        lives = Lives(present=Fixed(share), growth=Fixed(growth))
        births = lives.births(4000, 0.0, Streams(1))
        assert (births <= 0).sum() == 4000 * share
        assert (np.diff(births) >= 0).all()
        later = births[births > 0]
        mean = 0.5 if growth == 0 else 1 / (1 - np.exp(-2)) - 0.5
        assert later.mean() == pytest.approx(0.98 * mean, abs=0.03)
        assert later.max() <= 0.98
    assert Lives(present=Fixed(0.0)).births(5, 0.25, Streams(1))[:2].tolist() == [0.25, 0.25]
    assert Lives(present=Fixed(0.0)).births(1, 0.0, Streams(1)).tolist() == [0.0]


@pytest.mark.parametrize("lifetime", [0.2, 1.0])
def test_lifetimes_have_the_mean_asked_for(lifetime):
    states = np.zeros((5000, 8))
    lives = Lives(lifetime=Fixed(lifetime), vigour=Fixed(0.5))
    births = np.linspace(0, 0.9, 5000)
    ends = lives.deaths(births, states, Streams(3))
    assert np.isinf(ends).sum() == 1
    assert (ends > births).all()
    spent = (ends - births)[np.isfinite(ends)]
    assert spent.mean() == pytest.approx(lifetime, rel=0.06)
    assert spent.std() == pytest.approx(lifetime, rel=0.08)


def test_vigour_is_how_much_lifetimes_depend_on_the_state():
    states = np.random.default_rng(0).standard_normal((5000, 8))

    def explained(vigour):
        lives = Lives(lifetime=Fixed(0.5), vigour=Fixed(vigour))
        ends = lives.deaths(np.zeros(5000), states, Streams(3))
        kept = np.isfinite(ends)
        logs = np.log(ends[kept])
        slopes = np.linalg.lstsq(states[kept], logs - logs.mean(), rcond=None)[0]
        return np.linalg.norm(slopes)

    assert explained(0.0) < 0.1
    assert explained(0.5) == pytest.approx(0.5, abs=0.1)
    assert explained(1.2) == pytest.approx(1.2, abs=0.1)


def test_events_fill_the_plan_in_order_and_in_their_owners_times():
    random = np.random.default_rng(0)
    lower = random.random(100) * 0.8
    upper = lower + random.random(100) * (1 - lower)
    clocks = Clocks(burst=Fixed(0.5), habits=Fixed(0.3))
    owners, times = events(clocks, 5001, lower=lower, upper=upper)
    assert len(owners) == len(times) == 5001
    assert (np.diff(times) >= 0).all()
    assert ((times >= lower[owners]) & (times <= upper[owners])).all()


def test_owners_differ_by_weight_and_time():
    weights, upper = np.array([1.0, 3.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.5, 1.0])
    owners, _ = Clocks(**EVEN).events(9000, weights, np.zeros(4), upper, same_pace, Streams(0))
    np.testing.assert_allclose(
        np.bincount(owners, minlength=4) / 9000, np.array([2, 6, 1, 0]) / 9, atol=0.02
    )


def test_bursts_and_habits_show_in_the_gaps():
    seen = {
        name: gap_variation(*events(Clocks(**{**EVEN, **settings, "burst_delay": Fixed(1e-3)})))
        for name, settings in {
            "habits": dict(habits=Fixed(1.0), jitter=Fixed(0.2)),
            "loose habits": dict(habits=Fixed(1.0), jitter=Fixed(1.0)),
            "chance": {},
            "bursts": dict(burst=Fixed(0.3)),
            "great bursts": dict(burst=Fixed(0.7)),
        }.items()
    }
    assert seen["habits"] < 0.15
    assert seen["habits"] + 0.1 < seen["loose habits"] < 0.7
    assert seen["chance"] == pytest.approx(1.0, abs=0.1)
    assert 1.15 < seen["bursts"] < seen["great bursts"] - 0.3


def test_follow_ups_come_after_the_delay():
    for delay in (1e-5, 1e-4):
        clocks = Clocks(**{**EVEN, "burst": Fixed(0.5), "burst_delay": Fixed(delay)})
        owners, times = events(clocks, 8000, owners=400)
        order = np.argsort(owners, kind="stable")
        gaps = np.diff(times[order])[np.diff(owners[order]) == 0]
        short = np.sort(gaps)[: len(gaps) // 3]
        # Gaps inside a burst are the delay or shorter where one event has several follow-ups.
        assert 0.1 * delay < np.median(short) < delay


def test_follow_ups_do_not_pile_up_where_an_owners_time_ends():
    clocks = Clocks(**{**EVEN, "burst": Fixed(0.8), "burst_delay": Fixed(0.2)})
    _, times = events(clocks, upper=0.5)
    assert (times > 0.49).mean() < 1.6 * 0.02


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_so_many_owners_surely_have_an_event_early_in_their_lives(share):
    random = np.random.default_rng(0)
    lower = random.random(1000) * 0.8
    upper = lower + 0.1
    weights = np.where(np.arange(1000), 1e-9, 1.0)
    clocks = Clocks(**{**EVEN, "served": Fixed(share)})
    owners, times = clocks.events(5000, weights, lower, upper, same_pace, Streams(0))
    assert len(owners) == 5000
    assert len(np.unique(owners)) / 1000 == pytest.approx(share, abs=0.01)
    others = owners > 0
    lived = (times - lower[owners])[others] / 0.1
    assert ((lived >= 0) & (lived <= 1)).all()
    # The square of an even number has the mean 1/3.
    assert not share or lived.mean() == pytest.approx(1 / 3, abs=0.03)
    few, _ = clocks.events(1000, weights, lower, upper, same_pace, Streams(0))
    assert (few > 0).sum() <= 500


def test_what_belongs_to_activities_serves_them_too():
    weights = np.where(np.arange(1000), 1e-9, 1.0)
    begins = np.linspace(0.0, 0.5, 1000)
    settings = dict(delay=Fixed(0.001), delay_spread=Fixed(0.3))
    for share in (0.0, 0.6):
        clocks = Clocks(**settings, served=Fixed(share))
        owners, times = clocks.after(3000, weights, begins, 0.0, Streams(0))
        assert len(np.unique(owners)) / 1000 == pytest.approx(share, abs=0.01)
        assert (times >= begins[owners]).all()


def test_the_pace_moves_events_to_where_it_is_fast():
    def pace(owners, times):
        return np.where((owners < 50) == (times > 0.5), 1.0, 0.25)

    owners, times = events(Clocks(**EVEN), pace=pace)
    fast = ((owners < 50) == (times > 0.5)).mean()
    assert 0.65 < fast < 0.85
    assert len(owners) == 6000
    habit = Clocks(**{**EVEN, "habits": Fixed(1.0)})
    owners, times = events(habit, pace=pace)
    assert ((owners < 50) == (times > 0.5)).mean() == pytest.approx(0.5, abs=0.03)


def test_what_belongs_to_an_activity_follows_it_by_the_delay():
    begins = np.sort(np.random.default_rng(0).random(2000)) * 0.5
    for delay, spread in [(0.001, 0.3), (0.01, 1.0)]:
        clocks = Clocks(delay=Fixed(delay), delay_spread=Fixed(spread), served=Fixed(0.0))
        owners, times = clocks.after(5000, np.ones(2000), begins, 0.0, Streams(0))
        logs = np.log(times - begins[owners])
        assert (np.diff(times) >= 0).all()
        assert np.median(logs) == pytest.approx(np.log(delay), abs=0.06)
        assert logs.std() == pytest.approx(spread, rel=0.05)


def test_delays_past_the_end_are_not_in_the_database():
    begins = np.sort(np.random.default_rng(0).random(500))
    clocks = Clocks(delay=Fixed(0.5), delay_spread=Fixed(1.0), served=Fixed(0.0))
    owners, times = clocks.after(1000, np.ones(500), begins, 0.0, Streams(0))
    assert len(times) == 1000
    assert (times >= begins[owners]).all()
    assert times.max() <= 1
    # Owners of the last half have fewer, not the same many at shorter delays.
    assert (begins[owners] > 0.5).mean() < 0.4
    _, times = clocks.after(7, np.ones(1), np.array([1.0]), 0.0, Streams(0))
    assert times.tolist() == [1.0] * 7


def test_spans_begin_late_and_end_early():
    assert Clocks(start=Fixed(-1.0), end=Fixed(3.0)).span(0.0, Streams(0)) == (0.0, 1.0)
    assert Clocks(start=Fixed(0.2), end=Fixed(0.7)).span(0.1, Streams(0)) == (0.2, 0.7)
    assert Clocks(start=Fixed(0.2), end=Fixed(0.7)).span(0.8, Streams(0)) == (0.8, 1.0)


def test_where_nobody_lives_the_last_ones_get_the_events_as_soon_as_they_can():
    owners, times = events(Clocks(**EVEN), 10, 3, lower=[0.1, 0.6, 0.7], upper=[0.1, 0.5, 0.5])
    assert set(owners.tolist()) <= {1, 2}
    np.testing.assert_allclose(times, np.where(owners == 1, 0.6, 0.7))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(burst=Fixed(1.5)), "burst must be from 0"),
        (dict(habits=Fixed(-0.1)), "habits must be from 0"),
        (dict(season=Fixed(1.0)), "season must be from 0"),
        (dict(spikes=Integer(-2, -1)), "spikes must be from 0"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        events(Clocks(**settings))


def test_activities_cannot_end_before_they_start():
    with pytest.raises(ValueError, match="must start before they end"):
        Clocks(start=Fixed(0.8), end=Fixed(0.5)).span(0.0, Streams(0))
