"""What the routed search loses against searching the better branch in full, and what it costs.

    python -m benchmarks.routed_search --home HOME [HOME ...] --cache CACHE

Replays finished trials: from the trials that a home has of a task, a search draws some. A *full*
search of a branch takes all of its trials and the best on validation. Compared with the better one of
the full searches (by test score, known only afterwards) are: each branch always, both the best on
validation of all trials, and what the pipeline does where the bank cannot tell: a race with a few
trials a branch, and an ensemble of what was tried. Regret is relative, the mean over draws; the cost
is the seconds of the trials as a share of those of all full searches, for tasks with 50 trials or more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.checkpoint_choice import (
    BUDGETS,
    SPLITS,
    labelled,
    mean_predictions,
    rows_of,
    stored_trials,
)
from benchmarks.tables import machine, markdown
from models.artifacts import ArtifactStore
from models.database.schema import Protocol
from models.families.bundle import load_bundle
from models.search.ensemble import shared_weights
from models.search.space import Branch, branch_of
from models.search.validation import ValidationRows

DRAWS = 20
MANY = 50
FULL = {branch: f"always {branch}" for branch in Branch}
RACE, RACE_ENSEMBLE, EVERYTHING = "race", "race, ensemble", "best on validation of all"
ENSEMBLE = "ensemble of all"


@dataclass(frozen=True, eq=False)
class Replay:
    """A task's trials under a protocol: signed scores (more is better) and predictions by split.

    `by_protocol` has the validation predictions under each protocol: ensembles go by both.
    """

    title: str
    rows: dict[str, ValidationRows]
    predictions: dict[str, np.ndarray]
    by_protocol: list[np.ndarray]
    branches: np.ndarray
    seconds: np.ndarray
    sign: float

    def scores(self, split: str) -> np.ndarray:
        """Of every trial."""
        return self.sign * self.rows[split].scores(self.predictions[split])

    def ensemble(self, places: np.ndarray) -> float:
        """The test score of the ensemble of some trials."""
        weights = shared_weights(self.rows["val"], [one[places] for one in self.by_protocol])
        mixed = np.tensordot(weights, self.predictions["test"][places], axes=1)
        return float(self.sign * self.rows["test"].scores(mixed[None])[0])


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routed_search")
    parser.add_argument("--home", type=Path, nargs="+", required=True, help="homes with trials")
    parser.add_argument("--cache", type=Path, required=True, help="folder for predictions")
    parser.add_argument("--each", type=int, default=3, help="trials a branch in the race")
    options = parser.parse_args(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    print(machine())
    found = []
    for protocol in Protocol:
        for home in options.home:
            for title, trials in stored_trials(ArtifactStore(home / "store"), ()):
                replay = _replay(title, trials, protocol, options.cache)
                if replay is not None:
                    found += [
                        {"protocol": str(protocol), "task": title, "database": title.split("/")[0]}
                        | row
                        for row in regrets(replay, options.each)
                    ]
    if not found:
        print("no task has trials of two branches and known test labels", file=sys.stderr)
        return 1
    print(table(pl.DataFrame(found)))
    return 0


def regrets(replay: Replay, each: int) -> list[dict[str, object]]:
    """A row a way to search: regret and cost, relative to the full searches."""
    validation, test = replay.scores("val"), replay.scores("test")
    places = {b: np.flatnonzero(replay.branches == b) for b in Branch}
    places = {b: own for b, own in places.items() if own.size}
    full = {b: own[validation[own].argmax()] for b, own in places.items()}
    best = max(test[place] for place in full.values())
    scale = max(abs(test[place]) for place in full.values())
    cost = replay.seconds.sum()
    everything = np.arange(test.size)
    outcomes: dict[str, list[tuple[float, float]]] = {
        **{FULL[b]: [(test[place], replay.seconds[places[b]].sum())] for b, place in full.items()},
        EVERYTHING: [(test[validation.argmax()], cost)],
        ENSEMBLE: [(replay.ensemble(everything), cost)],
        RACE: [],
        RACE_ENSEMBLE: [],
    }
    generator = np.random.default_rng(0)
    for _ in range(DRAWS):
        drawn = np.concatenate([generator.permutation(own)[:each] for own in places.values()])
        spent = replay.seconds[drawn].sum()
        outcomes[RACE].append((test[drawn[validation[drawn].argmax()]], spent))
        outcomes[RACE_ENSEMBLE].append((replay.ensemble(drawn), spent))
    return [
        {
            "search": name,
            "regret": float(np.mean([(best - score) / scale for score, _ in own])),
            "cost": float(np.mean([seconds / cost for _, seconds in own])),
            "trials": int(test.size),
        }
        for name, own in outcomes.items()
    ]


def table(found: pl.DataFrame) -> str:
    """Mean regret over tasks with its standard error, the worst database, and the cost."""
    lines = []
    for (protocol, search), own in found.group_by("protocol", "search", maintain_order=True):
        by_database = own.group_by("database").agg(pl.col("regret").mean())["regret"]
        error = float(own["regret"].std() or 0.0) / own.height**0.5
        lines.append(
            [
                protocol,
                search,
                f"{100 * own['regret'].mean():.2f} ± {100 * error:.2f} %",  # type: ignore[operator]
                f"{100 * by_database.max():.2f} %",  # type: ignore[operator]
                _cost(own.filter(pl.col("trials") >= MANY)),
                own.height,
            ]
        )
    head = ["protocol", "search", "mean regret", "worst database", "cost", "tasks"]
    return markdown(head, lines)


def _cost(rows: pl.DataFrame) -> str:
    return f"{100 * rows['cost'].mean():.0f} %" if rows.height else ""  # type: ignore[operator]


def _replay(title: str, trials: Sequence, protocol: Protocol, cache: Path) -> Replay | None:
    trials = trials[: max(BUDGETS)]
    store, first = trials[0]
    bundle = load_bundle(first.path / "bundle")
    parts = labelled(store, first)
    if parts["test"].is_empty():
        return None
    made = {
        p: [
            mean_predictions(cache / f"{trial.fingerprint}_{p}.npz", own, trial, p)
            for own, trial in trials
        ]
        for p in Protocol
    }
    plain = [trial.record["recipe"]["config"]["candidate"] for _, trial in trials]
    branches = np.array([str(branch_of(one["family"], one["settings"])) for one in plain])
    if len(set(branches)) < 2:
        return None
    return Replay(
        title,
        {split: rows_of(bundle, parts[split]) for split in SPLITS},
        {split: np.stack([one[split] for one in made[protocol]]) for split in SPLITS},
        [np.stack([one["val"] for one in own]) for own in made.values()],
        branches,
        np.array([float(trial.metadata["seconds"]) for _, trial in trials]),
        1.0 if bundle.task.metric.higher_is_better else -1.0,
    )


if __name__ == "__main__":
    sys.exit(main())
