"""Whole populations: what always holds, and mechanisms that reach across tables."""

import hashlib
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from models.synthetic.blueprint import Blueprint, KeyPlan, TableKind, TablePlan
from models.synthetic.clocks import Clocks, Lives
from models.synthetic.draws import Fixed
from models.synthetic.keys import Links
from models.synthetic.layered_layout import LayeredLayout
from models.synthetic.population import Population
from models.synthetic.rows import Rows
from models.synthetic.states import States
from models.synthetic.streams import Streams

EVEN = Links(
    tail=Fixed(1e6),
    sway=Fixed(0.0),
    streak=Fixed(0.0),
    attachment=Fixed(0.0),
    homophily=Fixed(0.0),
    served=Fixed(0.0),
    clusters=Fixed(4),
)
EVER = Lives(present=Fixed(1.0), lifetime=Fixed(1e6))
STEADY = Clocks(
    start=Fixed(0.0),
    end=Fixed(1.0),
    trend=Fixed(0.0),
    season=Fixed(0.0),
    spikes=Fixed(0),
    served=Fixed(0.0),
    burst=Fixed(0.0),
    habits=Fixed(0.0),
)


def entity(name, rows, *keys):
    return TablePlan(name, TableKind.ENTITY, rows, "id", keys)


def activity(name, rows, *keys):
    return TablePlan(name, TableKind.ACTIVITY, rows, "id", keys, time_column="at")


def blueprint(*tables):
    days = [datetime(2020, 1, 1), datetime(2020, 9, 1), datetime(2020, 11, 1), datetime(2021, 1, 1)]
    start, validation, test, end = days
    return Blueprint("made_by_hand", tables, start, end, validation, test)


def layered(seed):
    return LayeredLayout()(Streams(seed).child("layout"))


def assert_sound(plan: Blueprint, made: dict[str, Rows]):
    for table in plan.tables:
        rows = made[table.name]
        times = rows.times
        numbers = np.arange(table.rows)
        assert len(rows) == len(times) == table.rows
        assert list(rows.parents) == [key.column for key in table.keys]
        assert (np.diff(times) >= 0).all()
        assert times[-1] <= 1
        assert times[0] > (0 if table.kind == TableKind.ACTIVITY else -1)
        assert np.isfinite(rows.states).all()
        assert rows.states.shape == (table.rows, 1 if rows.ends is None else 9, 8)
        assert (rows.ends is None) == (table.kind == TableKind.ACTIVITY)
        assert rows.ends is None or (rows.ends > times).all()
        taken = defaultdict(list)
        for key in table.keys:
            parents = rows.parents[key.column]
            there = parents >= 0
            above = made[key.parent]
            assert parents.dtype == np.int64
            assert parents.min() >= -1
            assert parents.max() < len(above)
            assert (above.times[parents[there]] <= times[there]).all()
            first = len(taken[key.parent]) + 1 if key.parent == table.name else 0
            spread = 5 * np.sqrt(key.null_share * (1 - key.null_share) / table.rows)
            missing = (~there[first:]).mean() if table.rows > first else key.null_share
            assert abs(missing - key.null_share) <= spread
            if key.parent == table.name:
                assert (parents < numbers).all()
            elif key == table.owner and above.ends is not None:
                assert (times[there] <= above.ends[parents[there]]).all()
            for other in taken[key.parent]:
                assert len(above) == 1 or not ((parents == other) & there).any()
            taken[key.parent].append(parents)


def test_rows_of_layered_databases_are_sound():
    for seed in range(20):
        plan = layered(seed)
        assert_sound(plan, Population()(plan, Streams(seed)))


def test_the_smallest_and_the_oddest_schemas_work():
    role = KeyPlan("second_id", "entity")
    plans = [
        [entity("entity", 1), activity("activity", 1, KeyPlan("entity_id", "entity"))],
        [activity("alone", 300)],
        [activity("replies", 300, KeyPlan("parent_id", "replies", 0.3))],
        [entity("entity", 50, KeyPlan("boss_id", "entity", 0.1), KeyPlan("mentor_id", "entity"))],
        [entity("entity", 2), activity("match", 99, KeyPlan("first_id", "entity"), role)],
        [entity("entity", 1), activity("match", 99, KeyPlan("first_id", "entity"), role)],
        [
            entity("entity", 3),
            activity("order", 40, KeyPlan("entity_id", "entity", 0.5)),
            activity("pair", 300, KeyPlan("order_id", "order"), KeyPlan("other_id", "order")),
            entity("ticket", 200, KeyPlan("order_id", "order"), KeyPlan("pair_id", "pair", 0.2)),
            activity("call", 500, KeyPlan("ticket_id", "ticket"), KeyPlan("order_id", "order")),
        ],
    ]
    for tables in plans:
        plan = blueprint(*tables)
        for seed in range(5):
            assert_sound(plan, Population()(plan, Streams(seed)))


