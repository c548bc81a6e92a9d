from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from models.database.attach import open_source, parse_location
from models.database.propose import Proposal, name_score, propose_schema

SHOP = """
CREATE TABLE customers (id INTEGER{pk}, email VARCHAR, dob DATE, first_seen_at TIMESTAMP,
    referrer_id INTEGER);
CREATE TABLE products (sku VARCHAR{pk}, name VARCHAR, price DOUBLE, category_id INTEGER);
CREATE TABLE categories (category_id INTEGER{pk}, parent_category_id INTEGER, name VARCHAR);
CREATE TABLE orders ("orderId" INTEGER{pk}, "customerId" INTEGER{customer}, "orderDate" VARCHAR,
    due_date DATE, ship_customer_id DOUBLE, origin_id INTEGER);
CREATE TABLE order_lines (order_id INTEGER, line_no INTEGER, product VARCHAR, quantity INTEGER);
INSERT INTO customers SELECT i, 'c' || i || '@x', DATE '1990-01-01' + i::INTEGER,
    TIMESTAMP '2020-01-01' + INTERVAL (i) DAY, CASE WHEN i % 3 = 0 THEN i // 2 END
    FROM range(200) r(i);
INSERT INTO categories SELECT i, CASE WHEN i > 1 THEN i // 2 END, 'cat ' || i % 9 FROM range(20) r(i);
INSERT INTO products SELECT 'P' || i, 'nice thing ' || i % 50, i / 3, i % 20 FROM range(100) r(i);
INSERT INTO orders SELECT i, i % 200, (DATE '2021-01-01' + (i % 300)::INTEGER)::VARCHAR,
    '2022-01-01', CASE WHEN i % 2 = 0 THEN i % 200 END, i % 7 FROM range(1000) r(i);
INSERT INTO order_lines SELECT i // 2, i % 2, 'P' || i % 100, i % 5 FROM range(2000) r(i);
"""


def propose(folder: Path, declared: bool, extra: str = "") -> Proposal:
    keys = {"pk": " PRIMARY KEY", "customer": " REFERENCES customers (id)"}
    with duckdb.connect(folder / "shop.duckdb") as connection:
        connection.execute(SHOP.format(**keys if declared else dict.fromkeys(keys, "")))
        connection.execute(extra)
    with open_source(parse_location(str(folder / "shop.duckdb"))) as source:
        return propose_schema("shop", source)


@pytest.mark.parametrize("declared", [True, False])
def test_small_shop(tmp_path, declared):
    proposal = propose(tmp_path, declared)
    schema = proposal.schema
    assert {table.name: table.primary_key for table in schema.tables} == {
        "categories": ("category_id",), "customers": ("id",), "order_lines": ("order_id", "line_no"),
        "orders": ("orderId",), "products": ("sku",),
    }  # fmt: skip
    assert {str(key) for key in schema.foreign_keys} == {
        "categories(parent_category_id) -> categories", "customers(referrer_id) -> customers",
        "order_lines(order_id) -> orders", "order_lines(product) -> products",
        "orders(customerId) -> customers", "orders(ship_customer_id) -> customers",
        "products(category_id) -> categories",
    }  # fmt: skip
    proposed = {str(key): key.proposed for key in schema.foreign_keys}
    assert proposed.pop("orders(customerId) -> customers") is not declared
    assert all(proposed.values())
    assert all(key.tolerance == 0.0 for key in schema.foreign_keys)
    assert {table.name: table.time_column for table in schema.tables} == {
        "categories": None, "customers": "first_seen_at", "order_lines": None,
        "orders": "orderDate", "products": None,
    }  # fmt: skip
    assert schema.table("orders").column("orderDate").sql_type == "VARCHAR"
    assert schema.database == "shop"
    assert schema.source.kind == "attached"


def test_notes_state_the_evidence(tmp_path):
    notes = "\n".join(propose(tmp_path, declared=False).notes)
    assert "customers: primary key id guessed: unique and never null in 200 rows" in notes
    assert "primary key (order_id, line_no) guessed" in notes
    assert "orders(customerId) -> customers: guessed by name, 100.0% of 200 distinct" in notes
    assert "orders.origin_id: looks like a reference, but no table" in notes
    assert "orders: time column orderDate guessed" in notes
    assert "to be cast to TIMESTAMP" in notes


