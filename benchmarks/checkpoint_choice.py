"""More tuning, worse performance? The test score by number of trials, for each way to choose one.

    python -m benchmarks.checkpoint_choice --home HOME --cache CACHE --out choice.png

Reads the trials in a pipeline's store, for every task whose test labels are known. The trials are
drawn in random orders; after 1, 2, ... of them each rule chooses (or combines) what its validation
figures say, and the choice's test score is noted. Prints the gain over the best validation score in
percent, mean and standard error over tasks; draws the curves of each task, with the standard
deviation over the orders. Predictions and landscapes are computed once a trial and kept in the cache.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.tables import machine, markdown
from models.artifacts import Artifact, ArtifactStore
from models.database.schema import Protocol, Task
from models.database.training_table import read_training_table
from models.dfs.feature_table import read_feature_table, seeds_of
from models.families.bundle import RowsToPredict, load_bundle
from models.families.trial import TrialInputs
from models.rdl.graph_files import read_graph
from models.reporting import figure as look
from models.search.choice import Choice, Contender, choose
from models.search.ensemble import (
    SelectionConfig,
    greedy_selection,
    steadied_selection,
    top_average,
)
from models.search.landscape import Landscape, LandscapeConfig, landscape
from models.search.validation import ValidationRows, standard_error

BUDGETS = (1, 2, 3, 5, 8, 12, 16, 20, 30, 40, 50, 60)
SPLITS = ("val", "test")
BEST, AVERAGE, GREEDY, STEADIED, ORACLE = (
    str(Choice.BEST_VALIDATION),
    "top-3 average",
    "greedy ensemble",
    "steadied ensemble",
    "oracle",
)
METHODS = (*map(str, Choice), AVERAGE, GREEDY, STEADIED, ORACLE)
SELECTION = SelectionConfig(bags=5)
RADII = (0.1, 0.5)


@dataclass(frozen=True, eq=False)
class Measured:
    """A trial: what it can be chosen by, its mean predictions over seeds by split, its test score."""

    contender: Contender
    predictions: Mapping[str, np.ndarray]
    test: float


@dataclass(frozen=True, eq=False)
class Subject:
    """A task with its trials, under one protocol."""

    title: str
    rows: Mapping[str, ValidationRows]
    trials: tuple[Measured, ...]


@dataclass(frozen=True, eq=False)
class Curves:
    """Test scores of each method, shape (orders, budgets), NaN where a method has none."""

    title: str
    metric: str
    higher_is_better: bool
    budgets: tuple[int, ...]
    scores: Mapping[str, np.ndarray]

    def gains(self, method: str) -> np.ndarray:
        """The mean gain over the best validation score in percent of it, shape (budgets,)."""
        best = self.scores[BEST].mean(axis=0)
        sign = 1 if self.higher_is_better else -1
        return np.asarray(sign * 100 * (self.scores[method].mean(axis=0) / best - 1))


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parse(arguments)
    print(machine())
    curves = []
    stores = [ArtifactStore(home / "store") for home in options.home]
    for title, trials in chain.from_iterable(stored_trials(s, options.tasks) for s in stores):
        subject = measured(options, title, trials)
        if subject is None:
            print(f"{title}: left out, the labels of its test rows are not known")
            continue
        curves.append(learn_curves(subject, options.orders))
        print(f"{title}: {len(subject.trials)} trials", flush=True)
    if not curves:
        print(
            f"{', '.join(map(str, options.home))}: no trials of the tasks asked for",
            file=sys.stderr,
        )
        return 1
    print(table(curves))
    options.out.write_bytes(draw(curves))
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkpoint_choice")
    parser.add_argument("--home", type=Path, nargs="+", required=True, help="homes with trials")
    parser.add_argument("--tasks", nargs="*", default=[], help="parts of their names; all if none")
    parser.add_argument("--protocol", choices=list(Protocol), help="default: each task's own")
    parser.add_argument("--most", type=int, default=max(BUDGETS), help="trials a task, at most")
    parser.add_argument("--orders", type=int, default=20, help="random orders of the trials")
    parser.add_argument("--landscape-rows", type=int, default=512,
                        help="validation rows that landscapes are measured on; 0 for none")  # fmt: skip
    parser.add_argument("--cache", type=Path, required=True, help="folder for predictions")
    parser.add_argument("--out", type=Path, required=True, help="the figure (PNG)")
    return parser.parse_args(arguments)


def stored_trials(
    store: ArtifactStore, wanted: Sequence[str]
) -> Iterator[tuple[str, list[tuple[ArtifactStore, Artifact]]]]:
    """The trials of each task and date, of the training table that most of them share."""
    groups: dict[str, dict[str, list[Artifact]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted((store.root / "trial").glob("*/artifact.json")):
        trial = store.get("trial", path.parent.name)
        title = str(trial.record["subject"]).rsplit("/", 1)[0]
        if not wanted or any(part in title for part in wanted):
            groups[title][trial.inputs["training_table"]].append(trial)
    for title in sorted(groups):
        trials = max(groups[title].values(), key=len)
        yield title, [(store, trial) for trial in trials]


def measured(
    options: argparse.Namespace, title: str, trials: Sequence[tuple[ArtifactStore, Artifact]]
) -> Subject | None:
    """Predictions, landscapes and scores of a task's trials; None without labelled test rows."""
    options.cache.mkdir(parents=True, exist_ok=True)
    rows: dict[str, ValidationRows] = {}
    found = []
    for store, trial in trials[: options.most]:
        bundle = load_bundle(trial.path / "bundle")
        protocol = Protocol(options.protocol or bundle.task.protocol)
        parts = labelled(store, trial)
        if parts["test"].is_empty():
            return None
        rows = rows or {name: rows_of(bundle, part) for name, part in parts.items()}
        name = f"{trial.fingerprint}_{protocol}"
        predictions = mean_predictions(options.cache / f"{name}.npz", store, trial, protocol)
        terrain = None
        if options.landscape_rows:
            config = LandscapeConfig(radii=RADII, rows=options.landscape_rows)
            terrain = _landscape(options.cache / f"{name}.json", store, trial, protocol, config)
        found.append(_measured(trial, rows, predictions, terrain))
    return Subject(title, rows, tuple(found))


