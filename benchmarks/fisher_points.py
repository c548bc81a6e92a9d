"""Points of tasks in Fisher space (AutoTransfer), for `benchmarks.searchers --fisher`.

    python -m benchmarks.fisher_points --home .relforge --out fisher.json

Reads the networks' trials in pipelines' stores, of each task those of the training table that most
of its trials share. Points that are in the file already are kept. Prints the seconds that each took.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import polars as pl

from benchmarks.checkpoint_choice import stored_trials
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
        for subject, trials in stored_trials(store, ()):
            on_graph = [trial for _, trial in trials if "temporal_graph" in trial.inputs]
            if subject in points or not on_graph:
                continue
            started = time.monotonic()
            points[subject] = point_of(store, on_graph[0], options.repeats, options.batches)
            options.out.write_text(json.dumps(points, indent=1))
            print(f"{subject}: {time.monotonic() - started:.0f} s", flush=True)
    return 0


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


if __name__ == "__main__":
    raise SystemExit(main())
