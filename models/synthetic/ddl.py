"""Reads a schema from the SQL that creates it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.tokens import Token, TokenType

from models.database.schema import ForeignKey
from models.database.semantic_types import time_rank
from models.synthetic.declared import (
    DeclaredColumn,
    DeclaredTable,
    SchemaError,
    ValueType,
    value_type,
)

CHANGES = 5
"""`time_rank` of times at which a row was changed."""


class DdlError(ValueError):
    """SQL that cannot be read; the message names the line and the statement."""


def parse_ddl(text: str, name: str = "schema", dialect: str = "postgres") -> list[DeclaredTable]:
    """The tables that CREATE TABLE statements declare, in their order.

    Read are columns with their types, NOT NULL, DEFAULT, primary and foreign keys (inline, of the
    table, or added by ALTER TABLE), CHECK (column IN (...)) and enumerated types. All else
    (comments, indexes, UNIQUE, other checks, views, grants, SET, psql's commands) is passed over.
    Names without quotes match whatever their case. A table's time is its column that tells best
    when a row came to be, see `own_time`.

    Args:
        text: The statements.
        name: What the schema is called in messages.
        dialect: The SQL they are written in, as sqlglot calls it; Postgres' reads DuckDB's types.

    Raises:
        DdlError: a statement cannot be parsed.
        SchemaError: a table has no columns or comes twice, or a key names what is not there.
    """
    reader = _Reader(dialect)
    for statement in _statements(text, name, dialect):
        reader.read(statement)
    if not reader.tables and not reader.faults:
        reader.faults.append("there is no CREATE TABLE in it")
    tables = [reader.table(table) for table in reader.tables.values()]
    if reader.faults:
        raise SchemaError(name, reader.faults)
    return tables


def own_time(columns: list[DeclaredColumn]) -> str | None:
    """The column that tells when a row came to be; None where no column does.

    It is a DATE or TIMESTAMP that every row has (NOT NULL, or with a DEFAULT) and whose name does
    not speak of another moment (birth, due, end, updated, ...): the one that `time_rank` prefers,
    among equals the first.
    """
    ranked = [
        (rank, at)
        for at, column in enumerate(columns)
        if column.value_type == ValueType.MOMENT
        and (column.has_default or not column.nullable)
        and (rank := time_rank(column.name)) is not None
        and rank < CHANGES
    ]
    return columns[min(ranked)[1]].name if ranked else None


@dataclass(slots=True)
class _Draft:
    """A table while its statements are read."""

    name: str
    columns: dict[str, DeclaredColumn] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()
    references: list[tuple[tuple[str, ...], exp.Reference]] = field(default_factory=list)

    def spelled(self, name: str) -> str:
        """A column's name as it is declared; as given where there is none."""
        return next((own for own in self.columns if own.lower() == name.lower()), name)


class _Reader:
    """Reads one statement after the other; collects faults instead of stopping at the first."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.tables: dict[str, _Draft] = {}
        self.enumerations: dict[str, tuple[str, ...]] = {}
        self.faults: list[str] = []

    def read(self, statement: exp.Expression) -> None:
        """Takes in a statement; those that declare neither tables nor types say nothing here."""
        if isinstance(statement, exp.Alter):
            self._alter(statement)
        elif isinstance(statement, exp.Create) and statement.kind == "TABLE":
            self._create(statement)
        elif isinstance(statement, exp.Create) and statement.kind == "TYPE":
            kind = statement.expression
            if isinstance(kind, exp.DataType) and kind.this == exp.DataType.Type.ENUM:
                self.enumerations[statement.this.name.lower()] = _literals(kind.expressions)

    def table(self, draft: _Draft) -> DeclaredTable:
        """The table, once every statement is read."""
        keys = [self._key(draft, columns, target) for columns, target in draft.references]
        # Some write a key twice: at its column and as a constraint.
        keys = list(dict.fromkeys(keys))
        columns = tuple(draft.columns.values())
        used = {*draft.primary_key, *(name for key in keys for name in key.columns)}
        for name in sorted(used - draft.columns.keys()):
            self.faults.append(
                f"table {draft.name}: a key names column {name!r}, which is not declared "
                f"(there are: {', '.join(draft.columns)})"
            )
        time = own_time([column for column in columns if column.name not in used])
        return DeclaredTable(draft.name, columns, draft.primary_key, tuple(keys), time)

    def _create(self, statement: exp.Create) -> None:
        declared = statement.this
        name = declared.find(exp.Table).name
        draft = _Draft(name)
        if name.lower() in self.tables:
            self.faults.append(f"table {name}: it is created twice; drop or rename one of them")
            return
        self.tables[name.lower()] = draft
        parts = declared.expressions if isinstance(declared, exp.Schema) else []
        for part in parts:
            self._part(draft, part)
        if not draft.columns:
            self.faults.append(
                f"table {name}: no column is declared; list its columns with their types (CREATE "
                "TABLE AS, LIKE and PARTITION OF take them from elsewhere), or drop the statement"
            )

    def _alter(self, statement: exp.Alter) -> None:
        name = statement.this.name
        draft = self.tables.get(name.lower())
        if draft is None:
            self.faults.append(
                f"table {name}: ALTER TABLE comes before its CREATE TABLE, or there is none; put "
                "it after it, or drop it"
            )
            return
        for action in statement.args.get("actions") or ():
            parts = action.expressions if isinstance(action, exp.AddConstraint) else [action]
            for part in parts:
                self._part(draft, part)

    def _part(self, draft: _Draft, part: exp.Expression) -> None:
        """A column, a constraint or a change of a column."""
        if isinstance(part, exp.ColumnDef):
            self._column(draft, part)
        elif isinstance(part, exp.Constraint):
            for inner in part.expressions:
                self._part(draft, inner)
        elif isinstance(part, exp.PrimaryKey):
            names = tuple(draft.spelled(one.name) for one in part.expressions)
            self._set_primary_key(draft, names)
        elif isinstance(part, exp.ForeignKey):
            names = tuple(draft.spelled(one.name) for one in part.expressions)
            draft.references.append((names, part.args["reference"]))
        elif isinstance(part, exp.CheckColumnConstraint):
            self._restrict(draft, part.this)
        elif isinstance(part, exp.AlterColumn) and part.args.get("allow_null") is False:
            self._change(draft, draft.spelled(part.name), nullable=False)
        elif isinstance(part, exp.Identifier):
            self.faults.append(f"table {draft.name}, column {part.name}: give it a type")

    def _column(self, draft: _Draft, part: exp.ColumnDef) -> None:
        name, kind = part.name, part.args.get("kind")
        if draft.spelled(name) in draft.columns:
            self.faults.append(f"table {draft.name}: column {name!r} is declared twice")
            return
        if not isinstance(kind, exp.DataType):
            self.faults.append(f"table {draft.name}, column {name}: give it a type")
            return
        draft.columns[name] = self._typed(name, kind)
        for constraint in part.constraints:
            what = constraint.kind
            if isinstance(what, exp.PrimaryKeyColumnConstraint):
                self._set_primary_key(draft, (name,))
            elif isinstance(what, exp.NotNullColumnConstraint):
                self._change(draft, name, nullable=bool(what.args.get("allow_null")))
            elif isinstance(what, exp.DefaultColumnConstraint):
                has_default = not isinstance(what.this, exp.Null)
                self._change(draft, name, has_default=has_default)
            elif isinstance(what, exp.CheckColumnConstraint):
                self._restrict(draft, what.this)
            elif isinstance(what, exp.Reference):
                draft.references.append(((name,), what))

    def _typed(self, name: str, kind: exp.DataType) -> DeclaredColumn:
        written = kind.sql(self.dialect)
        # A type of the user's own comes back under the name that it was created with.
        own = self.enumerations.get(written.rpartition(".")[2].strip('"').lower())
        if own is not None:
            return DeclaredColumn(name, written, ValueType.STRING, categories=own)
        categories: tuple[str, ...] = ()
        if kind.this == exp.DataType.Type.ENUM:
            categories = _literals(kind.expressions)
        length = next((one.name for one in kind.expressions if one.name.isdigit()), None)
        stored = value_type(kind)
        return DeclaredColumn(
            name,
            written,
            stored,
            categories=categories,
            length=int(length) if length and stored == ValueType.STRING else None,
        )

    def _set_primary_key(self, draft: _Draft, names: tuple[str, ...]) -> None:
        draft.primary_key = names
        for name in names:
            self._change(draft, name, nullable=False)

    def _restrict(self, draft: _Draft, condition: exp.Expression) -> None:
        for column, values in _admitted(condition):
            self._change(draft, draft.spelled(column), categories=values)

    def _change(self, draft: _Draft, name: str, **changes: Any) -> None:
        if name in draft.columns:
            column = draft.columns[name]
            draft.columns[name] = replace(column, **changes)

    def _key(self, draft: _Draft, columns: tuple[str, ...], reference: exp.Reference) -> ForeignKey:
        """The key with names as their tables spell them; without columns it means the primary key."""
        target = reference.this
        named = target.find(exp.Table).name
        parent = self.tables.get(named.lower())
        names = [one.name for one in target.expressions] if isinstance(target, exp.Schema) else []
        if parent is None:
            return ForeignKey(draft.name, columns, named, tuple(names))
        to = tuple(parent.spelled(name) for name in names) or parent.primary_key
        return ForeignKey(draft.name, columns, parent.name, to)


def _statements(text: str, name: str, dialect: str) -> Iterator[exp.Expression]:
    """The statements that create tables or types or alter tables, parsed."""
    # Commands of the shell that a dump was made for are not SQL.
    lines = ["" if line.startswith("\\") else line for line in text.splitlines()]
    text = "\n".join(lines)
    try:
        tokens = sqlglot.tokenize(text, read=dialect)
    except sqlglot.errors.TokenError as error:
        raise DdlError(
            f"{name}: the SQL cannot be read to its end ({error}); is a quote or a comment left "
            "open?"
        ) from error
    for statement in _split(tokens):
        if not _declares(statement):
            continue
        source = text[statement[0].start : statement[-1].end + 1]
        first = statement[0].line
        try:
            parsed: Any = sqlglot.parse_one(source, read=dialect)
        except sqlglot.errors.ParseError as error:
            fault = error.errors[0]
            raise DdlError(
                f"{name}, line {first + fault['line'] - 1}: {fault['description']} near "
                f"{fault['highlight']!r} in the statement\n{_shortened(source)}"
            ) from error
        if isinstance(parsed, exp.Command):
            raise DdlError(
                f"{name}, line {first}: it cannot be read as the dialect {dialect!r}; name the one "
                f"that it is written in\n{_shortened(source)}"
            )
        yield parsed


def _split(tokens: list[Token]) -> Iterator[list[Token]]:
    statement: list[Token] = []
    for token in tokens:
        if token.token_type == TokenType.SEMICOLON:
            yield statement
            statement = []
        else:
            statement.append(token)
    yield statement


def _declares(statement: list[Token]) -> bool:
    """Whether it creates a table or a type, or adds something to a table."""
    said = [token.text.upper() for token in statement]
    if said[:2] == ["ALTER", "TABLE"]:
        return ("ADD" in said or "NULL" in said) and "GENERATED" not in said
    return said[:1] == ["CREATE"] and ("TABLE" in said[:5] or said[1:2] == ["TYPE"])


def _admitted(condition: exp.Expression) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(column, values) of every list that a condition holds a column to."""
    condition = _bare(condition)
    if isinstance(condition, exp.And):
        yield from _admitted(condition.this)
        yield from _admitted(condition.expression)
    elif isinstance(condition, exp.Or):
        # `column IS NULL OR column IN (...)` restricts the column as the list alone does.
        sides = [_bare(condition.this), _bare(condition.expression)]
        lists = [side for side in sides if not isinstance(side, exp.Is)]
        if len(lists) == 1:
            yield from _admitted(lists[0])
    elif isinstance(condition, exp.In):
        yield from _list(condition.this, condition.expressions)
    elif isinstance(condition, exp.EQ) and isinstance(condition.expression, exp.Any):
        # Postgres writes lists back as = ANY (ARRAY[...]).
        array = _bare(condition.expression.this)
        if isinstance(array, exp.Array):
            yield from _list(condition.this, array.expressions)


def _list(
    column: exp.Expression, values: list[exp.Expression]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    named, found = _bare(column), _literals([_bare(value) for value in values])
    if isinstance(named, exp.Column) and found and len(found) == len(values):
        yield named.name, found


def _bare(expression: exp.Expression) -> exp.Expression:
    """The expression without parentheses and casts around it."""
    while isinstance(expression, (exp.Paren, exp.Cast)):
        expression = expression.this
    return expression


def _literals(expressions: list[exp.Expression]) -> tuple[str, ...]:
    return tuple(one.name for one in expressions if isinstance(one, exp.Literal))


def _shortened(source: str) -> str:
    lines = source.splitlines()
    return "\n".join(lines[:8] + (["..."] if len(lines) > 8 else []))
