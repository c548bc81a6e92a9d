"""Relational networks from scratch and from pretrained encoders, with all and with few labels.

    python -m benchmarks.initialisation --source ../rel-f1 --initialisations scratch,tve

Runs the pipeline (what is in the store is reused), pretrains what is named, then trains every task
from every initialisation on shares of its training rows: each seed draws its own rows and weights.
Validation and test rows are always all of them. Prints mean and standard deviation over the seeds
of the test scores under both protocols, each at the epoch that validation chose, and the gains over
scratch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assets import training_tables
from assets.pretraining import encoder_subject
from assets.staging import staged_tables
from assets.temporal_graph import graph_subject, text_encoder_of
from benchmarks.tables import machine, markdown
from models.artifacts import Artifact, ArtifactStore
from models.database.schema import Protocol, RelationalSchema, Task
from models.database.training_table import read_training_table
from models.dfs.feature_table import read_feature_table, seeds_of
from models.rdl.config import RDLConfig
from models.settings import Settings
from orchestration.instance import prepare_environment
from orchestration.run import default_as_of, find_or_import
from orchestration.run import run as run_pipeline

SCRATCH = "scratch"
SHARES = (0.01, 0.05, 0.1, 1.0)


@dataclass(frozen=True)
class Cell:
    """One training: a task, an initialisation, a share of the training rows, a seed."""

    task: str
    initialisation: str
    share: float
    seed: int


@dataclass(frozen=True)
class Case:
    """What all trainings of a database share."""

    settings: Settings
    schema: RelationalSchema
    as_of: datetime
    config: RDLConfig
    results: Path

    @property
    def store(self) -> ArtifactStore:
        """The artifact store."""
        return ArtifactStore(self.settings.store)

    def file(self, cell: Cell) -> Path:
        """Where a training's scores are kept, so that a killed benchmark goes on."""
        name = f"{cell.task}-{cell.initialisation}-{cell.share:g}-{cell.seed}.json"
        return self.results / name


def train(case: Case, cell: Cell) -> dict[str, Any]:
    """Trains and scores one cell; the result is kept."""
    kept = case.file(cell)
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    import torch

    from models.families.prediction import score_rows
    from models.learning.rows import RowsToPredict
    from models.rdl.bundle import load_rdl_bundle
    from models.rdl.graph_files import read_graph
    from models.rdl.training import train_rdl_bundle

    torch.set_num_threads(1)
    task, store = case.schema.task(cell.task), case.store
    subject = training_tables.subject(case.schema, task, case.as_of)
    features = _made(store, "features", subject)
    table = _made(store, "training_table", subject)
    graph = _made(store, "temporal_graph", graph_subject(case.schema, case.as_of))
    rows = read_training_table(table.path / training_tables.FILE)
    encoder = None
    if cell.initialisation != SCRATCH:
        name = encoder_subject(case.schema, cell.initialisation, case.as_of)
        encoder = _made(store, "pretraining", name)
    config = replace(
        case.config, initialisation=cell.initialisation, seeds=1, first_seed=cell.seed, device="cpu"
    )
    read = read_feature_table(features.path)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        train_rdl_bundle(
            read.schema,
            task,
            share_of(rows, cell.share, cell.seed),
            case.as_of,
            graph.path,
            config,
            folder,
            1,
            text_encoder=text_encoder_of(graph),
            features=read,
            pretrained=encoder.path if encoder else None,
        )
        bundle = load_rdl_bundle(folder)
    test = rows.filter(pl.col("split") == "test")
    staging = store.get("staging", table.inputs["staging"])
    found: dict[str, Any] = {"epochs": bundle.record["best_rounds"][0]}
    for protocol in Protocol:
        asked = RowsToPredict(
            seeds_of(test, task, case.as_of, protocol),
            staged_tables(staging, case.schema),
            features=read.under(protocol),
            label_history=rows.filter(pl.col("label").is_not_null()).select(
                "entity", "cutoff_time", "label"
            ),
            graph=read_graph(graph.path),
        )
        scored = score_rows(task, bundle, test, bundle.predict(asked, protocol), "test", protocol)
        own = next(score.mean for score in scored if score.metric == str(task.metric))
        validation = bundle.record["validation_scores"][0][str(protocol)]
        found[str(protocol)] = {"test": own, "validation": validation}
    kept.write_text(json.dumps(asdict(cell) | found))
    return found


def _made(store: ArtifactStore, stage: str, subject: str) -> Artifact:
    found = store.latest(stage, subject)
    if found is None:
        raise LookupError(f"the pipeline has left no {stage} of {subject} in the store")
    return found


