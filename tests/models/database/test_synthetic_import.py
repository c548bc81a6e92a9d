"""A synthetic database on its way into the warehouse: declared, generated, staged, labelled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from models.database.dbt import load_manifest
from models.database.dbt_folder import DeclarationError, identifier
from models.database.importer import Import, import_database
from models.database.manifest import read_databases
from models.database.schema import RelationalSchema, SemanticType
from models.database.source import check_tables, open_database_source, write_raw_tables
from models.database.staging import raise_failures
from models.database.training_table import build_training_tables, read_training_table
from models.database.warehouse import Warehouse
from models.quality.raw import check_raw_tables
from models.quality.staged import check_staged_tables
from models.quality.training import check_training_table
from models.synthetic.draws import Fixed
from models.synthetic.generator import generate
from models.synthetic.options import SyntheticOptions
from models.synthetic.streams import Streams
from models.synthetic.tasks import Grammar, sample_tasks
from tests.fixtures import empty_project

# Names that dbt does not take, a type that is not made, categories.
SQL = """
create table "Club Members" (id int primary key, joined_at timestamp not null, photo bytea);
create table "Visits" (id int primary key, member int not null references "Club Members",
    visited_at timestamp not null, paid numeric, "Kind" text check ("Kind" in ('short', 'long')));
