"""Blueprints of given schemas: what the rules make of them, and what overrides them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from models.database.dbt import load_manifest
from models.database.manifest import read_databases
from models.database.schema import Column, ForeignKey, RelationalSchema, SemanticType, Table
from models.synthetic.blueprint import Blueprint, ColumnKind, TableKind
from models.synthetic.database import Generator
from models.synthetic.declared import SchemaError
from models.synthetic.draws import Fixed
from models.synthetic.generator import generate
from models.synthetic.schema_layout import ColumnChoice, SchemaLayout, TableChoice
from models.synthetic.streams import Streams
from tests.models.synthetic.plain_stages import PlainColumns, PlainRows

ROOT = Path(__file__).parents[3]
BANK = """
create type tier as enum ('basic', 'gold');
create table transfers (id bigint primary key, made_at timestamp not null,
    source_account int not null references accounts, target_account int references accounts,
    amount decimal(12, 2) not null, memo text, reason varchar(40),
    state varchar check (state in ('open', 'done')), settled_at timestamp, tries smallint,
    checked boolean, letter varchar(2000));
create table branches (id int primary key, name text not null, parent_id int references branches,
    district text);
create table accounts (id int primary key, branch_id int not null references branches,
    opened_on date not null, tier tier not null, holder_birth_date date not null);
