from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from models.database.profile import ColumnProfile
from models.database.schema import Column, ForeignKey, RelationalSchema, SemanticType, Table
from models.database.semantic_types import (
    MissingColumnsError,
    complete_schema,
    infer_semantic_type,
    staged_expression,
    time_rank,
)


def profile(**values: Any) -> ColumnProfile:
    return ColumnProfile(**{"name": "c", "sql_type": "", "rows": 10_000, "nulls": 0} | values)


TEXT = {"timestamp_share": 0.0, "mean_length": 9.0}


@pytest.mark.parametrize(
    ("name", "sql_type", "values", "expected"),
    [
        ("flag", "BOOLEAN", {"distinct": 2}, "boolean"),
        ("d", "DATE", {"distinct": 9}, "timestamp"),
        ("d", "TIMESTAMP_NS", {"distinct": 9}, "timestamp"),
        ("d", "TIMESTAMP WITH TIME ZONE", {"distinct": 9}, "timestamp"),
        ("t", "TIME", {"distinct": 9}, "numerical"),
        ("t", "INTERVAL", {"distinct": 9}, "numerical"),
        ("price", "DOUBLE", {"distinct": 9}, "numerical"),
        ("price", "DECIMAL(9,2)", {"distinct": 9}, "numerical"),
        ("statusId", "BIGINT", {"distinct": 130}, "categorical"),
        ("zip", "INTEGER", {"distinct": 1000}, "categorical"),
        ("zip", "INTEGER", {"distinct": 1001}, "identifier"),
        ("is_open", "TINYINT", {"distinct": 2}, "categorical"),
        ("paid", "INTEGER", {"distinct": 9}, "numerical"),
        ("quantity", "UBIGINT", {"distinct": 9}, "numerical"),
        ("at", "VARCHAR", {"distinct": 9, "timestamp_share": 0.995, "mean_tokens": 2}, "timestamp"),
        ("s", "VARCHAR", {"distinct": 2001, "mean_tokens": 4.0}, "text"),
        ("s", "VARCHAR", {"distinct": 900, "mean_tokens": 4.0}, "categorical"),
        ("s", "VARCHAR", {"distinct": 9900, "mean_tokens": 1.0}, "identifier"),
        ("s", "VARCHAR", {"distinct": 1000, "mean_tokens": 1.0}, "categorical"),
        ("s", "VARCHAR", {"distinct": 5000, "rows": 100_000, "mean_tokens": 1}, "categorical"),
        ("s", "VARCHAR", {"distinct": 4000, "mean_tokens": 2.0}, "text"),
        ("s", "VARCHAR", {"distinct": 4000, "mean_tokens": 1.0}, "identifier"),
        ("s", "VARCHAR", {"distinct": 0, "rows": 0, "timestamp_share": None}, "categorical"),
        ("b", "BLOB", {"distinct": 9}, None),
        ("b", "INTEGER[]", {"distinct": 9}, None),
        ("b", "STRUCT(a INTEGER)", {"distinct": 9}, None),
        ("b", "JSON", {"distinct": 9}, None),
        ("b", "TIMESTAMP[]", {"distinct": 9}, None),
    ],
)
def test_rule_table(name, sql_type, values, expected):
    found = infer_semantic_type(name, sql_type, profile(**TEXT | values), is_key=False)
    assert found == (SemanticType(expected) if expected else None)


def test_keys_are_identifiers_whatever_their_type():
    for kind in ("INTEGER", "VARCHAR", "TIMESTAMP"):
        assert infer_semantic_type("x", kind, profile(distinct=3), True) is SemanticType.IDENTIFIER


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("created_at", 0), ("recordedAt", 0), ("ordered_at", 1), ("date", 2), ("orderDate", 3),
        ("start_date", 4), ("whenever", 4), ("updated_at", 5), ("dob", None), ("birth_date", None),
        ("valid_until", None), ("contract_end", None), ("due_at", None), ("expires_on", None),
    ],
)  # fmt: skip
def test_time_rank(name, rank):
    assert time_rank(name) == rank


