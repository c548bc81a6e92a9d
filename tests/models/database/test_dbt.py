"""dbt as a child process: parsed once a change, and its errors in its own words."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import pytest

from models.database import dbt
from models.database.dbt import PARSED, DbtError, load_manifest, project_digest, run_models
from models.database.dbt_folder import DeclarationError
from tests.fixtures import empty_project


@pytest.fixture
def project(tmp_path):
    folder = empty_project(tmp_path / "project")
    (folder / "models" / "a.sql").write_text("select 1 as a\n")
    return folder


class StandIn:
    """Takes dbt's place: records the commands and writes what dbt would."""

    def __init__(self, monkeypatch, **results):
        self.commands, self.inputs, self.results = [], [], results
        monkeypatch.setattr(dbt, "subprocess", SimpleNamespace(run=self.run))

    def run(self, command, cwd, **options):
        self.commands.append(command)
        self.inputs.append(options["input"])
        files = {"manifest.json": {"nodes": {}}, PARSED: "parsed"} | self.results.get("files", {})
        for name, content in files.items():
            (cwd / name).write_text(json.dumps(content))
        is_parse = "parse" in command
        returncode = self.results.get("parse" if is_parse else "returncode", 0)
        output = self.results.get("output", "").encode()
        return subprocess.CompletedProcess(command, returncode, output, b"")


def run(project, select, target, variables):
    cache, warehouse = target.parent / "cache", target.parent / "warehouse.duckdb"
    return run_models(project, select, target, warehouse, variables, cache)


def test_a_project_is_parsed_again_only_when_a_file_of_it_changed(project, tmp_path, monkeypatch):
    stand_in = StandIn(monkeypatch)
    for _ in range(2):
        assert load_manifest(project, tmp_path / "cache") == {"nodes": {}}
    assert len(stand_in.commands) == 1
    (project / "models" / "a.sql").write_text("select 2 as a\n")
    load_manifest(project, tmp_path / "cache")
    assert len(stand_in.commands) == 2


def test_a_parse_that_failed_is_tried_again(project, tmp_path, monkeypatch):
    failing = StandIn(monkeypatch, parse=2, output="05:00:01  Running\n05:00:02  Error: a.sql")
    for _ in range(2):
        with pytest.raises(DeclarationError, match=r"cannot parse the project .*\nError: a\.sql$"):
            load_manifest(project, tmp_path / "cache")
    assert len(failing.commands) == 2


@pytest.mark.parametrize(
    ("name", "is_new"),
    [
        ("models/b.sql", True),
        ("models/deep/_b.yml", True),
        ("macros/m.sql", True),
        ("tests/t.sql", True),
        ("models/README.md", False),
        ("target/compiled.sql", False),
        ("logs/dbt.log", False),
    ],
)
def test_a_projects_digest_follows_the_files_that_dbt_reads(project, name, is_new):
    before = project_digest(project)
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("-- more\n")
    assert (project_digest(project) != before) == is_new


def test_a_folder_that_is_no_project_is_named(tmp_path):
    with pytest.raises(DeclarationError, match=r"is no dbt project: it has no dbt_project\.yml"):
        project_digest(tmp_path)


def test_results_are_told_model_by_model(project, tmp_path, monkeypatch):
    trailer = "Error\n  line one\n\n  > in macro x\n  > called by y\n"
    entries = [
        {"unique_id": "model.relforge.shop__a", "status": "success", "message": "OK"},
        {"unique_id": "model.relforge.shop__b", "status": "error", "message": trailer},
        {"unique_id": "model.relforge.shop__c", "status": "skipped", "message": None},
    ]
    stand_in = StandIn(monkeypatch, files={"run_results.json": {"results": entries}})
    found = run(project, ["a", "b"], tmp_path / "t", {"as_of": "x"})
    assert [(r.name, r.succeeded, r.message) for r in found] == [
        ("shop__a", True, "OK"),
        ("shop__b", False, "Error\nline one"),
        ("shop__c", False, ""),
    ]
    _, command = stand_in.commands
    assert command[command.index("--select") + 1 :][:2] == ["a", "b"]
    assert json.loads(command[command.index("--vars") + 1]) == {"as_of": "x"}


def test_results_of_an_earlier_run_are_not_taken_for_this_ones(project, tmp_path, monkeypatch):
    target = tmp_path / "t"
    target.mkdir()
    (target / "run_results.json").write_text('{"results": [{"unique_id": "old"}]}')
    StandIn(monkeypatch, returncode=2, output="05:00:01  Encountered an error: no such macro")
    with pytest.raises(DbtError, match="Encountered an error: no such macro"):
        run(project, ["a"], target, {})


def test_a_selection_that_names_nothing_is_an_error(project, tmp_path, monkeypatch):
    StandIn(monkeypatch, files={"run_results.json": {"results": []}})
    with pytest.raises(DbtError, match="nothing to build for nobody"):
        run(project, ["nobody"], tmp_path / "t", {})


def test_models_run_on_the_parse_that_the_manifest_came_from(project, tmp_path, monkeypatch):
    results = {"results": [{"unique_id": "model.relforge.a", "status": "success"}]}
    stand_in = StandIn(monkeypatch, files={"run_results.json": results})
    load_manifest(project, tmp_path / "cache")
    for value in ("x", "y"):
        run(project, ["a"], tmp_path / "t", {"as_of": value})
    assert ["parse" in command for command in stand_in.commands] == [True, False, False]
    assert stand_in.inputs[1:] == [b'"parsed"'] * 2
    (project / "models" / "a.sql").write_text("select 3 as a\n")
    run(project, ["a"], tmp_path / "t", {"as_of": "y"})
    assert "parse" in stand_in.commands[3]


def test_a_model_is_built_as_it_is_now_and_with_this_runs_variables(project, tmp_path, monkeypatch):
    """With dbt itself."""
    import duckdb

    monkeypatch.setenv("RELFORGE_WAREHOUSE", str(tmp_path / "another.duckdb"))
    model = project / "models" / "a.sql"
    for text, as_of, expected in (("1", "x", "1 x"), ("1", "y", "1 y"), ("2", "y", "2 y")):
        model.write_text(f"select '{text} {{{{ var('as_of', '') }}}}' as a\n")
        (found,) = run(project, ["a"], tmp_path / "t", {"as_of": as_of})
        assert found.succeeded, found.message
        with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
            assert connection.execute("select a from main.a").fetchone() == (expected,)
