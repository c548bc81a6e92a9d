"""Stage 1 for a given schema: only the data are made up.

What a schema does not say is decided by rules, which choices override. A table is an
activity, whose rows happen, where it has a time and a key to another table and is no entity that
begins (an account that was opened: it has no key to a table with a time, another table points at
it, and its time is called so); or where it has a time, no keys, and nothing points at it. All other
tables are entities.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from models.database.schema import ForeignKey, RelationalSchema, SemanticType
from models.database.text import words
from models.synthetic.blueprint import (
    Blueprint,
    ColumnKind,
    ColumnPlan,
    KeyPlan,
    TableKind,
    TablePlan,
    check_split,
)
from models.synthetic.database import Place
from models.synthetic.ddl import parse_ddl
from models.synthetic.declared import (
    DeclaredColumn,
    DeclaredTable,
    SchemaError,
    ValueType,
    declared_tables,
    faults_of,
    parents_first,
)
from models.synthetic.draws import Draw, Integer, LogUniformInteger, Uniform
from models.synthetic.streams import Streams

BEGINNINGS = {
    "begun", "born", "created", "enrolled", "established", "founded", "hired", "installed",
    "introduced", "joined", "launched", "listed", "opened", "registered", "released", "since",
    "signed", "signup", "started",
}  # fmt: skip
"""Words in the name of a time at which something began to exist."""
PROSE = {
    "abstract", "address", "bio", "body", "comment", "comments", "content", "description",
    "details", "email", "headline", "message", "name", "note", "notes", "remark", "remarks",
    "review", "street", "subject", "summary", "text", "title", "url",
}  # fmt: skip
"""Last words in the names of columns that hold words rather than categories."""
LONG = 100
"""A string that may be longer than so many characters holds words."""

KIND_OF_VALUE = {
    ValueType.INTEGER: ColumnKind.INTEGER,
    ValueType.NUMBER: ColumnKind.NUMERICAL,
    ValueType.BOOLEAN: ColumnKind.BOOLEAN,
    ValueType.MOMENT: ColumnKind.TIMESTAMP,
}
KIND_OF_MEANING = {
    SemanticType.NUMERICAL: ColumnKind.NUMERICAL,
    SemanticType.CATEGORICAL: ColumnKind.CATEGORICAL,
    SemanticType.TEXT: ColumnKind.TEXT,
    SemanticType.TIMESTAMP: ColumnKind.TIMESTAMP,
    SemanticType.BOOLEAN: ColumnKind.BOOLEAN,
    SemanticType.IDENTIFIER: ColumnKind.TEXT,
}


@dataclass(frozen=True, slots=True)
class TableChoice:
    """What to make of a table instead of what the rules say; None leaves it to them.

    Attributes:
        rows: How many.
        kind: Entities or activities.
        time_column: When a row came to be; empty for no column.
        owner: The key column whose parent an activity follows.
    """

    rows: int | None = None
    kind: TableKind | None = None
    time_column: str | None = None
    owner: str | None = None

    def __post_init__(self) -> None:
        if self.rows is not None and self.rows < 1:
            raise ValueError(f"rows must be at least 1 (got {self.rows})")


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """What to make of a column or key instead of what the rules say; None leaves it to them.

    Attributes:
        kind: What the column holds.
        categories: The values that it holds.
        null_share: The share of rows in which a key has no parent.
        left_out: The column or key is not made.
    """

    kind: ColumnKind | None = None
    categories: tuple[str, ...] = ()
    null_share: float | None = None
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class SchemaLayout:
    """The blueprint of a declared schema.

    - An activity's owner is its first key to another table that may not be NULL, or its first one;
      every row has an owner. Another key is NULL now and then where the schema allows it.
    - Numbers, booleans and times hold what their SQL types say. A string holds the values that an
      enumeration or CHECK admits; else its declared meaning decides, else its name and length:
      words where it is called name, title, comment, ... or may be long, categories otherwise.
    - Row numbers are the primary keys, whatever their type; values that a CHECK lists are text; no
      other UNIQUE or CHECK is kept.

    Attributes:
        name: The database's name.
        declared: Its tables; see `from_ddl` and `from_schema`.
        tables: Choices by table.
        columns: Choices by (table, column).
        span: Its first moment and its last; None draws them.
        entity_rows: Rows of an entity table.
        activity_rows: Rows of an activity table, and of entities that belong to one.
        categories: Values of a categorical column that names none.
        null_share: The share of rows without a parent, of a key that may be NULL.
        days: Length of the database's span.
        last_day: Days by which it ends before 2025.
        validation: Where validation begins, as a share of the span.
        test: Where the test begins.
    """

    name: str
    declared: tuple[DeclaredTable, ...]
    tables: Mapping[str, TableChoice] = field(default_factory=dict)
    columns: Mapping[Place, ColumnChoice] = field(default_factory=dict)
    span: tuple[datetime, datetime] | None = None
    entity_rows: Draw[int] = LogUniformInteger(150, 1500)
    activity_rows: Draw[int] = LogUniformInteger(1000, 6000)
    categories: Draw[int] = LogUniformInteger(3, 30)
    null_share: Draw[float] = Uniform(0.0, 0.4)
    days: Draw[int] = LogUniformInteger(365, 3650)
    last_day: Draw[int] = Integer(0, 3650)
    validation: float = 0.8
    test: float = 0.9

    def __post_init__(self) -> None:
        check_split(self.validation, self.test)
        if faults := [*self._unknown(), *faults_of(self._made())]:
            raise SchemaError(self.name, faults)

    @classmethod
    def from_ddl(
        cls, text: str, name: str = "schema", dialect: str = "postgres", **settings: Any
    ) -> SchemaLayout:
        """The layout of what CREATE TABLE statements declare (see `parse_ddl`).

        Raises:
            DdlError: a statement cannot be parsed.
            SchemaError: no database can be made for the schema, or a choice names what is not in it.
        """
        return cls(name, tuple(parse_ddl(text, name, dialect)), **settings)

    @classmethod
    def from_schema(cls, schema: RelationalSchema, **settings: Any) -> SchemaLayout:
        """The layout of a declared database: its keys, event times and semantic types.

        Of its keys only self-references are ever NULL, because it does not say which others may be;
        choose their `null_share`.

        Raises:
            SchemaError: no database can be made for the schema, or a choice names what is not in it.
        """
        return cls(schema.database, declared_tables(schema), **settings)

    def __call__(self, streams: Streams) -> Blueprint:
        """The blueprint: parents before children, entities before activities where both can be."""
        made = self._made()
        kinds = {table.name: self._kind(table, made) for table in made}
        happening = {name for name, kind in kinds.items() if kind == TableKind.ACTIVITY}
        ordered = parents_first(made, happening)
        for table in ordered:
            # The items of an order are many, even where they have no time of their own.
            if happening.intersection(key.parent for key in table.keys):
                happening.add(table.name)
        tables = tuple(
            self._table(
                table,
                kinds[table.name],
                self.activity_rows if table.name in happening else self.entity_rows,
                streams.child(table.name),
            )
            for table in ordered
        )
        generator = streams.generator("database")
        end = datetime(2025, 1, 1) - timedelta(days=self.last_day.sample(generator))
        start = end - timedelta(days=self.days.sample(generator))
        start, end = self.span or (start, end)
        validation = _round(start + self.validation * (end - start), end - start)
        test = _round(start + self.test * (end - start), end - start)
        return Blueprint(self.name, tables, start, end, validation, test)

    def _made(self) -> list[DeclaredTable]:
        """The tables without what is left out, each with the time that is chosen."""
        left_out = {place for place, choice in self.columns.items() if choice.left_out}
        return [
            replace(
                table,
                columns=tuple(c for c in table.columns if (table.name, c.name) not in left_out),
                keys=tuple(
                    key
                    for key in table.keys
                    if not {(table.name, column) for column in key.columns} & left_out
                ),
                time_column=self._time(table),
            )
            for table in self.declared
        ]

    def _time(self, table: DeclaredTable) -> str | None:
        chosen = self._choice(table).time_column
        found = table.time_column if chosen is None else chosen
        return found if found and not self._column_choice(table.name, found).left_out else None

    def _choice(self, table: DeclaredTable) -> TableChoice:
        return self.tables.get(table.name, TableChoice())

    def _column_choice(self, table: str, column: str) -> ColumnChoice:
        return self.columns.get((table, column), ColumnChoice())

    def _kind(self, table: DeclaredTable, tables: Iterable[DeclaredTable]) -> TableKind:
        chosen = self._choice(table).kind
        if chosen or not table.time_column:
            return chosen or TableKind.ENTITY
        timed = {other.name for other in tables if other.time_column}
        pointed = any(
            key.parent == table.name
            for other in tables
            for key in other.keys
            if other.name != table.name
        )
        others = [key.parent for key in table.keys if key.parent != table.name]
        if not others:
            return TableKind.ENTITY if pointed or table.keys else TableKind.ACTIVITY
        begins = bool(BEGINNINGS & set(words(table.time_column)))
        if pointed and begins and not timed.intersection(others):
            return TableKind.ENTITY
        return TableKind.ACTIVITY

    def _table(
        self, table: DeclaredTable, kind: TableKind, rows: Draw[int], streams: Streams
    ) -> TablePlan:
        keys = self._keys(table, kind, streams)
        special = {*table.primary_key, *(key.column for key in keys), table.time_column}
        return TablePlan(
            table.name,
            kind,
            self._choice(table).rows or rows.sample(streams.generator("rows")),
            table.primary_key[0],
            keys,
            tuple(
                self._column(table.name, column, streams)
                for column in table.columns
                if column.name not in special
            ),
            table.time_column,
        )

    def _keys(self, table: DeclaredTable, kind: TableKind, streams: Streams) -> tuple[KeyPlan, ...]:
        """The keys; that of an activity's owner comes first."""
        keys = list(table.keys)
        owner = self._owner(table) if kind == TableKind.ACTIVITY else None
        if owner:
            keys.remove(owner)
            keys.insert(0, owner)
        return tuple(self._key(table, key, key == owner, streams) for key in keys)

    def _owner(self, table: DeclaredTable) -> ForeignKey | None:
        others = [key for key in table.keys if key.parent != table.name]
        chosen = self._choice(table).owner
        if chosen:
            return next(key for key in others if key.columns == (chosen,))
        certain = [key for key in others if not table.nullable(key.columns[0])]
        return next(iter(certain or others), None)

    def _key(
        self, table: DeclaredTable, key: ForeignKey, is_owner: bool, streams: Streams
    ) -> KeyPlan:
        (column,) = key.columns
        share = 0.0
        if not is_owner and table.nullable(column):
            share = self.null_share.sample(streams.generator(column, "null_share"))
        if key.parent == table.name:
            # Somebody is always the first one.
            share = max(0.05, share)
        chosen = self._column_choice(table.name, column).null_share
        return KeyPlan(column, key.parent, share if chosen is None else chosen)

    def _column(self, table: str, column: DeclaredColumn, streams: Streams) -> ColumnPlan:
        choice = self._column_choice(table, column.name)
        kind = choice.kind or (ColumnKind.CATEGORICAL if choice.categories else _kind_of(column))
        values = choice.categories or column.categories
        if kind != ColumnKind.CATEGORICAL:
            values = ()
        elif not values:
            count = self.categories.sample(streams.generator(column.name, "categories"))
            values = tuple(f"{column.name}_{number + 1}" for number in range(count))
        return ColumnPlan(column.name, kind, values, column.nullable)

    def _unknown(self) -> list[str]:
        """A fault for every choice about what the schema does not have."""
        tables = {table.name: table for table in self.declared}
        faults = [
            f"a choice names table {name!r}, which is not declared (there are: {', '.join(tables)})"
            for name in dict.fromkeys([*self.tables, *(table for table, _ in self.columns)])
            if name not in tables
        ]
        places = [place for place in self.columns if place[0] in tables]
        for name, choice in self.tables.items():
            if name in tables:
                keys = [key.columns for key in tables[name].keys if key.parent != name]
                places += [(name, choice.time_column)] if choice.time_column else []
                if choice.owner and (choice.owner,) not in keys:
                    faults.append(
                        f"a choice makes {choice.owner!r} the owner of table {name}, which is no "
                        "foreign key to another table"
                    )
        for name, column in dict.fromkeys(places):
            if column not in (known := tables[name].column_names):
                faults.append(
                    f"a choice names column {column!r} of table {name}, which is not declared "
                    f"(there are: {', '.join(known)})"
                )
        return faults


def _kind_of(column: DeclaredColumn) -> ColumnKind:
    """What a column holds that nobody chose, by the rules of `SchemaLayout`."""
    if column.categories:
        return ColumnKind.CATEGORICAL
    if column.value_type in KIND_OF_VALUE:
        return KIND_OF_VALUE[column.value_type]
    if column.semantic_type:
        return KIND_OF_MEANING[column.semantic_type]
    name = words(column.name)
    is_prose = bool(name) and name[-1] in PROSE
    return ColumnKind.TEXT if is_prose or (column.length or 0) > LONG else ColumnKind.CATEGORICAL


def _round(moment: datetime, span: timedelta) -> datetime:
    """A midnight in a span of a month or more, a whole second in a shorter one."""
    if span < timedelta(days=30):
        return moment.replace(microsecond=0)
    return datetime(moment.year, moment.month, moment.day)
