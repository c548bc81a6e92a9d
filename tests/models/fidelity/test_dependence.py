"""Explained shares of cells whose causes are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.database.schema import SemanticType
from models.fidelity.databases import sample_rows
from models.fidelity.dependence import dependence, summary
from models.fidelity.estimator import explained_share, make_target
from models.fidelity.relatives import child_aggregates, earlier_rows, parent_columns
from tests.models.fidelity.made import made_database, moments

CUSTOMERS, ORDERS = 150, 1500


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Orders that copy their customer, follow their own past, or nothing; and what they sum up to."""
    generator = np.random.default_rng(0)
    # Few values, so that they do not tell which customer it is.
    wealth, age, shoes = generator.integers(5, size=(3, CUSTOMERS)).astype(float)
    mood = generator.normal(size=CUSTOMERS)
    customer = generator.integers(CUSTOMERS, size=ORDERS)
    amount = mood[customer] + 0.3 * generator.normal(size=ORDERS)
    noise = generator.normal(size=ORDERS)
    customers = pl.DataFrame(
        {
            "customer_id": np.arange(CUSTOMERS),
            "wealth": wealth,
            "shoes": shoes,
            "age": age,
            "busy": np.bincount(customer, minlength=CUSTOMERS) > ORDERS / CUSTOMERS,
        }
    )
    orders = pl.DataFrame(
        {
            "orders_id": np.arange(ORDERS),
            "customer_id": customer,
            "at": moments(np.sort(generator.random(ORDERS)) * 100),
            "copied": wealth[customer],
            "habit": amount,
            "noise": noise,
            "doubled": 2 * noise + 0.1 * generator.normal(size=ORDERS),
            "rich": np.where(age[customer] > 2, "yes", "no"),
        }
    )
    frames = {"customer": customers, "orders": orders}
    keys = [("orders", "customer_id", "customer")]
    return made_database(tmp_path_factory.mktemp("shop"), frames, keys, {"orders": "at"})


@pytest.fixture(scope="module")
def explained(shop):
    return {(one.table, one.column): one for one in dependence(shop, rows=1000)}


def test_every_column_is_explained_by_what_made_it_and_by_nothing_else(explained):
    copied, habit = explained["orders", "copied"], explained["orders", "habit"]
    noise, rich = explained["orders", "noise"], explained["orders", "rich"]
    assert copied.parents > 0.9
    assert habit.own < 0.1
    assert abs(habit.parents) < 0.15
    assert habit.history > 0.4
    assert noise.own > 0.9
    assert abs(noise.parents) < 0.05
    assert abs(noise.history) < 0.05
    assert rich.kind == SemanticType.CATEGORICAL
    assert rich.parents > 0.8
    assert noise.children is None
    assert copied.rows == 1000


def test_entities_are_explained_by_their_children(explained):
    busy, shoes = explained["customer", "busy"], explained["customer", "shoes"]
    assert busy.own < 0.2
    assert busy.children > 0.75
    assert busy.all_children == busy.children
    assert (busy.parents, busy.history) == (None, None)
    assert shoes.own + shoes.children < 0.05
    assert shoes.together < 0.05


def test_the_summary_counts_columns_and_lifts(explained):
    found = summary(list(explained.values()))
    assert found["columns explained"] == len(explained) == 9
    assert 0 < found["parents lift: share over .05"] < 1
    lifts = [one.parents for one in explained.values() if one.parents is not None]
    assert found["parents lift: median"] == pytest.approx(np.median(lifts))
    assert summary([]) == {}


def test_the_same_seed_gives_the_same_figures_and_few_targets_are_taken_from_all_tables(shop):
    few = dependence(shop, targets=4, rows=400)
    assert dependence(shop, targets=4, rows=400) == few
    assert {one.table for one in few} == {"customer", "orders"}
    assert dependence(shop, seed=1, targets=4, rows=400) != few


def test_history_and_children_lie_strictly_before(tmp_path):
    # Orders of days 0, 1, 1, 2 of one customer; lines a day before, at and after their order.
    orders = pl.DataFrame(
        {"orders_id": range(4), "customer_id": [0] * 4, "at": moments([0, 1, 1, 2]),
         "amount": [1.0, 2.0, 4.0, 8.0]}
    )  # fmt: skip
    lines = pl.DataFrame(
        {"line_id": range(4), "orders_id": [3] * 4, "at": moments([1, 2, 3, 1.5]),
         "price": [5.0, 7.0, 9.0, 1.0]}
    )  # fmt: skip
    frames = {"customer": pl.DataFrame({"customer_id": [0]}), "orders": orders, "line": lines}
    keys = [("orders", "customer_id", "customer"), ("line", "orders_id", "orders")]
    shop = made_database(tmp_path, frames, keys, {"orders": "at", "line": "at"})
    table = shop.schema.table("orders")
    past = earlier_rows(shop, table, orders)
    assert past["customer_id: MEAN(orders.amount)"].to_list() == [None, 1.0, 1.0, 7 / 3]
    assert past["customer_id: COUNT(orders)"].to_list() == [0, 1, 1, 3]
    before = child_aggregates(shop, table, orders)
    assert before["orders_id: MEAN(line.price)"].to_list() == [None, None, None, 3.0]
    whole = child_aggregates(shop, table, orders, whole=True)
    assert whole["orders_id: MEAN(line.price)"].to_list() == [None, None, None, 5.5]
    assert before["orders_id: COUNT(line)"].to_list() == [0, 0, 0, 2]