"""
OPTIONS = "seed=2,tasks=2,rows=Club Members=150+Visits=3000,without=Club Members.photo"


@dataclass(frozen=True)
class Built:
    """What was declared, and the files of every stage up to the training tables."""

    location: str
    imported: Import
    schema: RelationalSchema
    raw: dict[str, Path]
    staged: dict[str, Path]
    labels: dict[str, Path]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    root = tmp_path_factory.mktemp("synthetic")
    (root / "My Club.sql").write_text(SQL)
    location = f"synthetic:schema={root / 'My Club.sql'},{OPTIONS}"
    project = empty_project(root / "project")
    imported = import_database(location, project)
    schema = read_databases(load_manifest(project, root / "cache"))["my_club_2"].checked()
    source = open_database_source(schema)
    check_tables(schema, source)
    folders = {name: root / name for name in ("raw", "staged", "labels")}
    for folder in folders.values():
        folder.mkdir()
    write_raw_tables(schema, source, folders["raw"])
    raw = {name: folders["raw"] / f"{name}.parquet" for name in schema.source.table_names}
    staged = {name: folders["staged"] / f"{name}.parquet" for name in schema.table_names}
    warehouse = Warehouse(root / "warehouse.duckdb")
    with warehouse.turn() as turn:
        turn.point_views("my_club_2_raw", raw)
        raise_failures("staging", turn.build(project, ["path:models/my_club_2/staging"], {}))
        for table in schema.tables:
            turn.export("my_club_2", table.name, table.primary_key, staged[table.name])
    as_of = schema.default_as_of
    assert as_of
    folder = folders["labels"]
    made = build_training_tables(
        schema, schema.tasks, as_of, staged, raw, project, warehouse, folder
    )
    assert made == {}
    labels = {task.name: folder / f"{task.name}.parquet" for task in schema.tasks}
    return Built(location, imported, schema, raw, staged, labels)


def test_the_declaration_read_back_is_the_schema_that_was_imported(built):
    imported, schema = built.imported.schema, built.schema
    assert built.imported.notes == ()
    assert [table.name for table in schema.tables] == ["club_members", "visits"]
    assert schema.tables == imported.tables
    assert schema.foreign_keys == imported.foreign_keys
    assert schema.tasks == tuple(sorted(imported.tasks, key=lambda task: task.name))
    assert len(schema.tasks) == 2
    assert (schema.default_as_of, schema.title) == (imported.default_as_of, "my_club_2")
    assert replace(schema.source, tables=()) == imported.source
    assert dict(schema.source.options)["seed"] == "2"
    visits = schema.table("visits")
    assert visits.column("Kind").semantic_type == SemanticType.CATEGORICAL
    assert visits.time_column == "visited_at"


def test_the_warehouse_holds_what_the_generator_made(built):
    options = SyntheticOptions.from_location(built.location)
    tables = generate(options.generator(), options.seed).tables
    assert {name: len(frame) for name, frame in tables.items()} == {
        "Club Members": 150,
        "Visits": 3000,
    }
    for raw, staged in (("Club Members", "club_members"), ("Visits", "visits")):
        assert_frame_equal(pl.read_parquet(built.raw[raw]), tables[raw])
        # Staged types are the declared ones, so nothing is lost by the casts.
        assert_frame_equal(pl.read_parquet(built.staged[staged]), tables[raw])


def test_the_quality_gates_pass(built):
    raw = {"club_members": built.raw["Club Members"], "visits": built.raw["Visits"]}
    assert check_raw_tables(built.schema, raw).blocking == []
    future = datetime(2100, 1, 1)
    assert check_staged_tables(built.schema, built.staged, now=future).blocking == []
    last = pl.read_parquet(built.staged["visits"])["visited_at"].max()
    for task in built.schema.tasks:
        report = check_training_table(
            task, built.labels[task.name], as_of=built.schema.default_as_of, last_event=last
        )
        assert report.blocking == []


def test_the_training_tables_are_those_of_the_sampled_tasks(built):
    options = SyntheticOptions.from_location(built.location)
    database = generate(options.generator(), options.seed)
    streams = Streams(options.seed).child("tasks")
    sampled = sample_tasks(database, streams, 2, Grammar(autocomplete=Fixed(False))).tasks
    assert {made.task.name for made in sampled} == {task.title for task in built.schema.tasks}
    for made in sampled:
        path = built.labels[built.schema.task(made.task.name).name]
        order = ["cutoff_time", "entity"]
        found = read_training_table(path).sort(order)
        expected = made.labels.select(found.columns).sort(order)
        assert set(found["split"]) == {"train", "val", "test"}
        assert_frame_equal(found, expected, check_dtypes=False, rel_tol=1e-12)


def test_a_schema_that_changed_after_it_was_declared_is_told(built, tmp_path):
    file = tmp_path / "My Club.sql"
    file.write_text(SQL.replace("paid", "price"))
    options = dict(built.schema.source.options) | {"schema": str(file)}
    source = replace(built.schema.source, options=tuple(options.items()))
    schema = replace(built.schema, source=source)
    with pytest.raises(DeclarationError) as raised:
        check_tables(schema, open_database_source(schema))
    told = str(raised.value)
    assert "table Visits: column 'paid' is missing" in told
    assert "changed after the database was declared; delete its folder" in told


def test_a_second_declaration_of_the_name_is_refused(built):
    with pytest.raises(DeclarationError, match="'my_club_2' is declared already in"):
        import_database(built.location, built.imported.folder.parents[1])


def test_tasks_that_cannot_be_found_are_told(tmp_path):
    (tmp_path / "club.sql").write_text(SQL)
    few = OPTIONS.replace("=150", "=3").replace("=3000", "=9")
    project = empty_project(tmp_path / "project")
    done = import_database(f"synthetic:schema={tmp_path / 'club.sql'},{few}", project)
    assert done.schema.tasks == ()
    assert done.notes[0].startswith("0 of 2 tasks: no more of the 50 that were drawn are worth")
    assert "too few rows" in done.notes[0]


def test_a_task_is_not_called_as_a_table(tmp_path):
    taken = [f"Club Members {name} Visits" for name in ("exists", "none", "count")]
    sql = SQL + "".join(f'create table "{name}" (id int primary key, a int);' for name in taken)
    (tmp_path / "club.sql").write_text(sql)
    project = empty_project(tmp_path / "project")
    location = f"synthetic:schema={tmp_path / 'club.sql'},{OPTIONS}".replace("tasks=2", "tasks=4")
    schema = import_database(location, project).schema
    assert len(schema.tasks) == 4
    assert len({task.name for task in schema.tasks} | set(schema.table_names)) == 4 + 5
    assert any(task.name == f"{identifier(name)}_2" for task in schema.tasks for name in taken)
