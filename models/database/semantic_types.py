"""What columns mean: the semantic type of every column, and the form in which a type is staged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import duckdb

from models.database.profile import (
    ColumnProfile,
    TableProfile,
    is_integer,
    is_number,
    is_string,
    is_time,
    parquet_relation,
    profile_table,
)
from models.database.quoting import quote
from models.database.schema import Column, RelationalSchema, SemanticType, Table
from models.database.text import words

_CODE_WORDS = {
    "id", "ids", "code", "type", "kind", "status", "state", "class", "category", "group", "zip",
    "zipcode", "postcode", "flag", "indicator", "gender", "sex", "key", "sk", "fk",
}  # fmt: skip
_FLAG_PREFIXES = {"is", "has", "flag"}
MANY = 1000
FEW = 100
# Times that are not when a row's event happened, or that lie in the future of the row.
_NEVER = {
    "dob", "birth", "birthday", "birthdate", "born", "death", "died", "until", "end", "ends", "due",
    "expire", "expires", "expiry", "expiration", "deadline", "to", "scheduled", "planned",
    "expected", "estimated", "starts", "target", "next", "renews",
}  # fmt: skip
_WRITTEN = {"created", "recorded", "logged", "inserted", "occurred", "observed"}
_CHANGED = {"updated", "modified", "changed", "deleted", "last", "synced", "loaded"}
_TIME_WORDS = {"date", "timestamp", "datetime", "time", "ts", "day"}


class MissingColumnsError(ValueError):
    """Declared columns that the staged Parquet files do not have."""


def staged_expression(name: str, sql_type: str) -> str | None:
    """SQL that turns a source column into its staged form; None for types that have none."""
    column, kind = quote(name), sql_type.upper()
    if kind.endswith("]") or re.match(r"BLOB|STRUCT|MAP|UNION|GEOMETRY|VARIANT|BIGNUM", kind):
        return None
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"CASE WHEN isfinite({column}) THEN {column} AT TIME ZONE 'UTC' END"
    if is_time(kind):
        # Infinite times are Postgres's "never"; Parquet readers would see the year 294247.
        return f"CASE WHEN isfinite({column}) THEN {column} END"
    if kind.startswith(("DECIMAL", "HUGEINT", "UHUGEINT")):
        return f"{column}::DOUBLE"
    if kind.startswith(("TIME", "INTERVAL")):
        return f"epoch({column})::DOUBLE"
    if kind.startswith(("UUID", "ENUM", "JSON", "BIT")) or kind == '"NULL"':
        return f"{column}::VARCHAR"
    return column


def time_rank(column: str) -> int | None:
    """Preference of a name for an event time, 0 the best; None for times that are no event.

    0: when the row was written down; 1: `*_at`, `*_on`; 2: date, timestamp, time; 3: `*_date` and
    the like; 4: starts of a span and unclear names; 5: changes of the row.
    """
    name = words(column)
    if not name or _NEVER & set(name):
        return None
    if _CHANGED & set(name):
        return 5
    if _WRITTEN & set(name):
        return 0
    if name[-1] in ("at", "on"):
        return 1
    if "start" in name or "from" in name or name[-1] not in _TIME_WORDS:
        return 4
    return 2 if len(name) == 1 else 3


def infer_semantic_type(
    column_name: str, sql_type: str, profile: ColumnProfile, is_key: bool
) -> SemanticType | None:
    """The semantic type of a column, by the first rule that applies.

    1. part of a primary or foreign key: identifier;
    2. BOOLEAN: boolean; DATE and TIMESTAMP: timestamp; TIME, INTERVAL, floats and decimals:
       numerical;
    3. an integer whose name ends in a word for a code (id, code, type, status, class, zip, ...) or
       starts with is, has, flag: categorical up to 1000 distinct values, else identifier; other
       integers: numerical;
    4. a string of which at least 99 % of the values parse as timestamps: timestamp;
    5. a string with 4 or more words on average and over 20 % distinct values: text;
    6. a string of single words with over 95 % distinct values and more than 100 of them:
       identifier (the names of a dozen categories are categories);
    7. a string with at most 1000 distinct values, or 5 % of the rows if that is more: categorical;
    8. any other string: text if it has more than 1.5 words on average, else identifier;
    9. other types (BLOB, LIST, STRUCT, JSON): None, the column is not learned from.
    """
    kind = sql_type.upper()
    if is_key:
        return SemanticType.IDENTIFIER
    if kind == "BOOLEAN":
        return SemanticType.BOOLEAN
    if is_time(kind):
        return SemanticType.TIMESTAMP
    if is_integer(kind):
        return _integer_type(column_name, profile)
    if is_number(kind) or re.fullmatch(r"TIME(_NS| WITH TIME ZONE)?|INTERVAL", kind):
        return SemanticType.NUMERICAL
    if is_string(kind):
        return _string_type(profile)
    return None


def complete_schema(
    schema: RelationalSchema, tables: Mapping[str, Path], *, as_of: datetime | None
) -> RelationalSchema:
    """The schema with every column of the staged data, each with its SQL and semantic type.

    Types are inferred from rows up to `as_of` where a table has a time column, so that later rows
    cannot change what a model was trained on. Declared semantic types stay.

    Args:
        schema: the declared schema.
        tables: the Parquet file, or folder of parts, of every table of the schema.
        as_of: the moment beyond which nothing may be looked at; None for all rows.

    Raises:
        MissingColumnsError: lists every table without a file, and every column that is declared,
            or used by a key, as the time or by the time rule, that its file does not have.
    """
    connection = duckdb.connect()
    missing: list[str] = []
    for table in schema.tables:
        if table.name not in tables:
            missing.append(f"{table.name} (no Parquet file)")
            continue
        source = parquet_relation(tables[table.name])
        rows = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        present = {row[0] for row in rows}
        needed = [*table.column_names, *table.primary_key, *([table.time_column or ""])]
        needed += sorted(schema.key_columns(table.name))
        wanted = dict.fromkeys(name for name in needed if name and name not in present)
        missing += [f"{table.name}.{name} (file has: {sorted(present)})" for name in wanted]
    if missing:
        raise MissingColumnsError(
            "declared columns are missing from the staged data; correct the declaration or the "
            "staging query: " + "; ".join(missing)
        )
    return schema.with_tables(
        _complete_table(schema, table, tables[table.name], as_of, connection)
        for table in schema.tables
    )


def _complete_table(
    schema: RelationalSchema,
    table: Table,
    path: Path,
    as_of: datetime | None,
    connection: duckdb.DuckDBPyConnection,
) -> Table:
    """The table with all columns of its file, in the file's order."""
    where = ""
    if as_of is not None and table.time_column:
        # TRY_CAST, because the time may be text; rows without a time may be from the future.
        where = f"TRY_CAST({quote(table.time_column)} AS TIMESTAMP) <= TIMESTAMP '{as_of}'"
    profile = profile_table(parquet_relation(path), connection, where=where)
    keys = schema.key_columns(table.name)
    declared = {column.name: column for column in table.columns}
    return replace(table, columns=tuple(_complete_columns(profile, keys, declared)))


