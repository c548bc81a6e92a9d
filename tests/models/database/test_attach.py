"""Files as sources, the content fingerprint, and what errors may say."""

from __future__ import annotations

import gzip
import re
import sqlite3
from datetime import datetime
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.database.attach import AttachedDatabase, SourceError, open_source, parse_location
from models.database.schema import ForeignKey, SourceDeclaration


def open_path(path: Path | str) -> AttachedDatabase:
    return open_source(parse_location(str(path)))


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript("""
            CREATE TABLE Customers (id INTEGER PRIMARY KEY, "Full Name" TEXT, email TEXT UNIQUE);
            CREATE TABLE orders (a INTEGER, b INTEGER, customer INTEGER REFERENCES customers,
                at TIMESTAMP, photo BLOB, PRIMARY KEY (a, b));
            CREATE TABLE lines (id INTEGER PRIMARY KEY AUTOINCREMENT, x INTEGER, y INTEGER,
                FOREIGN KEY (x, y) REFERENCES orders (a, b));
            CREATE VIEW names AS SELECT "Full Name" FROM Customers;
            INSERT INTO Customers VALUES (2, 'Bo', 'b@x'), (1, 'Al', NULL);
            INSERT INTO orders VALUES (1, 1, 2, '2020-01-02 03:04:05', x'00');
        """)
    connection.close()
    return path


@pytest.fixture
def duckdb_file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("""
            CREATE TABLE customers (id INTEGER PRIMARY KEY, email VARCHAR UNIQUE);
            CREATE TABLE orders (a INTEGER, b INTEGER, customer_id INTEGER REFERENCES customers (id),
                price DECIMAL(9, 2), "at" TIMESTAMPTZ, ns TIMESTAMP_NS, tags VARCHAR[],
                address STRUCT(city VARCHAR), doc JSON, big HUGEINT, never DATE, PRIMARY KEY (a, b));
            INSERT INTO customers VALUES (1, 'x'), (2, NULL);
            INSERT INTO orders VALUES (1, 2, 1, 9.99, '2020-01-01 02:00:00+02', '2020-01-01',
                ['q'], {'city': 'Rome'}, '{"a": 1}', 7, 'infinity');
            CREATE VIEW v AS SELECT 1 AS one;
        """)
    return path


def test_sqlite_file(sqlite_file, tmp_path):
    with open_path(sqlite_file) as source:
        assert source.table_names() == ["Customers", "lines", "orders"]
        assert dict(source.columns("orders"))["photo"] == "BLOB"
        keys = source.declared_keys()
        assert keys.primary == {"Customers": ("id",), "orders": ("a", "b"), "lines": ("id",)}
        assert keys.unique == {"Customers": [("email",)]}
        assert sorted(keys.foreign, key=str) == [
            ForeignKey("lines", ("x", "y"), "orders", ("a", "b")),
            ForeignKey("orders", ("customer",), "Customers", ("id",)),
        ]
        assert source.dropped("orders")[0].startswith("orders.photo: type BLOB")
        assert source.last_event({"orders": "at"}) == datetime(2020, 1, 2, 3, 4, 5)
        source.copy_to_parquet("Customers", tmp_path / "out" / "customers.parquet")
    rows = duckdb.sql(f"FROM '{tmp_path}/out/customers.parquet'").fetchall()
    assert rows == [(1, "Al", None), (2, "Bo", "b@x")]


def test_sqlite_views_and_urls(sqlite_file):
    with open_path(f"sqlite:///{sqlite_file}?views=true") as source:
        assert "names" in source.table_names()
    copy = sqlite_file.rename(sqlite_file.with_suffix(".db"))
    with open_path(copy) as source:
        assert source.row_count("Customers") == 2


def test_duckdb_file(duckdb_file, tmp_path):
    with open_path(duckdb_file) as source:
        assert source.table_names() == ["customers", "orders"]
        keys = source.declared_keys()
        assert keys.primary == {"customers": ("id",), "orders": ("a", "b")}
        assert keys.unique == {"customers": [("email",)]}
        assert keys.foreign == [ForeignKey("orders", ("customer_id",), "customers", ("id",))]
        notes = source.copy_to_parquet("orders", tmp_path / "orders.parquet")
    assert [note.split(":")[0] for note in notes] == ["orders.tags", "orders.address"]
    relation = duckdb.sql(f"FROM '{tmp_path}/orders.parquet'")
    assert relation.fetchall() == [
        (1, 2, 1, 9.99, datetime(2020, 1, 1), datetime(2020, 1, 1), '{"a": 1}', 7.0, None)
    ]
    assert [str(kind) for kind in relation.types[3:6]] == ["DOUBLE", "TIMESTAMP", "TIMESTAMP_NS"]