def _measured(
    trial: Artifact,
    rows: Mapping[str, ValidationRows],
    predictions: Mapping[str, np.ndarray],
    terrain: Landscape | None,
) -> Measured:
    own = predictions["val"]
    scores = {split: float(rows[split].scores(predictions[split][None])[0]) for split in SPLITS}
    resampled = rows["val"].resampled(own)
    late = rows["val"].late() if np.unique(rows["val"].cutoff_times).size > 1 else None
    contender = Contender(
        name=trial.fingerprint,
        family=str(trial.metadata["family"]),
        validation=scores["val"],
        error=standard_error(resampled),
        resampled=resampled,
        landscape=terrain,
        late=None if late is None else float(rows["val"].take(late).scores(own[None, late])[0]),
    )
    return Measured(contender, predictions, scores["test"])


def rows_of(bundle: Any, part: pl.DataFrame) -> ValidationRows:
    """The labelled rows of a split as scores need them."""
    labels = bundle.labels.transform(part["label"])
    task: Task = bundle.task
    times = part["cutoff_time"].to_numpy()
    classes = len(bundle.labels.classes)
    entities = part["entity"].to_numpy()
    return ValidationRows(task.task_type, task.metric, labels, times, classes, entities)


@lru_cache(maxsize=2)
def _table(store: ArtifactStore, fingerprint: str) -> pl.DataFrame:
    [path] = store.get("training_table", fingerprint).path.glob("*.parquet")
    return read_training_table(path)


@lru_cache(maxsize=2)
def _features(store: ArtifactStore, fingerprint: str) -> Any:
    return read_feature_table(store.get("features", fingerprint).path)


@lru_cache(maxsize=1)
def _graph(store: ArtifactStore, fingerprint: str) -> Any:
    return read_graph(store.get("temporal_graph", fingerprint).path)


def labelled(store: ArtifactStore, trial: Artifact) -> dict[str, pl.DataFrame]:
    """The rows of each split whose label is known to training."""
    known = _table(store, trial.inputs["training_table"])
    labels = load_bundle(trial.path / "bundle").labels
    known = known.filter(~np.isnan(labels.transform(known["label"])))
    return {split: known.filter(pl.col("split") == split) for split in SPLITS}


def _inputs(store: ArtifactStore, trial: Artifact) -> tuple[TrialInputs, Any]:
    bundle, inputs = load_bundle(trial.path / "bundle"), trial.inputs
    features = _features(store, inputs["features"]) if "features" in inputs else None
    graph = _graph(store, inputs["temporal_graph"]) if "temporal_graph" in inputs else None
    rows = _table(store, inputs["training_table"])
    return TrialInputs(bundle.schema, bundle.task, bundle.as_of, rows, features), graph


def mean_predictions(
    path: Path, store: ArtifactStore, trial: Artifact, protocol: Protocol
) -> dict[str, np.ndarray]:
    """Mean predictions over the seeds of the labelled rows of each split."""
    if not path.exists():
        bundle = load_bundle(trial.path / "bundle")
        inputs, graph = _inputs(store, trial)
        known = inputs.training_table.filter(pl.col("label").is_not_null())
        made: dict[str, Any] = {}
        for split, rows in labelled(store, trial).items():
            asked = RowsToPredict(
                seeds_of(rows, inputs.task, inputs.as_of, protocol),
                features=inputs.features.under(protocol) if inputs.features else None,
                label_history=known.select("entity", "cutoff_time", "label"),
                graph=graph,
                threads=1,
            )
            made[split] = bundle.predict(asked, protocol)
        aside = path.with_name(f".{os.getpid()}.npz")
        np.savez(aside, **made)
        os.replace(aside, path)
    with np.load(path) as kept:
        return {split: kept[split].mean(axis=0) for split in SPLITS}


