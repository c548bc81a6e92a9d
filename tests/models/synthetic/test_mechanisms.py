"""Values of columns: planted causes are found again, and nothing sees what came after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from models.synthetic.blueprint import Blueprint, ColumnKind, KeyPlan
from models.synthetic.column_values import ColumnValues, NumberShape
from models.synthetic.database import Columns, Mechanism, Place
from models.synthetic.draws import Choice, Draw, Fixed
from models.synthetic.history import Aggregate
from models.synthetic.mechanisms import Mechanisms
from models.synthetic.missing import MissingKind, MissingValues
from models.synthetic.random_functions import Activation
from models.synthetic.rows import Rows
from models.synthetic.streams import Streams
from tests.models.synthetic.plain_rows import PlainRows, columns, shop, until

NUMBER, COUNT, FLAG, CATEGORY, MOMENT, TEXT = (
    ColumnKind.NUMERICAL,
    ColumnKind.INTEGER,
    ColumnKind.BOOLEAN,
    ColumnKind.CATEGORICAL,
    ColumnKind.TIMESTAMP,
    ColumnKind.TEXT,
)
ALL_KINDS = columns(NUMBER, COUNT, FLAG, CATEGORY, MOMENT, TEXT, NUMBER, CATEGORY, FLAG)
COMPLETE = MissingValues(columns=Fixed(0.0))
SMOOTH = Choice((Activation.LINEAR, Activation.TANH, Activation.RAMP))
NOTHING = Fixed(0)


def normal(**inputs: Draw[int] | Draw[float] | Draw[Aggregate]) -> Mechanisms:
    """Numbers that are normal and complete, of the given inputs only."""
    sources = ("state_inputs", "own_inputs", "parent_inputs", "history_inputs", "time_inputs")
    chosen = {name: NOTHING for name in sources} | inputs
    return Mechanisms(
        derived=Fixed(0.0),
        activations=SMOOTH,
        values=ColumnValues(shape=Fixed(NumberShape.NORMAL), scale=Fixed(1.0), rounded=Fixed(0.0)),
        missing=COMPLETE,
        **chosen,  # type: ignore[arg-type]
    )


def sample(
    blueprint: Blueprint,
    settings: Mechanisms,
    seed: int = 0,
    interventions: Mapping[Place, float] | None = None,
    rows: dict[str, Rows] | None = None,
) -> Columns:
    streams = Streams(seed)
    rows = rows or PlainRows()(blueprint, streams.child("rows"))
    return settings(blueprint, rows, streams.child("columns"), interventions or {})


def everything() -> Blueprint:
    return shop(ALL_KINDS, ALL_KINDS, ALL_KINDS)


def descendants(blueprint: Blueprint, made: Columns, place: Place) -> tuple[set[Place], set[Place]]:
    """What is computed from a column, directly and in the end."""
    graph = {(m.table, m.column): sources(blueprint, m) for m in made.mechanisms}
    direct = {column for column, read in graph.items() if place in read}
    found, reached = set(), {place}
    while reached - found:
        found |= reached
        reached = found | {column for column, read in graph.items() if read & found}
    gaps = {
        (m.table, m.column)
        for m in made.mechanisms
        if m.missing and (m.table, m.missing.removeprefix("own:")) in found
    }
    return direct, found | gaps


def sources(blueprint: Blueprint, mechanism: Mechanism) -> set[Place]:
    found = set()
    for label in mechanism.inputs:
        kind, _, rest = label.partition(":")
        if kind == "own":
            found.add((mechanism.table, rest))
        elif kind == "parent":
            key, column = rest.split(".")
            keys = blueprint.table(mechanism.table).keys
            found.add((next(k.parent for k in keys if k.column == key), column))
        elif kind == "history":
            table, column, _ = rest.partition("@")[0].split(".")
            found.add((table, column))
    return found


def test_an_intervention_moves_descendants_and_not_a_bit_of_anything_else():
    blueprint, settings = everything(), Mechanisms(derived=Fixed(0.3))
    moved_by = {"own": 0, "parent": 0, "history": 0}
    for seed in range(6):
        before = sample(blueprint, settings, seed)
        labels = {(m.table, m.column): m.inputs for m in before.mechanisms}
        for place in (("customer", "c1"), ("product", "c2"), ("order", "c1"), ("order", "c2")):
            after = sample(blueprint, settings, seed, {place: 1.5})
            direct, reached = descendants(blueprint, before, place)
            for name, table in before.values.items():
                for column, values in table.items():
                    same = values.equals(after.values[name][column])
                    assert same or (name, column) in reached
                    if (name, column) in direct and values.dtype == pl.Float64:
                        assert not same
                        for label in labels[name, column]:
                            kind = label.partition(":")[0]
                            moved_by[kind] = moved_by.get(kind, 0) + 1
    assert min(moved_by[kind] for kind in ("own", "parent", "history")) > 3


def test_an_intervention_is_in_standard_deviations_and_passed_on_by_the_signal():
    blueprint = shop(columns(NUMBER, NUMBER), columns(NUMBER), scale=5)
    settings = normal(own_inputs=Fixed(1), signal=Fixed(0.64))
    settings = replace(settings, activations=Fixed(Activation.LINEAR))
    before = sample(blueprint, settings).values["customer"]
    after = sample(blueprint, settings, interventions={("customer", "c1"): 2.0}).values["customer"]
    np.testing.assert_allclose(after["c1"] - before["c1"], 2.0, atol=1e-4)
    np.testing.assert_allclose((after["c2"] - before["c2"]).abs(), 2 * 0.8, atol=0.15)
    correlation = np.corrcoef(before["c1"], before["c2"])[0, 1]
    assert abs(correlation) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize(
    ("place", "constant", "message"),
    [
        (("order", "c9"), 1.0, "'order', column 'c9': there is no such column .its columns: .'c1'"),
        (("ordr", "c1"), 1.0, "'ordr', column 'c1': there is no such column .tables: .'customer'"),
        (("order", "c2"), 1.0, "'order', column 'c2': it is boolean; only numerical and integer"),
        (("order", "c1"), float("nan"), "'order', column 'c1': give a finite number"),
    ],
)
def test_interventions_on_nothing_that_can_be_moved_are_refused(place, constant, message):
    with pytest.raises(ValueError, match=message):
        sample(
            shop(columns(NUMBER), columns(NUMBER, FLAG)),
            Mechanisms(),
            interventions={place: constant},
        )


def explained(features: np.ndarray, target: np.ndarray) -> float:
    """R² of boosted trees on every other row, fitted on the rest."""
    learner = HistGradientBoostingRegressor(max_iter=60, learning_rate=0.15, max_leaf_nodes=12)
    learner.fit(features[::2], target[::2])
    missed = target[1::2] - learner.predict(features[1::2])
    return float(1 - (missed**2).mean() / target[1::2].var())


def features(
    blueprint: Blueprint, rows: dict[str, Rows], made: Columns, place: Place, kinds: set[str]
) -> np.ndarray:
    """What the labels of a column's mechanism say, computed by hand from the emitted columns."""
    name = place[0]
    mechanism = next(m for m in made.mechanisms if (m.table, m.column) == place)
    mine, found = rows[name], []
    if "state" in kinds and "state" in mechanism.inputs:
        when = mine.times_or(0.0) if blueprint.table(name).time_column else np.zeros(len(mine))
        found += list(mine.states_at(np.arange(len(mine)), when).T)
    for label in mechanism.inputs:
        kind, _, rest = label.partition(":")
        if kind not in kinds:
            continue
        if kind == "own":
            found.append(made.values[name][rest].to_numpy())
        elif kind == "parent":
            key, read = rest.split(".")
            parent = next(k.parent for k in blueprint.table(name).keys if k.column == key)
            values = made.values[parent][read].to_numpy()
            found.append(np.where(mine.parents[key] >= 0, values[mine.parents[key]], np.nan))
        elif kind == "history":
            found.append(history(rows, made, name, rest))
    return np.stack(found, axis=1) if found else np.zeros((len(mine), 1))


