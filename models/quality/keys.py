"""The key checks: primary keys identify a row, foreign keys find their parent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.database.quoting import quote
from models.database.schema import ForeignKey, Table
from models.quality.plan import Check, Expectation, Figure, share
from models.quality.relation import Relation, as_value, is_numeric, quoted
from models.quality.results import STAGED_CHECKS, CheckDefinition

EXAMPLES = 3


def unique_key(
    definition: CheckDefinition, relation: Relation, key: tuple[str, ...], mend: str
) -> Check:
    """No two rows share the key and none has NULL in it. A row counts once for each fault."""
    names = ", ".join(key)
    if not key:
        return Check(definition, f"{relation.name}: no primary key is declared, nothing to check.")
    null = " or ".join(f"{quote(column)} is null" for column in key)
    (nulls,) = relation.one(f"select count(*) filter ({null}) from {quote(relation.name)}")
    repeats = (
        f"select {quoted(key)}, count(*) as copies from {quote(relation.name)}"
        f" where not ({null}) group by all having count(*) > 1"
    )
    (repeated,) = relation.one(f"select coalesce(sum(copies), 0)::bigint from ({repeats})")
    examples = relation.connection.execute(
        f"select * from ({repeats}) order by copies desc, {quoted(key)} limit {EXAMPLES}"
    ).fetchall()
    shown = "; ".join(f"{_tuple_text(row[:-1])} occurs {row[-1]} times" for row in examples)
    failed = (
        f"{relation.name}: {share(repeated, relation.rows)} rows share their ({names}) with another"
        f" row and {share(nulls, relation.rows)} have NULL in it{_example(shown)}. {mend}"
    )
    return Check(
        definition,
        f"{relation.name}: ({names}) is unique and never NULL in {relation.rows:,} rows.",
        failed,
        _key_figures(relation, key, repeated, nulls),
        observed={
            "rows": relation.rows,
            "repeated_rows": repeated,
            "null_rows": nulls,
            "examples": [list(row) for row in examples],
        },
    )


def _key_figures(
    relation: Relation, key: tuple[str, ...], repeated: int, nulls: int
) -> tuple[Figure, Figure]:
    values = [as_value(column, relation.type_of(column)) for column in key]
    names = [name for name, _ in values]
    unique = (
        Expectation("expect_column_values_to_be_unique", {"column": names[0]})
        if len(names) == 1
        # A row with one NULL is reported as such, not as a repetition of the other such rows.
        else Expectation(
            "expect_compound_columns_to_be_unique",
            {"column_list": names, "ignore_row_if": "any_value_is_missing"},
        )
    )
    present = tuple(
        Expectation("expect_column_values_to_not_be_null", {"column": name}) for name in names
    )
    text = ", ".join(key)
    return (
        Figure(
            f"rows that repeat ({text})", repeated, at_most=0, rows=(unique,), columns=dict(values)
        ),
        Figure(f"rows with NULL in ({text})", nulls, at_most=0, rows=present, columns=dict(values)),
    )


def primary_key_check(table: Table, relation: Relation) -> Check:
    """The table's primary key is unique and never NULL."""
    mend = (
        "Keep one row a key in the staging model (qualify row_number() over (partition by the key)"
        " = 1, where the key is not null), or declare the columns that do identify a row."
    )
    return unique_key(STAGED_CHECKS["primary_key_unique"], relation, table.primary_key, mend)


def foreign_key_check(
    table: Table, keys: list[ForeignKey], relations: Mapping[str, Relation]
) -> Check:
    """Dangling references stay within each foreign key's tolerance."""
    definition = STAGED_CHECKS["foreign_keys_resolve"]
    relation = relations[table.name]
    if not keys:
        return Check(definition, f"{table.name}: no foreign key is declared, nothing to check.")
    found = [_references(key, relations) for key in keys]
    texts = [entry["text"] for entry in found]
    beyond = [entry["text"] for entry in found if not entry["figure"].within]
    failed = (
        f"{'; '.join(beyond)}. Load the missing parents, set such references to NULL in the"
        f" staging model of {table.name}, or raise the key's tolerance in the relationships test's"
        " meta."
    )
    return Check(
        definition,
        f"{'; '.join(texts)}.",
        failed,
        tuple(entry["figure"] for entry in found),
        observed={"rows": relation.rows, "foreign_keys": [entry["observed"] for entry in found]},
    )


def _references(key: ForeignKey, relations: Mapping[str, Relation]) -> dict[str, Any]:
    """Counts, wording and figure of one foreign key. A reference with a NULL in it is none."""
    child = relations[key.table]
    present = " and ".join(f"child.{quote(column)} is not null" for column in key.columns)
    resolves = (
        f"exists (select 1 from {quote(key.parent)} as parent where {_match(key, relations)})"
    )
    source = f"from {quote(key.table)} as child where {present}"
    references, dangling = child.one(
        f"select count(*), count(*) filter (not resolves) from (select {resolves} as resolves {source})"
    )
    examples = child.connection.execute(
        f"select distinct {', '.join(f'child.{quote(column)}' for column in key.columns)} {source}"
        f" and not {resolves} order by all limit {EXAMPLES}"
    ).fetchall()
    text = (
        f"{key}: {share(dangling, references)} references have no row in {key.parent}"
        f" (tolerated: {100 * key.tolerance:g} %)"
    ) + _example(", ".join(_tuple_text(row) for row in examples))
    sql = f"case when {present} then {resolves} end"
    return {
        "text": text,
        "figure": _reference_figure(key, references, dangling, sql),
        "observed": {
            "foreign_key": str(key),
            "references": references,
            "dangling": dangling,
            "tolerance": key.tolerance,
            "examples": [list(row) for row in examples],
        },
    }


def _reference_figure(key: ForeignKey, references: int, dangling: int, sql: str) -> Figure:
    column = f"{', '.join(key.columns)} -> {key.parent}"
    value, mostly = dangling / references if references else 0.0, 1 - key.tolerance
    if references and value <= key.tolerance:
        # 1 - tolerance rounds: at the boundary the exact share of resolved references decides.
        mostly = min(mostly, (references - dangling) / references)
    expectation = Expectation(
        "expect_column_values_to_be_in_set",
        {"column": column, "value_set": [True], "mostly": mostly},
    )
    return Figure(
        f"{column}: share of dangling references",
        value,
        at_most=key.tolerance,
        rows=(expectation,),
        columns={column: sql},
    )


def _match(key: ForeignKey, relations: Mapping[str, Relation]) -> str:
    """SQL that joins `child` to `parent`; as text where only one side is a number."""
    child, parent = relations[key.table], relations[key.parent]
    pairs = []
    for column, referred in zip(key.columns, key.parent_columns, strict=True):
        sides = [f"parent.{quote(referred)}", f"child.{quote(column)}"]
        types = [parent.type_of(referred), child.type_of(column)]
        if types[0] != types[1] and not all(is_numeric(sql_type) for sql_type in types):
            sides = [f"cast({side} as varchar)" for side in sides]
        pairs.append(" = ".join(sides))
    return " and ".join(pairs)


def _tuple_text(values: tuple) -> str:
    return repr(values[0]) if len(values) == 1 else "(" + ", ".join(map(repr, values)) + ")"


def _example(text: str) -> str:
    return f" (e.g. {text})" if text else ""
