"""Faults of RelBench folders, each told clearly; and what an import leaves out."""

from __future__ import annotations

import polars as pl
import pytest

from models.database.dbt_folder import DeclarationError
from models.database.relbench_import import read_relbench
from models.database.schema import Protocol, TaskType
from tests.fixtures import (
    CLUB_TASKS,
    club_manifest,
    club_tables,
    day,
    write_relbench_folder,
)


def faults_of(folder) -> str:
    with pytest.raises(DeclarationError) as raised:
        read_relbench(str(folder))
    return str(raised.value)


def changed(**changes):
    return club_manifest() | changes


def test_a_folder_is_read_with_its_tasks(tmp_path):
    declaration = read_relbench(str(write_relbench_folder(tmp_path / "club")))
    schema = declaration.schema
    assert (schema.database, schema.title) == ("the_club", "The-Club")
    assert (schema.default_as_of, schema.first_as_of) == (day(120), day(0))
    assert [str(key) for key in schema.foreign_keys] == ["club_visits(PersonId) -> people"]
    task = schema.task("spends-much")
    assert task.task_type == TaskType.BINARY_CLASSIFICATION
    assert task.protocol == Protocol.FROZEN
    assert task.hidden_columns == (("club_visits", "Amount Paid"),)
    assert (task.window.days, task.validation_span.days, task.evaluation_cutoffs) == (10, 30, 3)
    assert sorted(declaration.label_tables) == ["rating__test", "rating__train", "rating__val"]


def test_autocomplete_and_recommendation_are_left_out_by_name(tmp_path):
    declaration = read_relbench(str(write_relbench_folder(tmp_path / "club")))
    assert declaration.skipped == (
        "friends: recommendation tasks are not yet supported",
        "guess-tier: autocomplete tasks are not yet supported",
    )
    assert {task.title for task in declaration.schema.tasks} == (
        set(CLUB_TASKS) - {"friends", "guess-tier"}
    )


def test_a_folder_without_a_manifest(tmp_path):
    folder = write_relbench_folder(tmp_path / "club")
    (folder / "manifest.yaml").unlink()
    told = faults_of(folder)
    assert str(folder) in told
    assert "manifest.yaml" in told


@pytest.mark.parametrize(
    "text",
    ["{name: [unclosed", "just words", "", "name: x\nval_timestamp: '2020-01-01'\n", "- a\n- b\n"],
    ids=["not YAML", "a string", "empty", "keys missing", "a list"],
)
def test_a_manifest_that_is_none_says_what_one_needs(tmp_path, text):
    folder = write_relbench_folder(tmp_path / "club")
    (folder / "manifest.yaml").write_text(text)
    told = faults_of(folder)
    assert f"{folder}/manifest.yaml" in told
    assert "A manifest needs name, val_timestamp, test_timestamp and tables" in told


def test_missing_files_columns_and_parents_are_all_told_at_once(tmp_path):
    tables = {
        "People": {"pkey": "Nobody", "time_col": "JoinedAt", "fkeys": {"Tier": "Tiers"}},
        "Club Visits": {"pkey": "VisitId", "time_col": "when", "fkeys": {"Owner": "People"}},
        "Lost": {"pkey": "id", "time_col": None, "fkeys": {}},
    }
    folder = write_relbench_folder(tmp_path / "club", manifest=changed(tables=tables))
    told = faults_of(folder).splitlines()
    assert len(told) == 6
    for parts in (
        ("table People", "'Nobody'", "PersonId, JoinedAt, Tier"),
        ("table People", "foreign key 'Tier' points at 'Tiers'"),
        ("table Club Visits", "'when'"),
        ("table Club Visits", "'Owner'"),
        ("table Lost", "Lost.parquet does not exist"),
    ):
        assert sum(all(part in line for part in parts) for line in told) == 1, (parts, told)


def test_a_foreign_key_to_a_table_without_a_pkey(tmp_path):
    tables = club_manifest()["tables"]
    tables["People"]["pkey"] = None
    folder = write_relbench_folder(tmp_path / "club", manifest=changed(tables=tables), tasks={})
    assert "'PersonId' points at 'People', which is no table with a pkey" in faults_of(folder)