def test_folder_of_files(tmp_path):
    (tmp_path / "b.csv").write_text("id;code;at\n2;007;2020-01-02\n1;010;\n")
    with gzip.open(tmp_path / "C d.csv.gz", "wt") as file:
        file.write('id,note\n1,"a, b"\n')
    (tmp_path / "parts").mkdir()
    for part in (1, 2):
        duckdb.sql(f"SELECT {part} AS id").write_parquet(str(tmp_path / f"parts/{part}.parquet"))
    duckdb.sql("SELECT 5 AS id, uuid() AS u").write_parquet(str(tmp_path / "a.parquet"))
    (tmp_path / "README.md").write_text("no table")
    (tmp_path / ".hidden.csv").write_text("x\n1\n")
    with open_path(tmp_path) as source:
        assert source.table_names() == ["C d", "a", "b", "parts"]
        # 007 is a code: as a number it would lose its zeros.
        assert source.columns("b") == [("id", "BIGINT"), ("code", "VARCHAR"), ("at", "DATE")]
        assert source.row_count("parts") == 2
        assert dict(source.staged_columns("a"))["u"] == "VARCHAR"
        assert source.declared_keys() == ({}, {}, [])
        source.copy_to_parquet("b", tmp_path / "out.parquet")
    rows = duckdb.sql(f"SELECT id, code FROM '{tmp_path}/out.parquet'").fetchall()
    assert rows == [(1, "010"), (2, "007")]


def test_copies_are_identical_and_leave_nothing_on_failure(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    duckdb.sql("SELECT hash(i) % 97 AS a, i::VARCHAR AS b FROM range(200000) t(i)").write_parquet(
        str(folder / "t.parquet")
    )
    with open_path(folder) as source:
        source.copy_to_parquet("t", tmp_path / "1.parquet")
        source.copy_to_parquet("t", tmp_path / "2.parquet")
        assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
        (folder / "t.parquet").write_bytes(b"PAR1 damaged")
        with pytest.raises(SourceError, match="cannot read t of folder"):
            source.copy_to_parquet("t", tmp_path / "3.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.parquet", "2.parquet", "in"]


Row = tuple[int | None, str | None, float | None]
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-3, 3),
        st.none() | st.sampled_from(["", "a", "b", "ab"]),
        st.none() | st.sampled_from([0.0, 0.5, 1e300]),
    ),
    min_size=1,
    max_size=12,
)


def fingerprint(
    path: Path, rows: list[Row], columns: str = "a INTEGER, b VARCHAR, c DOUBLE"
) -> str:
    path.unlink(missing_ok=True)
    with duckdb.connect(path) as connection:
        connection.execute(f"CREATE TABLE t ({columns})")
        if rows:
            connection.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    with open_path(path) as source:
        return source.content_fingerprint("t")


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, data=st.data())
def test_fingerprint_sees_content_and_not_order(tmp_path_factory, rows, data):
    path = tmp_path_factory.getbasetemp() / "fingerprint.duckdb"
    original = fingerprint(path, rows)
    assert fingerprint(path, data.draw(st.permutations(rows))) == original
    at = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(0, 2))
    changed = list(rows[at])
    changed[column] = {0: 99, 1: "other", 2: 0.25}[column]
    assert fingerprint(path, [*rows[:at], tuple(changed), *rows[at + 1 :]]) != original
    assert fingerprint(path, [*rows, rows[at]]) != original
    assert fingerprint(path, [*rows, rows[at], rows[at]]) != original
    assert fingerprint(path, rows[:at] + rows[at + 1 :]) != original


