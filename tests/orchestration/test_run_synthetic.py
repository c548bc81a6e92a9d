"""SOURCE=synthetic:... on the command line: declared once, found again, refused where it is wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, local

import pytest
import yaml

from models.database.dbt_folder import DeclarationError
from models.settings import Settings
from orchestration import run
from tests.fixtures import PATIENCE, empty_project


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    root = tmp_path_factory.mktemp("installation")
    return Settings(root / "home", empty_project(root / "project"))


def test_a_second_run_finds_the_declaration_and_other_options_of_its_name_do_not(settings, capsys):
    schema, location = run.find_or_import(settings, "synthetic:seed=7,tasks=2")
    assert "imported synthetic_7 into" in capsys.readouterr().out
    assert location == ""
    assert schema.tasks
    path = settings.dbt_project / "models" / "synthetic_7" / "_sources.yml"
    (declared,) = yaml.safe_load(path.read_text())["sources"]
    source = declared["config"]["meta"]["relforge"]["database"]["source"]
    options = {"preset": "relforge", "seed": "7", "tasks": "2"}
    assert source == {"kind": "synthetic", "options": options}
    for again in ("synthetic:tasks=2,preset=relforge,seed=7", "synthetic_7"):
        assert run.find_or_import(settings, again) == (schema, "")
        assert capsys.readouterr().out == ""
    with pytest.raises(DeclarationError, match=r"'synthetic_7' is declared already in .*delete"):
        run.find_or_import(settings, "synthetic:seed=7,tasks=3")


def test_two_runs_that_import_the_same_database_at_once_share_it(settings, capsys):
    """Both have looked, and found nothing, before either imports."""
    together, own = Barrier(2, timeout=PATIENCE), local()
    look = run._find

    def look_together(*arguments):
        found = look(*arguments)
        if not hasattr(own, "looked"):
            own.looked = True
            together.wait()
        return found

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(run, "_find", look_together)
        found = list(pool.map(lambda _: run.find_or_import(settings, "synthetic:seed=9"), range(2)))
    assert found[0][0] == found[1][0]
    assert capsys.readouterr().out.count("imported synthetic_9") == 1


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("synthetic:seed=x", "error: synthetic: seed=x is not a whole number from 0\n"),
        ("synthetic:tasks=0", "error: synthetic: tasks=0 is not a whole number from 1\n"),
        ("synthetic:preset=magic", "error: synthetic: no preset 'magic' (there are: relforge,"),
        ("synthetic:schema=gone.sql", "gone.sql cannot be read"),
        ("synthetic:schema=bad.sql", "error: bad, line 1: "),
        ("synthetic:schema=calm.sql", "has no row with a time up to its test's start"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    settings, tmp_path, monkeypatch, capsys, source, told
):
    monkeypatch.setenv("RELFORGE_HOME", str(settings.home))
    monkeypatch.setenv("RELFORGE_DBT_PROJECT", str(settings.dbt_project))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.sql").write_text("create table x (id int")
    (tmp_path / "calm.sql").write_text("create table x (id int primary key, colour text)")
    before = sorted(path.name for path in (settings.dbt_project / "models").iterdir())
    assert run.main(["--source", source]) == 2
    assert told in capsys.readouterr().err
    assert sorted(path.name for path in (settings.dbt_project / "models").iterdir()) == before
