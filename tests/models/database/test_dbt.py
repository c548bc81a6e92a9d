"""dbt as a child process: parsed once a change, and its errors in its own words."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import pytest

from models.database import dbt
from models.database.dbt import DbtError, load_manifest, project_digest, run_models
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
        self.commands, self.results = [], results
        monkeypatch.setattr(dbt, "subprocess", SimpleNamespace(run=self.run))

    def run(self, command, cwd, **options):
        self.commands.append(command)
        for name, content in self.results.get("files", {}).items():
            (cwd / name).write_text(json.dumps(content))
        returncode = self.results.get("returncode", 0)
        output = self.results.get("output", "")
        return subprocess.CompletedProcess(command, returncode, output, "")


def test_a_project_is_parsed_again_only_when_a_file_of_it_changed(project, tmp_path, monkeypatch):
    stand_in = StandIn(monkeypatch, files={"manifest.json": {"nodes": {}}})
    for _ in range(2):
        assert load_manifest(project, tmp_path / "cache") == {"nodes": {}}
    assert len(stand_in.commands) == 1
    (project / "models" / "a.sql").write_text("select 2 as a\n")
    load_manifest(project, tmp_path / "cache")
    assert len(stand_in.commands) == 2


def test_a_parse_that_failed_is_tried_again(project, tmp_path, monkeypatch):
    failing = StandIn(monkeypatch, returncode=2, output="05:00:01  Running\n05:00:02  Error: a.sql")
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
    found = run_models(project, ["a", "b"], tmp_path / "t", tmp_path / "w.duckdb", {"as_of": "x"})
    assert [(r.name, r.succeeded, r.message) for r in found] == [
        ("shop__a", True, "OK"),
        ("shop__b", False, "Error\nline one"),
        ("shop__c", False, ""),
    ]
    (command,) = stand_in.commands
    assert command[command.index("--select") + 1 :][:2] == ["a", "b"]
    assert json.loads(command[command.index("--vars") + 1]) == {"as_of": "x"}


def test_results_of_an_earlier_run_are_not_taken_for_this_ones(project, tmp_path, monkeypatch):
    target = tmp_path / "t"
    target.mkdir()
    (target / "run_results.json").write_text('{"results": [{"unique_id": "old"}]}')
    StandIn(monkeypatch, returncode=2, output="05:00:01  Encountered an error: no such macro")
    with pytest.raises(DbtError, match="Encountered an error: no such macro"):
        run_models(project, ["a"], target, tmp_path / "w.duckdb", {})


def test_a_selection_that_names_nothing_is_an_error(project, tmp_path, monkeypatch):
    StandIn(monkeypatch, files={"run_results.json": {"results": []}})
    with pytest.raises(DbtError, match="nothing to build for nobody"):
        run_models(project, ["nobody"], tmp_path / "t", tmp_path / "w.duckdb", {})