def history(rows: dict[str, Rows], made: Columns, name: str, label: str) -> np.ndarray:
    place, _, key = label.partition("@")
    table, column, aggregate = place.split(".")

    def who(of: str) -> np.ndarray:
        if key:
            return rows[of].parents["product_id"]
        if of == "review":
            return rows["order"].parents["customer_id"][rows[of].parents["order_id"]]
        return rows[of].parents["customer_id"]

    whose, when = who(name), rows[name].times_or(0.0)
    owners, times = who(table), rows[table].times_or(0.0)
    values = made.values[table][column].to_numpy() if column != "id" else np.ones(len(owners))
    found = np.full(len(whose), np.nan)
    for row in np.flatnonzero(whose >= 0):
        before = values[(owners == whose[row]) & (times < when[row])]
        if aggregate == "count":
            found[row] = len(before)
        elif len(before):
            found[row] = {
                "sum": before.sum(),
                "mean": before.mean(),
                "last": before[-1],
                "max": before.max(),
            }[aggregate]
    return found


PLAIN_AGGREGATES = Choice(tuple(a for a in Aggregate if a != Aggregate.DECAYED_MEAN))


@pytest.mark.parametrize("signal", [0.3, 0.6, 0.9])
def test_the_inputs_explain_the_share_that_is_recorded_and_no_more(signal):
    blueprint = shop(
        columns(NUMBER, NUMBER), columns(NUMBER, NUMBER, NUMBER), columns(NUMBER), scale=2
    )
    settings = normal(
        signal=Fixed(signal),
        state_inputs=Fixed(1),
        own_inputs=Fixed(1),
        parent_inputs=Fixed(1),
        history_inputs=Fixed(1),
        aggregates=PLAIN_AGGREGATES,
    )
    kinds = {"state", "own", "parent", "history"}
    recorded, found, everywhere = [], [], []
    for seed in range(3):
        rows = PlainRows()(blueprint, Streams(seed).child("rows"))
        made = sample(blueprint, settings, seed, rows=rows)
        everywhere += [mechanism.signal for mechanism in made.mechanisms]
        for column in ("c2", "c3"):
            read = features(blueprint, rows, made, ("order", column), kinds)
            found.append(explained(read, made.values["order"][column].to_numpy()))
        recorded += [m.signal for m in made.mechanisms if m.table == "order" and m.column != "c1"]
    assert np.median(everywhere) == pytest.approx(signal, abs=0.05)
    shortfall = np.array(recorded) - found
    assert shortfall.min() > -0.05
    # Three thousand rows do not teach the trees everything.
    assert np.median(shortfall) < 0.1
    assert shortfall.max() < 0.2


