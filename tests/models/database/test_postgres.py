"""AttachedDatabase against a real Postgres server."""

from __future__ import annotations

import socket
import threading
from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest

from models.database.attach import SourceError, open_source, parse_location
from models.database.propose import propose_schema
from models.database.schema import ForeignKey
from tests.fixtures import PATIENCE
from tests.postgres_server import (
    PASSWORD,
    PostgresServer,
    free_port,
    postgres_server,  # noqa: F401 (a fixture)
)

SCHEMA = r'''
CREATE SCHEMA "Shop";
CREATE SCHEMA elsewhere;
CREATE TYPE "Shop".mood AS ENUM ('calm', 'cross');
CREATE TABLE elsewhere.countries (id int PRIMARY KEY);
CREATE TABLE "Shop"."Customer Accounts" (
    "customerId" int PRIMARY KEY, "E-mail" text UNIQUE, country_id int REFERENCES elsewhere.countries,
    balance numeric(10, 2), born date, joined timestamptz NOT NULL, token uuid, mood "Shop".mood,
    extra jsonb, tags text[], photo bytea, "say ""hi""" text);
CREATE TABLE "Shop".orders (
    shop int, number int, "customerId" int NOT NULL REFERENCES "Shop"."Customer Accounts",
    ordered_at timestamp, opens time, took interval, PRIMARY KEY (shop, number));
CREATE TABLE "Shop".lines (
    id bigserial PRIMARY KEY, number int, shop int, amount double precision,
    FOREIGN KEY (shop, number) REFERENCES "Shop".orders (shop, number));
CREATE TABLE "Shop".events (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE "Shop".events_2020 PARTITION OF "Shop".events
    FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE VIEW "Shop".cross_customers AS SELECT * FROM "Shop"."Customer Accounts" WHERE mood = 'cross';
INSERT INTO elsewhere.countries VALUES (1);
INSERT INTO "Shop"."Customer Accounts" VALUES
    (2, 'b@x', 1, 12.50, '1990-02-03', '2020-01-01 01:30:00+02',
     '00000000-0000-0000-0000-00000000000a', 'cross', '{"a": 1}', '{x,y}', '\\x00ff', 'q'),
    (1, NULL, NULL, NULL, 'infinity', '2020-06-01 12:00:00+00', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO "Shop".orders VALUES (1, 1, 2, '2020-02-01 10:00', '08:30', '1 day 1 second'),
    (1, 2, 1, '2020-03-01 10:00', NULL, NULL);
INSERT INTO "Shop".lines (shop, number, amount) VALUES (1, 1, 2.5), (1, 2, NULL), (NULL, NULL, 1);
INSERT INTO "Shop".events VALUES (1, '2020-05-05');
'''


@pytest.fixture(scope="module")
def shop(postgres_server: PostgresServer) -> str:  # noqa: F811
    postgres_server.execute("CREATE DATABASE shop_db")
    postgres_server.execute(SCHEMA, "shop_db")
    return postgres_server.url("shop_db") + "?schema=Shop"


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)


def failure(location: str) -> str:
    with pytest.raises(SourceError) as caught:
        open_source(parse_location(location))
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


def test_tables_are_those_of_the_schema_without_partitions_and_views(shop):
    with open_source(parse_location(shop)) as source:
        assert source.table_names() == ["Customer Accounts", "events", "lines", "orders"]
        assert [source.row_count(table) for table in source.table_names()] == [2, 1, 3, 2]
    with open_source(parse_location(shop + "&views=true")) as source:
        assert "cross_customers" in source.table_names()
        assert source.row_count("cross_customers") == 1


def test_declared_keys_include_composite_and_quoted_ones(shop):
    with open_source(parse_location(shop)) as source:
        keys = source.declared_keys()
    assert keys.primary == {
        "Customer Accounts": ("customerId",), "orders": ("shop", "number"), "lines": ("id",),
    }  # fmt: skip
    assert keys.unique == {"Customer Accounts": [("E-mail",)]}
    # The reference to another schema's table is none that could be followed here.
    assert sorted(keys.foreign, key=str) == [
        ForeignKey("lines", ("shop", "number"), "orders", ("shop", "number")),
        ForeignKey("orders", ("customerId",), "Customer Accounts", ("customerId",)),
    ]


def test_copy_converts_types_and_orders_by_key(shop, tmp_path: Path):
    target = tmp_path / "customers.parquet"
    with open_source(parse_location(shop)) as source:
        notes = source.copy_to_parquet("Customer Accounts", target)
        staged = source.staged_columns("Customer Accounts")
    assert [note.split(":")[0] for note in notes] == [
        "Customer Accounts.tags", "Customer Accounts.photo",
    ]  # fmt: skip
    relation = duckdb.sql(f"FROM '{target}'")
    assert list(zip(relation.columns, map(str, relation.types), strict=True)) == staged
    assert dict(staged)["balance"] == "DOUBLE"
    first, second = relation.fetchall()
    assert first == (1, None, None, None, None, datetime(2020, 6, 1, 12), *[None] * 4)
    assert second == (
        2, "b@x", 1, 12.5, date(1990, 2, 3), datetime(2019, 12, 31, 23, 30),
        "00000000-0000-0000-0000-00000000000a", "cross", '{"a": 1}', "q",
    )  # fmt: skip


