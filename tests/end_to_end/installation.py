"""An installation of its own for a test: a home, a dbt project, and the ways to run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from models.artifacts import Artifact, ArtifactStore
from models.settings import Settings
from tests.fixtures import PATIENCE, ROOT, wait_for


@dataclass(frozen=True)
class Installation:
    home: Path
    project: Path

    @property
    def settings(self) -> Settings:
        return replace(Settings.from_environment(), home=self.home, dbt_project=self.project)

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.settings.store)

    def environment(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RELFORGE", "DAGSTER"))}
        return kept | {
            "RELFORGE_HOME": str(self.home),
            "RELFORGE_DBT_PROJECT": str(self.project),
            "RELFORGE_THREADS": "1",
            # Networks have tests of their own; the others need not wait for them.
            "RELFORGE_FAMILIES": "lightgbm",
            "RELFORGE_TRIALS": "2",
            **more,
        }

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """`python -m orchestration.run`, which is what `make run` calls."""
        return self.start(*arguments).finish()

    def start(self, *arguments: object) -> Started:
        return self.start_module("orchestration.run", *arguments)

    def start_module(self, module: str, *arguments: object, **environment: str) -> Started:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=ROOT,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Started(process)

    def execute(self, job: str, as_of: str) -> subprocess.CompletedProcess[str]:
        """`dagster job execute`, as CI calls it."""
        dagster_home = self.home / "dagster"
        dagster_home.mkdir(parents=True, exist_ok=True)
        arguments = ["job", "execute", "-m", "orchestration.definitions", "-j", job]
        arguments += ["--tags", json.dumps({"dagster/partition": as_of})]
        home = {"DAGSTER_HOME": str(dagster_home)}
        return self.start_module("dagster", *arguments, **home).finish()

    def definitions(self) -> Any:
        from orchestration.definitions import build_definitions

        return build_definitions(self.settings)

    def execute_here(
        self, job: str, as_of: str | None, config: Mapping[str, Any] | None = None
    ) -> Execution:
        """The same job in this process, which saves a start of Dagster."""
        import dagster as dg

        found = self.definitions().resolve_job_def(job)
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        with dg.DagsterInstance.ephemeral() as instance:
            result = found.execute_in_process(
                run_config={**(config or {}), **quiet},
                instance=instance,
                tags={"dagster/partition": as_of} if as_of else None,
                raise_on_error=False,
            )
            return Execution(result.success, materialized(result.all_events), result)

    def last_run(self) -> dict[str, dict[str, Any]]:
        """Metadata of every asset that the newest run of the Dagster instance materialised."""
        import dagster as dg

        with dg.DagsterInstance.from_config(str(self.home / "dagster")) as instance:
            (run,) = instance.get_runs(limit=1)
            records = instance.all_logs(run.run_id)
            return materialized(r.dagster_event for r in records if r.dagster_event)

    def artifacts(self) -> dict[tuple[str, str], Artifact]:
        """The newest artifact of every stage and subject."""
        found = {}
        for pointer in sorted((self.store.root / "latest").glob("*/*.json")):
            latest = json.loads(pointer.read_text())
            stage, subject = pointer.parent.name, latest["subject"]
            artifact = self.store.latest(stage, subject)
            assert artifact is not None, f"{stage} {subject} points at nothing"
            found[stage, subject] = artifact
        return found

    def contents(self) -> dict[tuple[str, str], str]:
        """The content digest of every artifact; of checks their verdicts, as Data Docs bear dates."""
        return {
            key: verdicts(artifact) if key[0] == "checks" else artifact.content
            for key, artifact in self.artifacts().items()
        }

    def artifact(self, stage: str, task: str, as_of: str) -> Artifact:
        return self.artifacts()[stage, f"tiny_club/{task}/{as_of}"]

    def query(self, database: str, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the warehouse, read when nobody holds it."""
        import duckdb

        path = self.settings.warehouse(database)
        with duckdb.connect(str(path), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@dataclass(frozen=True)
class Execution:
    success: bool
    assets: dict[str, dict[str, Any]]
    result: Any

    @property
    def reused(self) -> set[str]:
        return {key for key, metadata in self.assets.items() if metadata["reused"]}

    @property
    def computed(self) -> set[str]:
        return set(self.assets) - self.reused

    def messages(self) -> str:
        """The text of every failed step and check."""
        import dagster as dg

        found = []
        for event in self.result.all_events:
            if event.event_type == dg.DagsterEventType.STEP_FAILURE:
                error = event.step_failure_data.error
                while error is not None:
                    found.append(error.message)
                    error = error.cause
            if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                check = event.asset_check_evaluation_data
                if not check.passed:
                    found.append(f"{check.check_name}: {check.description}")
        return "\n".join(found)


@dataclass(frozen=True)
class Started:
    process: subprocess.Popen[str]

    def finish(self) -> subprocess.CompletedProcess[str]:
        try:
            output, _ = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, output, "")

    def kill_once(self, condition: Callable[[], object]) -> None:
        """Kills it, but none of its children, as soon as the condition holds."""
        wait_for(lambda: condition() or self.process.poll() is not None)
        assert self.process.poll() is None, self.finish().stdout
        self.process.kill()
        self.process.wait(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()


def verdicts(artifact: Artifact) -> str:
    rows = json.loads((artifact.path / "results.json").read_text())
    return "\n".join(f"{row['passed']} {row['name']} {row['message']}" for row in rows)


def materialized(events: Any) -> dict[str, dict[str, Any]]:
    """Metadata values of every materialisation among events, by `a/b/c` asset key."""
    import dagster as dg

    found = {}
    for event in events:
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            one = event.step_materialization_data.materialization
            values = {name: getattr(v, "value", v) for name, v in one.metadata.items()}
            found["/".join(one.asset_key.path)] = values
    return found


def new_installation(folder: Path, *databases: str) -> Installation:
    """A home, and a copy of the dbt project with none but the named databases."""
    project = folder / "dbt_project"
    project.mkdir(parents=True)
    source = ROOT / "dbt_project"
    for path in source.glob("*.yml"):
        if path.name != ".user.yml":
            shutil.copyfile(path, project / path.name)
    shutil.copytree(source / "macros", project / "macros")
    (project / "models").mkdir()
    for name in databases:
        shutil.copytree(source / "models" / name, project / "models" / name)
    return Installation(folder / "home", project)


def another_home(folder: Path, of: Installation) -> Installation:
    """An empty home over the same dbt project, which need not be parsed once more."""
    new = Installation(folder / "home", of.project)
    shutil.copytree(of.settings.manifest_cache, new.settings.manifest_cache)
    return new


def day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
