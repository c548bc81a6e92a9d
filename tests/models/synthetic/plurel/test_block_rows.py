"""PluRel's keys by blocks, and its times."""

from dataclasses import replace
from datetime import datetime
from functools import cache

import numpy as np
import pytest

from models.synthetic.blueprint import Blueprint, KeyPlan, TableKind, TablePlan
from models.synthetic.draws import Fixed, Integer
from models.synthetic.plurel.block_rows import BlockRows, blocks
from models.synthetic.plurel.layout import PluRelLayout
from models.synthetic.streams import Streams

DAYS = [datetime(2020, 1, day) for day in (1, 20, 25, 30)]


def database(*tables):
    start, validation, test, end = DAYS
    return Blueprint("made", tables, start, end, validation, test)


def entity(name, rows, *keys):
    return TablePlan(name, TableKind.ENTITY, rows, f"{name}_id", keys)


def activity(name, rows, *keys):
    return TablePlan(name, TableKind.ACTIVITY, rows, f"{name}_id", keys, (), "date")


def pair(parents, children, rows=None, seed=0, **key):
    made = database(entity("one", parents), activity("many", children, KeyPlan("k", "one", **key)))
    return (rows or BlockRows())(made, Streams(seed))["many"]


@cache
def figures():
    """Of each key of 120 databases: children max over mean, of the top tenth, childless, span."""
    found = []
    for seed in range(120):
        made = PluRelLayout()(Streams(seed).child("layout"))
        rows = BlockRows()(made, Streams(seed).child("rows"))
        for table in made.tables:
            for key in table.keys:
                parents, times = rows[table.name].parents[key.column], rows[table.name].times
                counts = np.bincount(parents, minlength=len(rows[key.parent]))
                tenth = np.sort(counts)[::-1][: round(len(counts) / 10)]
                span = np.nan
                if times is not None:
                    first, last = np.full(len(counts), 2.0), np.full(len(counts), -1.0)
                    np.minimum.at(first, parents, times)
                    np.maximum.at(last, parents, times)
                    span = (last - first)[counts > 1].mean()
                found.append(
                    (counts.max() / counts.mean(), tenth.sum() / counts.sum(),
                     (counts == 0).mean(), span)
                )  # fmt: skip
    return np.nanmean(found, axis=0)


def test_children_spread_over_parents_as_in_the_package():
    highest, of_top_tenth, childless, _ = figures()
    assert highest == pytest.approx(4.8, abs=0.4)
    assert of_top_tenth == pytest.approx(0.275, abs=0.02)
    assert childless == pytest.approx(0.25, abs=0.05)


def test_blocks_of_children_are_periods():
    *_, span = figures()
    assert span == pytest.approx(0.45, abs=0.07)
    without = pair(400, 4000, BlockRows(levels=Fixed(1), clusters=Fixed(1)))
    spread = [np.ptp(without.times[without.parents["k"] == parent]) for parent in range(400)]
    assert np.mean(spread) > 0.75


def test_parents_are_drawn_with_the_probabilities_of_the_block_model():
    """Against the definition: a matrix of all pairs, with both sides' blocks at every level."""
    sampler = BlockRows(levels=Fixed(2), clusters=Fixed(2), tied=0.6, loose=Fixed(0.1))
    parents, children = 8, 40_000
    found = pair(parents, children, sampler).parents["k"]
    leaf_of_child = np.arange(children) // (children // 4)
    weight = np.array([[0.6, 0.1], [0.1, 0.6]])
    for leaf in range(4):
        expected = np.array(
            [
                weight[parent // 4, leaf // 2] * weight[parent // 2 % 2, leaf % 2]
                for parent in range(parents)
            ]
        )
        expected /= expected.sum()
        drawn = np.bincount(found[leaf_of_child == leaf], minlength=parents) / (children / 4)
        assert drawn == pytest.approx(expected, abs=0.02)


def test_sides_may_have_different_numbers_of_blocks():
    class Sides:
        """Three blocks of parents, one of children."""

        def __init__(self):
            self.left = [1.0, 3.0]

        def sample(self, generator):
            return self.left.pop()

    sampler = BlockRows(levels=Fixed(1), clusters=Sides(), tied=0.9, loose=Fixed(0.001))
    counts = np.bincount(pair(90, 9000, sampler).parents["k"], minlength=90)
    # Every block of parents is tied to the only block of children.
    assert counts.reshape(3, 30).sum(axis=1) == pytest.approx([3000] * 3, rel=0.06)


@pytest.mark.parametrize(("rows", "count"), [(10, 3), (5, 8), (243, 243), (500, 243), (1, 1)])
def test_blocks_cover_all_rows_once(rows, count):
    starts, sizes = blocks(rows, count)
    assert sizes.sum() == rows
    assert (sizes >= 0).all()
    covered = [row for start, size in zip(starts, sizes, strict=True)
               for row in range(start, start + size)]  # fmt: skip
    assert covered == list(range(rows))


def test_more_blocks_than_rows_do_no_harm():
    sampler = BlockRows(levels=Fixed(5), clusters=Fixed(3))
    for seed in range(5):
        found = pair(7, 300, sampler, seed).parents["k"]
        assert found.min() >= 0
        assert found.max() < 7


def test_activities_happen_at_even_distances_and_entities_have_no_times():
    made = database(entity("one", 20), activity("many", 5, KeyPlan("k", "one")))
    rows = BlockRows()(made, Streams(0))
    assert rows["one"].times is None
    assert rows["many"].times.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert rows["many"].states.shape == (5, 1, 1)
    assert not rows["many"].states.any()
    assert len(rows["one"]) == 20


def test_what_the_package_does_not_know_stays_valid():
    made = database(
        entity("one", 50, KeyPlan("above", "one", null_share=0.2)),
        activity("early", 300, KeyPlan("k", "one")),
        activity("late", 900, KeyPlan("k", "early"), KeyPlan("other", "one", null_share=0.3)),
    )
    rows = BlockRows()(made, Streams(1))
    above = rows["one"].parents["above"]
    assert above[0] == -1
    assert (above < np.arange(50)).all()
    late = rows["late"]
    assert (rows["early"].times[late.parents["k"]] <= late.times).all()
    assert np.mean(late.parents["other"] < 0) == pytest.approx(0.3, abs=0.05)
    assert np.unique(late.parents["k"]).size > 100


def test_a_key_has_a_stream_of_its_own():
    keys = (KeyPlan("k", "one"), KeyPlan("other", "one"))
    made = database(entity("one", 50), activity("many", 400, *keys))
    without = database(made.tables[0], replace(made.tables[1], keys=keys[:1]))
    first, second = (BlockRows()(b, Streams(3))["many"].parents for b in (made, without))
    assert np.array_equal(first["k"], second["k"])
    assert not np.array_equal(first["k"], first["other"])


def test_one_level_of_blocks_is_found_again():
    sampler = BlockRows(levels=Integer(1, 1), clusters=Fixed(2))
    found = pair(100, 2000, sampler).parents["k"]
    same = (found >= 50) == (np.arange(2000) >= 1000)
    assert same.mean() > 0.99
