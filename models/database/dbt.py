"""Runs dbt as a child process and reads its manifest and run results.

A child, not a library call: dbt-duckdb keeps the warehouse open as long as its process lives.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from models.artifacts.recipe import digest, file_digest
from models.database.dbt_folder import DeclarationError

PROJECT_FILES = (".sql", ".yml", ".yaml", ".csv")


@dataclass(frozen=True, slots=True)
class ModelResult:
    """How one model's build ended."""

    name: str
    succeeded: bool
    message: str


class DbtError(RuntimeError):
    """dbt failed before it could build any model; the message is dbt's own."""


def load_manifest(project: Path, cache: Path) -> dict[str, Any]:
    """The project's manifest, parsed anew only when a file of the project has changed.

    Raises:
        DeclarationError: dbt cannot parse the project; the message is dbt's own, shortened.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "parse.lock"):
        key = project_digest(project)
        stamp, manifest = cache / "project_digest", cache / "manifest.json"
        if not (stamp.exists() and manifest.exists() and stamp.read_text() == key):
            stamp.unlink(missing_ok=True)
            finished = _dbt(project, ["parse"], cache)
            if finished.returncode:
                raise DeclarationError(
                    f"dbt cannot parse the project {project}:\n{_errors(finished.stdout)}"
                )
            stamp.write_text(key)
        return dict(json.loads(manifest.read_text()))


def project_digest(project: Path) -> str:
    """The digest of every file of a dbt project that dbt reads."""
    if not (project / "dbt_project.yml").exists():
        raise DeclarationError(f"{project} is no dbt project: it has no dbt_project.yml")
    folders = [project / "models", project / "macros", project / "tests", project / "seeds"]
    files = [project / "dbt_project.yml", project / "profiles.yml"]
    for folder in folders:
        files += [path for path in folder.rglob("*") if path.suffix in PROJECT_FILES]
    lines = [f"{path.relative_to(project)}:{file_digest(path)}" for path in sorted(files)]
    return digest("\n".join([str(project), *lines]))


def run_models(
    project: Path,
    select: Sequence[str],
    target: Path,
    warehouse: Path,
    variables: Mapping[str, str],
    lock: int | None = None,
) -> list[ModelResult]:
    """Builds the selected models with `dbt run`.

    Args:
        project: The dbt project.
        select: dbt selectors (model names, `path:models/shop/staging`).
        target: dbt's target folder for this call; partial parses are kept there.
        warehouse: The DuckDB file to build in.
        variables: dbt variables.
        lock: A file descriptor that the child inherits, so that the warehouse's lock is held until
            dbt itself has ended, even when this process is killed before it.

    Raises:
        DbtError: dbt failed as a whole.
    """
    results = target / "run_results.json"
    results.unlink(missing_ok=True)
    arguments = ["run", "--select", *select, "--vars", json.dumps(dict(variables))]
    finished = _dbt(project, arguments, target, warehouse, lock)
    if not results.exists():
        raise DbtError(_errors(finished.stdout) or finished.stderr[-2000:])
    entries = json.loads(results.read_text())["results"]
    if not entries:
        raise DbtError(f"dbt found nothing to build for {', '.join(select)}")
    return [
        ModelResult(
            name=entry["unique_id"].split(".")[-1],
            succeeded=entry["status"] == "success",
            message=_message(entry.get("message") or ""),
        )
        for entry in entries
    ]


def _dbt(
    project: Path,
    arguments: Sequence[str],
    target: Path,
    warehouse: Path | None = None,
    lock: int | None = None,
) -> subprocess.CompletedProcess[str]:
    target.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    if warehouse:
        environment["RELFORGE_WAREHOUSE"] = str(warehouse)
    command = [sys.executable, "-c", "from dbt.cli.main import cli; cli()", "--no-use-colors"]
    command += [*arguments, "--project-dir", str(project), "--profiles-dir", str(project)]
    command += ["--target-path", str(target), "--log-path", str(target / "logs")]
    return subprocess.run(
        command,
        cwd=target,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        pass_fds=() if lock is None else (lock,),
    )


def _errors(output: str) -> str:
    """The log without its time stamps and banner, from the first error on."""
    lines = [re.sub(r"^\d\d:\d\d:\d\d\s*", "", line).rstrip() for line in output.splitlines()]
    starts = [i for i, line in enumerate(lines) if "rror" in line]
    return "\n".join(line for line in lines[starts[0] if starts else 0 :] if line)[:2000]


def _message(text: str) -> str:
    """A model's error without dbt's trailer of macro and model paths."""
    lines = [line.strip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith(("> in", "> called")))
