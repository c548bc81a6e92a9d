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
MANIFEST = "manifest.json"
PARSED = "partial_parse.msgpack"
"""What dbt itself keeps of a parse: all that it needs to run models without another one."""
PARSE = "from dbt.cli.main import cli; cli()"
# A project of many databases takes far longer to parse than the models of one take to run, and dbt
# parses all of it anew whenever a variable has another value.
RUN = """
import sys
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest

manifest = Manifest.from_msgpack(sys.stdin.buffer.read())
manifest.build_flat_graph()
sys.exit(not dbtRunner(manifest=manifest).invoke(sys.argv[1:]).success)
"""


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
    return dict(json.loads(_parsed(project, cache, MANIFEST)))


def _parsed(project: Path, cache: Path, file: str) -> bytes:
    """A file of the project's parse, which is made anew only when the project has changed."""
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "parse.lock"):
        key = project_digest(project)
        stamp, found = cache / "project_digest", cache / file
        if not (stamp.exists() and found.exists() and stamp.read_text() == key):
            stamp.unlink(missing_ok=True)
            finished = _dbt(PARSE, project, ["parse"], cache)
            if finished.returncode:
                raise DeclarationError(
                    f"dbt cannot parse the project {project}:\n{_errors(finished.stdout)}"
                )
            stamp.write_text(key)
        return found.read_bytes()


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
    cache: Path,
    lock: int | None = None,
) -> list[ModelResult]:
    """Builds the selected models with `dbt run`.

    Args:
        project: The dbt project.
        select: dbt selectors (model names, `path:models/shop/staging`).
        target: dbt's target folder for this call.
        warehouse: The DuckDB file to build in.
        variables: dbt variables.
        cache: Where the project's parse is kept, as for `load_manifest`.
        lock: A file descriptor that the child inherits, so that the warehouse's lock is held until
            dbt itself has ended, even when this process is killed before it.

    Raises:
        DeclarationError: dbt cannot parse the project.
        DbtError: dbt failed as a whole.
    """
    results = target / "run_results.json"
    results.unlink(missing_ok=True)
    arguments = ["run", "--select", *select, "--vars", json.dumps(dict(variables))]
    parsed = _parsed(project, cache, PARSED)
    finished = _dbt(RUN, project, arguments, target, parsed, warehouse, lock)
    if not results.exists():
        raise DbtError(_errors(finished.stdout) or _text(finished.stderr)[-2000:])
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
    code: str,
    project: Path,
    arguments: Sequence[str],
    target: Path,
    parsed: bytes = b"",
    warehouse: Path | None = None,
    lock: int | None = None,
) -> subprocess.CompletedProcess[bytes]:
    target.mkdir(parents=True, exist_ok=True)
    # A parse opens no file, but what it makes names the catalogue by the file's stem.
    environment = os.environ | {
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "RELFORGE_WAREHOUSE": str(warehouse or target / "warehouse.duckdb"),
    }
    command = [sys.executable, "-c", code, "--no-use-colors"]
    command += [*arguments, "--project-dir", str(project), "--profiles-dir", str(project)]
    command += ["--target-path", str(target), "--log-path", str(target / "logs")]
    return subprocess.run(
        command,
        cwd=target,
        env=environment,
        input=parsed,
        capture_output=True,
        check=False,
        pass_fds=() if lock is None else (lock,),
    )


def _errors(output: bytes) -> str:
    """The log without its time stamps and banner, from the first error on."""
    lines = [
        re.sub(r"^\d\d:\d\d:\d\d\s*", "", line).rstrip() for line in _text(output).splitlines()
    ]
    starts = [i for i, line in enumerate(lines) if "rror" in line]
    return "\n".join(line for line in lines[starts[0] if starts else 0 :] if line)[:2000]


def _text(output: bytes) -> str:
    return output.decode(errors="replace")


def _message(text: str) -> str:
    """A model's error without dbt's trailer of macro and model paths."""
    lines = [line.strip() for line in text.splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith(("> in", "> called")))