@pytest.mark.parametrize(
    ("dial", "kind"), [("parent_inputs", "parent"), ("history_inputs", "history")]
)
def test_what_relatives_add_to_the_own_row_grows_with_the_dial(dial, kind):
    blueprint = shop(
        columns(NUMBER, NUMBER), columns(NUMBER, NUMBER, NUMBER), columns(NUMBER), scale=2
    )

    def lift(wanted: int) -> float:
        settings = normal(
            signal=Fixed(0.8),
            state_inputs=Fixed(2),
            own_inputs=Fixed(1),
            aggregates=PLAIN_AGGREGATES,
            **{dial: Fixed(wanted)},
        )
        lifts = []
        # Without relatives there is nothing to add, whatever the seed.
        for seed in range(4 if wanted else 1):
            rows = PlainRows()(blueprint, Streams(seed).child("rows"))
            made = sample(blueprint, settings, seed, rows=rows)
            for column in ("c2", "c3"):
                target = made.values["order"][column].to_numpy()
                # Who looks at tables does not see states.
                own = features(blueprint, rows, made, ("order", column), {"own"})
                both = features(blueprint, rows, made, ("order", column), {"own", kind})
                lifts.append(explained(both, target) - explained(own, target))
        return float(np.mean(lifts))

    none, one, three = lift(0), lift(1), lift(3)
    assert none == pytest.approx(0, abs=1e-9)
    assert one > 0.02
    assert three > one + 0.03


