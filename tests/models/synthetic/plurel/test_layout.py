"""PluRel's tables and keys: what 1,500 databases of the package have on average."""

from datetime import datetime
from functools import cache

import numpy as np
import pytest

from models.synthetic.blueprint import ColumnKind, TableKind
from models.synthetic.draws import Choice, Fixed, Integer
from models.synthetic.plurel.graphs import ReverseRandomTree
from models.synthetic.plurel.layout import PluRelLayout
from models.synthetic.streams import Streams


def blueprint(seed, layout=None):
    return (layout or PluRelLayout())(Streams(seed).child("layout"))


@cache
def blueprints():
    return [blueprint(seed) for seed in range(700)]


def longest_path(made):
    depth = {}
    for table in made.tables:
        depth[table.name] = 1 + max((depth[key.parent] for key in table.keys), default=-1)
    return max(depth.values())


def activities(made):
    return [table for table in made.tables if table.kind == TableKind.ACTIVITY]


def test_schemas_are_as_large_and_as_deep_as_the_packages():
    assert np.mean([len(b.tables) for b in blueprints()]) == pytest.approx(11.4, abs=0.6)
    keys = np.mean([sum(len(table.keys) for table in b.tables) for b in blueprints()])
    assert keys == pytest.approx(15.1, abs=1.1)
    active = [len(activities(b)) for b in blueprints()]
    assert np.mean(active) == pytest.approx(2.6, abs=0.35)
    assert np.mean(np.equal(active, 1)) == pytest.approx(0.55, abs=0.06)
    assert np.mean([longest_path(b) for b in blueprints()]) == pytest.approx(5.8, abs=0.4)


def test_rows_and_columns_follow_their_distributions():
    tables = [table for b in blueprints() for table in b.tables]
    for kind, low, high in ((TableKind.ENTITY, 500, 1000), (TableKind.ACTIVITY, 2000, 5000)):
        rows = [table.rows for table in tables if table.kind == kind]
        assert low <= min(rows) < low * 1.02
        assert high * 0.98 < max(rows) <= high
    columns = [len(table.columns) for table in tables]
    assert np.mean(columns) == pytest.approx(13.7, abs=0.5)
    assert np.median(columns) == pytest.approx(10, abs=1)
    kinds = [column.kind for table in tables for column in table.columns]
    assert np.mean([kind == ColumnKind.BOOLEAN for kind in kinds]) == pytest.approx(0.5, abs=0.01)
    assert set(kinds) == {ColumnKind.BOOLEAN, ColumnKind.NUMERICAL}


def test_only_tables_that_nobody_points_at_happen():
    for made in blueprints()[:100]:
        for table in made.tables:
            pointed = any(True for _ in made.children(table.name))
            assert (table.kind == TableKind.ENTITY) == pointed
            assert (table.time_column is None) == pointed
            parents = [key.parent for key in table.keys]
            assert len(set(parents)) == len(parents)
            assert all(key.null_share == 0 for key in table.keys)


def test_spans_lie_between_two_random_days():
    for made in blueprints():
        assert made.start >= datetime(1990, 1, 1)
        assert made.end <= datetime(2025, 1, 1)
        assert made.span.days >= 10
        share = (made.validation - made.start).days / (made.span.days + 1)
        assert share == pytest.approx(0.8, abs=0.1)
    # Two uniform points lie a third of the range apart on average.
    assert np.mean([made.span.days for made in blueprints()]) == pytest.approx(12784 / 3, rel=0.08)


def test_a_day_apart_becomes_ten():
    short = PluRelLayout(first=datetime(2020, 1, 1), last=datetime(2020, 1, 12))
    spans = {blueprint(seed, short).span.days for seed in range(60)}
    assert min(spans) == 10


def test_a_schema_of_its_own_choice():
    layout = PluRelLayout(
        graphs=Fixed(ReverseRandomTree()),
        tables=Fixed(5),
        columns=Integer(2, 2),
        kinds=Choice((ColumnKind.CATEGORICAL,)),
        categories=Fixed(3),
    )
    made = blueprint(3, layout)
    assert len(made.tables) == 5
    assert len(activities(made)) == 1
    categories = {column.categories for table in made.tables for column in table.columns}
    assert categories == {("value_1", "value_2", "value_3")}
    assert made == blueprint(3, layout)
    assert made != blueprint(4, layout)


def test_contradictions_are_refused():
    with pytest.raises(ValueError, match="0 < validation < test < 1"):
        PluRelLayout(validation=0.9, test=0.9)
    with pytest.raises(ValueError, match="10 days or more"):
        PluRelLayout(first=datetime(2020, 1, 1), last=datetime(2020, 1, 5))