def share_of(rows: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """The training table with a random share of its training rows, at least 20; other splits whole."""
    train = rows.filter(pl.col("split") == "train")
    kept = min(train.height, max(round(share * train.height), 20))
    order = np.random.default_rng(seed).permutation(train.height)[:kept]
    return pl.concat([train[np.sort(order)], rows.filter(pl.col("split") != "train")])


def cells(
    tasks: Sequence[Task],
    initialisations: Sequence[str],
    shares: Sequence[float],
    seeds: int,
) -> Iterator[Cell]:
    """Every training; those of a seed together, so that a benchmark cut short is a fair one."""
    for seed in range(seeds):
        for task in tasks:
            for share in shares:
                for initialisation in initialisations:
                    yield Cell(task.name, initialisation, share, seed)


def table(case: Case, planned: Sequence[Cell]) -> list[dict[str, object]]:
    """A row per task, share and initialisation, of the trainings that are done."""
    grouped: dict[tuple[str, float, str], list[dict[str, Any]]] = {}
    for cell in planned:
        if case.file(cell).exists():
            key = (cell.task, cell.share, cell.initialisation)
            grouped.setdefault(key, []).append(json.loads(case.file(cell).read_text()))
    rows: list[dict[str, object]] = []
    for (name, share, initialisation), found in grouped.items():
        row: dict[str, object] = {
            "task": name,
            "metric": str(case.schema.task(name).metric),
            "labels": f"{share:.0%}",
            "initialisation": initialisation,
            "seeds": len(found),
        }
        for protocol in Protocol:
            for what in ("validation", "test"):
                values = [entry[str(protocol)][what] for entry in found]
                spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
                row[f"{what}, {protocol}"] = f"{np.mean(values):.3f} ± {spread:.3f}"
        rows.append(row)
    return rows


def gains(case: Case, planned: Sequence[Cell]) -> list[dict[str, object]]:
    """How much better than scratch each initialisation is on test with few labels, by task.

    Differences are between trainings of the same seed and share, which draw the same rows; a seed's
    shares are averaged, and the standard error is over the seeds. Positive is better than scratch.
    """
    found = {
        cell: json.loads(case.file(cell).read_text())
        for cell in planned
        if cell.share < 1 and case.file(cell).exists()
    }
    differences: dict[tuple[str, str], dict[tuple[Protocol, int], list[float]]] = {}
    for cell, result in found.items():
        scratch = found.get(replace(cell, initialisation=SCRATCH))
        if cell.initialisation == SCRATCH or scratch is None:
            continue
        sign = 1 if case.schema.task(cell.task).metric.higher_is_better else -1
        row = differences.setdefault((cell.task, cell.initialisation), {})
        for protocol in Protocol:
            gain = sign * (result[str(protocol)]["test"] - scratch[str(protocol)]["test"])
            row.setdefault((protocol, cell.seed), []).append(gain)
    rows: list[dict[str, object]] = []
    for (task, initialisation), values in differences.items():
        row = {"task": task, "initialisation": initialisation}
        for protocol in Protocol:
            means = [float(np.mean(v)) for (which, _), v in values.items() if which is protocol]
            error = float(np.std(means, ddof=1) / len(means) ** 0.5) if len(means) > 1 else 0.0
            row[str(protocol)] = f"{np.mean(means):+.3f} ± {error:.3f}"
        rows.append(row)
    return rows


def prepare(settings: Settings, source: str, initialisations: Sequence[str]) -> Case:
    """Runs the pipeline and pretrains what is named."""
    os.environ["RELFORGE_FAMILIES"] = "lightgbm,rdl"
    with tempfile.TemporaryDirectory() as output:
        if run_pipeline(settings, source, "", "", Path(output), "retrain") != 0:
            raise SystemExit("the pipeline failed; see above")
    schema, location = find_or_import(settings, source)
    date = default_as_of(schema, location)
    environment = prepare_environment(settings)
    for objective in initialisations:
        if objective != SCRATCH:
            command = [sys.executable, "-m", "dagster", "asset", "materialize"]
            command += ["-m", "orchestration.definitions", "--partition", str(date)]
            command += ["--select", f"{schema.database}/pretrained_encoder/{objective}"]
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    as_of = datetime.combine(date, schema.as_of_time)
    results = settings.home / "benchmarks" / "initialisation" / f"{schema.database}-{date}"
    results.mkdir(parents=True, exist_ok=True)
    return Case(settings, schema, as_of, RDLConfig(), results)


def main(arguments: list[str] | None = None) -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True, help="as in `make run`")
    parser.add_argument("--tasks", default="", help="comma-separated (default: all)")
    parser.add_argument("--initialisations", default=f"{SCRATCH},tve")
    parser.add_argument("--shares", default=",".join(map(str, SHARES)))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--settings", default="{}", help="JSON: settings of the networks")
    parser.add_argument("--name", default="", help="keeps results of other settings apart")
    options = parser.parse_args(arguments)
    initialisations = options.initialisations.split(",")
    case = prepare(Settings.from_environment(), options.source, initialisations)
    config = replace(case.config, **json.loads(options.settings))
    results = case.results / options.name
    results.mkdir(exist_ok=True)
    case = replace(case, config=config, results=results)
    wanted = set(options.tasks.split(",")) if options.tasks else None
    tasks = [t for t in case.schema.tasks if wanted is None or {t.name, t.title} & wanted]
    shares = [float(share) for share in options.shares.split(",")]
    planned = list(cells(tasks, initialisations, shares, options.seeds))
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        for number, _ in enumerate(pool.map(train, [case] * len(planned), planned), start=1):
            print(f"{number} of {len(planned)}", end="\r", file=sys.stderr, flush=True)
    found = table(case, planned)
    print(machine())
    print(markdown(list(found[0]), [list(row.values()) for row in found]))
    if gained := gains(case, planned):
        print("\nGain over scratch on test, few labels, mean ± standard error over the seeds:\n")
        print(markdown(list(gained[0]), [list(row.values()) for row in gained]))


if __name__ == "__main__":
    main()
