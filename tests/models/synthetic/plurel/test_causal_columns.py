"""PluRel's columns: what moves what, and what becomes of it."""

import os
import platform
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from functools import cache

import numpy as np
import polars as pl
import pytest

from models.synthetic.blueprint import (
    Blueprint,
    ColumnKind,
    ColumnPlan,
    KeyPlan,
    TableKind,
    TablePlan,
)
from models.synthetic.draws import Choice, Fixed, Integer
from models.synthetic.generator import generate
from models.synthetic.plurel import PLUREL, PLUREL_PAPER
from models.synthetic.plurel.aggregations import Aggregation
from models.synthetic.plurel.block_rows import BlockRows
from models.synthetic.plurel.causal_columns import CausalColumns, Mode
from models.synthetic.plurel.causal_graph import GraphSettings, draw_graph
from models.synthetic.plurel.causal_model import ModelSettings
from models.synthetic.plurel.finishing import Finishing, Transform, transformed
from models.synthetic.plurel.graphs import Layered
from models.synthetic.plurel.sources import Family, SourceSettings

DAYS = [datetime(2020, 1, day) for day in (1, 20, 25, 30)]
NUMBER, BOOLEAN = ColumnKind.NUMERICAL, ColumnKind.BOOLEAN


def columns(*kinds, nullable=True):
    found = []
    for number, kind in enumerate(kinds):
        categories = ("red", "green", "blue") if kind == ColumnKind.CATEGORICAL else ()
        found.append(ColumnPlan(f"c{number}", kind, categories, nullable))
    return tuple(found)


def table(name, rows, kinds, *keys, activity=False, nullable=True):
    kind = TableKind.ACTIVITY if activity else TableKind.ENTITY
    plans = columns(*kinds, nullable=nullable)
    return TablePlan(name, kind, rows, f"{name}_id", keys, plans, "date" if activity else None)


def made(*tables, seed=0, interventions=None, **changes):
    start, validation, test, end = DAYS
    blueprint = Blueprint("made", tables, start, end, validation, test)
    sampler = CausalColumns(**{"keep_constant": True, **changes})
    generator = replace(PLUREL, layout=lambda streams: blueprint, columns=sampler)
    return generate(generator, seed, interventions)