@pytest.mark.parametrize("moment", [0.2, 0.5, 0.8])
def test_no_row_sees_a_later_one(moment):
    blueprint, settings = everything(), Mechanisms(history_inputs=Fixed(2))
    for seed in range(3):
        rows = PlainRows()(blueprint, Streams(seed).child("rows"))
        whole = sample(blueprint, settings, seed, rows=rows)
        kept = until(rows, moment)
        part = sample(blueprint, settings, seed, rows=kept)
        for name, table in part.values.items():
            assert 0 < len(kept[name]) < len(rows[name]) or name == "customer"
            for column, values in table.items():
                assert values.equals(whole.values[name][column].head(len(kept[name])))


def test_tables_without_a_time_read_no_table_that_has_one():
    blueprint, settings = everything(), Mechanisms(parent_inputs=Fixed(3), time_inputs=Fixed(1))
    customer, product, *_ = blueprint.tables
    customer = replace(customer, keys=(KeyPlan("product_id", "product"),))
    turned = replace(blueprint, tables=(product, customer))
    made = sample(turned, settings)
    for mechanism in made.mechanisms:
        if mechanism.table == "customer":
            assert {label.partition(":")[0] for label in mechanism.inputs} <= {"state", "own"}
    times = made.values["customer"]["c5"].drop_nulls()
    assert (times < blueprint.start).all()


def test_equal_seeds_give_equal_columns_and_other_seeds_others():
    blueprint = everything()
    one, again, other = (sample(blueprint, Mechanisms(), seed) for seed in (3, 3, 4))
    for name, table in one.values.items():
        for column, values in table.items():
            assert values.equals(again.values[name][column])
            assert not values.equals(other.values[name][column])
    assert one.mechanisms == again.mechanisms


def test_another_column_or_table_moves_nothing_before_it():
    longer = shop(ALL_KINDS, ALL_KINDS, (*ALL_KINDS, *columns(*[NUMBER] * 10)[-1:]))
    shorter = replace(longer, tables=everything().tables[:3])
    long, middle, short = (sample(b, Mechanisms(), 5) for b in (longer, everything(), shorter))
    for name, table in middle.values.items():
        for column, values in table.items():
            assert values.equals(long.values[name][column])
            if name != "review":
                assert values.equals(short.values[name][column])


def test_types_and_ceilings_are_those_of_plan_and_settings():
    made = sample(everything(), Mechanisms(signal=Fixed(0.5), derived=Fixed(0.0)))
    dtypes = [values.dtype for values in made.values["order"].values()]
    text, moment = pl.String(), pl.Datetime("us")
    assert dtypes[:6] == [pl.Float64(), pl.Int64(), pl.Boolean(), text, moment, text]
    signals = [mechanism.signal for mechanism in made.mechanisms]
    assert len(signals) == 4 * len(ALL_KINDS)
    assert np.median(signals) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_derived_columns_say_what_columns_before_them_say(share):
    blueprint = shop(columns(NUMBER, NUMBER), columns(*[NUMBER] * 12), scale=2)
    settings = replace(
        normal(state_inputs=Fixed(1), signal=Fixed(0.5)),
        derived=Fixed(share),
        derived_signal=Fixed(0.99),
    )
    functional, signals = [], []
    for seed in range(4):
        made = sample(blueprint, settings, seed)
        table = np.stack([values.to_numpy() for values in made.values["order"].values()], axis=1)
        mechanisms = [m for m in made.mechanisms if m.table == "order"]
        assert mechanisms[0].inputs == ("state",)
        for place, mechanism in enumerate(mechanisms[1:], 1):
            kinds = {label.partition(":")[0] for label in mechanism.inputs}
            assert kinds in ({"own"}, {"state"})
            functional.append(kinds == {"own"})
            if kinds == {"own"}:
                signals.append(mechanism.signal)
                read = [int(label.removeprefix("own:c")) - 1 for label in mechanism.inputs]
                assert max(read) < place
                if seed == 0 and place < 4:
                    assert explained(table[:, read], table[:, place]) > 0.85
    assert np.mean(functional) == pytest.approx(share, abs=0.15)
    assert not signals or np.median(signals) == pytest.approx(0.99, abs=0.02)


