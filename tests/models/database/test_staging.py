"""Staging: typed tables as declared, faults named, and what makes the code of a model new."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from models.aggregation.engine import compute_features
from models.database import staging
from models.database.dbt import ModelResult, load_manifest
from models.database.dbt_folder import DeclarationError
from models.database.schema import Column, ForeignKey, Table
from models.database.semantic_types import complete_schema
from models.database.staging import StageError, model_code, raise_failures, staging_code
from models.dfs.enumeration import FeatureConfig, enumerate_features
from models.quality.staged import check_staged_tables
from tests.fixtures import club_tables, day


@pytest.fixture(scope="module")
def manifest(club):
    return load_manifest(club.project, club.project.parent / "cache")


def test_staged_tables_hold_the_raw_rows_in_the_order_of_their_keys(club):
    visits = pl.read_parquet(club.staged["club_visits"])
    assert_frame_equal(visits, club_tables()["Club Visits"].sort("VisitId"))
    assert visits.schema["at"] == pl.Datetime("us")


def test_columns_that_staging_does_not_select_are_named(club, tmp_path):
    staged = {name: tmp_path / f"{name}.parquet" for name in club.staged}
    for name, path in club.staged.items():
        staged[name].write_bytes(path.read_bytes())
    visits = pl.read_parquet(club.staged["club_visits"])
    visits.drop("Amount Paid", "at").write_parquet(staged["club_visits"])
    with pytest.raises(DeclarationError) as raised:
        staging._check_columns(club.schema, tmp_path)
    told = str(raised.value)
    assert "table club_visits: column 'Amount Paid' is declared, but its staging model" in told
    assert told.count("column 'at'") == 1


def test_failed_models_are_all_named():
    results = [
        ModelResult("shop__a", False, "no such column"),
        ModelResult("shop__b", True, ""),
        ModelResult("shop__c", False, "bad cast"),
    ]
    with pytest.raises(StageError) as raised:
        raise_failures("shop", results)
    lines = str(raised.value).splitlines()
    assert lines[0] == "database 'shop': 2 of 3 models failed:"
    assert lines[1:] == ["  - shop__a: no such column", "  - shop__c: bad cast"]
    raise_failures("shop", results[1:2])


@pytest.mark.parametrize(
    ("change", "is_new"),
    [
        (lambda node, _: node.update(raw_code=node["raw_code"] + " -- more"), True),
        (lambda node, _: node["columns"]["at"].update(data_type="DATE"), True),
        (lambda node, _: node["config"].update(event_time="VisitId"), True),
        (lambda node, _: node.update(created_at=1.0, description="other words"), False),
        (lambda _, macros: macros["table_name"].update(macro_sql="x"), False),
    ],
    ids=["SQL", "type", "event time", "description", "a macro of tasks"],
)
def test_staging_is_new_when_its_models_are(manifest, change, is_new):
    changed = copy.deepcopy(manifest)
    macros = {name.split(".")[-1]: macro for name, macro in changed["macros"].items()}
    change(changed["nodes"]["model.relforge.the_club__club_visits"], macros)
    before, after = staging_code(manifest, "the_club"), staging_code(changed, "the_club")
    assert (before != after) == is_new


def test_staging_does_not_depend_on_tasks_nor_a_task_on_another(manifest):
    changed = copy.deepcopy(manifest)
    changed["nodes"]["model.relforge.the_club__habit"]["raw_code"] = "select 1"
    assert staging_code(changed, "the_club") == staging_code(manifest, "the_club")
    node = "model.relforge.the_club__visit_count"
    same = model_code(changed, changed["nodes"][node])
    assert same == model_code(manifest, manifest["nodes"][node])


def test_a_task_is_new_when_a_macro_that_it_uses_indirectly_is(manifest):
    node = manifest["nodes"]["model.relforge.the_club__visit_count"]
    changed = copy.deepcopy(manifest)
    changed["macros"]["macro.relforge.cutoff_frames"]["macro_sql"] += " "
    assert model_code(changed, node)["macros"] != model_code(manifest, node)["macros"]
    changed = copy.deepcopy(manifest)
    changed["macros"]["macro.relforge.shipped_labels"]["macro_sql"] += " "
    assert model_code(changed, node)["macros"] == model_code(manifest, node)["macros"]


@pytest.fixture
def keyless(club, tmp_path):
    """The club with reviews: a table without a key that refers to people."""
    rows = {"PersonId": [0, 0, 1], "at": [day(3), day(9), day(9)], "stars": [1.0, 5.0, 2.0]}
    path = tmp_path / "reviews.parquet"
    pl.DataFrame(rows).write_parquet(path)
    files = {name: club.staged[name] for name in ("people", "club_visits")} | {"reviews": path}
    columns = tuple(Column(name) for name in rows)
    kept = tuple(table for table in club.schema.tables if table.name in files)
    schema = replace(
        club.schema,
        tables=(*kept, Table("reviews", columns, (), "at")),
        foreign_keys=(
            *club.schema.foreign_keys,
            ForeignKey("reviews", ("PersonId",), "people", ("PersonId",)),
        ),
    )
    return complete_schema(schema, files, as_of=day(120)), files


def test_a_table_without_a_key_gives_features(keyless):
    schema, files = keyless
    features = enumerate_features(schema, "people", FeatureConfig(depth=2, max_features=200))
    named = {feature.name: feature for feature in features}
    count = named["COUNT(reviews)"]
    mean = named["MEAN(reviews.stars)"]
    seeds = pl.DataFrame(
        {"row_id": [0, 1, 2], "entity": [0, 0, 1], "cutoff_time": [day(8), day(9), day(8)]}
    ).with_columns(pl.col("cutoff_time").alias("visible_until"))
    found = compute_features(schema, features, files, seeds, entity_table="people", threads=1)
    assert found[count.name].to_list() == [1, 2, 0]
    assert found[mean.name].to_list() == [1.0, 3.0, None]


def test_a_table_without_a_key_passes_the_gates(keyless):
    schema, files = keyless
    report = check_staged_tables(schema, files, now=day(0) + timedelta(days=900))
    failed = [result for result in report.failures if result.table == "reviews"]
    assert [(result.name, result.message) for result in failed if is_critical(result)] == []


def is_critical(result):
    return str(result.severity) == "critical"