def test_times_and_intervals_become_seconds(shop):
    with open_source(parse_location(shop)) as source:
        rows = source.query(f"SELECT opens, took FROM {source.staged('orders')}", "orders")
        assert sorted(rows, key=str) == [(30600.0, 86401.0), (None, None)]
        assert source.last_event({"orders": "ordered_at", "lines": None}) == datetime(
            2020, 3, 1, 10
        )


def test_fingerprint_follows_the_content(shop, postgres_server):  # noqa: F811
    def fingerprint() -> str:
        with open_source(parse_location(shop)) as source:
            return source.content_fingerprint("lines")

    before = fingerprint()
    # An update moves the row within Postgres's heap, so that the scan's order changes.
    postgres_server.execute('UPDATE "Shop".lines SET amount = amount WHERE id = 1', "shop_db")
    assert fingerprint() == before
    postgres_server.execute('UPDATE "Shop".lines SET amount = 7 WHERE id = 1', "shop_db")
    assert fingerprint() != before
    postgres_server.execute('UPDATE "Shop".lines SET amount = 2.5 WHERE id = 1', "shop_db")
    assert fingerprint() == before


def test_all_reads_see_one_snapshot(shop, postgres_server):  # noqa: F811
    with open_source(parse_location(shop)) as source:
        assert source.row_count("events") == 1
        postgres_server.execute("INSERT INTO \"Shop\".events VALUES (9, '2020-07-07')", "shop_db")
        assert source.row_count("events") == 1
    with open_source(parse_location(shop)) as source:
        assert source.row_count("events") == 2
    postgres_server.execute('DELETE FROM "Shop".events WHERE id = 9', "shop_db")


def test_a_failed_read_does_not_block_the_next(shop):
    with open_source(parse_location(shop)) as source:
        with pytest.raises(SourceError, match="orders"):
            source.query(f"SELECT took / 0, error('x') FROM {source.staged('orders')}", "orders")
        assert source.row_count("orders") == 2


def test_the_database_cannot_be_written(shop):
    with (
        open_source(parse_location(shop)) as source,
        pytest.raises(SourceError, match=r"read.only"),
    ):
        source.query('DELETE FROM src."Shop".lines', "lines")


def test_proposal_takes_declared_keys_over(shop):
    with open_source(parse_location(shop)) as source:
        proposal = propose_schema("shop", source)
    schema = proposal.schema
    assert schema.table("orders").primary_key == ("shop", "number")
    assert schema.table("orders").time_column == "ordered_at"
    declared = {str(key) for key in schema.foreign_keys if not key.proposed}
    assert declared == {"lines(shop, number) -> orders", "orders(customerId) -> Customer Accounts"}
    assert any("photo" in note and "BLOB" in note for note in proposal.notes)


def test_wrong_or_missing_password(shop, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "wr0ng-guess")
    message = failure(shop)
    assert "refused the user or the password" in message
    assert "PGPASSWORD" in message
    assert "wr0ng-guess" not in message
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", "/nonexistent")
    assert "set PGPASSWORD" in failure(shop)


def test_unknown_database_user_schema_and_port(postgres_server):  # noqa: F811
    server = postgres_server
    assert "no such database" in failure(server.url("nowhere"))
    assert "refused the user" in failure(server.url(user="stranger"))
    assert "no tables in schema 'absent'" in failure(server.url() + "?schema=absent")
    port = free_port()
    message = failure(server.url(port=port))
    assert f"nothing answers at 127.0.0.1:{port}" in message
    assert "nothing answers" in failure("postgresql://admin@no-such-host.invalid/shop")


def test_a_server_that_accepts_and_stays_silent_is_told(monkeypatch):
    monkeypatch.setattr("models.database.attach.CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # Were no limit given to the driver, it would wait until the server goes.
        gone = threading.Timer(PATIENCE, silent.close)
        gone.start()
        message = failure(f"postgresql://admin@127.0.0.1:{silent.getsockname()[1]}/shop")
        gone.cancel()
    assert "the server does not answer" in message
    assert "timeout" in message


def test_an_environment_url_may_hold_the_password(shop, postgres_server, monkeypatch):  # noqa: F811
    monkeypatch.delenv("PGPASSWORD")
    good = f"postgresql://admin:s3cr3t-pa'ss%2Fw%40rd@127.0.0.1:{postgres_server.port}/shop_db"
    monkeypatch.setenv("SHOP_DATABASE_URL", good + "?schema=Shop")
    declaration = parse_location("env:SHOP_DATABASE_URL")
    with open_source(declaration) as source:
        assert source.row_count("orders") == 2
        assert source.source == declaration
        assert "s3cr3t" not in repr(source) + repr(source.source) + repr(vars(source))
        stored = source.connection.execute("FROM duckdb_secrets()").fetchall()
        stored += source.connection.execute("FROM duckdb_databases()").fetchall()
        assert "s3cr3t" not in repr(stored)
    monkeypatch.setenv("SHOP_DATABASE_URL", good.replace("shop_db", "nowhere"))
    message = failure("env:SHOP_DATABASE_URL")
    assert "no such database" in message
    assert "s3cr3t" not in message
