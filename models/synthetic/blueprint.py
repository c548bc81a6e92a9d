"""What a synthetic database consists of before it has rows: tables, keys, columns, time span."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class TableKind(StrEnum):
    """Entities exist from a birth on; activities happen at a moment."""

    ENTITY = "entity"
    ACTIVITY = "activity"


class ColumnKind(StrEnum):
    """What a column holds."""

    NUMERICAL = "numerical"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"
    TIMESTAMP = "timestamp"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """A foreign key column.

    Attributes:
        column: Its name.
        parent: The table it points at; its own table for a self-reference.
        null_share: The share of rows without a parent.
    """

    column: str
    parent: str
    null_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.null_share < 1:
            raise ValueError(
                f"foreign key {self.column!r}: null_share must be at least 0 and below 1 "
                f"(got {self.null_share})"
            )


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """A column that is neither a key nor the table's time.

    Attributes:
        name: Its name.
        kind: What it holds.
        categories: The values of a categorical column.
        nullable: Whether values may be missing.
    """

    name: str
    kind: ColumnKind
    categories: tuple[str, ...] = ()
    nullable: bool = True

    def __post_init__(self) -> None:
        if self.kind == ColumnKind.CATEGORICAL and len(self.categories) < 2:
            raise ValueError(f"column {self.name!r}: a categorical column needs two categories")


@dataclass(frozen=True, slots=True)
class TablePlan:
    """A table.

    Attributes:
        name: Its name.
        kind: Entities or activities.
        rows: How many rows to make.
        primary_key: The column of the row's number, from 0.
        keys: Foreign keys. The first of an activity table is its owner: the rows' times follow the
            owner's own clock, or lie a delay after the owner where that is an activity itself.
        columns: The other columns.
        time_column: When a row came to be; every activity table has one, an entity table may.
    """

    name: str
    kind: TableKind
    rows: int
    primary_key: str
    keys: tuple[KeyPlan, ...] = ()
    columns: tuple[ColumnPlan, ...] = ()
    time_column: str | None = None

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"table {self.name!r}: rows must be at least 1 (got {self.rows})")
        if self.kind == TableKind.ACTIVITY and not self.time_column:
            raise ValueError(f"table {self.name!r}: an activity table needs a time column")
        names = [self.primary_key, *(key.column for key in self.keys), *self.column_names]
        names += [self.time_column] if self.time_column else []
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"table {self.name!r}: two columns are called {', '.join(twice)}")

    @property
    def column_names(self) -> list[str]:
        """Names of the columns that are neither keys nor the time."""
        return [column.name for column in self.columns]

    @property
    def owner(self) -> KeyPlan | None:
        """The key whose parent sets the clock; an entity table has none."""
        return self.keys[0] if self.kind == TableKind.ACTIVITY and self.keys else None


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A database without its rows.

    Attributes:
        name: Its name.
        tables: Parents before children (self-references aside).
        start: The first moment of the database.
        end: Its last one.
        validation: From here on rows are for validation.
        test: From here on rows are for testing.
    """

    name: str
    tables: tuple[TablePlan, ...]
    start: datetime
    end: datetime
    validation: datetime
    test: datetime

    def __post_init__(self) -> None:
        if not self.start < self.validation < self.test < self.end:
            raise ValueError(
                "a database needs start < validation < test < end (got "
                f"{self.start}, {self.validation}, {self.test}, {self.end})"
            )
        seen: set[str] = set()
        for table in self.tables:
            if table.name in seen:
                raise ValueError(f"two tables are called {table.name!r}")
            seen.add(table.name)
            for key in table.keys:
                if key.parent not in seen:
                    raise ValueError(
                        f"table {table.name!r}: foreign key {key.column!r} points at "
                        f"{key.parent!r}, which is no table before it"
                    )

    @property
    def span(self) -> timedelta:
        """From the first moment to the last."""
        return self.end - self.start

    def table(self, name: str) -> TablePlan:
        """The table of that name; KeyError lists the tables."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(f"no table {name!r} (there are: {[t.name for t in self.tables]})")

    def children(self, name: str) -> Iterator[tuple[TablePlan, KeyPlan]]:
        """Tables with their keys that point at a table, in order."""
        return ((t, key) for t in self.tables for key in t.keys if key.parent == name)


def check_split(validation: float, test: float) -> None:
    """Checks where validation and the test begin, as shares of a database's span.

    Raises:
        ValueError: They are not 0 < validation < test < 1.
    """
    if not 0 < validation < test < 1:
        raise ValueError(
            "validation and test are shares of the span: 0 < validation < test < 1 (got "
            f"{validation}, {test})"
        )
