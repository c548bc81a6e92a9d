"""Synthetic databases as RelBench folders: loaded by RelBench, imported and checked by us."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import relbench

from models.database.dbt import load_manifest
from models.database.importer import import_database
from models.database.manifest import read_databases
from models.database.relbench_import import read_relbench
from models.database.schema import Protocol, TaskType
from models.quality.raw import check_raw_tables
from models.quality.staged import check_staged_tables
from models.synthetic.database import Generator
from models.synthetic.draws import Fixed
from models.synthetic.generator import generate
from models.synthetic.relbench_folder import write_relbench_folder
from models.synthetic.schema_layout import ColumnChoice, SchemaLayout
from models.synthetic.tasks.task import SyntheticTask, TaskKind
from tests.fixtures import empty_project
from tests.models.synthetic.plain_stages import PlainColumns, PlainRows

BANK = """
create type tier as enum ('basic', 'gold');
create table branches (id int primary key, name text, parent_id int references branches);
create table accounts (id int primary key, branch_id int not null references branches,
    opened_on date not null, tier tier not null, rank int);
create table transfers (id bigint primary key, source_id int not null references accounts,
    target_id int references accounts, made_at timestamp not null, amount decimal(12, 2),
    settled_at timestamp, tries int, checked boolean, note text);
"""
SPAN = (datetime(2020, 1, 1), datetime(2023, 1, 1))
ACTIVE = """
SELECT t.timestamp, a.id AS account, count(x.id) > 0 AS active
FROM timestamps t JOIN accounts a ON a.opened_on <= t.timestamp
LEFT JOIN transfers x ON x.source_id = a.id
  AND x.made_at > t.timestamp AND x.made_at <= t.timestamp + INTERVAL '{timedelta}'
