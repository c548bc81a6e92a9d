"""A database's folder: what is written is what dbt's manifest says again."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from models.database.dbt_folder import DeclarationError, identifier, write_database_folder
from models.database.schema import Column, RelationalSchema, Table, Task, TaskType, to_plain
from models.database.schema_json import schema_from_plain
from tests.models.database.declared import random_schema

SEEDS = range(30)


def by_columns(schema):
    """The schema with its keys in a fixed order: dbt lists them by table and column."""
    return replace(schema, foreign_keys=tuple(sorted(schema.foreign_keys, key=str)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_written_schema_reads_back_the_same(declarations, seed):
    declaration = declarations[f"db_{seed}"]
    assert declaration.faults == ()
    assert by_columns(declaration.checked()) == by_columns(random_schema(seed))


def test_the_schemas_that_are_read_back_cover_all_that_can_be_declared():
    schemas = [random_schema(seed) for seed in SEEDS]
    keys = [key for schema in schemas for key in schema.foreign_keys]
    assert any(key.table == key.parent and len(key.columns) > 1 for key in keys)
    assert any(key.table == key.parent and len(key.columns) == 1 for key in keys)
    assert any(key.tolerance and key.proposed and len(key.columns) == 1 for key in keys)
    tables = [table for schema in schemas for table in schema.tables]
    assert {len(table.primary_key) for table in tables} == {0, 1, 2, 3}
    tasks = [task for schema in schemas for task in schema.tasks]
    assert len(tasks) > 10
    assert any(task.hidden_columns for task in tasks)
    assert any(task.stride != task.window for task in tasks)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_plain_form_of_a_schema_reads_back_the_same(seed):
    schema = random_schema(seed)
    assert schema_from_plain(json.loads(json.dumps(to_plain(schema)))) == schema


def test_an_existing_folder_is_refused_and_left_as_it_is(tmp_path):
    schema = replace(random_schema(1), tasks=())
    folder = write_database_folder(tmp_path, schema)
    (folder / "mine.txt").write_text("edited by hand")
    with pytest.raises(DeclarationError, match=r"'db_1' is declared already in .*db_1; edit it"):
        write_database_folder(tmp_path, schema)
    assert (folder / "mine.txt").read_text() == "edited by hand"


def test_a_write_that_fails_leaves_nothing(tmp_path):
    window = timedelta(days=1)
    task = Task(
        "t", "a", "id", "at", "y", TaskType.REGRESSION, window, window, validation_span=window
    )
    tables = (Table("a", (Column("id", "BIGINT"),), ("id",)),)
    with pytest.raises(KeyError, match="'t'"):
        write_database_folder(tmp_path, RelationalSchema("shop", tables, tasks=(task,)), {})
    assert list(tmp_path.rglob("*")) == []


def test_a_task_with_the_name_of_a_table_is_refused(tmp_path):
    window = timedelta(days=1)
    task = Task("a", "a", "id", "at", "y", TaskType.REGRESSION, window, window, window)
    tables = (Table("a", (Column("id", "BIGINT"),), ("id",)),)
    with pytest.raises(DeclarationError, match="a table and a task called 'a'"):
        write_database_folder(tmp_path, RelationalSchema("shop", tables, tasks=(task,)), {"a": ""})
    assert list(tmp_path.rglob("*")) == []


def test_what_an_import_guessed_is_listed_for_review(tmp_path):
    schema = replace(random_schema(1), tasks=())
    folder = write_database_folder(tmp_path, schema, notes=("guessed a key", "left a column out"))
    lines = (folder / "REVIEW.md").read_text().splitlines()
    assert lines[-2:] == ["- guessed a key", "- left a column out"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rel-f1", "rel_f1"),
        ("Order Items", "order_items"),
        ("2020 sales", "t_2020_sales"),
        ("__x__", "x"),
    ],
)
def test_identifiers_are_lower_case_words(name, expected):
    assert identifier(name) == expected


def test_a_name_without_a_letter_has_no_identifier():
    with pytest.raises(DeclarationError, match="'--'"):
        identifier("--")
