"""Names and texts inside SQL that is put together from parts."""

from __future__ import annotations


def quote(name: str) -> str:
    """The name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """The text or path as a quoted SQL string."""
    return "'" + str(value).replace("'", "''") + "'"
