"""Expectations that a user writes in a dbt model's meta block, checked before anything runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

from models.database.quoting import quote
from models.quality.plan import Check, Expectation, Frame
from models.quality.relation import Relation, as_time, is_temporal, naive_utc
from models.quality.results import CheckDefinition, Severity

_COLUMN_ARGUMENTS = ("column", "column_A", "column_B")
# Fields of every expectation that are ours to set, or that concern other data sources.
_RESERVED = (
    *("id", "meta", "notes", "description", "severity", "rendered_content"),
    *("result_format", "catch_exceptions", "windows", "batch_id"),
)
# These compare with another table or run SQL; the tables come as pandas frames.
_NEEDS_SQL = (
    "expect_query_results_to_match_comparison",
    "expect_table_row_count_to_equal_other_table",
    "unexpected_rows_expectation",
)


def require_known_tables(user: Mapping[str, Any], tables: Sequence[str]) -> None:
    """Raise ValueError if expectations name a table that is not checked."""
    for name in user:
        if name not in tables:
            raise ValueError(
                f"user expectations for unknown table {name!r}{_near(name, tables)} (checked:"
                f" {', '.join(tables)})"
            )


def user_check(
    definition: CheckDefinition, relation: Relation, entries: Sequence[Mapping[str, Any]]
) -> Check:
    """The user's expectations on a table as one check. ValueError names what is wrong with one."""
    expectations = tuple(_parse(relation, entry) for entry in entries)
    columns: dict[str, str] = {}
    for expectation in expectations:
        if expectation.frame is Frame.ROWS:
            columns.update(_columns_read(relation, expectation.kwargs))
    sampled = " in a sample of the rows" if relation.large and columns else ""
    passed = f"{relation.name}: {len(expectations)} expectations hold{sampled}."
    if not expectations:
        passed = f"{relation.name}: no expectation is declared in its meta block."
    return Check(definition, passed, expectations=expectations, columns=columns)


def _parse(relation: Relation, entry: Mapping[str, Any]) -> Expectation:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
        raise ValueError(
            f"table {relation.name!r}: an expectation is a mapping with type, kwargs and severity"
            f" (got {entry!r})"
        )
    kind, where = entry["type"], f"table {relation.name!r}, expectation {entry['type']!r}"
    unknown = [key for key in entry if key not in ("type", "kwargs", "severity")]
    if unknown:
        raise ValueError(f"{where}: unknown keys {unknown} (known: type, kwargs, severity)")
    if entry.get("severity", "critical") not in list(Severity):
        raise ValueError(
            f"{where}: severity is critical or warning (got {entry.get('severity')!r})"
        )
    kwargs = entry.get("kwargs") or {}
    if not isinstance(kwargs, Mapping):
        raise ValueError(f"{where}: kwargs is a mapping (got {kwargs!r})")
    model = _model(where, kind, kwargs)
    if _frame_of(kind) is Frame.ROWS:
        for column in _columns_named(kwargs):
            if column not in relation.types:
                raise ValueError(
                    f"{where}: no column {column!r}{_near(str(column), relation.types)} (has:"
                    f" {', '.join(relation.types)})"
                )
    kwargs = _with_times(relation, kwargs)
    try:
        model(**kwargs)
    except (ValueError, TypeError) as error:
        reason = _reasons(error)
        raise ValueError(f"{where}: bad arguments {dict(kwargs)!r}: {reason}") from error
    severity = Severity(entry.get("severity", "critical"))
    return Expectation(kind, kwargs, _frame_of(kind), severity)


def _model(where: str, kind: str, kwargs: Mapping[str, Any]) -> Any:
    """Great Expectations' class of that type, if it knows the type and the arguments' names."""
    from models.quality.validation import expectation_class, expectation_types

    if kind in _NEEDS_SQL:
        raise ValueError(f"{where}: needs an SQL data source, tables are validated as data frames")
    known = [name for name in expectation_types() if name not in _NEEDS_SQL]
    if kind not in known:
        raise ValueError(f"{where}: Great Expectations has no such type{_near(kind, known)}")
    model = expectation_class(kind)
    arguments = [name for name in model.__fields__ if name not in _RESERVED]
    for name in kwargs:
        if name not in arguments:
            raise ValueError(
                f"{where}: unknown argument {name!r}{_near(str(name), arguments)} (known:"
                f" {', '.join(arguments)})"
            )
    return model


def _reasons(error: Exception) -> str:
    """What pydantic objects to, the first reason for each argument."""
    if not hasattr(error, "errors"):
        return str(error)
    reasons: dict[str, str] = {}
    for entry in error.errors():
        reasons.setdefault(str(entry["loc"][0]), entry["msg"])
    return "; ".join(
        reason if name == "__root__" else f"{name}: {reason}" for name, reason in reasons.items()
    )


def _frame_of(kind: str) -> Frame:
    if kind.startswith("expect_table_row_count"):
        return Frame.COUNT
    if kind.startswith("expect_table_") or kind == "expect_column_to_exist":
        return Frame.COLUMNS
    return Frame.ROWS


def _columns_named(kwargs: Mapping[str, Any]) -> list[str]:
    return [kwargs[name] for name in _COLUMN_ARGUMENTS if name in kwargs] + list(
        kwargs.get("column_list") or ()
    )


def _columns_read(relation: Relation, kwargs: Mapping[str, Any]) -> dict[str, str]:
    """Name and SQL of the columns that an expectation reads, its row condition included."""
    condition = str(kwargs.get("row_condition") or "")
    named = _columns_named(kwargs) + [name for name in relation.types if name in condition]
    return {
        name: as_time(name, relation.types[name])
        if is_temporal(relation.types[name])
        else quote(name)
        for name in named
    }


def _with_times(relation: Relation, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Limits on a time column as datetimes: pandas refuses to compare with YAML's dates."""
    column = relation.find(str(kwargs.get("column")))
    if column is None or not is_temporal(relation.types[column]):
        return dict(kwargs)
    limits = [name for name in ("min_value", "max_value") if name in kwargs]
    try:
        return {**kwargs, **{name: _as_datetime(kwargs[name]) for name in limits}}
    except ValueError as error:
        raise ValueError(
            f"table {relation.name!r}: {column} holds times, so min_value and max_value are ISO"
            f" dates or times (got {[kwargs[name] for name in limits]})"
        ) from error


def _as_datetime(value: Any) -> Any:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return naive_utc(value)
    return datetime.combine(value, time()) if isinstance(value, date) else value


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