def digest(made: dict[str, Rows]) -> str:
    found = hashlib.sha256()
    for name, rows in made.items():
        found.update(name.encode() + rows.times.tobytes() + rows.states.tobytes())
        for column, parents in rows.parents.items():
            found.update(column.encode() + parents.tobytes())
    return found.hexdigest()


def test_two_processes_make_the_same_rows():
    code = (
        "import sys; from tests.models.synthetic.test_population import *;"
        "print(digest(Population()(layered(3), Streams(3))))"
    )
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == digest(Population()(layered(3), Streams(3))), done.stderr
    assert done.stdout.strip() != digest(Population()(layered(3), Streams(4)))


def test_a_table_more_leaves_the_others_rows_as_they_were():
    for seed in range(5):
        plan = layered(seed)
        owner, link = plan.tables[0].name, plan.tables[1].name
        more = activity("more", 500, KeyPlan("owner_id", owner), KeyPlan("link_id", link))
        made = Population()(plan, Streams(seed))
        again = Population()(replace(plan, tables=(*plan.tables, more)), Streams(seed))
        again.pop("more")
        assert digest(made) == digest(again)


def test_who_is_linked_moves_no_time():
    plan = layered(1)
    made = [
        Population(links=replace(Links(), homophily=Fixed(value)))(plan, Streams(1))
        for value in (0.0, 3.0)
    ]
    for table in plan.tables:
        one, other = (rows[table.name] for rows in made)
        np.testing.assert_array_equal(one.times, other.times)
        if table.owner:
            column = table.owner.column
            np.testing.assert_array_equal(one.parents[column], other.parents[column])
    assert digest(made[0]) != digest(made[1])


FORUM = blueprint(
    entity("user", 1000),
    activity("rating", 8000, KeyPlan("user_id", "user")),
    activity("visit", 20_000, KeyPlan("user_id", "user")),
)


def fared_and_visits(feedback, *, ratings_early):
    """Each user's mean rating in one half of the span and number of visits in the other half.

    Ratings are pure noise: nothing but feedback connects the two.
    """
    noise = States(influence=Fixed(0.0), memory=Fixed(0.0))
    made = Population(EVER, STEADY, EVEN, noise, Fixed(feedback))(FORUM, Streams(0))
    rating, visit = made["rating"], made["visit"]
    part = (rating.times < 0.5) == ratings_early
    sums = np.zeros((1000, 8))
    np.add.at(sums, rating.parents["user_id"][part], rating.states[part, 0])
    count = np.bincount(rating.parents["user_id"][part], minlength=1000)
    other = visit.parents["user_id"][(visit.times >= 0.5) == ratings_early]
    return sums / (count + 1)[:, None], np.bincount(other, minlength=1000)


def found_in_others(fared, visits):
    """The correlation along the direction found with half of the users, for the other half."""
    fared, visits = fared - fared.mean(axis=0), visits - visits.mean()
    direction = np.linalg.lstsq(fared[:500], visits[:500], rcond=None)[0]
    return np.corrcoef(fared[500:] @ direction, visits[500:])[0, 1]


def test_feedback_who_fared_well_comes_more_often_afterwards():
    seen = [
        found_in_others(*fared_and_visits(feedback, ratings_early=True))
        for feedback in (0.0, 1.5, 6.0)
    ]
    assert abs(seen[0]) < 0.12
    assert seen[1] > 0.2
    assert seen[2] > 0.5


def test_feedback_does_not_look_ahead():
    for feedback in (1.5, 6.0):
        seen = found_in_others(*fared_and_visits(feedback, ratings_early=False))
        assert abs(seen) < 0.12


def test_an_owner_has_activities_between_birth_and_death_only():
    plan = blueprint(entity("user", 300), activity("visit", 9000, KeyPlan("user_id", "user")))
    lives = Lives(present=Fixed(0.4), lifetime=Fixed(0.3))
    for seed in range(3):
        made = Population(lives, links=EVEN)(plan, Streams(seed))
        users, visits = made["user"], made["visit"]
        owner = visits.parents["user_id"]
        assert (visits.times >= users.times[owner]).all()
        assert (visits.times <= users.ends[owner]).all()
        assert 0.4 < (users.ends < 1).mean() < 0.95


