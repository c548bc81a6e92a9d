"""Proposes the schema of a database from what it declares, from names and from its values.

Every guess comes with a note that states its evidence, for a person to review.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from models.database.attach import AttachedDatabase
from models.database.profile import (
    ColumnProfile,
    TableProfile,
    is_compatible,
    is_integer,
    is_open_end,
    is_string,
    is_time,
    is_token,
    is_within,
    key_family,
)
from models.database.quoting import quote
from models.database.schema import Column, ForeignKey, RelationalSchema, Table
from models.database.semantic_types import time_rank
from models.database.text import table_nouns, words

KEY_WORDS = {"id", "key", "code", "no", "nr", "num", "uuid", "guid", "ref", "sk", "pk", "fk"}
MIN_INCLUSION = 0.99
# Names that many tables use for their own, unrelated values.
_COMMON = {"name", "title", "date", "year", "type", "status", "position", "number", "description"}
_SELF = {
    "parent", "manager", "supervisor", "boss", "mentor", "referrer", "referred", "reply",
    "replied", "predecessor", "successor", "previous", "original", "root", "reports",
}  # fmt: skip
# Second halves of a composite key: numbering, periods and languages within the first half.
_ORDINALS = {
    "line", "item", "number", "seq", "sequence", "position", "rank", "round", "version", "index",
    "year", "week", "month", "day", "hour", "minute", "date", "term", "type", "language", "locale",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed schema, and for each guess a sentence with its evidence."""

    schema: RelationalSchema
    notes: tuple[str, ...]


def propose_schema(database: str, source: AttachedDatabase) -> Proposal:
    """Propose keys and time columns for every table of a source.

    Args:
        database: identifier of the new database.
        source: the opened source; each table is scanned once, each candidate key once more.

    Raises:
        SourceError: a table cannot be read.
    """
    return _Proposer(database, source).propose()


def name_score(column: str, parent: str, key: str) -> int:
    """How well a column's name points at the key of a parent table: 0 (not at all) to 5.

    5: the table's noun and a word for a key (customer_id, customerId, customerid -> customers);
    4: the key's own specific name; 3: either with a prefix (home_team_id -> teams);
    2: the noun alone (customer), or a part of a longer one (line_id -> invoice_lines).
    """
    name, own, nouns = words(column), words(key), table_nouns(parent)
    if not name or not own:
        return 0
    bare = name[:-1] if name[-1] in KEY_WORDS else ()
    if any(bare == noun or "".join(name) in (f"{''.join(noun)}id",) for noun in nouns):
        return 5
    specific = len(own) > 1 or (own[0] not in KEY_WORDS and own[0] not in _COMMON)
    if name == own and specific:
        return 4
    if len(own) > 1 and name[-len(own) :] == own:
        return 3
    if any(bare[-len(noun) :] == noun for noun in nouns):
        return 3
    return 2 if any(name == noun or (bare and noun[-len(bare) :] == bare) for noun in nouns) else 0


