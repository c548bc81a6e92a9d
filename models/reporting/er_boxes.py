"""What the box of a table shows in an entity-relationship diagram, and how large it is.

Sizes are in pixels of a monospaced font, which every renderer can reproduce.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.database.schema import RelationalSchema, Table

FONT_SIZE = 12.0
# Width of a character of a monospaced font, in units of the font size.
CHARACTER = 0.605
ROW_HEIGHT, HEADER_HEIGHT, PADDING = 18.0, 38.0, 10.0


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table's box: a column, its marks (`PK`, `FK`, `time`) and semantic type."""

    column: str
    marks: tuple[str, ...]
    kind: str


@dataclass(slots=True)
class Box:
    """A table's place in the drawing."""

    table: str
    subtitle: str
    rows: list[Row]
    hidden: int
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0

    def row_y(self, column: str) -> float:
        """The middle of the column's line."""
        index = [row.column for row in self.rows].index(column)
        return self.y + HEADER_HEIGHT + (index + 0.5) * ROW_HEIGHT


def make_box(schema: RelationalSchema, table: Table, counts: Mapping[str, int], more: int) -> Box:
    """The box of a table, not placed yet: keys first, then event time, then `more` columns."""
    referring = {column for key in schema.parents(table.name) for column in key.columns}
    referred = {column for key in schema.children(table.name) for column in key.parent_columns}
    time = {table.time_column} if table.time_column else set()
    shown = [*table.primary_key, *sorted(referred), *_in_order(table, referring), *sorted(time)]
    plain = [name for name in table.column_names if name not in set(shown)]
    marks = (("PK", set(table.primary_key)), ("FK", referring), ("time", time))
    rows = []
    for name in dict.fromkeys([*shown, *plain[:more]]):
        marked = tuple(mark for mark, names in marks if name in names)
        # A key's or an event time's mark already says what its semantic type would.
        rows.append(Row(name, marked, "" if marked else _kind(table, name)))
    count = counts.get(table.name)
    subtitle = "rows not counted" if count is None else f"{count:,} row{'s' * (count != 1)}"
    box = Box(table.name, subtitle, rows, max(len(plain) - more, 0))
    texts = [len(table.name) * 1.1, len(subtitle) * 0.9]
    texts += [len(row.column) + len(row.kind) * 0.85 + 4 + mark_width(row) for row in rows]
    box.width = max(150.0, max(texts) * FONT_SIZE * CHARACTER + 2 * PADDING)
    box.height = HEADER_HEIGHT + (len(rows) + (box.hidden > 0)) * ROW_HEIGHT + 4
    return box


def mark_width(row: Row) -> float:
    """The width of a row's marks in characters."""
    return sum(len(mark) * 0.8 + 1 for mark in row.marks)


def _in_order(table: Table, names: set[str]) -> list[str]:
    order = {name: index for index, name in enumerate(table.column_names)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


def _kind(table: Table, name: str) -> str:
    known = {column.name: column for column in table.columns}
    if name not in known:
        return ""
    semantic = known[name].semantic_type
    return semantic.value if semantic else known[name].sql_type.lower()
