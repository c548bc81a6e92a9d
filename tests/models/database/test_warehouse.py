"""The warehouse: one owner at a time, also when that owner is killed before its dbt."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import duckdb
import polars as pl
import pytest

from models.database.warehouse import Warehouse, drop_relation
from tests.fixtures import PATIENCE, ROOT, wait_for

TAKE_TURNS = """
import sys, time
from pathlib import Path
from models.database.warehouse import Warehouse

warehouse, name, rounds = Warehouse(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
for number in range(rounds):
    with warehouse.turn() as turn, turn.connect() as connection:
        connection.execute("create table if not exists log (who varchar, part varchar)")
        connection.execute("insert into log values (?, 'begins')", [name])
        time.sleep(0.02)
        connection.execute("insert into log values (?, 'ends')", [name])
"""
# Takes a turn, starts a child that inherits the lock as dbt does, and waits to be killed.
HOLD_WITH_CHILD = """
import subprocess, sys, time
from pathlib import Path
import models.database.dbt as dbt
from models.database.warehouse import Warehouse

signals = Path(sys.argv[2])
real = subprocess.run
def stand_in(command, **options):
    code = "import sys, time, pathlib; p = pathlib.Path(sys.argv[1]); (p / 'child').touch()\\n"
    code += "while not (p / 'go').exists(): time.sleep(0.01)"
    return real([sys.executable, "-c", code, str(signals)], **options)
dbt.subprocess.run = stand_in
dbt._parsed = lambda *arguments: b""
with Warehouse(Path(sys.argv[1])).turn() as turn:
    turn.build(Path("."), ["model"], {})
"""


def child(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT)


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "here" / "warehouse.duckdb")


def test_processes_take_turns(warehouse):
    children = [child(TAKE_TURNS, warehouse.path, name, 5) for name in "ab"]
    assert [process.wait(PATIENCE) for process in children] == [0, 0]
    with warehouse.turn() as turn, turn.connect() as connection:
        log = connection.execute("select who, part from log order by rowid").fetchall()
    assert len(log) == 20
    for begins, ends in zip(log[::2], log[1::2], strict=True):
        assert begins[0] == ends[0]
        assert (begins[1], ends[1]) == ("begins", "ends")


def test_a_killed_owner_keeps_the_warehouse_until_its_dbt_has_ended(warehouse, tmp_path):
    owner = child(HOLD_WITH_CHILD, warehouse.path, tmp_path)
    wait_for(lambda: (tmp_path / "child").exists() or owner.poll() is not None)
    owner.kill()
    owner.wait()
    next_one = child(TAKE_TURNS, warehouse.path, "next", 1)
    time.sleep(1.5)
    assert next_one.poll() is None
    assert not warehouse.path.exists()
    (tmp_path / "go").touch()
    assert next_one.wait(PATIENCE) == 0
    assert warehouse.path.exists()


def test_a_turn_that_fails_frees_the_warehouse(warehouse):
    with pytest.raises(RuntimeError, match="oops"), warehouse.turn():
        raise RuntimeError("oops")
    child_process = child(TAKE_TURNS, warehouse.path, "next", 1)
    assert child_process.wait(PATIENCE) == 0


def parquet(path: Path, **columns: list[object]) -> Path:
    pl.DataFrame(columns).write_parquet(path)
    return path


def test_views_point_at_the_version_that_was_asked_for(warehouse, tmp_path):
    old, new = parquet(tmp_path / "it's old", n=[1]), parquet(tmp_path / "new", n=[2, 3])

    def rows(path):
        with warehouse.turn() as turn:
            turn.point_views("shop_raw", {"Order Items": path})
            with turn.connect() as connection:
                return connection.execute('select n from shop_raw."Order Items"').fetchall()

    assert rows(old) == [(1,)]
    assert rows(new) == [(2,), (3,)]
    assert rows(old) == [(1,)]


def test_a_view_replaces_a_table_of_the_same_name(warehouse, tmp_path):
    path = parquet(tmp_path / "new", n=[2])
    with warehouse.turn() as turn:
        with turn.connect() as connection:
            connection.execute("create schema shop")
            connection.execute("create table shop.orders as select 1 as n")
        turn.point_views("shop", {"orders": path})
        with turn.connect() as connection:
            assert connection.execute("select n from shop.orders").fetchall() == [(2,)]
            drop_relation(connection, "shop", "orders")
            drop_relation(connection, "shop", "orders")
            views = "select view_name from duckdb_views() where schema_name = 'shop'"
            assert connection.execute(views).fetchall() == []


def test_an_export_does_not_depend_on_the_order_of_the_rows(warehouse, tmp_path):
    rows = [(b, a, f"{a}{b}") for a in range(30) for b in range(30)]
    exported = []
    for name, order in {"forth": rows, "back": rows[::-1]}.items():
        with warehouse.turn() as turn:
            with turn.connect() as connection:
                connection.execute("create or replace table t (b int, a int, text varchar)")
                connection.executemany("insert into t values (?, ?, ?)", order)
            for key in (("a", "b"), ()):
                path = tmp_path / f"{name}{len(key)}.parquet"
                assert turn.export("main", "t", key, path) == 900
                exported.append(path.read_bytes())
    by_key, by_all, again_by_key, again_by_all = exported
    assert by_key == again_by_key
    assert by_all == again_by_all
    assert pl.read_parquet(tmp_path / "back2.parquet")["a"].is_sorted()
    assert pl.read_parquet(tmp_path / "back0.parquet")["b"].is_sorted()


def test_a_turn_leaves_the_file_to_others(warehouse):
    with warehouse.turn() as turn:
        with turn.connect() as connection:
            connection.execute("create table t as select 1 as n")
        code = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute('insert into t values (2)')"
        assert child(code, warehouse.path).wait(PATIENCE) == 0
    with duckdb.connect(str(warehouse.path)) as connection:
        assert connection.execute("select count(*) from t").fetchone() == (2,)
