"""Autocomplete tasks: what is hidden with a column, and what features of its rows still see."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from models.aggregation.engine import compute_features
from models.database.schema import TaskType
from models.dfs.config import FeatureConfig
from models.dfs.enumeration import enumerate_features
from models.synthetic.relational_schema import relational_schema
from models.synthetic.tasks import SyntheticTask, TaskKind, autocomplete_task, label_table, leaks
from tests.models.synthetic.tasks.market import market

BINARY, SEVERAL = TaskType.BINARY_CLASSIFICATION, TaskType.MULTICLASS_CLASSIFICATION


@pytest.fixture(scope="module")
def database():
    return market()


def test_what_a_column_gives_away_is_removed(database):
    # paid comes from amount, fee from paid, the gaps of channel from fee; and the rebate of items,
    # of which every third is packed at once, from the amount.
    assert leaks(database, ("orders", "amount")) == (
        ("items", "rebate"),
        ("orders", "channel"),
        ("orders", "fee"),
        ("orders", "paid"),
    )
    assert leaks(database, ("orders", "paid")) == (("orders", "channel"), ("orders", "fee"))
    assert leaks(database, ("orders", "channel")) == ()
    assert leaks(database, ("items", "rebate")) == ()


def test_columns_of_children_that_come_later_stay(database):
    items, orders = database.tables["items"], database.tables["orders"]
    late = items.with_columns(packed_at=orders["ordered_at"].max())
    later = replace(database, tables={**database.tables, "items": late})
    at_last = orders.filter(orders["ordered_at"] == orders["ordered_at"].max())["order_id"]
    without = late.filter(~late["order_id"].is_in(at_last.implode()))
    later = replace(database, tables={**database.tables, "items": without})
    assert ("items", "rebate") not in leaks(later, ("orders", "amount"))
    assert ("orders", "paid") in leaks(later, ("orders", "amount"))


@pytest.mark.parametrize(("place", "name"), [("orders", "due_at"), ("shops", "size")])
def test_what_cannot_be_completed_is_refused_in_words(database, place, name):
    table = database.blueprint.table(place)
    column = next(column for column in table.columns if column.name == name)
    with pytest.raises(ValueError, match=f"{name}.*{place}.*cannot be completed"):
        autocomplete_task(database, table, column)


def test_kinds_of_columns_become_kinds_of_tasks(database):
    orders = database.blueprint.table("orders")
    types = {c.name: autocomplete_task(database, orders, c).task_type for c in orders.columns[:4]}
    assert types == {
        "amount": TaskType.REGRESSION,
        "paid": BINARY,
        "channel": SEVERAL,
        "fee": TaskType.REGRESSION,
    }


def amounts(database):
    orders = database.blueprint.table("orders")
    return autocomplete_task(database, orders, orders.columns[0])


def test_the_target_is_hidden_besides_what_is_removed(database):
    task = amounts(database)
    assert ("orders", "amount") not in task.remove_columns
    assert task.remove_columns == leaks(database, ("orders", "amount"))
    assert len(task.remove_columns) == 4
    assert set(task.hidden_columns) == {("orders", "amount"), *task.remove_columns}


@pytest.fixture(scope="module")
def seeds(database):
    """The first test rows, each at its own time."""
    rows = label_table(database, amounts(database)).filter(split="test").head(20)
    return rows.with_columns(visible_until="cutoff_time")


def features_of(database, seeds, folder):
    """DFS features as the task lets them be."""
    tables = {name: folder / f"{name}.parquet" for name in database.tables}
    for name, path in tables.items():
        database.tables[name].write_parquet(path)
    schema = relational_schema(database.blueprint)
    task = amounts(database)
    features = enumerate_features(
        schema, task.entity_table, FeatureConfig(depth=2, max_features=60), task.hidden_columns
    )
    return compute_features(schema, features, tables, seeds, entity_table=task.entity_table)


def test_features_see_a_row_at_its_own_time_but_not_its_target(database, seeds, tmp_path):
    found = features_of(database, seeds, tmp_path)
    # What the row is completed by: its own columns, its customer, orders before it.
    orders = "customers[customer_id].COUNT(orders[customer_id])"
    assert {"TIME_SINCE(due_at)", "customers[customer_id].vip", orders} <= set(found.columns)
    assert found["customers[customer_id].vip"].null_count() == 0
    assert found[orders].min() >= 1
    for _, column in amounts(database).hidden_columns:
        assert not [name for name in found.columns if column in name]
    scrambled = dict(database.tables)
    for table, column in amounts(database).hidden_columns:
        scrambled[table] = scrambled[table].with_columns(pl.col(column).shuffle(seed=1))
    assert features_of(replace(database, tables=scrambled), seeds, tmp_path).equals(found)


def test_features_of_a_completion_know_nothing_later(database, seeds, tmp_path):
    found = features_of(database, seeds, tmp_path)

    def changed(moment):
        first = {"customer_id": ("orders", "ordered_at"), "quantity": ("items", "packed_at")}
        tables = dict(database.tables)
        for column, (table, time) in first.items():
            late = pl.col(time) > moment
            tables[table] = tables[table].with_columns(
                pl.when(late).then(0).otherwise(column).alias(column)
            )
        return replace(database, tables=tables)

    last = seeds["cutoff_time"].max()
    assert features_of(changed(last), seeds, tmp_path).equals(found)
    assert not features_of(changed(last - timedelta(days=5)), seeds, tmp_path).equals(found)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sql": None}, "a forecast needs sql and a timedelta"),
        ({"kind": TaskKind.AUTOCOMPLETE}, "neither sql nor timedelta"),
        ({"evaluation_cutoffs": 0}, "at least 1"),
    ],
)
def test_contradictory_tasks_are_refused(changes, words):
    task = SyntheticTask(
        "t", TaskKind.FORECAST, BINARY, "e", "e_id", "label", "timestamp", timedelta(days=1), 1, "x"
    )
    with pytest.raises(ValueError, match=words):
        replace(task, **changes)
