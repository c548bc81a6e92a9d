"""The gate after staging: keys identify and resolve, events have a time, columns vary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from models.database.quoting import quote
from models.database.schema import RelationalSchema, Table
from models.quality.keys import foreign_key_check, primary_key_check
from models.quality.plan import Check, Expectation, Figure, TablePlan, share
from models.quality.raw import declared_columns
from models.quality.relation import (
    Relation,
    as_time,
    is_temporal,
    literal,
    naive_utc,
    open_relations,
)
from models.quality.results import STAGED_CHECKS, QualityReport, Severity
from models.quality.user import require_known_tables, user_check
from models.quality.validation import validate


def check_staged_tables(
    schema: RelationalSchema,
    tables: Mapping[str, Path],
    *,
    now: datetime,
    user_expectations: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    docs_dir: Path | None = None,
) -> QualityReport:
    """Validate the staged tables of a schema, given as Parquet files.

    An event at `now` is valid, one after it is not. `user_expectations` maps a table to entries
    `{type, kwargs, severity}`. With `docs_dir`, Data Docs replace what is there.
    """
    user = user_expectations or {}
    _require_tables(schema, tables)
    require_known_tables(user, list(tables))
    with open_relations(tables) as relations:
        plans = [
            _plan(schema, relations, name, naive_utc(now), user.get(name, ())) for name in tables
        ]
        return validate(plans, docs_dir, "staged tables")


def _require_tables(schema: RelationalSchema, tables: Mapping[str, Path]) -> None:
    """Every table is in the schema, and the parents of its foreign keys are given with it."""
    parents = {key.parent for name in tables for key in schema.parents(schema.table(name).name)}
    absent = sorted(parents - set(tables))
    if absent:
        raise ValueError(
            f"foreign keys can't be checked without their parents: add {', '.join(absent)}"
            f" (got {', '.join(tables)})"
        )


def _plan(
    schema: RelationalSchema,
    relations: Mapping[str, Relation],
    name: str,
    now: datetime,
    user: Sequence[Mapping[str, Any]],
) -> TablePlan:
    table, relation = schema.table(name), relations[name]
    columns = declared_columns(schema, name)
    relation.require(columns, "Select these columns in its dbt model or take them from its YAML.")
    return TablePlan(
        relation,
        (
            primary_key_check(table, relation),
            foreign_key_check(table, list(schema.parents(name)), relations),
            _event_times(table, relation, now),
            _constant_columns(schema, table, relation),
            user_check(STAGED_CHECKS["user_expectations"], relation, user),
        ),
    )


def _event_times(table: Table, relation: Relation, now: datetime) -> Check:
    definition, column = STAGED_CHECKS["event_times_valid"], table.time_column
    if column is None:
        return Check(definition, f"{table.name}: no time column is declared, nothing to check.")
    time = as_time(column, relation.type_of(column))
    nulls, unreadable, future, first, last = relation.one(
        f"select count(*) filter ({quote(column)} is null),"
        f" count(*) filter ({quote(column)} is not null and {time} is null),"
        f" count(*) filter ({time} > {literal(now)}), min({time}), max({time})"
        f" from {quote(table.name)}"
    )
    failed = (
        f"{table.name}: of {relation.rows:,} rows, {nulls:,} have no {column}, {unreadable:,} one"
        f" that is not a time and {future:,} one after {now} (last: {last}). Cast {column} to a"
        " timestamp in UTC and drop rows without one in the staging model; for rows in the future,"
        " correct the clock or time zone of the source."
    )
    return Check(
        definition,
        f"{table.name}: {relation.rows:,} rows have a {column}, from {first} to {last}.",
        failed,
        _time_figures(column, relation, time, nulls + unreadable, future, now),
        # A row without a time is never visible: worth knowing, no reason to stop.
        severity=Severity.WARNING if nulls and not (unreadable or future) else None,
        observed={
            "rows": relation.rows,
            "null_times": nulls,
            "unreadable_times": unreadable,
            "future_times": future,
            "first": first,
            "last": last,
            "now": now,
        },
    )


def _time_figures(
    column: str, relation: Relation, time: str, absent: int, future: int, now: datetime
) -> tuple[Figure, Figure]:
    # A text column keeps its own name for the user's expectations.
    name = column if is_temporal(relation.type_of(column)) else f"{column} (as time)"
    present = Expectation("expect_column_values_to_not_be_null", {"column": name})
    past = Expectation("expect_column_values_to_be_between", {"column": name, "max_value": now})
    return (
        Figure(f"rows without {column}", absent, at_most=0, rows=(present,), columns={name: time}),
        Figure(f"rows after {now}", future, at_most=0, rows=(past,), columns={name: time}),
    )


def _constant_columns(schema: RelationalSchema, table: Table, relation: Relation) -> Check:
    """Columns other than keys and times hold two values at least; NULL counts as a value."""
    definition = STAGED_CHECKS["constant_columns"]
    skipped = {column.lower() for column in schema.key_columns(table.name)}
    skipped.add((table.time_column or "").lower())
    columns = [column for column in relation.types if column.lower() not in skipped]
    if relation.rows < 2 or not columns:
        return Check(
            definition,
            f"{table.name}: {relation.rows:,} rows and {len(columns)} columns besides keys and"
            " time, nothing to compare.",
        )
    measured = relation.one(
        "select " + ", ".join(map(_varies, columns)) + f" from {quote(table.name)}"
    )
    varying = dict(zip(columns, measured, strict=True))
    constant = [column for column, varies in varying.items() if not varies]
    return Check(
        definition,
        f"{table.name}: {len(columns)} columns vary over {relation.rows:,} rows.",
        f"{table.name}: {share(len(constant), len(columns))} columns hold one value in all"
        f" {relation.rows:,} rows: {', '.join(constant)}. A constant tells a model nothing: drop"
        " them from the staging model, or check whether the load filled them.",
        tuple(
            Figure(f"{column}: distinct values (2 = two or more)", 1 + varies, at_least=2)
            for column, varies in varying.items()
        ),
        observed={"rows": relation.rows, "columns": len(columns), "constant": constant},
    )


def _varies(column: str) -> str:
    """SQL that is true when a column has two values; exact, streaming, for any comparable type."""
    name = quote(column)
    return (
        f"(min({name}::varchar) is distinct from max({name}::varchar)"
        f" or count({name}) not in (0, count(*)))"
    )
