"""Which searcher finds good candidates sooner? On a bank of finished trials, without any training.

    python -m benchmarks.searchers --bank models/bank/shipped --trials 30 --seeds 5

A candidate that a searcher suggests is answered by the nearest finished one of the task (a tabular
benchmark: Ying et al., "NAS-Bench-101", ICML 2019). Prints, for each searcher, the regret of the
candidate with the best validation score so far: how much worse its score is than the best of all
finished trials, in per cent of that, averaged over tasks and seeds, with the standard error over
tasks. The score is on test where the bank has it. Hyperband is left out: the bank has no learning
curves to stop at. Advice comes from other databases alone; autotransfer needs `--fisher`, the points
of `benchmarks.fisher_points`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import polars as pl

from benchmarks.tables import machine, markdown
from models.bank.store import read_bank
from models.database.schema import Metric, Protocol
from models.families.candidate import Candidate
from models.search.fisher import nearest_tasks, transferred_priors
from models.search.priors import priors_of
from models.search.records import Result, StudyConfig, TrialRecord
from models.search.searchers import Advice, search
from models.search.space import SPACE, Space
from models.search.study import Report

SEARCHERS = ("random", "tpe", "autotransfer", "relatron")
NEIGHBOURS = 3
GOOD = 0.25
"""The share of a task's trials that count as good."""


@dataclass(frozen=True)
class FinishedTask:
    """The finished candidates of a task under a protocol: parameters and mean scores over seeds."""

    database: str
    name: str
    metric: Metric
    protocol: Protocol
    candidates: tuple[Candidate, ...]
    parameters: tuple[Mapping[str, object], ...]
    validation: np.ndarray
    judged: np.ndarray
    fisher: np.ndarray | None

    def nearest(self, space: Space, candidate: Candidate) -> int:
        """The finished candidate that shares most of a candidate's parameters."""
        asked = set((space.parameters_of(candidate) or {}).items())
        shared = [len(asked & set(known.items())) - len(known) / 2 for known in self.parameters]
        return int(np.argmax(shared))

    def good(self) -> list[Candidate]:
        """The best quarter of the candidates on validation, best first."""
        sign = -1 if self.metric.higher_is_better else 1
        order = np.argsort(sign * self.validation, kind="stable")
        return [self.candidates[at] for at in order[: max(int(len(order) * GOOD), 1)]]

    def regrets(self, chosen: Sequence[int]) -> np.ndarray:
        """By number of trials, how much worse the validation's choice is than the best, in per cent."""
        sign = 1 if self.metric.higher_is_better else -1
        best = (sign * self.judged).max()
        scores = sign * self.validation[list(chosen)]
        picked = [chosen[int(scores[: n + 1].argmax())] for n in range(len(chosen))]
        return 100 * (best - sign * self.judged[picked]) / max(abs(best), 1e-12)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", action="append", required=True, help="a bank's folder")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--least", type=int, default=30, help="finished candidates a task, at least"
    )
    parser.add_argument("--fisher", type=Path, help="points of the tasks in Fisher space (JSON)")
    parser.add_argument("--protocol", choices=[str(p) for p in Protocol], default="rolling")
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    learners = dict.fromkeys(name for known in SPACE.values() for name in known)
    space = Space(learners=tuple(learners), initialisations=("scratch", "tve"), depth=3)
    bank = read_bank(Path(folder) for folder in options.bank)
    points = json.loads(options.fisher.read_text()) if options.fisher else {}
    tasks = list(finished_tasks(bank, space, Protocol(options.protocol), points))
    # With points, all searchers are compared on the tasks that have one.
    searched = [
        task
        for task in tasks
        if len(task.candidates) >= options.least and (not points or task.fisher is not None)
    ]
    print(f"{len(searched)} tasks under the {options.protocol} protocol; {machine()}", flush=True)
    print(table(searched, tasks, space, options.trials, options.seeds))
    return 0


