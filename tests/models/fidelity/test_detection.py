"""Whether real and synthetic rows are told apart exactly where they differ."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from models.fidelity.detection import detection
from models.fidelity.twins import MOST_ROWS, twin
from models.synthetic.database import Generator
from models.synthetic.layered_layout import LayeredLayout
from tests.models.fidelity.made import START, made_database, moments
from tests.models.synthetic.plain_stages import PlainColumns, PlainRows

CUSTOMERS, ORDERS = 600, 2400


def shop(
    folder, seed, *, scale=1.0, power=1, correlation=0.9, days=100.0, faithful=True, prefix=""
):
    """Customers with two columns that go together, and orders that follow their customer or not."""
    generator = np.random.default_rng(seed)
    first, other = generator.normal(size=(2, CUSTOMERS))
    second = correlation * first + np.sqrt(1 - correlation**2) * other
    customer = generator.integers(CUSTOMERS, size=ORDERS)
    cause = first[customer] if faithful else generator.normal(size=ORDERS)
    customers = pl.DataFrame(
        {
            "customer_id": np.arange(CUSTOMERS),
            "first": (scale * first) ** power,
            "second": second,
            "town": [f"{prefix}{'abcd'[value]}" for value in generator.integers(4, size=CUSTOMERS)],
        }
    )
    orders = pl.DataFrame(
        {
            "orders_id": np.arange(ORDERS),
            "customer_id": customer,
            "at": moments(days * np.sort(generator.random(ORDERS))),
            "amount": cause + 0.2 * generator.normal(size=ORDERS),
        }
    )
    frames = {"customer": customers, "orders": orders}
    return made_database(folder, frames, [("orders", "customer_id", "customer")], {"orders": "at"})


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return shop(tmp_path_factory.mktemp("real"), 0)


def told(real, other):
    return {one.table: one for one in detection(real, other)}


def test_the_same_distribution_cannot_be_told_whatever_its_dates_and_names(real, tmp_path):
    found = told(real, shop(tmp_path, 1, days=1000, prefix="x"))
    assert set(found) == {"customer", "orders"}
    for one in found.values():
        assert one.values < 0.58
        assert one.ranks < 0.58
    assert (found["customer"].rows, found["orders"].rows) == (600, 2000)


def test_other_values_in_the_same_dependence_are_told_by_value_and_not_by_rank(real, tmp_path):
    found = told(real, shop(tmp_path, 1, scale=3, power=3))["customer"]
    assert found.values > 0.7
    assert found.ranks < 0.58
    assert found.telling_values[0] == "first"


def test_another_dependence_within_a_row_is_told_by_rank(real, tmp_path):
    found = told(real, shop(tmp_path, 1, correlation=0.0))["customer"]
    assert found.ranks > 0.75
    assert found.telling_ranks[0] == "first × second"


def test_children_that_do_not_follow_their_parent_are_told_by_rank(real, tmp_path):
    found = told(real, shop(tmp_path, 1, faithful=False))
    assert found["customer"].ranks > 0.75
    assert found["orders"].ranks < 0.58
    assert any("amount" in name for name in found["customer"].telling_ranks)


def test_the_order_of_a_file_does_not_tell(real, tmp_path):
    other = shop(tmp_path / "a", 1)
    frames = {name: pl.read_parquet(path) for name, path in other.tables.items()}
    frames["customer"] = frames["customer"].sort("first")
    made = made_database(tmp_path / "b", frames)
    assert told(real, made)["customer"].ranks < 0.58


def test_equal_seeds_give_equal_answers_and_missing_columns_are_not_looked_at(real, tmp_path):
    other = shop(tmp_path / "a", 1, power=3)
    assert detection(real, other) == detection(real, other)
    customers = pl.read_parquet(other.tables["customer"]).drop("first")
    orders = pl.read_parquet(other.tables["orders"])
    frames = {"customer": customers, "orders": orders.drop("customer_id").head(50)}
    (found,) = detection(real, made_database(tmp_path / "b", frames))
    assert found.table == "customer"
    assert found.values < 0.58


def test_a_twin_has_the_tables_columns_and_proportions_of_its_original(real, tmp_path):
    generator = Generator(LayeredLayout(), PlainRows(), PlainColumns())
    made = twin(real, generator, 3, tmp_path)
    assert set(made.tables) == set(real.tables)
    for name, path in real.tables.items():
        ours, theirs = pl.read_parquet(made.tables[name]), pl.read_parquet(path)
        assert set(ours.columns) == set(theirs.columns)
        assert ours.height == theirs.height
    towns = pl.read_parquet(made.tables["customer"])["town"].drop_nulls().unique()
    assert set(towns) <= {"a", "b", "c", "d"}
    times = pl.read_parquet(made.tables["orders"])["at"]
    assert START <= times.min() < times.max() <= START + timedelta(days=100)
    # Independent columns, where the original's go together.
    assert told(real, made)["customer"].ranks > 0.75


def test_a_great_database_has_a_smaller_twin(tmp_path):
    frames = {
        "small": pl.DataFrame({"small_id": range(150), "x": np.arange(150.0)}),
        "orders": pl.DataFrame(
            {"orders_id": range(2 * MOST_ROWS), "small_id": [1, 2, None, 3] * (MOST_ROWS // 2)}
        ).with_columns(
            at=moments(np.linspace(0, 100, 2 * MOST_ROWS)), amount=pl.col("orders_id") * 0.5
        ),
    }
    great = made_database(
        tmp_path / "great", frames, [("orders", "small_id", "small")], {"orders": "at"}
    )
    generator = Generator(LayeredLayout(), PlainRows(), PlainColumns())
    made = twin(great, generator, 0, tmp_path / "twin")
    heights = {name: pl.read_parquet(path).height for name, path in made.tables.items()}
    assert heights == {"small": 150, "orders": MOST_ROWS}
