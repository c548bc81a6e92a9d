"""Points of tasks in Fisher space (AutoTransfer), for `benchmarks.searchers --fisher`.

    python -m benchmarks.fisher_points --home .relforge --out fisher.json

Reads the networks' trials in pipelines' stores: each task's newest training table and graph. Points
that are in the file already are kept. Prints the seconds that each took.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from benchmarks.tables import machine
from models.artifacts import Artifact, ArtifactStore
from models.database.training_table import read_training_table
from models.learning.bundle import read_bundle
from models.rdl.graph_files import read_graph
from models.search.fisher import BATCHES, REPEATS, fisher_embedding


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fisher_points")
    parser.add_argument("--home", type=Path, nargs="+", required=True, help="homes with trials")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--batches", type=int, default=BATCHES)
    parser.add_argument("--out", type=Path, required=True, help="the file (JSON)")
    options = parser.parse_args(arguments)
    points = json.loads(options.out.read_text()) if options.out.exists() else {}
    print(machine(), flush=True)
    for home in options.home:
        store = ArtifactStore(home / "store")
        for subject, trial in network_trials(store).items():
            if subject in points:
                continue
            started = time.monotonic()
            points[subject] = point_of(store, trial, options.repeats, options.batches)
            options.out.write_text(json.dumps(points, indent=1))
            print(f"{subject}: {time.monotonic() - started:.0f} s", flush=True)
    return 0


def network_trials(store: ArtifactStore) -> dict[str, Artifact]:
    """A finished trial of a network over the graph by task and date."""
    found = {}
    for trial in _trials(store):
        if "temporal_graph" in trial.inputs:
            found[str(trial.record["subject"]).rsplit("/", 1)[0]] = trial
    return found


def point_of(store: ArtifactStore, trial: Artifact, repeats: int, batches: int) -> list[float]:
    """The point of the trial's task (`fisher_embedding`)."""
    content = read_bundle(trial.path / "bundle")[0]
    table = store.get("training_table", trial.inputs["training_table"])
    [path] = table.path.glob("*.parquet")
    rows = read_training_table(path).filter(pl.col("split").is_in(["train", "val"]))
    graph = store.get("temporal_graph", trial.inputs["temporal_graph"])
    point = fisher_embedding(
        content["task"],
        rows,
        content["as_of"],
        read_graph(graph.path),
        graph.metadata["text_encoder"],
        repeats=repeats,
        batches=batches,
    )
    return [round(float(value), 4) for value in point]


def _trials(store: ArtifactStore) -> Iterator[Artifact]:
    for path in sorted((store.root / "trial").glob("*/artifact.json")):
        yield store.get("trial", path.parent.name)


if __name__ == "__main__":
    raise SystemExit(main())