def finished_tasks(
    bank: pl.DataFrame, space: Space, protocol: Protocol, points: Mapping[str, Sequence[float]]
) -> Iterator[FinishedTask]:
    """The tasks with at least two finished candidates of the space, and their points if known."""
    rows = bank.filter(
        (pl.col("protocol") == str(protocol)) & pl.col("validation").is_not_nan()
    ).filter(pl.col("validation").is_not_null())
    names = ["database", "task", "as_of"]
    for (database, task, as_of), own in rows.group_by(names, maintain_order=True):
        found = own.group_by("family", "settings", maintain_order=True).agg(
            pl.col("metric").first(), pl.col("validation", "test").mean()
        )
        has_test = found["test"].null_count() == 0
        known = [
            (candidate, parameters, row["validation"], row["test" if has_test else "validation"])
            for row in found.iter_rows(named=True)
            for candidate in [_candidate(row["family"], json.loads(row["settings"]))]
            for parameters in [space.parameters_of(candidate)]
            if parameters is not None
        ]
        if len(known) < 2:
            continue
        candidates, parameters, validation, judged = zip(*known, strict=True)
        fisher = points.get(f"{database}/{task}/{as_of:%Y-%m-%d}")
        yield FinishedTask(
            str(database),
            f"{database}/{task}/{as_of}",
            Metric(own["metric"][0]),
            protocol,
            candidates,
            parameters,
            np.array(validation),
            np.array(judged),
            np.array(fisher) if fisher else None,
        )


def _candidate(family: str, settings: Mapping[str, object]) -> Candidate:
    """A finished candidate by those of its settings that the design space varies."""
    axes = {axis for learners in SPACE.values() for axis in learners.get(family, {})}
    kept = {name: settings[name] for name in settings if name in axes | {"features"}}
    return Candidate("finished", family, kept)


def table(
    searched: Sequence[FinishedTask],
    tasks: Sequence[FinishedTask],
    space: Space,
    trials: int,
    seeds: int,
) -> str:
    """Regrets by searcher and number of trials, as a Markdown table; advice comes from all tasks."""
    shown = [n for n in (1, 3, 5, 10, 20, 30, 60, 100) if n <= trials]
    rows = []
    for searcher in SEARCHERS:
        curves = []
        for task in searched:
            others = [other for other in tasks if other.database != task.database]
            advice = advice_for(searcher, task, others, space)
            if advice is not None:
                runs = [regrets(searcher, task, space, trials, s, advice) for s in range(seeds)]
                curves.append(np.mean(runs, axis=0))
        cells = ["-"] * len(shown)
        if curves:
            mean = np.mean(curves, axis=0)
            error = np.std(curves, axis=0, ddof=min(len(curves) - 1, 1)) / np.sqrt(len(curves))
            cells = [f"{mean[n - 1]:.2f} ± {error[n - 1]:.2f}" for n in shown]
        rows.append([searcher, len(curves), *cells])
    return markdown(["searcher", "tasks", *(f"{n} trials" for n in shown)], rows)


def advice_for(
    searcher: str, task: FinishedTask, others: Sequence[FinishedTask], space: Space
) -> Advice | None:
    """What other databases' tasks say; None where a searcher cannot go without and there is none."""
    if searcher in ("random", "tpe"):
        return Advice()
    good = {other.name: other.good() for other in others}
    if searcher == "autotransfer":
        known = {other.name: other.fisher for other in others if other.fisher is not None}
        if task.fisher is None or not known:
            return None
        near = nearest_tasks(task.fisher, known, NEIGHBOURS)
        return Advice(priors=transferred_priors(space, near, good))
    if not others:
        return None
    weighted = [(one, 1 / len(found)) for found in good.values() for one in found]
    warm = [found[0] for found in good.values()][:NEIGHBOURS]
    return Advice(warm_starts=warm, priors=priors_of(space, weighted))


def regrets(
    searcher: str, task: FinishedTask, space: Space, trials: int, seed: int, advice: Advice
) -> np.ndarray:
    """The regrets of one search, float64 [trials]."""
    config = StudyConfig(task.metric, task.protocol, trials=trials, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        answer = partial(_answer, task, space)
        records = search(searcher, config, space, answer, folder, "search", advice=advice)
    return task.regrets([_position(record) for record in records])


def _answer(
    task: FinishedTask, space: Space, candidate: Candidate, number: int, report: Report
) -> Result:
    at = task.nearest(space, candidate)
    return Result(float(task.validation[at]), metrics={"position": float(at)})


def _position(record: TrialRecord) -> int:
    return int(record.metrics["position"])


if __name__ == "__main__":
    raise SystemExit(main())