def _landscape(
    path: Path,
    store: ArtifactStore,
    trial: Artifact,
    protocol: Protocol,
    config: LandscapeConfig,
) -> Landscape | None:
    if not path.exists():
        inputs, graph = _inputs(store, trial)
        found = landscape(trial.path / "bundle", inputs, protocol, config, graph)
        aside = path.with_name(f".{os.getpid()}.json")
        aside.write_text(json.dumps(asdict(found) if found else None))
        os.replace(aside, path)
    kept = json.loads(path.read_text())
    return Landscape(**kept) if kept else None


def learn_curves(subject: Subject, orders: int) -> Curves:
    """The test scores of every method after so many trials, in random orders."""
    budgets = (*(b for b in BUDGETS if b < len(subject.trials)), len(subject.trials))
    generator = np.random.default_rng(0)
    scores = {method: np.full((orders, len(budgets)), np.nan) for method in METHODS}
    for order in range(orders):
        drawn = [subject.trials[i] for i in generator.permutation(len(subject.trials))]
        for place, budget in enumerate(budgets):
            for method, value in _tests(subject, drawn[:budget]).items():
                scores[method][order, place] = value
    metric = subject.rows["test"].metric
    return Curves(subject.title, str(metric), metric.higher_is_better, budgets, scores)


def _tests(subject: Subject, trials: Sequence[Measured]) -> dict[str, float]:
    """The test score of what each method makes of some trials."""
    metric = subject.rows["val"].metric
    tests = {one.contender.name: one.test for one in trials}
    better = max if metric.higher_is_better else min
    contenders = [one.contender for one in trials]
    has_late = all(one.late is not None and not math.isnan(one.late) for one in contenders)
    lacking = set() if has_late else {Choice.LATE_VALIDATION}
    if all(one.contender.landscape is None for one in subject.trials):
        lacking |= {Choice.ONE_STANDARD_ERROR_FLATTEST, Choice.VOTE}
    rules = [rule for rule in Choice if rule not in lacking]
    found = {str(rule): tests[choose(contenders, metric, rule).name] for rule in rules}
    validation = [one.predictions["val"] for one in trials]
    test = np.stack([one.predictions["test"] for one in trials])
    selections = {
        AVERAGE: partial(top_average, top=3),
        GREEDY: partial(greedy_selection, config=SELECTION),
    }
    drawn = [one.resampled for one in contenders if one.resampled is not None]
    if len(drawn) == len(contenders):
        selections[STEADIED] = partial(steadied_selection, config=SELECTION, resampled=drawn)
    for name, select in selections.items():
        weights = select(subject.rows["val"], validation)
        combined = np.tensordot(weights, test, axes=1)
        found[name] = float(subject.rows["test"].scores(combined[None])[0])
    return found | {ORACLE: better(tests.values())}


def table(curves: Sequence[Curves]) -> str:
    """The mean gain over the tasks by method and budget, with its standard error, in Markdown."""
    most = max(max(one.budgets) for one in curves)
    budgets = [b for b in (3, 5, 8, 16, 30, 60) if b < most] + [most]
    rows = []
    for method in METHODS:
        cells = []
        for budget in budgets:
            having = [one for one in curves if budget in one.budgets]
            gains = np.array([one.gains(method)[one.budgets.index(budget)] for one in having])
            gains = gains[~np.isnan(gains)]
            if not gains.size:
                cells.append("")
                continue
            error = gains.std(ddof=1) / math.sqrt(gains.size) if gains.size > 1 else math.nan
            cells.append(f"{gains.mean():+.2f} ± {error:.2f} ({gains.size})")
        rows.append([method.replace("_", " "), *cells])
    head = "Gain over the best validation score in %: mean ± standard error (tasks), by trials"
    return f"{head}\n\n{markdown(['method', *map(str, budgets)], rows)}"


def draw(curves: Sequence[Curves]) -> bytes:
    """The test score by number of trials, a panel a task, as PNG."""
    columns = min(len(curves), 3)
    lines = math.ceil(len(curves) / columns)
    figure = look.new_figure(4.2 * columns + 1.6, 3.2 * lines)
    panels = np.atleast_1d(figure.subplots(lines, columns)).ravel()
    handles: list[Any] = []
    for panel, one in zip(panels, curves, strict=False):
        handles = []
        for number, method in enumerate(METHODS):
            mean, spread = one.scores[method].mean(axis=0), one.scores[method].std(axis=0)
            colour = look.PALETTE[number]
            handles += panel.plot(one.budgets, mean, color=colour, linewidth=1.4)
            if method in (BEST, STEADIED):
                panel.fill_between(
                    one.budgets, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0
                )
        look.dress(panel, one.title, "trials", f"test {one.metric}")
    for panel in panels[len(curves) :]:
        panel.set_axis_off()
    names = [method.replace("_", " ") for method in METHODS]
    figure.legend(handles, names, loc="outside right upper", fontsize=8, frameon=False)
    return look.to_png(figure)


if __name__ == "__main__":
    raise SystemExit(main())