def test_later_rows_change_nothing_that_a_row_sees(shop, tmp_path):
    table = shop.schema.table("orders")
    frame = pl.read_parquet(shop.tables["orders"])
    early = frame.filter(pl.col("at") <= frame["at"].quantile(0.5))
    later = frame.with_columns(
        pl.when(pl.col("at") > early["at"].max())
        .then(-pl.col("habit"))
        .otherwise("habit")
        .alias("habit")
    )
    later.write_parquet(tmp_path / "orders.parquet")
    changed = replace(shop, tables={**shop.tables, "orders": tmp_path / "orders.parquet"})
    assert earlier_rows(shop, table, early).equals(earlier_rows(changed, table, early))


def test_parents_are_seen_from_their_own_time_on_and_rows_keep_their_order(tmp_path):
    accounts = pl.DataFrame(
        {"account_id": [7, 3], "opened": moments([5, 0]), "limit": [70.0, 30.0]}
    )
    visits = pl.DataFrame(
        {"visit_id": range(4), "account_id": [7, 3, 7, None], "at": moments([4, 5, 5, 6])}
    )
    frames = {"account": accounts, "visit": visits}
    keys = [("visit", "account_id", "account")]
    made = made_database(tmp_path, frames, keys, {"account": "opened", "visit": "at"})
    found = parent_columns(made, made.schema.table("visit"), visits)
    assert found["account_id.limit"].to_list() == [None, 30.0, 70.0, None]


def test_a_self_reference_sees_earlier_rows_only(tmp_path):
    staff = pl.DataFrame(
        {"staff_id": range(4), "boss_id": [None, 0, 0, 0], "hired": moments([0, 1, 2, 3]),
         "pay": [9.0, 1.0, 2.0, 4.0]}
    )  # fmt: skip
    made = made_database(
        tmp_path, {"staff": staff}, [("staff", "boss_id", "staff")], {"staff": "hired"}
    )
    table = made.schema.table("staff")
    assert parent_columns(made, table, staff)["boss_id.pay"].to_list() == [None, 9, 9, 9]
    (mean,) = (c for c in earlier_rows(made, table, staff) if c.name.startswith("boss_id: MEAN"))
    assert mean.to_list() == [None, None, 1.0, 1.5]
    (count,) = (c for c in child_aggregates(made, table, staff) if "COUNT" in c.name)
    assert count.to_list() == [0, 0, 0, 0]
    (count,) = (c for c in child_aggregates(made, table, staff, whole=True) if "COUNT" in c.name)
    assert count.to_list() == [3, 0, 0, 0]


def test_targets_are_refused_where_they_say_nothing():
    generator = np.random.default_rng(0)
    numerical, boolean = SemanticType.NUMERICAL, SemanticType.BOOLEAN
    assert make_target(pl.Series(np.arange(99.0)), numerical, generator) is None
    assert make_target(pl.Series(np.ones(200)), numerical, generator) is None
    assert make_target(pl.Series([1.0] * 9 + [0.0] * 200), boolean, generator) is None
    target = make_target(pl.Series([1.0] * 11 + [0.0] * 200), boolean, generator)
    assert abs(target.values[target.halves == 0].sum() - 5.5) == 0.5


def test_noise_explains_nothing_and_a_wild_value_is_not_everything():
    generator = np.random.default_rng(3)
    cause = generator.normal(size=1000)
    wild = cause + 0.1 * generator.normal(size=1000)
    wild[0] = 1e9
    target = make_target(pl.Series(wild), SemanticType.NUMERICAL, generator)
    assert explained_share(target, pl.DataFrame({"cause": cause})) > 0.9
    columns = pl.DataFrame(generator.normal(size=(1000, 20)), schema=[f"x{i}" for i in range(20)])
    assert explained_share(target, columns) < 0.03
    assert explained_share(target, pl.DataFrame()) == 0
    assert explained_share(target, pl.DataFrame({"same": [1.0] * 1000})) == 0


def test_a_sample_keeps_the_order_of_the_file(tmp_path):
    pl.DataFrame({"x": range(100)}).write_parquet(tmp_path / "x.parquet")
    found = sample_rows(tmp_path / "x.parquet", 10, np.random.default_rng(0))["x"].to_list()
    assert found == sorted(set(found))
    assert len(found) == 10
    assert found != list(range(10))