def _complete_columns(
    profile: TableProfile, keys: set[str], declared: Mapping[str, Column]
) -> list[Column]:
    """One column a profile: the declared type where there is one, else the inferred one."""
    columns = []
    for found in profile.columns:
        column = replace(declared.get(found.name, Column(found.name)), sql_type=found.sql_type)
        if column.semantic_type is not None:
            columns.append(replace(column, declared=True))
        else:
            inferred = infer_semantic_type(found.name, found.sql_type, found, found.name in keys)
            columns.append(replace(column, semantic_type=inferred, declared=False))
    return columns


def _integer_type(name: str, profile: ColumnProfile) -> SemanticType:
    """Rule 3: codes are categories, other integers are amounts."""
    parts = words(name)
    if parts and (parts[-1] in _CODE_WORDS or parts[0] in _FLAG_PREFIXES):
        return SemanticType.CATEGORICAL if profile.distinct <= MANY else SemanticType.IDENTIFIER
    return SemanticType.NUMERICAL


def _string_type(profile: ColumnProfile) -> SemanticType:
    """Rules 4 to 8."""
    tokens = profile.mean_tokens or 0.0
    if profile.values and (profile.timestamp_share or 0.0) >= 0.99:
        return SemanticType.TIMESTAMP
    if tokens >= 4 and profile.distinct_share > 0.2:
        return SemanticType.TEXT
    if profile.distinct_share > 0.95 and profile.distinct > FEW and tokens < 1.05:
        return SemanticType.IDENTIFIER
    if profile.distinct <= max(MANY, 0.05 * profile.rows):
        return SemanticType.CATEGORICAL
    return SemanticType.TEXT if tokens > 1.5 else SemanticType.IDENTIFIER
