"""Imports: what a location is, what folder comes of it, and when it is declared already."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace

import duckdb
import polars as pl
import pytest
import yaml

from models.database.attach import SourceError
from models.database.dbt import load_manifest
from models.database.dbt_folder import DeclarationError
from models.database.importer import import_database, kind_of, same_declaration
from models.database.manifest import Declaration, read_databases
from models.database.schema import SemanticType
from models.database.source import (
    check_tables,
    newest_event,
    open_database_source,
    write_raw_tables,
)
from models.database.staging import raise_failures
from models.database.warehouse import Warehouse
from tests.fixtures import club_tables, day, empty_project, write_relbench_folder


@pytest.mark.parametrize(
    "location",
    ["postgresql://me@host/db", "mysql://me@host/db", "sqlite:///x.db", "env:SHOP_URL"],
)
def test_urls_are_attached(location):
    assert kind_of(location) == "attached"


def test_files_and_folders_are_told_by_what_they_hold(tmp_path):
    (tmp_path / "csv").mkdir()
    (tmp_path / "file.duckdb").touch()
    (tmp_path / "halfway" / "db").mkdir(parents=True)
    assert kind_of(str(write_relbench_folder(tmp_path / "club"))) == "relbench"
    assert kind_of(str(tmp_path / "halfway")) == "relbench"
    assert kind_of(str(tmp_path / "csv")) == "attached"
    assert kind_of(str(tmp_path / "file.duckdb")) == "attached"


def test_a_name_is_the_hubs_and_a_path_that_is_not_there_an_error(tmp_path):
    assert kind_of("rel-f1") == "relbench"
    for location in ("./gone", str(tmp_path / "gone"), "gone.sqlite", "~/no such folder"):
        with pytest.raises(DeclarationError, match=r"does not exist\. SOURCE is a RelBench folder"):
            kind_of(location)


def write_sqlite(path):
    with sqlite3.connect(path) as connection:
        connection.executescript("""
            CREATE TABLE "Site" (a INTEGER, b INTEGER, name TEXT, in_a INTEGER, in_b INTEGER,
                PRIMARY KEY (b, a), FOREIGN KEY (in_a, in_b) REFERENCES "Site" (a, b));
            CREATE TABLE "Order Lines" (id INTEGER PRIMARY KEY, site_a INTEGER, site_b INTEGER,
                "Placed At" TIMESTAMP, boss INTEGER REFERENCES "Order Lines" (id),
                FOREIGN KEY (site_a, site_b) REFERENCES "Site" (a, b));
            CREATE TABLE log (line TEXT);
            INSERT INTO "Site" VALUES (1, 1, 'north', NULL, NULL), (1, 2, 'south', 1, 1);
            INSERT INTO "Order Lines" VALUES (1, 1, 2, '2020-01-02 03:04:05', NULL),
                (2, 1, 1, '2020-03-04', 1);
            INSERT INTO log VALUES ('x'), ('x');
        """)
    connection.close()
    return path


def write_duckdb(path):
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table users (id integer primary key, created_at timestamp)")
        connection.execute("insert into users values (1, '2021-01-01')")
    return path


def write_csvs(folder):
    folder.mkdir()
    (folder / "Shops.csv").write_text("shop_id,City Name\n1,Rome\n2,Bonn\n3,Oslo\n")
    (folder / "visits.csv").write_text(
        "visit_id,shop_id,visited_at\n1,1,2020-01-01\n2,2,2020-02-01\n3,3,2020-02-02\n4,1,2020-02-03\n"
    )
    return folder


@pytest.fixture(scope="module")
def attached(tmp_path_factory):
    """A SQLite file, a DuckDB file and a folder of CSV files in one project, parsed and staged."""
    root = tmp_path_factory.mktemp("attached")
    project = empty_project(root / "project")
    places = [
        write_sqlite(root / "The Shop.sqlite"),
        write_csvs(root / "csv-files"),
        write_duckdb(root / "people.duckdb"),
    ]
    imports = {(found := import_database(str(p), project)).schema.database: found for p in places}
    declared = read_databases(load_manifest(project, root / "cache"))
    schemas = {name: declaration.checked() for name, declaration in declared.items()}
    staged = {}
    with Warehouse(root / "warehouse.duckdb").turn() as turn:
        for name, schema in schemas.items():
            (root / name).mkdir()
            write_raw_tables(schema, open_database_source(schema), root / name)
            raw = {table: root / name / f"{table}.parquet" for table in schema.source.table_names}
            turn.point_views(f"{name}_raw", raw)
        selected = [f"path:models/{name}/staging" for name in schemas]
        raise_failures("all", turn.build(project, selected, {}))
        with turn.connect() as connection:
            for name, schema in schemas.items():
                for table in schema.table_names:
                    staged[name, table] = connection.execute(f"select * from {name}.{table}").pl()
    return imports, schemas, staged


def test_an_attached_databases_folder_declares_what_was_proposed(attached):
    imports, schemas, _ = attached
    assert set(schemas) == {"the_shop", "csv_files", "people"}
    for name, imported in imports.items():
        proposed, read = imported.schema, schemas[name]
        assert {t.name: t.primary_key for t in read.tables} == {
            t.name: t.primary_key for t in proposed.tables
        }
        assert set(read.foreign_keys) == set(proposed.foreign_keys)
        assert read.source.kind == "attached"
        assert read.first_as_of == replace_time(proposed.first_as_of)
        assert "no task is declared yet" in " ".join(imported.notes)


def replace_time(moment):
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def test_names_with_spaces_and_capitals_are_mapped_and_still_read(attached):
    _, schemas, staged = attached
    shop = schemas["the_shop"]
    assert shop.table_names == ["order_lines", "site", "log"]
    assert set(shop.source.table_names) == {"Site", "Order Lines", "log"}
    lines = staged["the_shop", "order_lines"].sort("id")
    assert lines["boss"].to_list() == [None, 1]
    assert staged["csv_files", "shops"]["City Name"].to_list() == ["Rome", "Bonn", "Oslo"]


def test_composite_keys_and_self_references_are_declared_and_build(attached):
    _, schemas, staged = attached
    shop = schemas["the_shop"]
    assert shop.table("site").primary_key == ("b", "a")
    keys = {(key.table, key.columns): (key.parent, key.parent_columns) for key in shop.foreign_keys}
    assert keys[("order_lines", ("site_a", "site_b"))] == ("site", ("a", "b"))
    assert keys[("site", ("in_a", "in_b"))] == ("site", ("a", "b"))
    assert keys[("order_lines", ("boss",))] == ("order_lines", ("id",))
    assert staged["the_shop", "site"].height == 2


def test_a_table_without_a_key_is_staged_as_it_is(attached):
    _, schemas, staged = attached
    assert schemas["the_shop"].table("log").primary_key == ()
    assert sorted(staged["the_shop", "log"]["line"]) == ["x", "x"]


def test_guessed_keys_are_marked_for_review(attached):
    imports, schemas, _ = attached
    (key,) = schemas["csv_files"].foreign_keys
    assert (str(key), key.proposed) == ("visits(shop_id) -> shops", True)
    assert (imports["csv_files"].folder / "REVIEW.md").exists()


def test_the_newest_event_is_read_from_the_source(attached):
    _, schemas, _ = attached
    assert str(newest_event(schemas["csv_files"])) == "2020-02-03 00:00:00"


def test_a_table_or_column_that_is_gone_is_named(attached, tmp_path):
    _, schemas, _ = attached
    folder = write_csvs(tmp_path / "csv")
    (folder / "visits.csv").unlink()
    (folder / "Shops.csv").write_text("shop_id\n1\n")
    schema = schemas["csv_files"]
    schema = replace(schema, source=replace(schema.source, location=str(folder)))
    with pytest.raises(DeclarationError) as raised:
        check_tables(schema, open_database_source(schema))
    told = str(raised.value)
    assert "table visits: missing (the source has: Shops)" in told
    assert "table Shops: column 'City Name' is missing (it has: shop_id)" in told


def test_two_tables_that_would_get_one_name_are_refused(tmp_path):
    folder = tmp_path / "clash"
    folder.mkdir()
    for name in ("My Shops", "my-shops"):
        (folder / f"{name}.csv").write_text("id\n1\n")
    project = empty_project(tmp_path / "project")
    with pytest.raises(DeclarationError, match="would all be called 'my_shops'"):
        import_database(str(folder), project)
    assert list((project / "models").iterdir()) == []


def test_an_empty_place_holds_no_database(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises((SourceError, DeclarationError), match=str(tmp_path / "empty")):
        import_database(str(tmp_path / "empty"), empty_project(tmp_path / "project"))
    assert list((tmp_path / "project" / "models").iterdir()) == []


# The club, which the fixture has imported and then extended by hand.


@pytest.fixture(scope="module")
def declared(club, tmp_path_factory):
    """The club as it was imported: without the tasks that were added by hand."""
    project = empty_project(tmp_path_factory.mktemp("declared") / "project")
    shutil.copytree(club.imported.folder, project / "models" / "the_club")
    own = {task.name for task in club.imported.schema.tasks}
    schema = replace(
        club.schema,
        tasks=tuple(task for task in club.schema.tasks if task.name in own),
        tables=tuple(table for table in club.schema.tables if table.name != "no_times"),
    )
    return project, {"the_club": Declaration(schema, ())}


def test_the_benchmarks_future_does_not_decide_what_a_column_means(tmp_path):
    tables = club_tables()
    later = pl.DataFrame(
        {
            "VisitId": range(1000, 3000),
            "PersonId": 0,
            "at": day(150),
            "note": [f"code{number}" for number in range(2000)],
        }
    )
    visits = tables["Club Visits"].with_columns(
        note=pl.lit("a") + (pl.col("VisitId") % 3).cast(str)
    )
    tables["Club Visits"] = pl.concat([visits, later], how="diagonal_relaxed")
    location = write_relbench_folder(tmp_path / "club", tables, tasks={})
    schema = import_database(str(location), empty_project(tmp_path / "project")).schema
    note = schema.table("club_visits").column("note")
    assert note.semantic_type == SemanticType.CATEGORICAL


def test_a_copy_with_other_rows_is_the_declared_database(declared, tmp_path):
    project, databases = declared
    tables = {name: table.head(40) for name, table in club_tables().items()}
    location = write_relbench_folder(tmp_path / "copy", tables)
    assert same_declaration(str(location), project, databases) == "the_club"


def test_an_undeclared_or_attached_location_is_no_copy(declared, tmp_path):
    project, databases = declared
    location = write_relbench_folder(tmp_path / "copy")
    assert same_declaration(str(location), project, {}) is None
    assert same_declaration("postgresql://me@host/db", project, databases) is None


def change_manifest(path, **changes):
    manifest = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(manifest | changes))


@pytest.mark.parametrize(
    ("task", "changes", "named"),
    [
        ("habit", {"sql": "SELECT 1"}, "task habit"),
        ("habit", {"timedelta": "5 days"}, "the settings of its tasks"),
        ("habit", {"name": "habits"}, "task habits"),
    ],
)
def test_a_copy_with_another_task_is_refused(declared, tmp_path, task, changes, named):
    project, databases = declared
    location = write_relbench_folder(tmp_path / "copy")
    change_manifest(location / "tasks" / task / "manifest.yaml", **changes)
    with pytest.raises(DeclarationError, match=rf"'the_club' is declared already.*{named}"):
        same_declaration(str(location), project, databases)


def test_a_copy_with_other_columns_or_keys_is_refused(declared, tmp_path):
    project, databases = declared
    tables = club_tables()
    tables["People"] = tables["People"].with_columns(shoe=pl.lit(40))
    location = write_relbench_folder(tmp_path / "columns", tables)
    with pytest.raises(DeclarationError, match="differs from it in tables"):
        same_declaration(str(location), project, databases)
    location = write_relbench_folder(tmp_path / "keys")
    manifest = yaml.safe_load((location / "manifest.yaml").read_text())
    manifest["tables"]["Club Visits"]["fkeys"] = {}
    (location / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    with pytest.raises(DeclarationError, match="differs from it in foreign keys"):
        same_declaration(str(location), project, databases)


def test_importing_twice_is_refused(club):
    with pytest.raises(DeclarationError, match="'the_club' is declared already"):
        import_database(str(club.location), club.project)
