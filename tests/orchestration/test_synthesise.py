"""The command line that makes synthetic databases."""

from __future__ import annotations

import json

import pytest
import relbench

from models.synthetic import presets
from models.synthetic.database import Generator
from models.synthetic.draws import Fixed, Integer
from models.synthetic.layered_layout import LayeredLayout
from orchestration.synthesise import main
from tests.models.synthetic.plain_stages import PlainColumns, PlainRows

SQL = """create table people (id int primary key, colour text);
create table visits (id int primary key, person int references people, at timestamp not null);"""
PLAIN = Generator(
    LayeredLayout(Integer(3, 4), entity_rows=Fixed(20), activity_rows=Fixed(30), columns=Fixed(2)),
    PlainRows(),
    PlainColumns(),
)


@pytest.fixture(autouse=True)
def plain_presets(monkeypatch):
    """Presets without mechanisms, so that only the command line is looked at."""
    monkeypatch.setattr(presets, "PRESETS", {"relforge": PLAIN, "plurel": PLAIN})


def made_from(folder):
    return json.loads((folder / "truth.json").read_text())["made_from"]


def test_databases_of_a_preset(tmp_path, capsys):
    call = ["--databases", "2", "--seed", "7", "--out", str(tmp_path / "corpus")]
    assert main(call) == 0
    assert "2 databases made" in capsys.readouterr().out
    assert main([*call, "--preset", "plurel"]) == 0
    assert main(call) == 0
    assert "0 databases made" in (told := capsys.readouterr().out)
    assert "2 were there before" in told
    names = sorted(path.name for path in (tmp_path / "corpus").glob("[!.]*"))
    assert names == ["plurel_7", "plurel_8", "synthetic_7", "synthetic_8"]
    assert made_from(tmp_path / "corpus" / "plurel_8") == {"preset": "plurel", "tasks": 0}
    assert relbench.load_dataset(tmp_path / "corpus" / "plurel_8").manifest.name == "plurel_8"


def test_databases_of_a_schema_with_rows_by_table(tmp_path, capsys):
    file = tmp_path / "My Club.sql"
    file.write_text(SQL.replace("colour text", "colour text, photo bytea"))
    call = ["--schema", str(file), "--out", str(tmp_path / "out")]
    call += ["--rows", "people=11, visits=40", "--without", "people.photo"]
    assert main(call) == 0
    folder = tmp_path / "out" / "my_club_0"
    tables = relbench.load_dataset(folder).get_db(upto_test_timestamp=False).table_dict
    assert {name: len(table.df) for name, table in tables.items()} == {"people": 11, "visits": 40}
    assert list(tables["people"].df.columns) == ["id", "colour"]
    assert made_from(folder)["rows"] == {"people": 11, "visits": 40}
    assert made_from(folder)["without"] == ["people.photo"]
    # The same file name with other tables makes other databases.
    file.write_text(SQL.replace("colour text", "hue text, photo bytea"))
    assert main(call) == 2
    assert "my_club_0 exists, but was made with other settings" in capsys.readouterr().err


def test_databases_like_a_declared_one(tmp_path, monkeypatch):
    monkeypatch.setenv("RELFORGE_HOME", str(tmp_path / "home"))
    rows = "customers=40,orders=60,order_items=80"
    assert main(["--like", "shop", "--rows", rows, "--out", str(tmp_path / "out")]) == 0
    tables = relbench.load_dataset(tmp_path / "out" / "shop_0").get_db(False).table_dict
    assert len(tables["order_items"].df) == 80
    assert tables["order_items"].fkey_col_to_pkey_table == {
        "order_id": "orders",
        "product_id": "products",
    }


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (["--preset", "magic"], "no preset 'magic' (there are: relforge, plurel)"),
        (["--rows", "people=3"], "give --schema or --like with them"),
        (["--without", "people.colour"], "give --schema or --like with them"),
        (["--schema", "club.sql", "--without", "colour"], "'colour' is not of the form table.col"),
        (["--schema", "club.sql", "--rows", "people"], "'people' is not of the form table=1000"),
        (["--schema", "club.sql", "--rows", "people=0"], "'people=0' is not of the form"),
        (["--schema", "club.sql", "--rows", "men=3"], "table 'men', which is not declared"),
        (["--schema", "gone.sql"], "No such file"),
        (["--schema", "bad.sql"], "bad, line 1: "),
        (["--schema", "club.sql", "--dialect", "latin"], "Unknown dialect 'latin'"),
    ],
)
def test_mistakes_are_told_without_a_traceback(tmp_path, monkeypatch, capsys, call, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "club.sql").write_text(SQL)
    (tmp_path / "bad.sql").write_text("create table x (id int")
    assert main([*call, "--out", "out"]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("call", [["--databases", "0"], ["--workers", "x"], ["--seed", "-1"]])
def test_numbers_are_checked(tmp_path, capsys, call):
    with pytest.raises(SystemExit):
        main([*call, "--out", str(tmp_path)])
    assert "is not a whole number from" in capsys.readouterr().err


def test_a_database_that_fails_is_told_and_counts(tmp_path, monkeypatch, capsys):
    broken = Generator(LayeredLayout(columns=Fixed(-1)), PlainRows(), lambda *_: 1 / 0)
    monkeypatch.setattr(presets, "PRESETS", {"relforge": broken})
    assert main(["--seed", "3", "--out", str(tmp_path)]) == 1
    assert "error: seed 3: ZeroDivisionError" in capsys.readouterr().err