@pytest.mark.parametrize("val", [str(day(120)), str(day(121))])
def test_validation_must_lie_before_the_test(tmp_path, val):
    folder = write_relbench_folder(tmp_path / "club", manifest=changed(val_timestamp=val))
    assert "must lie before test_timestamp 2020-04-30" in faults_of(folder)


def test_two_tables_that_would_get_one_name(tmp_path):
    frames = club_tables()
    frames["club-visits"] = frames["Club Visits"]
    tables = club_manifest()["tables"]
    tables["club-visits"] = tables["Club Visits"]
    folder = write_relbench_folder(tmp_path / "club", frames, changed(tables=tables), {})
    told = faults_of(folder)
    assert "Club Visits, club-visits" in told
    assert "'club_visits'" in told


def test_all_faulty_tasks_are_told_at_once(tmp_path):
    good = CLUB_TASKS["visit-count"]
    tasks = {
        "unknown-entity": good | {"entity_table": "Dogs"},
        "bad-window": good | {"timedelta": "2 months"},
        "long-window": good | {"timedelta": "31 days"},
        "no-sql": {key: value for key, value in good.items() if key != "sql"},
        "bad-kind": good | {"kind": "oracle"},
        "bad-type": good | {"task_type": "poetry"},
        "unlabelled": CLUB_TASKS["rating"],
        "fine": good,
    }
    folder = write_relbench_folder(tmp_path / "club", tasks=tasks)
    for split in ("train", "val", "test"):
        (folder / "tasks" / "unlabelled" / f"{split}.parquet").unlink()
    (folder / "tasks" / "no-yaml").mkdir()
    (folder / "tasks" / "no-yaml" / "manifest.yaml").write_text("{a: [")
    told = faults_of(folder).splitlines()
    expected = {
        "unknown-entity": "'Dogs' is not in the database (club_visits, people)",
        "bad-window": "not a fixed positive duration",
        "long-window": "(31 days) is longer than the time between val_timestamp and test_timestamp",
        "no-sql": "['sql']",
        "bad-kind": "kind must be one of",
        "bad-type": "task_type must be one of",
        "unlabelled": "neither SQL nor",
        "no-yaml": "is not a task manifest",
    }
    assert len(told) == 1 + len(expected)
    for task, words in expected.items():
        line = next(line for line in told if f"task {task}:" in line)
        assert words in line


def test_a_window_as_long_as_validation_is_accepted(tmp_path):
    task = CLUB_TASKS["visit-count"] | {"timedelta": "30 days"}
    schema = read_relbench(str(write_relbench_folder(tmp_path / "c", tasks={"t": task}))).schema
    assert schema.tasks[0].window == schema.tasks[0].validation_span


def test_an_unknown_hub_name_is_told_with_the_mend(monkeypatch):
    from relbench import hf

    def unreachable(*arguments, **options):
        raise ConnectionError("no route to the hub\nand a long trace")

    monkeypatch.setattr(hf, "download_dataset_dir", unreachable)
    for name in [name for name in dir(hf) if name.startswith(("resolve", "find", "list"))]:
        monkeypatch.setattr(hf, name, unreachable)
    told = faults_of("rel-nowhere")
    assert "hub name 'rel-nowhere'" in told
    assert "no route to the hub" in told
    assert "Check the name, or download the folder" in told


def test_a_task_without_time_column_and_sql_is_left_out_with_the_reason(tmp_path):
    task = {key: value for key, value in CLUB_TASKS["rating"].items() if key != "time_col"}
    declaration = read_relbench(str(write_relbench_folder(tmp_path / "c", tasks={"t": task})))
    assert declaration.schema.tasks == ()
    assert "t: its labels have no time column" in declaration.skipped[0]


def test_times_finer_than_a_microsecond_are_staged_as_timestamps(tmp_path):
    frames = club_tables()
    frames["Club Visits"] = frames["Club Visits"].with_columns(pl.col("at").cast(pl.Datetime("ns")))
    schema = read_relbench(str(write_relbench_folder(tmp_path / "c", frames))).schema
    assert schema.table("club_visits").column("at").sql_type == "TIMESTAMP"
