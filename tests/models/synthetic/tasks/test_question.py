"""Every aggregate over every route, against labels counted row by row in Python."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl
import pytest
import sqlglot

from models.database.schema import TaskType
from models.synthetic.tasks.labels import Labeller
from models.synthetic.tasks.question import Aggregate, Condition, Question
from models.synthetic.tasks.routes import Route, SecondHop, Turn, routes
from tests.models.synthetic.tasks.market import market

ITEMS = SecondHop(Turn.CHILD, "items", "order_id")
OWN = Route("customers", "orders", "customer_id")
GIFTS = Route("customers", "orders", "gift_for_id")
BELOW = Route("customers", "orders", "customer_id", ITEMS)
PRICES = Route("products", "items", "product_id", SecondHop(Turn.PARENT, "orders", "order_id"))
WINDOW = timedelta(days=20)


@pytest.fixture(scope="module")
def database():
    return market()


@pytest.fixture(scope="module")
def labeller(database):
    with Labeller(database) as found:
        yield found


def asked(route, aggregate, column=None, condition=None, active_windows=2, **more):
    return Question(route, aggregate, column, condition, WINDOW, active_windows, 2, **more)


QUESTIONS = [
    asked(OWN, Aggregate.EXISTS),
    asked(OWN, Aggregate.NONE, active_windows=0),
    asked(GIFTS, Aggregate.COUNT),
    asked(OWN, Aggregate.COUNT, condition=Condition("channel", "web")),
    asked(OWN, Aggregate.EXISTS, condition=Condition("paid", False)),
    asked(OWN, Aggregate.NONE, condition=Condition("amount", 21.5)),
    asked(OWN, Aggregate.SUM, "amount", active_windows=0),
    asked(OWN, Aggregate.MEAN, "amount"),
    asked(OWN, Aggregate.MAX, "fee", active_windows=0),
    asked(OWN, Aggregate.COUNT_DISTINCT, "channel"),
    asked(OWN, Aggregate.SHARE, condition=Condition("channel", "shop")),
    asked(GIFTS, Aggregate.SHARE, condition=Condition("paid", True)),
    asked(BELOW, Aggregate.COUNT),
    asked(BELOW, Aggregate.SUM, "quantity"),
    asked(BELOW, Aggregate.COUNT_DISTINCT, "product_id"),
    asked(BELOW, Aggregate.SHARE, condition=Condition("rebate", 2.0), active_windows=0),
    asked(PRICES, Aggregate.MEAN, "amount"),
    asked(PRICES, Aggregate.EXISTS, condition=Condition("channel", "phone")),
    asked(PRICES, Aggregate.COUNT_DISTINCT, "channel", active_windows=0),
    asked(
        OWN, Aggregate.SUM, "amount", task_type=TaskType.BINARY_CLASSIFICATION, thresholds=(9.5,)
    ),
    asked(
        OWN,
        Aggregate.COUNT,
        task_type=TaskType.MULTICLASS_CLASSIFICATION,
        thresholds=(0.5, 2.5),
        active_windows=0,
    ),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.words)
def test_labels_are_those_counted_row_by_row(database, labeller, question):
    table = labeller.table(question.task(database.blueprint))
    found = {(e, t): label for e, t, label in table.select("entity", "cutoff_time", "label").rows()}
    cutoffs = sorted({cutoff for _, cutoff in found})
    expected = counted(database, question, cutoffs)
    assert len(found) == table.height > 100
    assert found.keys() == expected.keys()
    for pair, label in found.items():
        assert math.isclose(label, expected[pair], rel_tol=1e-9, abs_tol=1e-9), pair
    assert len(set(found.values())) > 1


def counted(database, question, cutoffs) -> dict[tuple[int, datetime], float]:
    """Labels by (entity, cutoff), without SQL."""
    plan, route = database.blueprint, question.route
    by_key = {
        name: {row[0]: row for row in frame.rows()} for name, frame in database.tables.items()
    }
    named = {name: frame.columns for name, frame in database.tables.items()}

    def dicts(table):
        return [dict(zip(named[table], row, strict=True)) for row in by_key[table].values()]

    activities = dicts(route.activity)
    time = plan.table(route.activity).time_column
    events = []
    for row in activities:
        if row[route.key] is None:
            continue
        if route.second is None:
            events.append((row[route.key], row[time], row))
        elif route.second.turn == Turn.PARENT:
            other = by_key[route.second.table].get(row[route.second.key])
            if other is not None:
                values = dict(zip(named[route.second.table], other, strict=True))
                events.append((row[route.key], row[time], values))
    if route.second and route.second.turn == Turn.CHILD:
        owners = {row[plan.table(route.activity).primary_key]: row[route.key] for row in activities}
        own_time = plan.table(route.second.table).time_column
        events = [
            (owners[row[route.second.key]], row[own_time], row)
            for row in dicts(route.second.table)
            if owners[row[route.second.key]] is not None
        ]
    entity = plan.table(route.entity)
    born = {
        row[entity.primary_key]: row[entity.time_column] if entity.time_column else datetime.min
        for row in dicts(route.entity)
    }
    result = {}
    for cutoff in cutoffs:
        people = [key for key, since in born.items() if since <= cutoff]
        if question.active_windows:
            early = cutoff - question.active_windows * WINDOW
            people = sorted(
                {
                    r[route.key]
                    for r in activities
                    if r[route.key] is not None and early < r[time] <= cutoff
                }
            )
        inside = [event for event in events if cutoff < event[1] <= cutoff + WINDOW]
        inside.sort(key=lambda event: event[0])
        of_entity = {
            key: [row for *_, row in rows]
            for key, rows in itertools.groupby(inside, key=lambda event: event[0])
        }
        for key in people:
            label = answer(question, of_entity.get(key, []))
            if label is not None and born[key] <= plan.test:
                result[key, cutoff] = label
    return result


def answer(question, rows):
    condition, kind = question.condition, question.aggregate

    def holds(row):
        value = row[condition.column]
        if value is None:
            return None
        return (
            value > condition.value
            if isinstance(condition.value, float)
            else value == condition.value
        )

    if kind == Aggregate.SHARE:
        known = [holds(row) for row in rows if holds(row) is not None]
        return sum(known) / len(known) if known else None
    if condition:
        rows = [row for row in rows if holds(row)]
    values = (
        [row[question.column] for row in rows if row[question.column] is not None]
        if question.column
        else []
    )
    if kind in (Aggregate.MEAN, Aggregate.MAX) and not values:
        return None
    found = {
        Aggregate.EXISTS: lambda: len(rows) > 0,
        Aggregate.NONE: lambda: len(rows) == 0,
        Aggregate.COUNT: lambda: len(rows),
        Aggregate.SUM: lambda: math.fsum(values),
        Aggregate.MEAN: lambda: math.fsum(values) / len(values),
        Aggregate.MAX: lambda: max(values),
        Aggregate.COUNT_DISTINCT: lambda: len(set(values)),
    }[kind]()
    return sum(found > limit for limit in question.thresholds) if question.thresholds else found


def test_a_window_is_open_at_the_cutoff_and_closed_at_its_end(database):
    """One order exactly at the cutoff, one exactly a window later, both of customer 0."""
    plan = database.blueprint
    cutoff = plan.validation
    orders = database.tables["orders"]
    times = [plan.start, cutoff, cutoff + WINDOW]
    few = pl.concat([orders.head(3).with_columns(pl.Series("ordered_at", times)), orders.tail(1)])
    few = few.with_columns(customer_id=pl.lit(0, pl.Int64))
    tables = {**database.tables, "orders": few, "items": database.tables["items"].clear()}
    changed = replace(database, tables=tables)
    question = asked(OWN, Aggregate.COUNT, active_windows=1)
    with Labeller(changed) as labeller:
        table = labeller.table(question.task(plan))
    # Active up to the cutoff itself; of the two orders only the later lies in (cutoff, + window].
    assert table.filter(pl.col("cutoff_time") == cutoff)["label"].to_list() == [1.0]


def test_routes_of_one_and_two_hops_are_all_found(database):
    found = routes(database.blueprint)
    assert {OWN, GIFTS, BELOW, PRICES} <= set(found)
    # By owner and by gift: the orders, their items, their other customer; then products' items.
    assert len(found) == len(set(found)) == 2 * 3 + 2
    assert all(route.entity in ("customers", "products") for route in found)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.words)
def test_the_sql_can_be_parsed_and_reads_the_tables_of_the_route(database, question):
    task = question.task(database.blueprint)
    assert "{timedelta}" in task.sql
    parsed = sqlglot.parse_one(task.sql.replace("{timedelta}", "20 days"), read="duckdb")
    named = {table.name for table in parsed.find_all(sqlglot.exp.Table)}
    route = question.route
    expected = {"timestamps", route.activity, route.end}
    expected |= set() if question.active_windows else {route.entity}
    assert named == expected
    assert [column.alias_or_name for column in parsed.selects] == [
        "timestamp",
        f"{route.entity[:-1]}_id",
        "label",
    ]


def test_a_question_is_said_in_words_and_as_plain_data(database):
    question = asked(BELOW, Aggregate.SHARE, condition=Condition("rebate", 2.0))
    task = question.task(database.blueprint)
    assert task.description == (
        "Share of items rows below orders rows with rebate over 2 in the next 20 days, for "
        "customers rows with orders rows in the past 40 days and a value in the window."
    )
    assert task.terms["second_hop"] == {"to": "child", "table": "items", "key": "order_id"}
    assert task.terms["condition"] == ["rebate", 2.0]


def test_names_that_sql_would_misread_change_nothing(database):
    """Tables called `order` and `All Customers`, keys called `group`."""
    names = {"orders": "order", "customers": "All Customers"}
    columns = {"customer_id": "group", "amount": 'the "amount"'}

    def renamed(table):
        keys = [
            replace(k, column=columns.get(k.column, k.column), parent=names.get(k.parent, k.parent))
            for k in table.keys
        ]
        return replace(
            table,
            name=names.get(table.name, table.name),
            primary_key=columns.get(table.primary_key, table.primary_key),
            keys=tuple(keys),
            columns=tuple(replace(c, name=columns.get(c.name, c.name)) for c in table.columns),
        )

    plan = replace(database.blueprint, tables=tuple(map(renamed, database.blueprint.tables)))
    tables = {
        names.get(name, name): frame.rename(columns, strict=False)
        for name, frame in database.tables.items()
    }
    changed = replace(database, blueprint=plan, tables=tables)
    route = Route("All Customers", "order", "group")
    with Labeller(database) as plain, Labeller(changed) as awkward:
        for active in (0, 2):
            found = plain.table(
                asked(OWN, Aggregate.SUM, "amount", active_windows=active).task(database.blueprint)
            )
            other = asked(route, Aggregate.SUM, 'the "amount"', active_windows=active)
            assert awkward.table(other.task(plan)).equals(found)