def test_fingerprint_sees_swapped_cells_names_and_types(tmp_path):
    path = tmp_path / "t.duckdb"
    rows: list[Row] = [(1, "a", 0.5), (2, "b", 0.25)]
    original = fingerprint(path, rows)
    swapped: list[Row] = [(1, "a", 0.25), (2, "b", 0.5)]
    assert fingerprint(path, swapped) != original
    assert fingerprint(path, rows, "a INTEGER, b VARCHAR, d DOUBLE") != original
    assert fingerprint(path, rows, "a BIGINT, b VARCHAR, c DOUBLE") != original
    assert fingerprint(path, []) != fingerprint(path, [(None, None, None)])


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("absent.duckdb", "absent.duckdb does not exist"),
        ("absent_folder", "absent_folder does not exist"),
        ("sqlite:///absent.sqlite", "does not exist .*four slashes"),
        ("oracle://u@host/db", "unknown scheme 'oracle'"),
        ("data.xlsx", "unknown file extension '.xlsx'"),
        ("one.csv", "one.csv is one table; give its folder"),
        ("postgresql://u@h/db?sslmod=require", "option 'sslmod' .* is unknown"),
        ("postgresql://u@h/db/x", "percent-encode"),
        ("postgresql://u@h:port/db", "percent-encode"),
        ("mysql://u@h", "must name its database"),
        ("env:", "name of an environment variable"),
        ("env:UNSET_URL", "UNSET_URL is not set"),
    ],
)
def test_locations_that_do_not_work(location, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=message):
        open_path(location)


def test_files_that_do_not_work(tmp_path, sqlite_file, duckdb_file):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SourceError, match=r"holds no \.parquet, \.csv"):
        open_path(empty)
    for name in ("a.csv", "A.csv.gz"):
        (empty / name).write_text("x\n1\n")
    with pytest.raises(SourceError, match="holds table 'a' twice"):
        open_path(empty)
    for name in ("text.duckdb", "text.sqlite"):
        (tmp_path / name).write_text("not a database, but long enough to look like one" * 50)
        with pytest.raises(SourceError, match="damaged or of another kind"):
            open_path(tmp_path / name)
    with duckdb.connect(tmp_path / "none.duckdb"):
        pass
    with pytest.raises(SourceError, match=r"none\.duckdb has no tables in schema 'main'"):
        open_path(tmp_path / "none.duckdb")
    with (
        open_path(sqlite_file) as source,
        pytest.raises(SourceError, match=r"has no table 'absent' .has: .'Customers'"),
    ):
        source.columns("absent")


def test_missing_extension_names_the_mend(sqlite_file, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    # An extension directory without anything in it: DuckDB must not find one from elsewhere.
    monkeypatch.setenv("HOME", str(sqlite_file.parent))
    with pytest.raises(SourceError, match=r"relforge\[attach\].*duckdb-extension-sqlite-scanner"):
        open_path(sqlite_file)


SECRET = "hunter2"


@pytest.mark.parametrize(
    "location",
    [
        f"postgresql://u:{SECRET}@127.0.0.1:1/db",
        f"postgresql+psycopg2://u:{SECRET}@127.0.0.1:1/db",
        f"mysql://u:{SECRET}@h/db",
        f"postgresql://u:{SECRET}/x@h/db",
        f"postgresql://u:{SECRET}#x@h/db",
        f"postgresql://u:1?{SECRET}@h/db",
        f"postgresql://u:{SECRET}@x@h/db",
        f"postgresql://u:123/{SECRET}@h/db",
        f"postgresql://u:123@{SECRET}@h/db",
        f"postgresql://:{SECRET}@h/db",
        f"postgresql://u@h/db?password={SECRET}",
        f"mysql://u@h/db?pwd={SECRET}",
    ],
)
def test_secrets_are_refused_and_never_repeated(location, monkeypatch):
    with pytest.raises(SourceError) as caught:
        parse_location(location)
    assert SECRET not in str(caught.value)
    assert re.search("PGPASSWORD|MYSQL_PWD|percent-encode", str(caught.value))
    monkeypatch.setenv("THE_URL", location.replace("@h/", "@127.0.0.1:1/"))
    with pytest.raises(SourceError) as caught:
        open_source(parse_location("env:THE_URL"))
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None or SECRET not in str(caught.value.__context__)


def test_locations_are_kept_as_typed():
    location = "postgresql://ana@db.example:5432/shop?schema=sales&sslmode=require"
    assert parse_location(location) == SourceDeclaration(
        "attached", location, (("schema", "sales"), ("sslmode", "require"))
    )
    assert parse_location(" env:SHOP_URL ") == SourceDeclaration("attached", "env:SHOP_URL")
