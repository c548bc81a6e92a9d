"""Lays a run's results out as files, and prints what there is to know of it."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.training_tables import subject
from models.artifacts import Artifact, ArtifactStore
from models.database.schema import RelationalSchema, Task
from models.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

RESULT_FILES = ("training_table.parquet", "predictions.parquet", "report.html")


@dataclass(frozen=True, slots=True)
class RunResults:
    """What a launched run left behind: folders and scores by task, and its errors."""

    folders: dict[str, Path] = field(default_factory=dict)
    scores: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    reused: int = 0
    computed: int = 0
    errors: tuple[str, ...] = ()


def export_results(
    settings: Settings,
    schema: RelationalSchema,
    task: str,
    as_of: date,
    output: Path,
    launch: str,
) -> RunResults:
    """Copies what the run with this launch tag predicted to `<output>/<database>/<task>/`.

    Each folder holds training_table.parquet (entity, cutoff_time, label, split),
    predictions.parquet (entity, cutoff_time, prediction), report.html and, at a benchmark's date,
    RelBench's submission file. A task whose run failed keeps what an earlier run exported.
    """
    import dagster as dg

    with dg.DagsterInstance.from_config(str(_dagster_home(settings))) as instance:
        done, counts = _materialised(instance, launch)
        errors = [*_failed_checks(instance, launch), *_errors(instance, launch)]
    store = ArtifactStore(settings.store)
    results = RunResults(errors=tuple(errors), reused=counts["reused"], computed=counts["computed"])
    for one in schema.tasks:
        if task in ("", one.name) and (schema.database, one.name, "predictions") in done:
            when = datetime.combine(as_of, schema.as_of_time)
            artifact = store.latest("predictions", subject(schema, one, when))
            if artifact:
                folder = output / (schema.title or schema.database) / (one.title or one.name)
                results.folders[one.name] = _lay_out(store, artifact, folder)
                results.scores[one.name] = artifact.metadata["scores"]
    return results


def _dagster_home(settings: Settings) -> Path:
    return Path(os.environ.get("DAGSTER_HOME", settings.home / "dagster"))


def _lay_out(store: ArtifactStore, predictions: Artifact, folder: Path) -> Path:
    """Fills a folder aside, then swaps it in, so that it never mixes two runs."""
    table = store.get("training_table", predictions.inputs["training_table"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    aside.mkdir()
    shutil.copyfile(table.path / "training_table.parquet", aside / "training_table.parquet")
    for path in [predictions.path / name for name in RESULT_FILES[1:]]:
        shutil.copyfile(path, aside / path.name)
    for path in predictions.path.glob("*.csv"):
        shutil.copyfile(path, aside / path.name)
    old = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    if folder.exists():
        folder.rename(old)
    aside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def _runs(instance: DagsterInstance, launch: str) -> Sequence[Any]:
    import dagster as dg

    return instance.get_runs(dg.RunsFilter(tags={"relforge/launch": launch}))


def _materialised(
    instance: DagsterInstance, launch: str
) -> tuple[set[tuple[str, ...]], dict[str, int]]:
    import dagster as dg

    done: set[tuple[str, ...]] = set()
    counts = {"reused": 0, "computed": 0}
    for run in _runs(instance, launch):
        for entry in instance.all_logs(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ):
            found = entry.asset_materialization
            if found:
                done.add(tuple(found.asset_key.path))
                reused = found.metadata.get("reused")
                counts["reused" if reused and reused.value else "computed"] += 1
    return done, counts


def _failed_checks(instance: DagsterInstance, launch: str) -> list[str]:
    """What every check that stopped the run found, and how to mend it."""
    import dagster as dg

    found: list[str] = []
    for run in _runs(instance, launch):
        for entry in instance.all_logs(
            run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ):
            check = entry.dagster_event.asset_check_evaluation_data if entry.dagster_event else None
            if check and not check.passed and check.severity == dg.AssetCheckSeverity.ERROR:
                asset = "/".join(check.asset_key.path)
                found.append(f"check {check.check_name} of {asset}: {check.description}")
    return list(dict.fromkeys(found))


def _errors(instance: DagsterInstance, launch: str) -> list[str]:
    """The innermost message of every step that failed, but for steps whose checks say why."""
    import dagster as dg

    found: list[str] = []
    for run in _runs(instance, launch):
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
            event = entry.dagster_event
            data = event.step_failure_data if event else None
            error = data.error if data else None
            while error is not None and error.cause is not None:
                error = error.cause
            by_check = error is not None and error.cls_name == "DagsterAssetCheckFailedError"
            if error is not None and event is not None and not by_check:
                found.append(f"{event.step_key}: {_plain(error.message)}")
    return list(dict.fromkeys(found))


def _plain(message: str) -> str:
    """An exception's text without the name of its class."""
    head, _, rest = message.strip().partition(": ")
    return rest if rest and "." in head and " " not in head else message.strip()


def print_summary(schema: RelationalSchema, as_of: date, results: RunResults) -> None:
    """Prints the main scores of each task, where its files are, and what went wrong."""
    print(f"\n{schema.title} as of {as_of}: {results.computed} computed, {results.reused} reused")
    for name, folder in results.folders.items():
        task = schema.task(name)
        print(f"\n  {task.title or name}  ({task.task_type}, {task.metric}) -> {folder}")
        for line in score_lines(task, results.scores[name]):
            print(f"    {line}")
    for error in results.errors:
        print(f"\nerror in {error}")


def score_lines(task: Task, scores: list[dict[str, Any]]) -> list[str]:
    """The task's own metric, a line per split and protocol."""
    lines = [
        f"{row['split']:<5} {row['protocol']:<8} {row['metric']} {row['mean']:.4f} "
        f"± {row['std']:.4f} over {row['seeds']} seeds, their mean {row['ensemble']:.4f}"
        + (f" (trivial {row['baseline']:.4f})" if row["baseline"] is not None else "")
        + f", {row['rows']} rows"
        for row in scores
        if row["metric"] == str(task.metric)
    ]
    if not any(row["split"] == "test" for row in scores):
        lines.append("the future is not known yet: no test score")
    return lines