def test_dangling_references_are_tolerated_up_to_one_percent_of_the_values(tmp_path):
    extra = """
        INSERT INTO orders SELECT 1000 + i, 900, '2021-01-01', '2022-01-01', NULL, 1 FROM range(5) r(i);
        UPDATE products SET category_id = category_id + 10;
        CREATE TABLE gone AS SELECT 1 AS a, 2 AS a2, 'x' AS b FROM range(4);"""
    proposal = propose(tmp_path, declared=False, extra=extra)
    keys = {str(key): key for key in proposal.schema.foreign_keys}
    # 5 of 1005 references dangle: 0.4975 %, rounded up.
    assert keys["orders(customerId) -> customers"].tolerance == 0.005
    assert "products(category_id) -> categories" not in keys
    notes = "\n".join(proposal.notes)
    assert "5 of 1005 references dangle, tolerance 0.005" in notes
    assert "products.category_id: named like a key of categories, but only 50.0%" in notes
    assert "gone: no primary key found in 4 rows" in notes
    assert proposal.schema.table("gone").primary_key == ()


def test_codes_are_matched_by_their_values(tmp_path):
    extra = """
        CREATE TABLE airports AS SELECT * FROM
            (VALUES ('SEA', 1), ('PDX', 2), ('LAX', 3), ('JFK', 4), ('SFO', 5)) t (faa, size);
        CREATE TABLE flights AS SELECT i AS flight_id, ['SEA', 'PDX', 'JFK'][1 + i % 3] AS origin,
            ['SEA', 'XXX', 'JFK'][1 + i % 3] AS dest FROM range(50) r(i);"""
    proposal = propose(tmp_path, declared=False, extra=extra)
    flights = [str(key) for key in proposal.schema.foreign_keys if key.table == "flights"]
    assert flights == ["flights(origin) -> airports"]
    assert proposal.schema.table("airports").primary_key == ("faa",)


def test_one_parent_a_column_and_one_to_one_tables(tmp_path):
    extra = """
        CREATE TABLE customer_profiles AS SELECT id AS customer_id, id % 3 AS tier FROM customers;
        CREATE TABLE visits AS SELECT i AS id, i % 200 AS customer_id,
            TIMESTAMP '2020-01-01' AS scheduled_at, TIMESTAMP '2020-01-02' AS visited_at,
            TIMESTAMP '9999-01-01' AS closed_at FROM range(500) r(i);
        CREATE TABLE empty_visits (id INTEGER, customer_id INTEGER);"""
    schema = propose(tmp_path, declared=False, extra=extra).schema
    assert schema.table("customer_profiles").primary_key == ("customer_id",)
    keys = {str(key) for key in schema.foreign_keys if "customer_id" in key.columns}
    assert {"customer_profiles(customer_id) -> customers", "visits(customer_id) -> customers",
            "empty_visits(customer_id) -> customers"} == keys  # fmt: skip
    assert schema.table("visits").time_column == "visited_at"
    assert schema.table("empty_visits").primary_key == ("id",)
    columns = [(key.table, key.columns) for key in schema.foreign_keys]
    assert len(columns) == len(set(columns))


@pytest.mark.parametrize(
    ("column", "parent", "key", "score"),
    [
        ("customer_id", "customers", "id", 5),
        ("customerId", "Customers", "id", 5),
        ("customerid", "customers", "id", 5),
        ("customer_id", "dim_customer", "customer_key", 5),
        ("category_id", "categories", "id", 5),
        ("carrier", "airlines", "carrier", 4),
        ("home_team_id", "teams", "team_id", 3),
        ("customer", "customers", "id", 2),
        ("line_id", "invoice_lines", "id", 2),
        ("origin_id", "airports", "airport_id", 0),
        ("name", "products", "name", 0),
        ("id", "customers", "id", 0),
        ("steam_id", "teams", "id", 0),
    ],
)
def test_name_scores(column, parent, key, score):
    assert name_score(column, parent, key) == score
