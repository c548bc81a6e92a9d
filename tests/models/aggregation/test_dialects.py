"""The compiled statements mean the same on another SQL engine: a real Postgres server."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from sqlglot import exp

from models.aggregation.combining import Plan
from models.aggregation.compilation import SEEDS, compile_query
from models.aggregation.engine import compute_features
from models.aggregation.features import Condition, Feature
from models.aggregation.paths import Hop, enumerate_paths
from models.aggregation.sql import SOURCE_SCHEMA, create, render
from models.aggregation.windows import following, trailing
from models.database.quoting import quote
from tests.models.aggregation.random_features import OVER_SIBLINGS, features_along, numbered
from tests.models.dfs.shop import SHOP, day, seeds_at, shop_frames, store
from tests.postgres_server import postgres_server as postgres_server

DUCKDB_TYPES = {"DOUBLE PRECISION": "DOUBLE", "TEXT": "VARCHAR"}
SQL_TYPES = {
    pl.Int64: "BIGINT",
    pl.UInt32: "BIGINT",
    pl.Float64: "DOUBLE PRECISION",
    pl.String: "TEXT",
    pl.Boolean: "BOOLEAN",
    pl.Datetime: "TIMESTAMP",
}
FRAMES = shop_frames(3)
SEED_FRAME = seeds_at(range(8), [day(9), day(20)])
WEEK = timedelta(days=7)


class PostgresSession:
    """What the compiler needs of a Postgres connection."""

    def __init__(self, cursor: Any, types: dict[str, dict[str, str]]) -> None:
        self._cursor, self._types, self._count = cursor, types, 0

    def create(self, query: exp.Query, hint: str) -> str:
        self._count += 1
        name = f"{hint}_{self._count}"
        self._execute(create(name, query))
        return name

    def drop(self, *names: str) -> None:
        for name in names:
            self._cursor.execute(f"DROP TABLE {quote(name)}")

    def row(self, query: exp.Query) -> tuple[Any, ...] | None:
        return (self.rows(query) or [(None,)])[0]

    def rows(self, query: exp.Query) -> list[tuple[Any, ...]]:
        self._execute(query)
        return self._cursor.fetchall()

    def column_type(self, table: str, column: str) -> str:
        return self._types[table].get(column, "")

    def _execute(self, statement: exp.Expression | exp.Query) -> None:
        self._cursor.execute(render(statement, "postgres"))


def load(cursor: Any, name: str, frame: pl.DataFrame) -> dict[str, str]:
    """Make a table of a frame; the types of its columns as DuckDB names them."""
    types = {column: SQL_TYPES[kind.base_type()] for column, kind in frame.schema.items()}
    columns = ", ".join(f"{quote(column)} {kind}" for column, kind in types.items())
    cursor.execute(f"CREATE TABLE {name} ({columns})")
    places = ", ".join(["%s"] * frame.width)
    cursor.executemany(f"INSERT INTO {name} VALUES ({places})", frame.rows())
    return {column: DUCKDB_TYPES.get(kind, kind) for column, kind in types.items()}


@pytest.fixture(scope="module")
def session(postgres_server):
    psycopg2 = pytest.importorskip("psycopg2")
    with contextlib.closing(
        psycopg2.connect(
            host="127.0.0.1",
            port=postgres_server.port,
            user=postgres_server.user,
            password=postgres_server.password,
            dbname="postgres",
        )
    ) as connection:
        connection.autocommit = True  # one failure is not to be everybody's
        cursor = connection.cursor()
        cursor.execute(f"CREATE SCHEMA {SOURCE_SCHEMA}")
        types = {
            name: load(cursor, f"{SOURCE_SCHEMA}.{quote(name)}", frame)
            for name, frame in FRAMES.items()
        }
        load(cursor, SEEDS, SEED_FRAME)
        yield PostgresSession(cursor, types)


def features_of_every_kind() -> dict[str, list[Feature]]:
    """Some features of each path, and of the past some over windows, conditions and siblings."""
    past, nested = [], []
    for path in enumerate_paths(SHOP, "customers", 2):
        for feature in features_along(SHOP, "customers", path):
            if feature.transform != "ngram_hash":  # made outside of SQL
                (nested if len(feature.primitives) > 1 else past).append(feature)
    simple = [feature for feature in past if feature.primitives and not feature.path[0].forward]
    timed = [feature for feature in simple if feature.path[0].target == "orders"]
    to_orders, to_stores = (
        next(key for key in SHOP.foreign_keys if (key.table, key.parent) == ends)
        for ends in (("orders", "customers"), ("orders", "stores"))
    )
    siblings = (Hop(to_orders, False), Hop(to_stores, True), Hop(to_stores, False))
    return {
        "past": past,
        "nested": nested[::2],
        "trailing windows": [replace(one, window=trailing(WEEK)) for one in timed],
        "next windows": [replace(one, window=following(WEEK)) for one in timed],
        "conditions": [replace(one, where=Condition("channel", "a")) for one in timed],
        "siblings": [
            replace(one, path=siblings, lookback=WEEK, window=following(WEEK))
            for one in timed
            if len(one.path) == 1 and one.primitives[0] in OVER_SIBLINGS
        ],
    }


KINDS = features_of_every_kind()


@pytest.mark.parametrize("plan", [Plan.RANGE, Plan.SWEEP])
@pytest.mark.parametrize("kind", KINDS)
def test_another_engine_gives_the_same_values(session, tmp_path, kind, plan):
    features = numbered(KINDS[kind])
    files = store(FRAMES, tmp_path)
    expected = compute_features(
        SHOP, features, files, SEED_FRAME, entity_table="customers", allow_future=True
    )
    aliases = {f"f{position}": feature for position, feature in enumerate(features)}
    rows = session.rows(compile_query(session, SHOP, "customers", aliases, plan))
    assert [row[0] for row in rows] == expected["row_id"].to_list()
    for feature, *values in zip(features, *(row[1:] for row in rows), strict=True):
        wanted = expected[feature.name].to_list()
        # Wide integers become doubles by another way there, and logarithms are another library's.
        wanted = [
            pytest.approx(value, rel=1e-12, abs=1e-12) if isinstance(value, float) else value
            for value in wanted
        ]
        assert values == wanted, feature.name
    assert any(value for row in rows for value in row[1:])
