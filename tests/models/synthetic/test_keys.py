"""Links: popularity, preferential attachment, homophily, and who cannot be a parent."""

from dataclasses import replace

import numpy as np
import pytest

from models.synthetic.draws import Fixed
from models.synthetic.keys import (
    Link,
    Links,
    Targets,
    by_weight,
    character,
    cluster,
    earlier_rows,
    without_parent,
)
from models.synthetic.rows import Rows
from models.synthetic.streams import Streams

PLAIN = dict(
    sway=Fixed(0.0),
    streak=Fixed(0.0),
    attachment=Fixed(0.0),
    homophily=Fixed(0.0),
    served=Fixed(0.0),
)


def even_targets(rows, clusters=1, **changes):
    """Equally popular rows that are there from the start and never end."""
    settings = dict(
        times=np.zeros(rows),
        ends=np.full(rows, np.inf),
        clusters=np.arange(rows) % clusters,
        count=clusters,
        weights=np.ones(rows),
        pull=np.zeros((rows, 1)),
    )
    return Targets(**{**settings, **changes})


def linked(targets, rows=6000, clusters=None, taken=(), seed=0, times=None, **settings):
    times = np.linspace(0.001, 1, rows) if times is None else times
    link = Link(times, targets.born(times), clusters, taken)
    return Links(**{**PLAIN, **settings}).parents(link, targets, Streams(seed))


def degrees(parents, rows):
    return np.sort(np.bincount(parents, minlength=rows))[::-1]


