"""What the routed search loses against searching the better branch in full, and what it costs.

    python -m benchmarks.routed_search --home HOME [HOME ...] --cache CACHE [--bank BANK]

Replays finished trials: from the trials that a home has of a task, a search draws some. A *full*
search of a branch takes all of its trials and the best on validation. Compared with the better one of
the full searches (by test score, known only afterwards) are: each branch always, the best on
validation of all trials, and, with a few trials, a race of all branches and what the pipeline does:
a race of those that routing leaves, by a bank without the task's database. Of what was tried either
the best on validation is taken or an ensemble. Regret is relative, the mean over draws; the cost
is the seconds of a search as a share of those of 20 trials of every branch, by the mean trial of each.
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
from models.bank.store import SHIPPED, read_bank
from models.database.schema import Protocol
from models.families.bundle import load_bundle
from models.relatron.selector import fit_selector
from models.relatron.task_rows import task_rows
from models.search.ensemble import shared_weights
from models.search.space import Branch, branch_of
from models.search.validation import ValidationRows

DRAWS = 20
FULL_TRIALS = 20
FULL = {branch: f"always {branch}" for branch in Branch}
RACE, ROUTED, EVERYTHING = "race of all branches", "routed", "best on validation of all"
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
    parser.add_argument("--bank", type=Path, nargs="+", default=[SHIPPED], help="what routes")
    parser.add_argument("--trials", type=int, default=9, help="of the routed search and the race")
    options = parser.parse_args(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    print(machine())
    known = task_rows(read_bank(options.bank))
    found = []
    for protocol in Protocol:
        for home in options.home:
            for title, trials in stored_trials(ArtifactStore(home / "store"), ()):
                replay = _replay(title, trials, protocol, options.cache)
                if replay is not None:
                    left = branches_left(known, title, protocol, sorted(set(replay.branches)))
                    about = {"protocol": str(protocol), "database": title.split("/")[0]}
                    found += [about | row for row in regrets(replay, left, options.trials)]
    if not found:
        print("no task has trials of two branches and known test labels", file=sys.stderr)
        return 1
    print(table(pl.DataFrame(found)))
    return 0


def branches_left(
    known: pl.DataFrame, title: str, protocol: Protocol, branches: Sequence[str]
) -> tuple[Branch, ...]:
    """What routing leaves of the branches of a task (`database/task/date`); all where no bank has it."""
    database, name, date = title.split("/")
    own = known.filter(
        (pl.col("database") == database)
        & (pl.col("task") == name)
        & (pl.col("as_of").dt.strftime("%Y-%m-%d") == date)
        & (pl.col("protocol") == str(protocol))
    )
    allowed = [branch for branch in Branch if branch in branches]
    if own.is_empty():
        print(f"{title} is in no bank: its signals are unknown, all branches race", file=sys.stderr)
        return tuple(allowed)
    selector = fit_selector(known, str(protocol), without=database)
    return selector.decide(own[0], allowed).branches


def regrets(replay: Replay, left: Sequence[Branch], trials: int) -> list[dict[str, object]]:
    """A row a way to search: regret and cost, relative to the full searches.

    `left` are the branches that routing leaves, `trials` those of a race, divided among its branches.
    """
    validation, test = replay.scores("val"), replay.scores("test")
    places = {b: np.flatnonzero(replay.branches == b) for b in Branch}
    places = {b: own for b, own in places.items() if own.size}
    full = {b: own[validation[own].argmax()] for b, own in places.items()}
    best = max(test[place] for place in full.values())
    scale = max(abs(test[place]) for place in full.values())
    costs = {b: FULL_TRIALS * float(replay.seconds[own].mean()) for b, own in places.items()}
    cost = sum(costs.values())
    everything = np.arange(test.size)
    outcomes: dict[str, list[tuple[float, float]]] = {
        **{FULL[b]: [(test[place], costs[b])] for b, place in full.items()},
        EVERYTHING: [(test[validation.argmax()], cost)],
        ENSEMBLE: [(replay.ensemble(everything), cost)],
    }
    generator = np.random.default_rng(0)
    raced = {RACE: tuple(places), ROUTED: tuple(left)}
    for _ in range(DRAWS):
        orders = {b: generator.permutation(own) for b, own in places.items()}
        # Routing may leave all branches, and an ensemble takes its time.
        for some in dict.fromkeys(raced.values()):
            drawn = np.concatenate([orders[b][: trials // len(some)] for b in some])
            spent = replay.seconds[drawn].sum()
            single = test[drawn[validation[drawn].argmax()]]
            mixed = replay.ensemble(drawn)
            for name in (name for name, branches in raced.items() if branches == some):
                outcomes.setdefault(f"{name}, best on validation", []).append((single, spent))
                outcomes.setdefault(f"{name}, ensemble", []).append((mixed, spent))
    return [
        {
            "search": name,
            "regret": float(np.mean([(best - score) / scale for score, _ in own])),
            "cost": float(np.mean([seconds / cost for _, seconds in own])),
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
                f"{100 * own['cost'].mean():.0f} %",  # type: ignore[operator]
                own.height,
            ]
        )
    head = ["protocol", "search", "mean regret", "worst database", "cost", "tasks"]
    return markdown(head, lines)


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
