"""The gate before staging: raw tables have rows, and the columns that the schema declares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from models.database.quoting import quote
from models.database.schema import RelationalSchema
from models.quality.plan import Check, Expectation, Figure, Frame, TablePlan
from models.quality.relation import Relation, as_time, is_temporal, open_relations
from models.quality.results import RAW_CHECKS, QualityReport
from models.quality.validation import validate


def check_raw_tables(
    schema: RelationalSchema, tables: Mapping[str, Path], docs_dir: Path | None = None
) -> QualityReport:
    """Validate raw tables, given as Parquet files under the names of their staged tables.

    Only the tables that are given are judged. A table that the schema does not know has no
    declared columns. With `docs_dir`, Data Docs replace what is there.
    """
    with open_relations(tables) as relations:
        plans = [_plan(schema, relation) for relation in relations.values()]
        return validate(plans, docs_dir, "raw tables")


def _plan(schema: RelationalSchema, relation: Relation) -> TablePlan:
    checks = (_not_empty(relation), _columns_present(schema, relation), _times(schema, relation))
    return TablePlan(relation, checks)


def _not_empty(relation: Relation) -> Check:
    return Check(
        RAW_CHECKS["not_empty"],
        f"{relation.name}: {relation.rows:,} rows.",
        f"{relation.name}: 0 rows. Check that the source delivers this table (its name, filter and"
        " credentials), or remove its model from the dbt folder.",
        (Figure("rows", relation.rows, at_least=1),),
        observed={"rows": relation.rows},
    )


def _times(schema: RelationalSchema, relation: Relation) -> Check:
    """Text that is no time would become NULL in staging, and its row invisible."""
    definition = RAW_CHECKS["event_times_parse"]
    declared = schema.table(relation.name) if relation.name in schema.table_names else None
    column = relation.find(declared.time_column) if declared and declared.time_column else None
    if column is None or is_temporal(relation.type_of(column)):
        return Check(definition, f"{relation.name}: no event time is text, nothing to check.")
    time = as_time(column, relation.type_of(column))
    unreadable, example = relation.one(
        f"select count(*) filter ({quote(column)} is not null and {time} is null),"
        f" min({quote(column)}) filter ({time} is null) from {quote(relation.name)}"
    )
    return Check(
        definition,
        f"{relation.name}: every {column} is a time.",
        f"{relation.name}: {unreadable:,} of {relation.rows:,} rows have a {column} that is not a"
        f" time, such as {example!r}. Correct them in the source, or write the staging model's cast"
        " for their format (strptime).",
        (Figure(f"rows with an unreadable {column}", unreadable, at_most=0),),
        observed={"rows": relation.rows, "unreadable_times": unreadable, "example": example},
    )


def declared_columns(schema: RelationalSchema, table: str) -> list[str]:
    """Keys, time column and declared columns of a table; parents' keys that others refer to."""
    if table not in schema.table_names:
        return []
    declared = schema.table(table)
    columns = [*declared.primary_key]
    columns += [column for key in schema.parents(table) for column in key.columns]
    columns += [column for key in schema.children(table) for column in key.parent_columns]
    columns += [declared.time_column] if declared.time_column else []
    return list(dict.fromkeys([*columns, *declared.column_names]))


def _columns_present(schema: RelationalSchema, relation: Relation) -> Check:
    definition = RAW_CHECKS["columns_present"]
    declared = declared_columns(schema, relation.name)
    if not declared:
        return Check(
            definition, f"{relation.name}: the schema declares no column of it, nothing to check."
        )
    missing = [column for column in declared if relation.find(column) is None]
    # The expectation compares spelling, SQL does not: ask for the columns as the file spells them.
    expected = sorted({relation.find(column) or column for column in declared})
    expectation = Expectation(
        "expect_table_columns_to_match_set",
        {"column_set": expected, "exact_match": False},
        Frame.COLUMNS,
    )
    return Check(
        definition,
        f"{relation.name}: all {len(expected)} declared columns are there.",
        f"{relation.name}: {len(missing)} of {len(declared)} declared columns are missing from"
        f" {relation.rows:,} rows: {', '.join(missing)} (the table has"
        f" {', '.join(relation.types)}). Correct the names in the model's YAML, or load these"
        " columns from the source.",
        expectations=(expectation,),
        observed={"rows": relation.rows, "missing": missing, "columns": list(relation.types)},
    )
