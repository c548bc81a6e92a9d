"""How the options of a synthetic database are read, kept and refused."""

from __future__ import annotations

import pytest

from models.database.dbt_folder import DeclarationError
from models.synthetic.database import Generator
from models.synthetic.options import SyntheticOptions, left_out, rows_by_table
from models.synthetic.presets import PRESETS, RELFORGE
from models.synthetic.schema_layout import ColumnChoice, SchemaLayout, TableChoice

SQL = """create table people (id int primary key, colour text, photo bytea);
create table visits (id int primary key, person int references people, at timestamp not null);"""


@pytest.fixture
def club(tmp_path):
    (tmp_path / "My Club.sql").write_text(SQL)
    return tmp_path / "My Club.sql"


def read(location: str) -> SyntheticOptions:
    return SyntheticOptions.from_location(location)


def test_what_is_not_given_is_the_default():
    assert read("synthetic:") == SyntheticOptions(seed=0, preset="relforge", tasks=1)
    assert read("synthetic:seed=7").declaration().options == (
        ("preset", "relforge"),
        ("seed", "7"),
        ("tasks", "1"),
    )
    assert read("synthetic: tasks = 3 , seed = 7") == read(
        "synthetic:seed=7,preset=relforge,tasks=3"
    )


def test_a_declaration_is_read_back(club):
    choices = "rows=people=11+visits=40,without=people.photo,dialect=duckdb"
    for location in ("synthetic:seed=7,preset=plurel", f"synthetic:schema={club},seed=3,{choices}"):
        options = read(location)
        declared = options.declaration()
        assert declared.kind == "synthetic"
        assert SyntheticOptions.from_declared(dict(declared.options)) == options


def test_the_name_tells_where_a_database_comes_from(club):
    assert read("synthetic:seed=7").name == "synthetic_7"
    assert read("synthetic:seed=7,preset=plurel_paper").name == "plurel_paper_7"
    assert read(f"synthetic:seed=7,preset=plurel,schema={club}").name == "my_club_7"


def test_the_generator_is_the_presets_with_the_layout_of_the_file(club, monkeypatch):
    assert read("synthetic:preset=plurel").generator() is PRESETS["plurel"]
    monkeypatch.chdir(club.parent)
    options = read("synthetic:schema=My Club.sql,rows=people=11,without=people.photo")
    monkeypatch.chdir("/")
    made = options.generator()
    assert isinstance(made, Generator)
    assert (made.rows, made.columns) == (RELFORGE.rows, RELFORGE.columns)
    assert isinstance(made.layout, SchemaLayout)
    assert [table.name for table in made.layout.declared] == ["people", "visits"]
    assert made.layout.tables == {"people": TableChoice(rows=11)}
    assert made.layout.columns == {("people", "photo"): ColumnChoice(left_out=True)}


def test_lists_take_commas_or_plus_signs():
    expected = {"a": TableChoice(rows=1), "b=c": TableChoice(rows=20)}
    assert rows_by_table("a=1, b=c=20") == rows_by_table("a=1+b=c=20") == expected
    places = dict.fromkeys([("a", "x"), ("b.c", "y")], ColumnChoice(left_out=True))
    assert left_out("a.x,b.c.y") == left_out(" a.x + b.c.y ") == places


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("seed=x", "seed=x is not a whole number from 0"),
        ("seed=-1", "seed=-1 is not a whole number from 0"),
        ("seed=1.5", "seed=1.5 is not a whole number from 0"),
        ("tasks=0", "tasks=0 is not a whole number from 1"),
        ("preset=magic", r"no preset 'magic' \(there are: relforge, plurel"),
        ("sed=7", "unknown option sed; there are seed, preset, tasks, schema"),
        ("seed=7,seed=8", "seed is given twice"),
        ("7", "'7' is not of the form option=value, as in synthetic:seed=7"),
        ("seed=", "'seed=' is not of the form option=value"),
        ("rows=people=3,dialect=mysql", "dialect and rows can only be given with schema"),
        ("schema=x.sql,rows=people", "rows: 'people' is not of the form table=1000"),
        ("schema=x.sql,rows=people=0", "rows: 'people=0' is not of the form table=1000"),
        ("schema=x.sql,without=photo", "without: 'photo' is not of the form table.column"),
    ],
)
def test_options_that_cannot_be_are_refused(options, told):
    with pytest.raises(DeclarationError, match=f"^synthetic: {told}"):
        read(f"synthetic:{options}")


@pytest.mark.parametrize(
    ("text", "more", "told"),
    [
        (None, "", "the schema .*gone.sql cannot be read .*No such file"),
        ("create table x (id int", "", "gone, line 1: "),
        ("select 1", "", "there is no CREATE TABLE in it"),
        (SQL, "", "column photo: values of type BYTEA cannot be made"),
        (SQL, ",rows=men=3", "table 'men', which is not declared"),
        (SQL, ",dialect=latin", "Unknown dialect 'latin'"),
    ],
)
def test_files_that_are_no_schema_are_refused(tmp_path, text, more, told):
    if text:
        (tmp_path / "gone.sql").write_text(text)
    with pytest.raises(ValueError, match=told):
        read(f"synthetic:schema={tmp_path / 'gone.sql'}{more}").generator()