@dataclass(slots=True)
class _Proposer:
    """State of one proposal: what was measured and found so far."""

    database: str
    source: AttachedDatabase
    profiles: dict[str, TableProfile] = field(default_factory=dict)
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    foreign: list[ForeignKey] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def propose(self) -> Proposal:
        """Keys first: foreign keys point at primary keys, and times depend on both."""
        names = self.source.table_names()
        for table in names:
            self.profiles[table] = self.source.profile(table)
            self.notes += self.source.dropped(table)
        for table in names:
            self.keys[table] = self._primary_key(table)
        for table in names:
            # After all others: halves of a composite key are often references to them.
            self.keys[table] = self.keys[table] or self._composite_key(table)
        self._declared_foreign_keys()
        for table in names:
            self._foreign_keys(table)
        tables = tuple(
            Table(
                table,
                tuple(Column(c.name, c.sql_type) for c in self.profiles[table].columns),
                self.keys[table],
                self._time_column(table),
            )
            for table in names
        )
        schema = RelationalSchema(
            self.database, tables, tuple(self.foreign), source=self.source.source
        )
        return Proposal(schema, tuple(self.notes))

    def _primary_key(self, table: str) -> tuple[str, ...]:
        """The declared key, else the best-named unique column, else none."""
        declared = self.source.declared_keys()
        rows, columns = self.profiles[table].rows, self.profiles[table].columns
        if self._staged(table, declared.primary.get(table, ())):
            return declared.primary[table]
        unique = [c for c in columns if self._is_unique(table, c)]
        own = [c for c in unique if _names_own_key(c.name, table)]
        constrained = {key[0] for key in declared.unique.get(table, []) if len(key) == 1}
        keyed = [c for c in unique if c.name in constrained] if rows else []
        keyed += [c for c in unique if words(c.name)[-1:] and words(c.name)[-1] in KEY_WORDS]
        # A unique amount is chance; a unique first column or single-word text rarely is.
        others = [c for c in unique if c is columns[0] or is_token(c)]
        for found in own or (keyed + others if rows else []):
            evidence = f"unique and never null in {rows} rows" if rows else "by its name; no rows"
            self.notes.append(f"{table}: primary key {found.name} guessed: {evidence}")
            return (found.name,)
        return ()

    def _is_unique(self, table: str, column: ColumnProfile) -> bool:
        """Whether a column could be a key; estimated counts are verified by an exact one."""
        rows = self.profiles[table].rows
        if column.nulls or not (is_integer(column.sql_type) or is_string(column.sql_type)):
            return False
        if self.profiles[table].exact or column.distinct < 0.9 * rows:
            return column.distinct == rows
        return self._distinct(table, [(column.name,)])[0] == rows

    def _composite_key(self, table: str) -> tuple[str, ...]:
        """The first pair of key-like columns that is unique."""
        rows = self.profiles[table].rows
        halves = self._key_halves(table)
        pairs = [
            (a, b)
            for (tier_a, a), (tier_b, b) in combinations(halves, 2)
            if tier_a + tier_b < 2 and a.distinct * b.distinct >= rows > 0
        ]
        names = [(a.name, b.name) for a, b in pairs]
        counts = self._distinct(table, names) if names else []
        for pair, count in zip(names, counts, strict=True):
            if count == rows:
                self.notes.append(
                    f"{table}: primary key ({', '.join(pair)}) guessed: "
                    f"unique and never null in {rows} rows"
                )
                return pair
        self.notes.append(
            f"{table}: no primary key found in {rows} rows; add a column that numbers the rows"
        )
        return ()

    def _key_halves(self, table: str) -> list[tuple[int, ColumnProfile]]:
        """At most six never-null columns with tier 0 (named like a key) or 1 (numbers, times)."""
        found = []
        for column in self.profiles[table].columns:
            name = words(column.name)
            plain = is_integer(column.sql_type) or is_string(column.sql_type)
            if column.nulls or not name:
                continue
            if plain and (name[-1] in KEY_WORDS or self._candidates(table, column, 3)):
                found.append((0, column))
            elif is_time(column.sql_type) or (plain and name[-1] in _ORDINALS):
                found.append((1, column))
        return sorted(found, key=lambda half: half[0])[:6]

    def _distinct(self, table: str, keys: Sequence[tuple[str, ...]]) -> list[int]:
        """Exact numbers of distinct keys, in one scan."""
        counts = ", ".join(
            f"count(DISTINCT ({', '.join(quote(name) for name in key)}))" for key in keys
        )
        return list(
            self.source.query(f"SELECT {counts} FROM {self.source.staged(table)}", table)[0]
        )

    def _declared_foreign_keys(self) -> None:
        """Take over declared foreign keys that point at a primary key."""
        for key in self.source.declared_keys().foreign:
            staged = self._staged(key.table, key.columns)
            if staged and set(key.parent_columns) == set(self.keys[key.parent]):
                self.foreign.append(key)
            else:
                self.notes.append(
                    f"{key}: declared, but {', '.join(key.parent_columns) or 'nothing'} is not the "
                    f"primary key of {key.parent}, or a column is not supported; left out"
                )

    def _foreign_keys(self, table: str) -> None:
        """Guess the references of a table that it does not declare."""
        taken = {key.columns for key in self.foreign if key.table == table}
        single = {columns[0] for columns in taken if len(columns) == 1}
        for column in self.profiles[table].columns:
            if column.name in single or not self._may_refer(table, column):
                continue
            scores = self._candidates(table, column)
            best = max(scores.values(), default=0)
            if scores:
                self._propose_best(table, column, [p for p in scores if scores[p] == best], best)
            elif is_string(column.sql_type):
                self._propose_by_values(table, column)
            elif words(column.name)[-1:] == ("id",) and (column.name,) != self.keys[table]:
                self._note_unresolved(table, column)
        for parent, key in self.keys.items():
            if len(key) > 1 and key != self.keys[table] and key not in taken:
                self._propose_composite(table, parent, key)

    def _may_refer(self, table: str, column: ColumnProfile) -> bool:
        """Whether a column may hold a reference: not a measure, not the table's own key."""
        own = (column.name,) == self.keys[table] and _names_own_key(column.name, table)
        return key_family(column) != "" and not own

    def _candidates(self, table: str, column: ColumnProfile, least: int = 1) -> dict[str, int]:
        """Name scores of the parents whose key has a compatible type."""
        scores = {}
        for parent, key in self.keys.items():
            if len(key) != 1 or (parent, key) == (table, (column.name,)):
                continue
            score = name_score(column.name, parent, key[0])
            if parent == table and _names_own_kind(column.name):
                score = max(score, 2)
            # A key that is also a reference must say so clearly (customer_profiles.customer_id).
            needed = 4 if (column.name,) == self.keys.get(table) else least
            target = self.profiles[parent].column(key[0])
            if score >= needed and is_compatible(column, target):
                scores[parent] = score
        return scores

    def _propose_best(
        self, table: str, column: ColumnProfile, parents: list[str], score: int
    ) -> None:
        """Of equally well named parents, take the one that holds most of the values."""
        checked = []
        for parent in parents:
            distinct, known, rows, dangling = self._inclusion(
                table, (column.name,), parent, self.keys[parent]
            )
            # A parent no larger than needed is the likelier one among equals.
            share = known / distinct if distinct else 1.0
            checked.append((-share, self.profiles[parent].rows, parent, distinct, rows, dangling))
        negative, _, parent, distinct, rows, dangling = min(checked)
        found = f"{-negative:.1%} of {distinct} distinct values exist in {parent}"
        if distinct == 0 and score < 4:
            return
        if -negative < MIN_INCLUSION:
            self.notes.append(
                f"{table}.{column.name}: named like a key of {parent}, but only {found}; left out"
            )
            return
        evidence = f"by name, {found}" if distinct else "by name alone; no values to check"
        self._add(table, (column.name,), parent, rows, dangling, evidence)

    def _propose_by_values(self, table: str, column: ColumnProfile) -> None:
        """Text codes (airport SEA) name their parent by their values: all exist in one table."""
        if not is_token(column) or column.distinct < 3 or (column.mean_length or 0) < 2:
            return
        found = []
        for parent, key in self.keys.items():
            target = self.profiles[parent].column(key[0]) if len(key) == 1 else column
            if target is column or parent == table or not is_within(column, target):
                continue
            distinct, known, rows, dangling = self._inclusion(table, (column.name,), parent, key)
            if known == distinct:
                found.append((parent, distinct, rows, dangling))
        if len(found) == 1:
            parent, distinct, rows, dangling = found[0]
            evidence = f"by values alone, all {distinct} distinct codes exist in {parent}"
            self._add(table, (column.name,), parent, rows, dangling, evidence)

    def _propose_composite(self, table: str, parent: str, key: tuple[str, ...]) -> None:
        """A table that has all columns of a parent's composite key, by the same names."""
        here = {column.name.lower(): column.name for column in self.profiles[table].columns}
        columns = tuple(here.get(name.lower(), "") for name in key)
        if table == parent or not all(columns):
            return
        distinct, known, rows, dangling = self._inclusion(table, columns, parent, key)
        if distinct and known / distinct >= MIN_INCLUSION:
            evidence = f"by names, {known / distinct:.1%} of {distinct} distinct values exist there"
            self._add(table, columns, parent, rows, dangling, evidence)

    def _inclusion(
        self, table: str, columns: Iterable[str], parent: str, key: Iterable[str]
    ) -> tuple[int, int, int, int]:
        """Distinct references, how many exist in the parent, all references, dangling ones."""
        pairs = list(zip(columns, key, strict=True))
        child = ", ".join(f"{quote(name)} AS c{at}" for at, (name, _) in enumerate(pairs))
        target = ", ".join(f"{quote(name)} AS p{at}" for at, (_, name) in enumerate(pairs))
        present = " AND ".join(f"c{at} IS NOT NULL" for at in range(len(pairs)))
        joined = " AND ".join(f"c{at} = p{at}" for at in range(len(pairs)))
        rows = self.source.query(
            "SELECT count(*), count(p0), coalesce(sum(n), 0)::BIGINT,"
            " coalesce(sum(n) FILTER (p0 IS NULL), 0)::BIGINT FROM ("
            f"SELECT *, count(*) AS n FROM (SELECT {child} FROM {self.source.staged(table)})"
            f" WHERE {present} GROUP BY ALL) LEFT JOIN (SELECT DISTINCT {target}"
            f" FROM {self.source.staged(parent)}) ON {joined}",
            f"{table} and {parent}",
        )
        return rows[0][0], rows[0][1], rows[0][2], rows[0][3]

    def _add(
        self,
        table: str,
        columns: tuple[str, ...],
        parent: str,
        rows: int,
        dangling: int,
        evidence: str,
    ) -> None:
        """Record a guessed foreign key, tolerating what dangles today (rounded up)."""
        tolerance = math.ceil(dangling / rows * 1000) / 1000 if dangling else 0.0
        key = ForeignKey(table, columns, parent, self.keys[parent], tolerance, proposed=True)
        self.foreign.append(key)
        dangle = f"; {dangling} of {rows} references dangle, tolerance {tolerance}"
        self.notes.append(f"{key}: guessed {evidence}{dangle if dangling else ''}")

    def _note_unresolved(self, table: str, column: ColumnProfile) -> None:
        """An id without a parent: name the tables that its values would fit."""
        fits = [
            (self.profiles[parent].rows, f"{parent}({key[0]})")
            for parent, key in self.keys.items()
            if len(key) == 1 and is_within(column, self.profiles[parent].column(key[0]))
        ]
        if column.values and fits:
            named = ", ".join(name for _, name in sorted(fits)[:3])
            self.notes.append(
                f"{table}.{column.name}: looks like a reference, but no table is named like it; "
                f"its values lie within {named}; declare the key if it is one"
            )

    def _time_column(self, table: str) -> str | None:
        """The best-named timestamp that is hardly ever null."""
        is_child = any(key.table == table for key in self.foreign)
        found: list[tuple[int, int, ColumnProfile]] = []
        for at, column in enumerate(self.profiles[table].columns):
            parses = (column.timestamp_share or 0.0) >= 0.99 and column.values > 0
            rank = time_rank(column.name)
            if rank is None or not (is_time(column.sql_type) or parses):
                continue
            # Tables without references describe things; an unclear time there is an attribute.
            if column.null_share <= 0.01 and (rank <= 3 or is_child) and not is_open_end(column):
                found.append((rank, at, column))
        if not found:
            return None
        best = min(found, key=lambda item: item[:2])[2]
        cast = "" if is_time(best.sql_type) else "; it is text, to be cast to TIMESTAMP in staging"
        others = [column.name for _, _, column in found if column is not best]
        rivals = f"; others: {', '.join(others)}" if others else ""
        span = f"{best.null_share:.1%} null, {best.minimum} to {best.maximum}"
        self.notes.append(f"{table}: time column {best.name} guessed: {span}{cast}{rivals}")
        return best.name

    def _staged(self, table: str, columns: tuple[str, ...]) -> bool:
        """Whether there are columns and all of them are staged."""
        return bool(columns) and set(columns) <= {c.name for c in self.profiles[table].columns}


def _names_own_kind(column: str) -> bool:
    """Whether a name refers to another row of its own table: parent_id, manager, referred_by."""
    name = words(column)
    hinted = bool(_SELF & set(name))
    return hinted and (len(name) == 1 or name[-1] in KEY_WORDS | {"by", "to"})


def _names_own_key(column: str, table: str) -> bool:
    """Whether a column's name says that it is the key of its own table."""
    name, nouns = words(column), table_nouns(table)
    if len(name) == 1 and name[0] in KEY_WORDS - {"no", "nr", "num", "ref", "fk"}:
        return True
    return any(name[-1] in KEY_WORDS and name[:-1] == noun for noun in nouns if name) or any(
        "".join(name) == "".join(noun) + "id" for noun in nouns
    )
