"""The command line: import a database if it isn't declared, run its job, lay out the results.

python -m orchestration.run --source ../rel-f1 --task driver-dnf --as-of 2010-01-01 --output out
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import yaml
from filelock import FileLock

from assets.workplace import as_of_fault
from models.database.dbt import load_manifest
from models.database.dbt_folder import DeclarationError, identifier
from models.database.importer import is_synthetic
from models.database.manifest import Declaration, read_databases
from models.database.schema import RelationalSchema
from models.database.source import location_variable, newest_event
from models.database.staging import StageError
from models.settings import Settings
from orchestration.instance import prepare_environment
from orchestration.jobs import job_name
from orchestration.results import export_results, print_summary

DEFAULT_OUTPUT = "out"
# Dagster's own news of a failure; the cause is printed at the end, once and in words.
ENGINE_MESSAGES = ("STEP_FAILURE", "RUN_FAILURE", "Dependencies for step", "ASSET_CHECK_EVALUATION")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parse(arguments)
    settings = Settings.from_environment()
    try:
        return run(
            settings,
            options.source,
            options.task,
            options.as_of,
            Path(options.output),
            options.job,
            options.config,
        )
    except (DeclarationError, StageError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make run", description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True, help="RelBench folder or hub name, database URL, "
                        "file or folder, synthetic:seed=7, or a declared database")  # fmt: skip
    parser.add_argument("--task", default="", help="one task (default: every task)")
    parser.add_argument("--as-of", default="", help="date or dates, comma-separated (YYYY-MM-DD)")
    parser.add_argument("--config", default="", help="YAML file with the stages' run config")
    parser.add_argument("--output", default=DEFAULT_OUTPUT, help="folder for the results")
    parser.add_argument("--job", default="pipeline", choices=["pipeline", "retrain", "score"])
    return parser.parse_args(arguments)


def run(
    settings: Settings,
    source: str,
    task: str,
    as_of: str,
    output: Path,
    kind: str = "pipeline",
    config: str = "",
) -> int:
    """Imports if needed, runs one job per date, exports and prints the results.

    Returns:
        0, or 1 if a job failed; what succeeded is exported all the same.

    Raises:
        DeclarationError: the source, database or task does not exist or is declared with faults.
    """
    if config:
        check_config(Path(config))
    given = [_date(text) for text in as_of.split(",") if text.strip()]
    schema, location = find_or_import(settings, source)
    if not schema.tasks:
        print(
            f"{schema.database} is declared in {settings.dbt_project / 'models' / schema.database}. "
            "It has no task yet: add one in tasks/ (see README, 'Declare a task') and run again."
        )
        return 0
    chosen = _task(schema, task)
    dates = given or [default_as_of(schema, location)]
    faults = [fault for when in dates if (fault := as_of_fault(schema, f"{when}"))]
    if faults:
        raise DeclarationError("; ".join(faults))
    failed = False
    for when in dates:
        launch = uuid.uuid4().hex
        code = execute_job(settings, schema, chosen, when, kind, launch, location, config)
        # One date fills OUT; of several, each gets a folder, or only the last would be left.
        folder = output / f"{when}" if len(dates) > 1 else output
        exported = export_results(settings, schema, chosen, when, folder, launch)
        print_summary(schema, when, exported)
        failed |= code != 0
    return int(failed)


def check_config(path: Path) -> None:
    """Whether Dagster can read a run's configuration.

    Raises:
        DeclarationError: It is no file, no YAML or no mapping.
    """
    if not path.is_file():
        raise DeclarationError(f"CONFIG '{path}' is no file")
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise DeclarationError(f"CONFIG '{path}' is not valid YAML: {error}") from error
    if not isinstance(content or {}, dict):
        raise DeclarationError(f"CONFIG '{path}' is no mapping; it begins with ops:")


def find_or_import(settings: Settings, source: str) -> tuple[RelationalSchema, str]:
    """The declared database that SOURCE names, imported first if need be, and where its rows are.

    Raises:
        DeclarationError: see `models.database.importer`; or the declaration has faults.
    """
    found = _find(settings, source)
    if found is not None:
        return found
    # Another process may be importing it at this moment.
    lock = settings.dbt_project / "target" / "import.lock"
    lock.parent.mkdir(exist_ok=True)
    with FileLock(lock):
        return _find(settings, source) or _import(settings, source)


def _find(settings: Settings, source: str) -> tuple[RelationalSchema, str] | None:
    """The declared database that is named so or was imported from there."""
    declared = _declared(settings)
    for name, declaration in declared.items():
        schema = declaration.schema
        if source in (name, schema.title) and not Path(source).is_dir():
            return declaration.checked(), ""
    before = _imported_before(declared, source)
    return (before.checked(), before.schema.source.location) if before else None


def _import(settings: Settings, source: str) -> tuple[RelationalSchema, str]:
    from models.database.importer import import_database, same_declaration

    started = time.monotonic()
    declared = _declared(settings)
    try:
        again = same_declaration(source, settings.dbt_project, declared)
        if again:
            print(
                f"database {again} is declared already; its rows are read from {source} this time"
            )
            return declared[again].checked(), source
        done = import_database(source, settings.dbt_project)
    except DeclarationError as error:
        if Path(source).expanduser().exists() or is_synthetic(source):
            raise
        names = ", ".join(declared) or "none"
        raise DeclarationError(f"{error}\nDatabases that are declared: {names}.") from error
    print(
        f"imported {done.schema.database} into {done.folder} ({time.monotonic() - started:.1f} s)"
    )
    for note in done.notes:
        print(f"  - {note}")
    return _declared(settings)[done.schema.database].checked(), ""


def _declared(settings: Settings) -> dict[str, Declaration]:
    return read_databases(load_manifest(settings.dbt_project, settings.manifest_cache))


def _imported_before(declared: dict[str, Declaration], source: str) -> Declaration | None:
    if is_synthetic(source):
        from models.synthetic.options import SyntheticOptions

        wanted = SyntheticOptions.from_location(source).declaration()
        for declaration in declared.values():
            if replace(declaration.schema.source, tables=()) == wanted:
                return declaration
        return None
    path = Path(source).expanduser()
    places = {source, str(path.resolve())} if path.exists() else {source}
    for declaration in declared.values():
        if declaration.schema.source.location in places:
            return declaration
    return None


def _task(schema: RelationalSchema, name: str) -> str:
    if not name:
        return ""
    for task in schema.tasks:
        if name in (task.name, task.title) or identifier(name) == task.name:
            return task.name
    known = ", ".join(task.title or task.name for task in schema.tasks)
    raise DeclarationError(f"database {schema.database!r} has no task {name!r}; it has {known}")


def _date(text: str) -> date:
    try:
        return datetime.fromisoformat(text.strip()).date()
    except ValueError as error:
        raise DeclarationError(f"AS_OF {text!r} is no date; write it as 2024-01-31") from error


def default_as_of(schema: RelationalSchema, location: str) -> date:
    """The benchmark's date where there is one, else the day of the newest row, at most today.

    Raises:
        DeclarationError: the database has no event times.
    """
    if schema.default_as_of:
        return schema.default_as_of.date()
    source = replace(schema.source, location=location or schema.source.location)
    newest = newest_event(replace(schema, source=source))
    if newest is None:
        raise DeclarationError(
            f"database {schema.database!r}: no table has an event_time with values, so there is no "
            "date to run at; declare config.event_time, or give AS_OF"
        )
    # Rows dated in the future are for the quality gate to tell.
    return min(newest.date(), date.today())


def execute_job(
    settings: Settings,
    schema: RelationalSchema,
    task: str,
    as_of: date,
    kind: str,
    launch: str,
    location: str = "",
    config: str = "",
) -> int:
    """Runs a job as `dagster job execute` does in CI, its log on the terminal; returns its code."""
    name = job_name(schema.database, kind, task)
    tags = f'{{"dagster/partition": "{as_of}", "relforge/launch": "{launch}"}}'
    command = [sys.executable, "-m", "dagster", "job", "execute"]
    command += ["-m", "orchestration.definitions", "-j", name, "--tags", tags]
    if config:
        command += ["-c", str(Path(config).resolve())]
    environment = prepare_environment(settings)
    if location and location != schema.source.location:
        environment[location_variable(schema.database)] = str(Path(location).expanduser().resolve())
    print(f"running {name} as of {as_of}", flush=True)
    log = settings.home / "logs" / f"{name}-{as_of}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    code = follow(command, environment, log, started)
    verdict = "finished" if code == 0 else f"FAILED (exit code {code})"
    print(f"{name} {verdict} in {time.monotonic() - started:.1f} s; full log: {log}", flush=True)
    return code


def follow(command: list[str], environment: dict[str, str], log: Path, started: float) -> int:
    """Runs a command; its whole output goes to the log, what people want to see to the terminal."""
    with (
        log.open("w") as file,
        subprocess.Popen(
            command,
            env=environment,
            cwd=Path(__file__).resolve().parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            shown = readable(line)
            if shown:
                print(f"{time.monotonic() - started:7.1f} s  {shown}", flush=True)
        return process.wait()


def readable(line: str) -> str:
    """The message of a log line that stages wrote; empty for Dagster's own bookkeeping.

    Dagster's lines read `time - dagster - LEVEL - job - run id - step - message`.
    """
    parts = line.rstrip().split(" - ")
    if len(parts) < 7 or parts[1] != "dagster" or parts[2] not in ("INFO", "WARNING", "ERROR"):
        return ""
    message = " - ".join(parts[6:])
    if any(mark in message for mark in ENGINE_MESSAGES):
        return ""
    return message if parts[2] == "INFO" else f"{parts[2]}: {message}"


if __name__ == "__main__":
    # A closed pipe (`make run | head`) is no error of the run.
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