def two_tables(numbers=6):
    kinds = [NUMBER, BOOLEAN] * (numbers // 2)
    return (
        table("one", 60, kinds),
        table("many", 240, kinds, KeyPlan("one_id", "one"), activity=True),
    )


def digests(database):
    return {
        (name, column): rows[column].to_list()
        for name, rows in database.tables.items()
        for column in rows.columns
    }


def descendants(database, place):
    """By the recorded mechanisms, what an intervention on a column may move."""
    reached = {place}
    for mechanism in database.mechanisms * 40:
        target = database.blueprint.table(mechanism.table)
        parents = {key.column: key.parent for key in target.keys}
        for name in mechanism.inputs:
            kind, _, rest = name.partition(":")
            if kind == "own":
                source = (mechanism.table, rest)
            elif kind == "parent":
                key, _, column = rest.partition(".")
                source = (parents[key], column)
            else:
                continue
            if source in reached:
                reached.add((mechanism.table, mechanism.column))
    return reached


@pytest.mark.parametrize("mode", list(Mode))
def test_an_intervention_moves_what_is_computed_from_the_column_and_nothing_else(mode):
    moved_others = 0
    for seed in range(4):
        plain = Finishing(transforms=Fixed(Transform.IDENTITY))
        settings = dict(seed=seed, modes=Fixed(mode), finishing=plain)
        before = made(*two_tables(), **settings)
        for place in (("one", "c0"), ("one", "c4"), ("many", "c2")):
            after = made(*two_tables(), interventions={place: 2.0}, **settings)
            one, other = digests(before), digests(after)
            changed = {name for name in one if one[name] != other[name]}
            assert changed <= descendants(before, place)
            varies = before.tables[place[0]][place[1]].drop_nulls().n_unique() > 1
            assert not varies or place in changed
            moved_others += len(changed - {place})
    assert moved_others > 4


def test_parents_reach_children_and_children_never_parents():
    tables = two_tables()
    whole = made(*tables)
    alone = made(tables[0])
    assert whole.tables["one"].equals(alone.tables["one"])
    after = [
        made(*tables, seed=seed, interventions={("one", "c0"): 3.0}).tables["many"]
        for seed in range(6)
    ]
    untouched = [made(*tables, seed=seed).tables["many"] for seed in range(6)]
    assert sum(not a.equals(b) for a, b in zip(after, untouched, strict=True)) >= 4


@pytest.mark.parametrize("transform", list(Transform))
def test_an_intervention_shows_in_the_column_under_every_transform(transform):
    finishing = Finishing(transforms=Fixed(transform), null_share=Fixed(0.0))
    sources = SourceSettings(families=Fixed(Family.UNIFORM), scale=Fixed(10.0))
    settings = dict(finishing=finishing, models=ModelSettings(sources=sources))
    for seed in range(3):
        before, after = (
            made(table("one", 200, [NUMBER] * 3), seed=seed, interventions=shift, **settings)
            for shift in ({}, {("one", "c1"): 1.5})
        )
        rows = before.tables["one"]["c1"].to_numpy()
        if len(np.unique(rows)) > 10:
            shift = after.tables["one"]["c1"].to_numpy() - rows
            assert shift.mean() > 0
            if transform == Transform.STANDARD:
                assert shift == pytest.approx(1.5, abs=1e-3)
            if transform == Transform.IDENTITY:
                assert shift == pytest.approx(1.5 * rows.std(), rel=1e-3)


def test_equal_seeds_give_equal_tables_and_others_do_not():
    one, two, other = (made(*two_tables(), seed=seed) for seed in (7, 7, 8))
    for name in ("one", "many"):
        assert one.tables[name].equals(two.tables[name])
        assert not one.tables[name].equals(other.tables[name])
    assert one.mechanisms == two.mechanisms


DIGEST = """
import hashlib
from dataclasses import replace
from models.synthetic.draws import Fixed
from models.synthetic.generator import generate
from models.synthetic.plurel import PLUREL
layout = replace(PLUREL.layout, tables=Fixed(4), entity_rows=Fixed(200), activity_rows=Fixed(600))
digest = hashlib.blake2b(digest_size=8)
for seed in (1, 2):
    for name, rows in generate(replace(PLUREL, layout=layout), seed).tables.items():
        for column in rows.columns:
            digest.update(repr((name, column, rows[column].to_list())).encode())
import numpy
inputs = numpy.random.default_rng(0).standard_normal((256, 32))
bits = hashlib.blake2b(numpy.tanh(inputs @ inputs[:32]).tobytes(), digest_size=8)
print(digest.hexdigest(), bits.hexdigest())
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="switches of x86-64 processors")
def test_the_same_bytes_on_an_older_processor():
    older = {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL"}
    found = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", DIGEST],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **changes},
        ).stdout.split()
        for changes in ({}, older)
    ]
    (one, here), (other, there) = found
    assert one == other
    if here == there:
        pytest.skip("matrix products are the same here, whatever the processor is said to be")


def test_kinds_of_columns_come_out_as_declared():
    kinds = [NUMBER, ColumnKind.INTEGER, BOOLEAN, ColumnKind.CATEGORICAL]
    for mode in Mode:
        found = [
            made(table("one", 300, kinds), seed=seed, modes=Fixed(mode)).tables["one"]
            for seed in range(12)
        ]
        for rows in found:
            types = [rows[name].dtype for name in rows.columns[1:]]
            assert types == [pl.Float64, pl.Int64, pl.Boolean, pl.String]
            assert set(rows["c3"].unique()) <= {"red", "green", "blue"}
        assert max(rows["c3"].n_unique() for rows in found) == 3
        assert max(rows["c1"].n_unique() for rows in found) > 20


def test_a_boolean_with_one_value_is_dropped_unless_it_shall_stay():
    kinds = [BOOLEAN] * 12 + [NUMBER]
    kept = [made(table("one", 300, kinds), seed=seed) for seed in range(10)]
    dropped = [made(table("one", 300, kinds), seed=seed, keep_constant=False) for seed in range(10)]
    constant = 0
    for whole, smaller in zip(kept, dropped, strict=True):
        names = [plan.name for plan in smaller.blueprint.table("one").columns]
        rows = whole.tables["one"]
        alive = [plan.name for plan in whole.blueprint.table("one").columns
                 if plan.kind == NUMBER or rows[plan.name].n_unique() > 1]  # fmt: skip
        assert names == alive
        assert smaller.tables["one"].columns == ["one_id", *alive]
        assert [mechanism.column for mechanism in smaller.mechanisms] == alive
        constant += 13 - len(alive)
    # Of the package's, before it drops them, about a third.
    assert 0.15 < constant / 120 < 0.55


def test_only_nullable_numbers_are_missing_at_one_rate_a_table():
    finishing = Finishing(null_share=Fixed(0.07))
    kinds = [NUMBER, BOOLEAN, NUMBER, ColumnKind.INTEGER]
    rows = made(table("one", 500, kinds), finishing=finishing).tables["one"]
    assert [rows[f"c{i}"].null_count() for i in range(4)] == [35, 0, 35, 35]
    assert rows["c0"].is_null().to_list() != rows["c2"].is_null().to_list()
    full = made(table("one", 500, kinds, nullable=False), finishing=finishing).tables["one"]
    assert full.null_count().sum_horizontal().item() == 0
    rates = [
        made(table("one", 1000, [NUMBER] * 2), seed=seed).tables["one"]["c0"].null_count() / 1000
        for seed in range(40)
    ]
    assert 0.009 < min(rates) < 0.03
    assert 0.08 < max(rates) <= 0.1


@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize("how", list(Aggregation))
def test_tiny_tables_and_odd_schemas(rows, how):
    tables = (
        table("empty", rows, []),
        table("one", rows, [NUMBER], KeyPlan("empty_id", "empty"), KeyPlan("above", "one")),
        table("many", 3 * rows, [BOOLEAN, NUMBER], KeyPlan("one_id", "one", null_share=0.5),
              KeyPlan("again_id", "one"), activity=True),
    )  # fmt: skip
    settings = ModelSettings(aggregations=Fixed(how))
    for seed in range(3):
        database = made(*tables, seed=seed, models=settings)
        assert [len(rows) for rows in database.tables.values()] == [rows, rows, 3 * rows]
        numbers = database.tables["many"]["c1"].drop_nulls()
        assert numbers.is_finite().all()


def test_two_keys_to_one_table_have_encoders_of_their_own():
    keys = (KeyPlan("first", "one"), KeyPlan("second", "one"))
    tables = (
        table("one", 40, [NUMBER] * 3),
        table("many", 200, [NUMBER] * 3, *keys, activity=True),
    )
    inputs = {name for m in made(*tables).mechanisms for name in m.inputs}
    assert {"parent:first.c0", "parent:second.c0"} <= inputs


def test_mechanisms_name_time_for_series_of_activities_only():
    settings = ModelSettings(sources=SourceSettings(families=Fixed(Family.SERIES)))
    database = made(*two_tables(), models=settings)
    timed = {m.table for m in database.mechanisms if "time" in m.inputs}
    assert timed == {"many"}
    assert all(0 <= m.signal <= 1 for m in database.mechanisms)
    assert max(m.signal for m in database.mechanisms) > 0.5


def test_signal_falls_where_noise_rules():
    def noises(parameter):
        settings = ModelSettings(alpha=Fixed(parameter), beta=Fixed(parameter))
        graphs = GraphSettings(graphs=Fixed(Layered(Fixed(2))))
        return np.array(
            [
                1 - m.signal
                for seed in range(12)
                for m in made(
                    table("one", 300, [NUMBER] * 4), seed=seed, models=settings, graphs=graphs
                ).mechanisms
                if m.inputs
            ]
        )

    # A beta distribution's variance is 1 / 8 at 0.5, 0.5 and 1 / 4004 at 500, 500.
    much, little = noises(0.5), noises(500.0)
    clear = (much > 0) & (much < 0.1)
    assert clear.sum() > 5
    assert np.median(little[clear] / much[clear]) == pytest.approx(8 / 4004, rel=0.7)


def test_what_cannot_be_made_is_refused():
    with pytest.raises(
        ValueError, match=r"numbers, booleans and categories only.*one\.c0 \(text\)"
    ):
        made(table("one", 20, [ColumnKind.TEXT]))
    with pytest.raises(ValueError, match=r"one\.c1 is not; there are: \['one\.c0'\]"):
        made(table("one", 20, [NUMBER, BOOLEAN]), interventions={("one", "c1"): 1.0})


def test_nodes_that_no_column_needs_are_left_out():
    for seed in range(20):
        graph = draw_graph(
            np.zeros(5, np.int64), True, GraphSettings(), np.random.default_rng(seed)
        )
        needed = set(graph.columns.tolist())
        while True:
            more = needed | {int(u) for node in needed for u in graph.causes[node]}
            if more == needed:
                break
            needed = more
        assert set(np.flatnonzero(graph.needed).tolist()) == needed
        assert (graph.categories[graph.columns] == 0).all()


def test_the_number_of_nodes_follows_the_ratio():
    settings = GraphSettings(ratio=Fixed(0.4))
    graph = draw_graph(np.zeros(10, np.int64), True, settings, np.random.default_rng(0))
    assert len(graph.causes) == 10 + 25 + 3


def test_few_cells_are_near_enough_to_a_network_at_every_row():
    found = []
    for seed in range(5):
        exact, near = (
            made(table("one", 800, [NUMBER] * 5), seed=seed, models=ModelSettings(cells=cells))
            for cells in (10**6, 128)
        )
        for name in [f"c{i}" for i in range(5)]:
            pair = pl.DataFrame({"a": exact.tables["one"][name], "b": near.tables["one"][name]})
            pair = pair.drop_nulls().select(pl.all().rank())
            if pair["a"].n_unique() > 2:
                found.append(pair.select(pl.corr("a", "b")).item())
    assert np.median(found) > 0.99
    assert np.mean(found) > 0.85


def test_a_column_is_cut_at_some_of_its_own_values():
    finishing = Finishing(permuted=Fixed(0.0), turned=Fixed(0.0))
    values = np.random.default_rng(0).normal(size=500)
    codes = finishing.cut(values, 4, np.random.default_rng(1))
    assert set(codes.tolist()) <= {0, 1, 2, 3}
    assert (np.diff(codes[np.argsort(values)]) >= 0).all()
    turned = replace(finishing, turned=Fixed(1.0)).cut(values, 4, np.random.default_rng(1))
    assert (turned == 3 - codes).all()
    shuffled = [
        replace(finishing, permuted=Fixed(1.0)).cut(values, 4, np.random.default_rng(seed))
        for seed in range(30)
    ]
    assert any((np.diff(codes[np.argsort(values)]) < 0).any() for codes in shuffled)


@pytest.mark.parametrize("transform", list(Transform))
def test_transforms(transform):
    values = np.array([4.0, -9.0, 0.25, 0.0])
    found = transformed(transform, values, values)
    expected = {
        Transform.IDENTITY: values,
        Transform.RANK: np.array([4, 1, 3, 2]) / 5,
        Transform.LOGARITHM: np.sign(values) * np.log1p(np.abs(values)),
        Transform.ROOT: np.array([2.0, -3.0, 0.5, 0.0]),
        Transform.STANDARD: (values - values.mean()) / values.std(),
    }[transform]
    assert found == pytest.approx(expected)
    assert transformed(transform, np.ones(3), np.ones(3)).shape == (3,)


@cache
def census(paper):
    """Columns of 16 databases of fewer rows."""
    preset = PLUREL_PAPER if paper else PLUREL
    layout = replace(
        preset.layout,
        tables=Integer(3, 8),
        entity_rows=Integer(100, 200),
        activity_rows=Integer(300, 500),
    )
    databases = [generate(replace(preset, layout=layout), seed) for seed in range(16)]
    return [
        rows[plan.name]
        for database in databases
        for plan_of in database.blueprint.tables
        for rows in [database.tables[plan_of.name]]
        for plan in plan_of.columns
    ]


def test_the_preset_has_the_packages_columns():
    """Of 24 databases of the package: 39 % boolean, of these 23 % rare, 7 % of few values."""
    found = census(False)
    booleans = [column for column in found if column.dtype == pl.Boolean]
    numbers = [column for column in found if column.dtype == pl.Float64]
    assert len(booleans) + len(numbers) == len(found)
    assert len(booleans) / len(found) == pytest.approx(0.40, abs=0.06)
    rare = np.mean([min(column.mean(), 1 - column.mean()) < 0.05 for column in booleans])
    assert rare == pytest.approx(0.22, abs=0.1)
    few = np.mean([column.n_unique() < 5 for column in numbers])
    assert few < 0.2
    assert np.mean([column.null_count() / len(column) for column in numbers]) == pytest.approx(
        0.055, abs=0.02
    )
    assert all(column.drop_nulls().is_finite().all() for column in numbers)


def test_the_papers_preset_differs_as_the_paper_does():
    assert PLUREL_PAPER.columns.models.aggregations == Fixed(Aggregation.SUM)
    booleans = [column for column in census(True) if column.dtype == pl.Boolean]
    assert 0.2 < len(booleans) / len(census(True)) < 0.6
    numbers = [column for column in census(True) if column.dtype == pl.Float64]
    # Neither rank nor standardised values: columns differ in scale and in place.
    assert np.mean([abs(column.mean() or 0) < 1e-3 for column in numbers]) < 0.3


def test_choices_of_the_presets_are_swappable():
    rows = BlockRows(levels=Fixed(1))
    changed = replace(PLUREL, rows=rows)
    assert generate(changed, 5).blueprint.tables[0].name == "table_1"
    assert isinstance(PLUREL.columns.modes, Choice)