def test_without_inputs_columns_are_noise():
    made = sample(
        shop(columns(NUMBER, NUMBER), columns(NUMBER, NUMBER), scale=5), normal(signal=Fixed(0.9))
    )
    assert {mechanism.inputs for mechanism in made.mechanisms} == {()}
    assert {mechanism.signal for mechanism in made.mechanisms} == {0.0}
    correlation = np.corrcoef(made.values["order"]["c1"], made.values["order"]["c2"])[0, 1]
    assert abs(correlation) < 0.05


@pytest.mark.parametrize("kind", list(MissingKind))
def test_missing_values_depend_on_what_the_record_says(kind):
    blueprint = shop(
        columns(NUMBER, NUMBER), columns(NUMBER, NUMBER, NUMBER, nullable=True), scale=4
    )
    lacking = MissingValues(Fixed(1.0), Fixed(0.2), Fixed(kind), Fixed(0.7))
    settings = normal(state_inputs=Fixed(1))
    with_gaps = replace(settings, missing=lacking)
    whole, holed = sample(blueprint, settings), sample(blueprint, with_gaps)
    record = {(m.table, m.column): m.missing for m in holed.mechanisms}
    for column in ("c2", "c3"):
        gaps = holed.values["order"][column].is_null().to_numpy()
        assert gaps.mean() == pytest.approx(0.2, abs=0.04)
        kept = holed.values["order"][column].drop_nulls()
        assert kept.equals(whole.values["order"][column].filter(~pl.Series(gaps)))
        of = {
            other: values.filter(pl.Series(gaps)).mean() - values.filter(~pl.Series(gaps)).mean()
            for other, values in whole.values["order"].items()
        }
        cause = record["order", column]
        if kind == MissingKind.COMPLETELY_AT_RANDOM:
            assert cause is None
            assert max(abs(gap) for gap in of.values()) < 0.15
        else:
            assert cause is not None
            assert (cause == f"own:{column}") == (kind == MissingKind.NOT_AT_RANDOM)
            assert abs(of[cause.removeprefix("own:")]) > 0.9


def test_columns_that_are_not_nullable_lack_nothing():
    kinds = (NUMBER, COUNT, FLAG, CATEGORY, MOMENT, TEXT)
    lacking = MissingValues(Fixed(1.0), Fixed(0.3))
    for nullable, expected in ((False, False), (True, True)):
        plan = columns(*kinds, nullable=nullable)
        made = sample(shop(plan, plan), Mechanisms(missing=lacking))
        for values in made.values["order"].values():
            assert (values.null_count() > 0) == expected


def test_the_start_of_a_database_has_no_rows():
    blueprint = everything()
    rows = until(PlainRows()(blueprint, Streams(0).child("rows")), -0.49)
    made = sample(blueprint, Mechanisms(), rows=rows)
    assert len(made.values["review"]["c1"]) == 0
    assert made.values["review"]["c3"].dtype == pl.Boolean


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"signal must be from 0 to 1 .got 1\.5"):
        sample(everything(), Mechanisms(signal=Fixed(1.5)))