def top_share(parents, rows):
    """The share of children that the most popular tenth of parents has."""
    return degrees(parents, rows)[: rows // 10].sum() / len(parents)


def test_draws_by_weight_are_proportional_and_never_of_nothing():
    weights = np.array([0.0, 1.0, 0.0, 3.0, 0.0])
    found = by_weight(weights, 20_000, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(found, minlength=5) / 5000, weights, atol=0.1)


def test_the_tail_of_popularity_has_the_exponent_asked_for():
    def hill(tail):
        rows = Rows(np.zeros(4000), {}, np.zeros((4000, 1, 8)))
        settings = Links(**{**PLAIN, "tail": Fixed(tail)})
        own = character(4000, 8, Streams(1))
        targets = settings.targets(rows, own, settings.projections(8, Streams(0)), Streams(1))
        found = degrees(linked(targets, 60_000), 4000)[:200].astype(float)
        return 1 / np.log(found[:-1] / found[-1]).mean()

    seen = [hill(tail) for tail in (1.3, 2.0, 3.0)]
    np.testing.assert_allclose(seen, [1.3, 2.0, 3.0], rtol=0.25)
    assert seen == sorted(seen)


def test_popularity_grows_with_the_state_by_the_sway():
    states = np.random.default_rng(0).standard_normal((3000, 1, 8))
    rows = Rows(np.zeros(3000), {}, states)

    def spread(sway):
        settings = Links(**{**PLAIN, "sway": Fixed(sway), "tail": Fixed(1e6)})
        own = character(3000, 8, Streams(1))
        found = settings.targets(rows, own, settings.projections(8, Streams(0)), Streams(1))
        return np.log(found.weights).std()

    assert spread(0.0) < 1e-3
    assert 0.5 < spread(1.0) < 1.4
    assert spread(2.0) == pytest.approx(2 * spread(1.0), rel=0.01)


@pytest.mark.parametrize(
    ("settings", "low", "high"),
    [
        (dict(sway=Fixed(1.0), tail=Fixed(1e6)), 0.45, 0.8),
        (dict(sway=Fixed(0.0), tail=Fixed(2.0)), 0.999, 1.001),
    ],
)
def test_one_kind_of_child_is_popular_where_another_is(settings, low, high):
    rows = Rows(np.zeros(3000), {}, np.random.default_rng(0).standard_normal((3000, 1, 8)))
    seen = []
    for table in range(10):
        own = character(3000, 8, Streams(table))
        logs = [
            np.log(Links(**settings).targets(rows, own, np.eye(8), Streams(seed)).weights)
            for seed in (100 + table, 200 + table)
        ]
        seen.append(np.corrcoef(logs)[0, 1])
    assert low < np.mean(seen) < high


def test_attachment_makes_the_rich_richer():
    seen = [
        np.mean(
            [
                top_share(linked(even_targets(500), attachment=Fixed(share), seed=seed), 500)
                for seed in range(3)
            ]
        )
        for share in (0.0, 0.3, 0.6, 0.9)
    ]
    assert seen[0] < 0.2
    assert (np.diff(seen) > 0.02).all()
    assert seen[3] > 0.5


def test_copies_are_of_earlier_rows_and_end_at_an_original():
    found = earlier_rows(5000, 0.7, 0.0, np.random.default_rng(0))
    assert (found <= np.arange(5000)).all()
    assert (found[found] == found).all()
    assert (found == np.arange(5000)).mean() == pytest.approx(0.3, abs=0.02)
    assert earlier_rows(50, 0.0, 0.0, np.random.default_rng(0)).tolist() == list(range(50))


@pytest.mark.parametrize("streak", [0.0, 0.4, 0.8])
def test_streaks_repeat_the_row_before_so_often(streak):
    parents = linked(even_targets(1000), 8000, streak=Fixed(streak))
    assert (parents[1:] == parents[:-1]).mean() == pytest.approx(streak, abs=0.02)
    found = earlier_rows(5000, 0.5, streak, np.random.default_rng(0))
    originals = (found == np.arange(5000)).mean()
    assert originals == pytest.approx((1 - streak) * 0.5, abs=0.02)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_so_many_parents_surely_have_a_row_while_they_are_there(share):
    random = np.random.default_rng(0)
    births = np.sort(random.random(400) * 0.9)
    # Without being served, hardly any but the first one would have a row.
    targets = even_targets(
        400, times=births, ends=births + 0.05, weights=np.where(np.arange(400), 1e-9, 1.0)
    )
    targets.ends[0] = np.inf
    times = np.linspace(0.001, 1, 6000)
    parents = linked(targets, served=Fixed(share), times=times)
    known = parents >= 0
    assert len(np.unique(parents[known])) / 400 == pytest.approx(share, abs=0.03)
    assert (births[parents[known]] <= times[known]).all()
    assert (targets.ends[parents[known]] >= times[known]).all()
    # No more than a quarter of the rows is spent on it.
    assert (linked(targets, 400, served=Fixed(1.0)) > 0).mean() <= 0.25


@pytest.mark.parametrize("agreement", [0.0, 0.7, 1.0])
def test_rows_agree_with_the_owners_of_their_activities_so_often(agreement):
    targets = even_targets(500)
    targets.ends[:50] = 0.5
    times = np.linspace(0.001, 1, 8000)
    taken = np.full(8000, 60)
    link = Link(times, targets.born(times), None, [taken])
    random = np.random.default_rng(1)
    parents, owners = random.integers(100, 500, (2, 8000))
    owners[::2] = random.integers(-1, 62, 4000)
    settings = Links(**PLAIN, agreement=Fixed(agreement))
    found = settings.agreeing(parents, owners, link, targets, Streams(0))
    possible = (owners >= 0) & (owners != 60) & ((owners >= 50) | (times <= 0.5))
    assert (found == owners)[possible].mean() == pytest.approx(agreement, abs=0.02)
    assert ((found == owners) | (found == parents)).all()
    np.testing.assert_array_equal(found[~possible], parents[~possible])


@pytest.mark.parametrize("attachment", [0.0, 0.5])
@pytest.mark.parametrize("homophily", [0.0, 1.0, 3.0])
def test_homophily_is_the_log_odds_of_the_own_cluster(homophily, attachment):
    # Clusters of a fifth, two fifths and two fifths of the parents.
    own = np.array([0, 1, 1, 2, 2])[np.arange(1000) % 5]
    targets = replace(even_targets(1000, 3), clusters=own)
    clusters = np.random.default_rng(1).integers(0, 3, 12_000)
    settings = dict(homophily=Fixed(homophily), attachment=Fixed(attachment))
    parents = linked(targets, 12_000, clusters, **settings)
    for which, share in enumerate([0.2, 0.4, 0.4]):
        odds = share / (1 - share) * np.exp(homophily)
        seen = (own[parents] == which)[clusters == which].mean()
        # Copies are of what earlier rows chose: they wander about the share.
        assert seen == pytest.approx(odds / (1 + odds), abs=0.02 if not attachment else 0.06)
    if not homophily:
        table = np.histogram2d(clusters, own[parents], bins=3)[0]
        expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
        chance = ((table - expected) ** 2 / expected).sum()
        assert chance < 18.5  # the 99.9 % point of chi² with four degrees of freedom


def test_nobody_is_linked_before_its_birth():
    births = np.sort(np.concatenate([np.zeros(3), np.random.default_rng(0).random(400)]))
    for clusters in (1, 5):
        targets = even_targets(403, clusters, times=births)
        own = np.arange(6000) % clusters
        parents = linked(targets, clusters=own, homophily=Fixed(2.0), attachment=Fixed(0.5))
        times = np.linspace(0.001, 1, 6000)
        assert (births[parents] <= times).all()
        # Early rows share the few there are; late ones reach the newly born.
        assert set(parents[:3].tolist()) <= set(range(10))
        assert parents[-1000:].max() > 350


def test_where_nobody_is_born_there_is_no_parent():
    parents = linked(even_targets(4, times=np.full(4, 0.5)), 100)
    times = np.linspace(0.001, 1, 100)
    np.testing.assert_array_equal(parents >= 0, times >= 0.5)


@pytest.mark.parametrize("knots", [1, 3])
def test_the_dead_are_not_linked_while_others_live(knots):
    ends = np.where(np.arange(300) < 200, 0.5, np.inf)
    targets = even_targets(300, ends=ends, pull=np.zeros((300, knots)))
    parents = linked(targets, attachment=Fixed(0.3))
    late = np.linspace(0.001, 1, 6000) > 0.5
    assert (parents[~late] < 200).mean() == pytest.approx(2 / 3, abs=0.04)
    assert (parents[late] < 200).mean() < 0.005


def test_popularity_drifts_with_the_state():
    pull = np.zeros((100, 3))
    pull[:50, 2] = 1.5
    parents = linked(even_targets(100, pull=pull), 20_000)
    lifted = parents < 50
    assert lifted[:1000].mean() == pytest.approx(0.5, abs=0.05)
    # Nearly odds of exp(1.5); a handful of proposals does not quite reach that.
    assert 0.68 < lifted[-1000:].mean() < 0.84
    assert lifted[:10_000].mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("rows", [3, 4, 50])
def test_keys_to_the_same_table_differ(rows):
    taken: list[np.ndarray] = []
    for role in range(3):
        settings = dict(seed=role, attachment=Fixed(0.5))
        parents = linked(even_targets(rows), 2000, taken=taken, **settings)
        assert (parents >= 0).all()
        assert all((parents != other).all() for other in taken)
        taken.append(parents)


def test_who_is_taken_does_not_make_his_neighbour_popular():
    targets = even_targets(50, weights=np.where(np.arange(50) == 7, 50.0, 1.0))
    first = linked(targets)
    second = linked(targets, taken=[first], seed=1)
    assert (first == 7).mean() > 0.4
    assert (second[first == 7] == 8).mean() < 0.1


def test_a_table_of_one_row_may_be_pointed_at_twice():
    first = linked(even_targets(1), 20)
    assert linked(even_targets(1), 20, taken=[first]).tolist() == [0] * 20


def test_self_references_point_back_and_differ():
    targets = even_targets(500, times=np.zeros(500))
    link = Link(np.zeros(500), np.arange(500))
    settings = Links(**{**PLAIN, "attachment": Fixed(0.5)})
    first = settings.parents(link, targets, Streams(0))
    second = settings.parents(
        Link(np.zeros(500), np.arange(500), None, [first]), targets, Streams(1)
    )
    assert first[:2].tolist() == [-1, 0]
    assert second[:2].tolist() == [-1, -1]
    for parents in (first[1:], second[2:]):
        assert (parents >= 0).all()
    assert (first < np.arange(500)).all()
    assert (second < np.arange(500)).all()
    assert (first[2:] != second[2:]).all()


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_the_share_without_a_parent_is_the_plans(share):
    found = without_parent(np.arange(8000), share, np.random.default_rng(0))
    assert (found == -1).mean() == pytest.approx(share, abs=0.015)
    assert (found[found >= 0] == np.flatnonzero(found >= 0)).all()


def test_clusters_are_the_nearest_directions():
    projections = Links(clusters=Fixed(5)).projections(8, Streams(0))
    np.testing.assert_allclose(np.linalg.norm(projections, axis=0), 1)
    assert cluster(3 * projections.T, projections).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(attachment=Fixed(1.1)), "attachment must be from 0 to 1"),
        (dict(homophily=Fixed(-1.0)), "homophily must be from 0"),
        (dict(streak=Fixed(2.0)), "streak must be from 0 to 1"),
        (dict(served=Fixed(-0.5)), "served must be from 0 to 1"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        linked(even_targets(3), 5, **settings)