create table cards (id int primary key, account_id int references accounts, colour text);
create table audits (id int primary key, held_on date not null, passed boolean);
create table logins (id int primary key, at timestamp default now(), again_id int references logins);
"""


def blueprint(layout: SchemaLayout, seed: int = 0) -> Blueprint:
    return layout(Streams(seed))


def kinds(blueprint: Blueprint, table: str) -> dict[str, ColumnKind]:
    return {column.name: column.kind for column in blueprint.table(table).columns}


def test_tables_come_parents_first_entities_before_activities():
    made = blueprint(SchemaLayout.from_ddl(BANK, "bank"))
    assert made.name == "bank"
    assert [(table.name, str(table.kind)) for table in made.tables] == [
        ("branches", "entity"),
        # Accounts are opened: they begin to exist. Transfers happen.
        ("accounts", "entity"),
        ("cards", "entity"),
        # Follows nobody but itself.
        ("logins", "entity"),
        ("transfers", "activity"),
        ("audits", "activity"),
    ]
    times = {table.name: table.time_column for table in made.tables}
    assert times["accounts"] == "opened_on"
    assert times["transfers"] == "made_at"
    assert times["logins"] == "at"
    assert times["cards"] is None


def test_keys_are_null_where_the_schema_allows_it_but_for_the_owner():
    layout = SchemaLayout.from_ddl(BANK, null_share=Fixed(0.3))
    tables = {table.name: table for table in blueprint(layout).tables}
    transfers = [(k.column, k.parent, k.null_share) for k in tables["transfers"].keys]
    assert transfers == [("source_account", "accounts", 0.0), ("target_account", "accounts", 0.3)]
    assert [key.null_share for key in tables["cards"].keys] == [0.3]
    assert [key.null_share for key in tables["accounts"].keys] == [0.0]
    never = blueprint(replace(layout, null_share=Fixed(0.0))).table("branches").keys
    assert [(key.parent, key.null_share) for key in never] == [("branches", 0.05)]


def test_the_owner_is_the_first_key_that_is_always_there_or_the_chosen_one():
    sql = """create table p (id int primary key); create table q (id int primary key);
        create table e (id int primary key, at timestamp not null, up int references e,
            p_id int references p, q_id int {} references q);"""
    for constraint, owner in (("", "p_id"), ("not null", "q_id")):
        layout = SchemaLayout.from_ddl(sql.format(constraint), null_share=Fixed(0.5))
        table = blueprint(layout).table("e")
        assert table.owner is not None
        assert (table.owner.column, table.owner.null_share) == (owner, 0.0)
    chosen = replace(layout, tables={"e": TableChoice(owner="p_id")})
    assert [key.column for key in blueprint(chosen).table("e").keys] == ["p_id", "up", "q_id"]
    with pytest.raises(SchemaError, match="a choice makes 'up' the owner of table e"):
        replace(layout, tables={"e": TableChoice(owner="up")})


def test_columns_hold_what_types_lists_names_and_lengths_say():
    made = blueprint(SchemaLayout.from_ddl(BANK, categories=Fixed(4)))
    assert {name: str(kind) for name, kind in kinds(made, "transfers").items()} == {
        "amount": "numerical",
        "memo": "categorical",
        "reason": "categorical",
        "state": "categorical",
        "settled_at": "timestamp",
        "tries": "integer",
        "checked": "boolean",
        "letter": "text",
    }
    assert kinds(made, "branches") == {
        "name": ColumnKind.TEXT,
        "district": ColumnKind.CATEGORICAL,
    }
    columns = {column.name: column for column in made.table("transfers").columns}
    assert columns["state"].categories == ("open", "done")
    assert columns["reason"].categories == ("reason_1", "reason_2", "reason_3", "reason_4")
    assert (columns["amount"].nullable, columns["memo"].nullable) == (False, True)
    (tier, birth) = made.table("accounts").columns
    assert tier.categories == ("basic", "gold")
    assert (birth.name, birth.kind, birth.nullable) == (
        "holder_birth_date",
        ColumnKind.TIMESTAMP,
        False,
    )


def test_choices_override_the_rules_and_change_nothing_else():
    plain = SchemaLayout.from_ddl(BANK)
    span = (datetime(2020, 1, 1), datetime(2022, 1, 1))
    chosen = replace(
        plain,
        tables={
            "accounts": TableChoice(rows=77, kind=TableKind.ACTIVITY),
            "cards": TableChoice(rows=5),
            "audits": TableChoice(kind=TableKind.ENTITY, time_column=""),
            "transfers": TableChoice(time_column="settled_at"),
        },
        columns={
            ("transfers", "target_account"): ColumnChoice(null_share=0.75),
            ("transfers", "memo"): ColumnChoice(kind=ColumnKind.TEXT),
            ("transfers", "reason"): ColumnChoice(categories=("rent", "food")),
            ("cards", "colour"): ColumnChoice(left_out=True),
            ("logins", "again_id"): ColumnChoice(left_out=True),
        },
        span=span,
    )
    before, after = blueprint(plain), blueprint(chosen)
    assert (after.start, after.end) == span
    assert (after.validation, after.test) == (datetime(2021, 8, 7), datetime(2021, 10, 19))
    assert (after.table("accounts").rows, after.table("accounts").kind) == (77, "activity")
    assert (after.table("audits").kind, after.table("audits").time_column) == ("entity", None)
    assert "held_on" in after.table("audits").column_names
    assert (after.table("cards").rows, after.table("cards").column_names) == (5, [])
    assert after.table("logins").keys == ()
    transfers = after.table("transfers")
    assert transfers.time_column == "settled_at"
    assert "made_at" in transfers.column_names
    assert transfers.keys[1].null_share == 0.75
    assert transfers.rows == before.table("transfers").rows
    columns = {column.name: column for column in transfers.columns}
    assert columns["memo"].kind == ColumnKind.TEXT
    assert columns["reason"].categories == ("rent", "food")
    assert columns["state"] == next(
        c for c in before.table("transfers").columns if c.name == "state"
    )
    assert after.table("branches") == before.table("branches")


def test_what_belongs_to_an_activity_has_as_many_rows_as_one():
    sql = """create table people (id int primary key); create table orders (id int primary key,
        at timestamp not null, person int references people);
        create table items (id int primary key, of_order int not null references orders);
        create table labels (id int primary key, item int not null references items);"""
    layout = SchemaLayout.from_ddl(sql, entity_rows=Fixed(5), activity_rows=Fixed(50))
    assert {(table.name, str(table.kind), table.rows) for table in blueprint(layout).tables} == {
        ("people", "entity", 5),
        ("orders", "activity", 50),
        ("items", "entity", 50),
        ("labels", "entity", 50),
    }


def test_seeds_and_nothing_else_decide_what_is_drawn():
    layout = SchemaLayout.from_ddl(BANK)
    again = SchemaLayout.from_ddl(BANK)
    assert blueprint(layout, 5) == blueprint(again, 5)
    assert blueprint(layout, 5) != blueprint(layout, 6)
    assert len({table.rows for table in blueprint(layout, 5).tables}) == 6
    # Another table or column moves no other draw.
    more = SchemaLayout.from_ddl(BANK.replace("memo text,", "memo text, hue text,") + (
        "create table extra (id int primary key, code text);"
    ))  # fmt: skip
    for table in blueprint(layout, 5).tables:
        larger = blueprint(more, 5).table(table.name)
        kept = tuple(column for column in larger.columns if column.name != "hue")
        assert replace(larger, columns=kept) == table
    assert blueprint(more, 5).end == blueprint(layout, 5).end


def test_choices_about_what_is_not_there_are_told_at_once():
    with pytest.raises(SchemaError) as raised:
        SchemaLayout.from_ddl(
            BANK,
            "bank",
            tables={"loans": TableChoice(rows=3), "cards": TableChoice(time_column="at")},
            columns={("branches", "size"): ColumnChoice(left_out=True)},
        )
    told = str(raised.value)
    assert told.startswith("bank: no database can be made, 3 fault(s):")
    assert "table 'loans', which is not declared (there are: transfers, branches," in told
    assert "column 'at' of table cards, which is not declared (there are: id, account_id," in told
    assert "column 'size' of table branches" in told


def test_a_circle_or_an_unsupported_column_can_be_left_out():
    sql = """create table a (id int primary key, b_id int references b, photo bytea);
        create table b (id int primary key, a_id int not null references a);"""
    with pytest.raises(SchemaError, match="values of type BYTEA"):
        SchemaLayout.from_ddl(sql)
    out = ColumnChoice(left_out=True)
    with pytest.raises(SchemaError, match="in a circle"):
        SchemaLayout.from_ddl(sql, columns={("a", "photo"): out})
    layout = SchemaLayout.from_ddl(sql, columns={("a", "photo"): out, ("a", "b_id"): out})
    assert [table.name for table in blueprint(layout).tables] == ["a", "b"]


def test_the_demo_shops_declaration_is_filled(tmp_path):
    declared = read_databases(load_manifest(ROOT / "dbt_project", tmp_path))["shop"].checked()
    layout = SchemaLayout.from_schema(
        declared, columns={("support_contacts", "order_id"): ColumnChoice(null_share=0.4)}
    )
    made = blueprint(layout)
    assert {table.name: str(table.kind) for table in made.tables} == {
        **dict.fromkeys(["categories", "products", "customers"], "entity"),
        **dict.fromkeys(
            ["campaigns", "orders", "order_items", "shipments", "returns", "reviews",
             "support_contacts"], "activity",
        ),
    }  # fmt: skip
    owners = {table.name: table.owner.parent for table in made.tables if table.owner}
    assert (owners["orders"], owners["order_items"]) == ("customers", "orders")
    assert {(t.name, k.column, k.parent) for t in made.tables for k in t.keys} == {
        (key.table, key.columns[0], key.parent) for key in declared.foreign_keys
    }
    assert kinds(made, "reviews") == {"rating": "integer", "review_text": "text"}
    assert kinds(made, "customers")["region"] == ColumnKind.CATEGORICAL
    small = replace(layout, entity_rows=Fixed(40), activity_rows=Fixed(60))
    database = generate(Generator(small, PlainRows(), PlainColumns()), 1)
    for table in declared.tables:
        assert set(database.tables[table.name].columns) == set(table.column_names)
    contacts = database.tables["support_contacts"]["order_id"]
    assert 10 < contacts.null_count() < 40


def test_a_declared_database_without_types_is_filled_by_meaning_or_refused():
    schema = RelationalSchema(
        "club",
        (
            Table("people", (Column("id"), Column("bio", "", SemanticType.TEXT)), ("id",)),
            Table("visits", (Column("id"),), ("id",), "at"),
        ),
        (ForeignKey("visits", ("person",), "people", ("id",)),),
    )
    made = blueprint(SchemaLayout.from_schema(schema))
    assert kinds(made, "people") == {"bio": ColumnKind.TEXT}
    assert (made.table("visits").owner, made.table("visits").time_column) == (
        made.table("visits").keys[0],
        "at",
    )
    tables = (
        Table("people", (Column("id"), Column("shoe")), ("id",)),
        Table("visits", (), ("id", "day"), "at"),
    )
    with pytest.raises(SchemaError) as raised:
        SchemaLayout.from_schema(schema.with_tables(tables))
    assert "table people, column shoe: nothing says what it holds" in str(raised.value)
    assert "table visits: it has a primary key of 2 columns (id, day)" in str(raised.value)


def test_a_table_has_rows():
    with pytest.raises(ValueError, match=r"rows must be at least 1 \(got 0\)"):
        TableChoice(rows=0)


def test_validation_and_test_must_lie_in_the_span():
    with pytest.raises(ValueError, match="0 < validation < test < 1"):
        SchemaLayout.from_ddl(BANK, validation=0.9, test=0.8)