def test_links_prefer_the_owners_cluster():
    plan = blueprint(
        entity("user", 300),
        entity("item", 300),
        activity("visit", 6000, KeyPlan("user_id", "user"), KeyPlan("item_id", "item")),
    )

    def alike(homophily):
        """How much more often owner and item share a cluster than by chance."""
        links = replace(EVEN, homophily=Fixed(homophily))
        settings = Population(EVER, STEADY, links, States(drift=Fixed(0.0), trend=Fixed(0.0)))
        made = settings(plan, Streams(2))
        projections = links.projections(8, Streams(2))
        which = {
            name: np.argmax(made[name].states[:, 0] @ projections, axis=1)
            for name in ("user", "item")
        }
        visit = made["visit"].parents
        users, items = which["user"][visit["user_id"]], which["item"][visit["item_id"]]
        chance = (np.bincount(users, minlength=4) * np.bincount(items, minlength=4)).sum()
        return (users == items).mean() - chance / len(users) ** 2

    seen = [alike(value) for value in (0.0, 0.7, 1.5, 3.0)]
    assert abs(seen[0]) < 0.02
    assert (np.diff(seen) > 0.08).all()


def test_activities_follow_their_owners_state_as_it_drifts():
    plan = blueprint(entity("user", 60), activity("visit", 12_000, KeyPlan("user_id", "user")))

    def likeness(drift):
        """The correlation of a user's mean state in the first and in the last fifth."""
        states = States(drift=Fixed(drift), trend=Fixed(0.0), influence=Fixed(2.0))
        made = Population(EVER, STEADY, EVEN, states)(plan, Streams(5))["visit"]
        means = []
        for part in (made.times < 0.2, made.times > 0.8):
            sums = np.zeros((60, 8))
            np.add.at(sums, made.parents["user_id"][part], made.states[part, 0])
            means.append(sums / np.bincount(made.parents["user_id"][part], minlength=60)[:, None])
        return np.corrcoef(means[0].ravel(), means[1].ravel())[0, 1]

    seen = [likeness(drift) for drift in (0.0, 1.0, 4.0)]
    assert seen[0] > 0.95
    assert (np.diff(seen) < -0.1).all()


def test_rates_of_owners_differ_as_their_states_drift():
    """Without drift an owner's share of the visits stays; with it, it changes."""
    plan = blueprint(entity("user", 100), activity("visit", 20_000, KeyPlan("user_id", "user")))

    def kept(drift):
        settings = Population(
            EVER,
            STEADY,
            replace(EVEN, sway=Fixed(1.0)),
            States(drift=Fixed(drift), trend=Fixed(0.0)),
        )
        visit = settings(plan, Streams(1))["visit"]
        parts = (visit.times < 0.2, visit.times > 0.8)
        counts = [np.bincount(visit.parents["user_id"][part], minlength=100) for part in parts]
        return np.corrcoef(np.log(np.add(counts, 1)))[0, 1]

    assert kept(0.0) > 0.9 > 0.75 > kept(4.0)


def test_an_item_names_the_customer_of_its_order():
    plan = blueprint(
        entity("user", 100),
        entity("product", 100),
        activity("order", 1000, KeyPlan("user_id", "user"), KeyPlan("product_id", "product")),
        activity(
            "item",
            4000,
            KeyPlan("order_id", "order"),
            KeyPlan("user_id", "user"),
            KeyPlan("product_id", "product"),
        ),
    )
    for agreement in (0.0, 0.9):
        links = replace(EVEN, agreement=Fixed(agreement))
        made = Population(EVER, STEADY, links)(plan, Streams(0))
        order, item = made["order"].parents, made["item"].parents
        same = {
            key: (item[key] == order[key][item["order_id"]]).mean()
            for key in ("user_id", "product_id")
        }
        assert same["user_id"] == pytest.approx(agreement, abs=0.03)
        # An order's product is not its owner: its items may be of any.
        assert same["product_id"] < 0.05


def test_items_of_an_order_share_its_state_and_follow_it():
    plan = blueprint(
        entity("user", 100),
        activity("order", 1000, KeyPlan("user_id", "user")),
        activity("item", 5000, KeyPlan("order_id", "order")),
    )
    clocks = replace(STEADY, delay=Fixed(0.01), delay_spread=Fixed(0.5))
    states = States(influence=Fixed(2.0), noise=Fixed(0.5), memory=Fixed(0.0))
    made = Population(clocks=clocks, states=states)(plan, Streams(3))
    order, item = made["order"], made["item"]
    owner = item.parents["order_id"]
    waited = item.times - order.times[owner]
    assert waited.min() >= 0
    assert np.median(waited[order.times[owner] < 0.8]) == pytest.approx(0.01, rel=0.1)
    counts = np.bincount(owner, minlength=1000)
    assert counts.max() > 5 * counts.mean()
    means = np.zeros((1000, 8))
    np.add.at(means, owner, item.states[:, 0])
    within = item.states[:, 0] - (means / np.maximum(counts, 1)[:, None])[owner]
    assert within[counts[owner] > 3].var() < 0.2 * item.states.var()


def test_settings_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="feedback must be from"):
        Population(feedback=Fixed(1e9))(FORUM, Streams(0))
    with pytest.raises(ValueError, match="present must be from 0 to 1"):
        Population(Lives(present=Fixed(2.0)))(FORUM, Streams(0))