def test_staged_expressions():
    assert staged_expression("a", "INTEGER") == '"a"'
    assert staged_expression('a"b', "DECIMAL(4,1)") == '"a""b"::DOUBLE'
    assert staged_expression("a", "ENUM('[]')") == '"a"::VARCHAR'
    assert staged_expression("a", "ENUM('x')[]") is None


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Until 2021 `label` is one word of few; afterwards it is free text and `code` explodes."""
    path = tmp_path / "events.parquet"
    duckdb.sql("""
        SELECT i AS id, 1 AS owner_id, TIMESTAMP '2020-01-01' + INTERVAL (i) HOUR AS "at",
               CASE WHEN i < 1000 THEN 'kind' || i % 3 ELSE 'a long free text number ' || i END
                   AS label,
               CASE WHEN i < 1000 THEN i % 5 ELSE i END AS status_code,
               CASE WHEN i < 1000 THEN '2020-01-01' ELSE 'x' END AS noted
        FROM range(20000) r(i)""").write_parquet(str(path))
    return path


SCHEMA = RelationalSchema(
    "demo",
    (
        Table(
            "events",
            (
                Column("label", description="what happened"),
                Column("status_code", semantic_type=SemanticType.NUMERICAL),
            ),
            ("id",),
            "at",
        ),
    ),
    (ForeignKey("events", ("owner_id",), "owners", ("id",)),),
)


def types(schema: RelationalSchema) -> dict[str, SemanticType | None]:
    return {column.name: column.semantic_type for column in schema.table("events").columns}


def test_columns_are_completed_in_file_order(events):
    schema = complete_schema(SCHEMA, {"events": events}, as_of=None)
    table = schema.table("events")
    assert table.column_names == ["id", "owner_id", "at", "label", "status_code", "noted"]
    assert table.column("label") == Column(
        "label", "VARCHAR", SemanticType.TEXT, False, "what happened"
    )
    assert table.column("status_code").semantic_type is SemanticType.NUMERICAL
    assert table.column("status_code").declared
    assert table.column("owner_id").semantic_type is SemanticType.IDENTIFIER


def test_future_rows_cannot_flip_a_type(events, tmp_path):
    as_of = datetime(2020, 2, 1)
    past = tmp_path / "past.parquet"
    duckdb.sql(f"FROM '{events}' WHERE \"at\" <= TIMESTAMP '{as_of}'").write_parquet(str(past))
    seen = types(complete_schema(SCHEMA, {"events": events}, as_of=as_of))
    assert seen == types(complete_schema(SCHEMA, {"events": past}, as_of=as_of))
    assert seen["label"] is SemanticType.CATEGORICAL
    assert seen["noted"] is SemanticType.TIMESTAMP
    later = types(complete_schema(SCHEMA, {"events": events}, as_of=None))
    assert later["label"] is SemanticType.TEXT
    assert later["noted"] is SemanticType.CATEGORICAL


def test_as_of_works_on_text_times_and_before_the_first_row(events, tmp_path):
    text = tmp_path / "text.parquet"
    duckdb.sql(f'SELECT * REPLACE ("at"::VARCHAR AS "at") FROM \'{events}\'').write_parquet(
        str(text)
    )
    seen = types(complete_schema(SCHEMA, {"events": text}, as_of=datetime(2020, 2, 1)))
    assert seen["label"] is SemanticType.CATEGORICAL
    none = types(complete_schema(SCHEMA, {"events": events}, as_of=datetime(1999, 1, 1)))
    assert none["label"] is SemanticType.CATEGORICAL


def test_all_missing_columns_are_named_at_once(events):
    table = Table("events", (Column("absent"), Column("label")), ("key",), "when")
    schema = RelationalSchema("demo", (table, Table("ghost")))
    with pytest.raises(MissingColumnsError) as caught:
        complete_schema(schema, {"events": events}, as_of=None)
    for part in ("events.absent", "events.key", "events.when", "ghost (no Parquet file)"):
        assert part in str(caught.value)