GROUP BY ALL
"""
FORECAST = SyntheticTask(
    name="account-active",
    kind=TaskKind.FORECAST,
    task_type=TaskType.BINARY_CLASSIFICATION,
    entity_table="accounts",
    entity_column="account",
    target_column="active",
    time_column="timestamp",
    timedelta=timedelta(days=20),
    evaluation_cutoffs=3,
    sql=ACTIVE,
    remove_columns=(("transfers", "note"),),
    description="Does the account send money in the next 20 days?",
    terms={"aggregate": "exists"},
)
HIDDEN = SyntheticTask(
    name="transfer-amount",
    kind=TaskKind.AUTOCOMPLETE,
    task_type=TaskType.REGRESSION,
    entity_table="transfers",
    entity_column="id",
    target_column="amount",
    time_column="made_at",
    remove_columns=(("transfers", "tries"),),
)


@pytest.fixture(scope="module")
def database():
    layout = SchemaLayout.from_ddl(
        BANK,
        "bank",
        span=SPAN,
        entity_rows=Fixed(60),
        activity_rows=Fixed(900),
        columns={("transfers", "target_id"): ColumnChoice(null_share=0.3)},
    )
    return generate(Generator(layout, PlainRows(), PlainColumns()), 4)


@pytest.fixture(scope="module")
def folder(database, tmp_path_factory):
    return write_relbench_folder(
        database,
        tmp_path_factory.mktemp("folders") / "bank_4",
        tasks=[FORECAST, HIDDEN],
        made_from={"preset": "plain"},
    )


def test_relbench_loads_it_with_valid_keys_and_times(folder, database):
    dataset = relbench.load_dataset(folder)
    assert dataset.manifest.name == "bank_4"
    assert (str(dataset.val_timestamp), str(dataset.test_timestamp)) == (
        str(database.blueprint.validation),
        str(database.blueprint.test),
    )
    # RelBench itself raises where primary keys are not row numbers.
    everything = dataset.get_db(upto_test_timestamp=False).table_dict
    assert {name: len(table.df) for name, table in everything.items()} == {
        "branches": 60,
        "accounts": 60,
        "transfers": 900,
    }
    assert everything["branches"].fkey_col_to_pkey_table == {"parent_id": "branches"}
    assert everything["transfers"].fkey_col_to_pkey_table == {
        "source_id": "accounts",
        "target_id": "accounts",
    }
    for name, table in everything.items():
        if table.time_col:
            assert table.df[table.time_col].dtype == np.dtype("datetime64[ns]")
            assert table.df[table.time_col].is_monotonic_increasing
            rows = database.tables[name][table.time_col].to_numpy()
            assert (table.df[table.time_col].to_numpy() == rows).all()
        for column, parent in table.fkey_col_to_pkey_table.items():
            found = table.df[column].dropna()
            assert found.between(0, len(everything[parent].df) - 1).all()
    before = dataset.get_db().table_dict["transfers"].df
    assert 600 < len(before) < 900
    assert before["made_at"].max() <= dataset.test_timestamp


def test_integers_that_may_be_missing_stay_integers_in_the_file(folder, database):
    schema = pq.read_schema(folder / "db" / "transfers.parquet")
    types = {field.name: str(field.type) for field in schema}
    assert {name: types[name] for name in ("id", "source_id", "target_id", "tries")} == (
        dict.fromkeys(["id", "source_id", "target_id", "tries"], "int64")
    )
    assert (types["made_at"], types["settled_at"]) == ("timestamp[ns]", "timestamp[ns]")
    assert (types["amount"], types["checked"]) == ("double", "bool")
    written = pl.read_parquet(folder / "db" / "transfers.parquet")
    own = database.tables["transfers"]
    assert written["target_id"].null_count() == own["target_id"].null_count() > 150
    times = ["made_at", "settled_at"]
    assert written.with_columns(pl.col(times).cast(pl.Datetime("us"))).equals(own)


def test_relbench_makes_the_tables_of_the_tasks(folder, database):
    dataset = relbench.load_dataset(folder)
    assert dataset.get_task_names() == ["account-active", "transfer-amount"]
    active = dataset.load_task("account-active")
    assert str(active.timedelta) == "20 days 00:00:00"
    assert active.num_eval_timestamps == 3
    assert "note" not in active.get_db().table_dict["transfers"].df
    rows = {split: active.get_table(split, mask_input_cols=False).df for split in ("train", "val")}
    validation = database.blueprint.validation
    assert rows["train"]["timestamp"].max() <= validation - timedelta(days=20)
    assert sorted(rows["val"]["timestamp"].unique()) == [
        np.datetime64(validation + step * timedelta(days=20)) for step in range(3)
    ]
    first = rows["val"][rows["val"]["timestamp"] == np.datetime64(validation)]
    sent = database.tables["transfers"].filter(
        pl.col("made_at") > validation, pl.col("made_at") <= validation + timedelta(days=20)
    )
    assert set(first.loc[first["active"], "account"]) == set(sent["source_id"])
    hidden = dataset.load_task("transfer-amount")
    assert {"amount", "tries"}.isdisjoint(hidden.get_db().table_dict["transfers"].df.columns)
    test = hidden.get_table("test", mask_input_cols=False).df
    own = database.tables["transfers"].filter(pl.col("made_at") > database.blueprint.test)
    assert len(test) == own["amount"].count() > 50


def test_it_is_imported_and_dbt_declares_the_same(folder, tmp_path):
    project = empty_project(tmp_path / "project")
    import_database(str(folder), project)
    schema = read_databases(load_manifest(project, tmp_path / "cache"))["bank_4"].checked()
    assert {str(key) for key in schema.foreign_keys} == {
        "branches(parent_id) -> branches",
        "accounts(branch_id) -> branches",
        "transfers(source_id) -> accounts",
        "transfers(target_id) -> accounts",
    }
    assert {table.name: table.time_column for table in schema.tables} == {
        "branches": None,
        "accounts": "opened_on",
        "transfers": "made_at",
    }
    types = {c.name: (c.sql_type, str(c.semantic_type)) for c in schema.table("transfers").columns}
    assert types["target_id"] == ("BIGINT", "identifier")
    assert types["tries"] == ("BIGINT", "numerical")
    assert types["settled_at"] == ("TIMESTAMP", "timestamp")
    task = schema.task("account-active")
    assert (task.task_type, task.window, task.evaluation_cutoffs) == (
        TaskType.BINARY_CLASSIFICATION,
        timedelta(days=20),
        3,
    )
    assert task.hidden_columns == (("transfers", "note"),)
    assert task.protocol == Protocol.FROZEN


def test_it_passes_the_quality_gates(folder, database):
    schema = read_relbench(str(folder)).schema
    tables = {name: folder / "db" / f"{name}.parquet" for name in schema.table_names}
    assert check_raw_tables(schema, tables).failures == []
    staged = check_staged_tables(schema, tables, now=database.blueprint.end)
    assert staged.failures == []
    assert len(staged.results) == 15


def test_the_truth_is_beside_it(folder, database):
    truth = json.loads((folder / "truth.json").read_text())
    assert (truth["seed"], truth["made_from"]) == (4, {"preset": "plain"})
    assert len(truth["code_version"]) == 24
    first = truth["mechanisms"][0]
    assert (first["table"], first["column"]) == ("branches", "name")
    assert (first["inputs"], first["signal"]) == (["own:nothing"], 0.333333)
    assert len(truth["mechanisms"]) == len(database.mechanisms)
    transfers = truth["blueprint"]["tables"][-1]
    assert (transfers["name"], transfers["kind"]) == ("transfers", "activity")
    assert truth["tasks"] == {"account-active": {"aggregate": "exists"}, "transfer-amount": {}}


def test_equal_databases_make_equal_bytes(folder, database, tmp_path):
    again = write_relbench_folder(
        database, tmp_path / "bank_4", tasks=[FORECAST, HIDDEN], made_from={"preset": "plain"}
    )
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == 7
    assert [(again / name).read_bytes() for name in files] == [
        (folder / name).read_bytes() for name in files
    ]


def test_a_folder_that_is_there_stays_and_one_that_fails_is_not_seen(database, folder, tmp_path):
    with pytest.raises(FileExistsError, match="bank_4 exists already; delete it"):
        write_relbench_folder(database, folder)
    late = database.tables["accounts"].with_columns(opened_on=datetime(2300, 1, 1))
    broken = replace(database, tables={**database.tables, "accounts": late})
    with pytest.raises(ValueError, match="table accounts, column opened_on: times from 2300"):
        write_relbench_folder(broken, tmp_path / "broken")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (replace(FORECAST, entity_table="people"), "there is no table 'people'"),
        (replace(FORECAST, remove_columns=(("transfers", "x"),)), "table transfers has no column"),
        (replace(HIDDEN, target_column="x"), "table transfers has no column 'x'"),
        (replace(FORECAST, target_column=""), r"missing \['target_col'\]"),
    ],
)
def test_a_task_that_the_database_cannot_answer_is_refused(database, tmp_path, task, told):
    with pytest.raises(ValueError, match=told):
        write_relbench_folder(database, tmp_path / "bank", tasks=[task])
    assert list(tmp_path.iterdir()) == []
