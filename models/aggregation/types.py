"""Which columns can be aggregated, from their semantic and SQL types."""

from __future__ import annotations

import re

from models.database.schema import Column, SemanticType

_INTEGER = re.compile(r"^(TINYINT|SMALLINT|INTEGER|BIGINT|UTINYINT|USMALLINT|UINTEGER)$")
_NUMBER = re.compile(
    r"^(U?TINYINT|U?SMALLINT|U?INTEGER|U?BIGINT|U?HUGEINT|INT\d*|FLOAT|REAL|DOUBLE|BOOLEAN"
    r"|(DECIMAL|NUMERIC)(\(.*\))?)$"
)
_SCALAR_EXCEPTIONS = re.compile(r"\[|^(STRUCT|MAP|UNION|BLOB|BIT|JSON|LIST|INTERVAL|GEOMETRY)")
_TIME = re.compile(r"^(DATE|TIMESTAMP.*|DATETIME)$")


def is_integer(sql_type: str) -> bool:
    """Whether the SQL type is an integer type whose values all fit 64 signed bits."""
    return bool(_INTEGER.match(sql_type.upper()))


def is_supported(column: Column) -> bool:
    """Whether features can be made of the column: a semantic type with an SQL type to match.

    An empty SQL type (data not staged yet) is trusted; lists, blobs and structs are not supported.
    """
    if column.semantic_type is None:
        return False
    sql_type = column.sql_type.upper()
    if not sql_type:
        return True
    if column.semantic_type is SemanticType.NUMERICAL:
        return bool(_NUMBER.match(sql_type))
    if column.semantic_type is SemanticType.TIMESTAMP:
        return bool(_TIME.match(sql_type))
    return not _SCALAR_EXCEPTIONS.search(sql_type)
