"""Faults of a declaration are collected, each with its place and its mend."""

from __future__ import annotations

import pytest

from models.database.dbt_folder import DeclarationError

FAULTS = {
    "no source": ("no source is declared", "_sources.yml"),
    "unknown_entity": ("faulty__unknown_entity", "unknown entity table 'nobody'", "people"),
    "keyless_entity": ("'keyless' has no primary key", "unique and not_null"),
    "composite_entity": ("'lines' has a composite primary key", "single-column key"),
    "unknown_metric": ("unknown metric 'luck'", "roc_auc"),
    "foreign_metric": ("metric 'rmse' does not measure a binary_classification", "accuracy"),
    "unknown_type": ("unknown type 'guessing'", "regression"),
    "unknown_protocol": ("unknown protocol 'thawed'", "frozen, rolling"),
    "bad_window": ("window is not a fixed positive duration", "'2 months'"),
    "bare_window": ("faulty__bare_window: window is not a fixed", "'30'"),
    "bad_stride": ("stride is not a fixed positive duration", "'often'"),
    "long_window": ("validation_span (30 days) is shorter than its window (60 days)", "lengthen"),
    "unknown_setting": ("unknown setting 'horizon'", "known are candidates, entity_column"),
    "missing type": ("missing_settings: type is missing",),
    "missing window": ("missing_settings: window is missing",),
    "missing span": ("missing_settings: validation_span is missing",),
    "missing entity": ("missing_settings: entity_column is missing",),
    "bad_count": ("evaluation_cutoffs must be a whole number from 1", "'many'"),
    "bad_hidden": ("hidden_columns must be [table, column] pairs",),
    "hidden_table": ("task hidden_table", "unknown table 'nobody'"),
    "hidden_column": ("task hidden_column", "table people has no column 'shoe'"),
    "semantic type": ("table visits, column id", "unknown semantic_type 'vibes'", "identifier"),
    "not the key": (
        "table visits, column person",
        "people(name), which is not the primary key (id)",
    ),
    "keyless parent": ("table keyless: no primary key", "visits(keyless) -> keyless", "unique"),
    "other database": ("table visits, column abroad", "no table of database 'faulty'"),
    "tolerance": ("table visits, column dangling", "share between 0 and 1", "'5%'"),
    "incomplete key": ("table visits", "needs columns, parent and parent_columns"),
    "no parent": ("table visits, column x, y", "points at 'gone'"),
}


@pytest.mark.parametrize("parts", FAULTS.values(), ids=FAULTS)
def test_each_fault_is_one_line_with_its_place_and_mend(declarations, parts):
    told = [fault for fault in declarations["faulty"].faults if all(p in fault for p in parts)]
    assert len(told) == 1, declarations["faulty"].faults


def test_all_faults_are_raised_at_once_and_nothing_else_is_a_fault(declarations):
    faulty = declarations["faulty"]
    with pytest.raises(DeclarationError) as raised:
        faulty.checked()
    lines = str(raised.value).splitlines()
    assert lines[0] == f"database 'faulty' is declared with {len(FAULTS)} fault(s):"
    assert lines[1:] == [f"  - {fault}" for fault in faulty.faults]


def test_a_fault_in_one_database_leaves_the_others_usable(declarations):
    assert declarations["db_1"].checked().database == "db_1"


def test_a_table_without_a_key_that_nobody_refers_to_is_fine(declarations, club):
    assert club.schema.table("no_times").primary_key == ()
    keyless = [
        (database, table)
        for database, declaration in declarations.items()
        if database != "faulty"
        for table in declaration.checked().tables
        if not table.primary_key
    ]
    assert keyless
