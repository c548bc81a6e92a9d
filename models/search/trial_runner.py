"""Trials as artifacts: a candidate trained, measured and kept, or found again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.artifacts import Artifact, ArtifactStore, Outcome, Recipe
from models.bank.measuring import (
    Predictions,
    labelled_rows,
    measured_rows,
    predictions_of,
    trial_row,
)
from models.database.schema import Protocol, to_plain
from models.families.bundle import load_bundle
from models.families.candidate import Candidate
from models.families.trial import TrialInputs, train_candidate
from models.learning.watching import watching
from models.search.records import Result
from models.search.study import Report
from models.search.validation import ValidationRows

STAGE = "trial"
BUNDLE = "bundle"
ROWS = "bank_rows"
PREDICTIONS = "predictions.npz"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class TrialRunner:
    """What every trial of a task at a date has in common.

    Attributes:
        store: Where trials are kept.
        run_id: Recorded as the maker.
        subject: The task and date.
        inputs: What is trained from.
        fingerprints: Of the inputs by name: `training_table`, `features`, `temporal_graph` and
            `pretrained encoder <objective>`.
        code: Of each family, the version of its code.
        threads: Seeds trained at a time.
        force: Train anew what is there already.
    """

    store: ArtifactStore
    run_id: str
    subject: str
    inputs: TrialInputs
    fingerprints: Mapping[str, str]
    code: Mapping[str, str]
    threads: int
    force: bool = False

    def run(self, candidate: Candidate, progress: Progress = lambda line: None) -> Outcome:
        """The candidate's trial, built or reused: a killed run loses at most the epoch in flight.

        The artifact has the bundle and its predictions of the labelled validation and test rows; its
        metadata has rows for the bank, without signals.

        Raises:
            ValueError: The candidate is not valid, or an input that it reads is missing.
        """
        recipe = self.recipe(candidate)

        def produce(folder: Path) -> Mapping[str, Any]:
            return self._train(candidate, recipe, folder, progress)

        return self.store.build(recipe, produce, self.run_id, force=self.force)

    def recipe(self, candidate: Candidate) -> Recipe:
        """What the trial is made from: only those inputs that the candidate reads."""
        settings = asdict(candidate.config())
        task = self.inputs.task
        return Recipe(
            stage=STAGE,
            subject=f"{self.subject}/{candidate.name}",
            code=self.code[candidate.family],
            config={
                "candidate": {
                    "name": candidate.name,
                    "family": candidate.family,
                    "settings": settings,
                },
                "task": to_plain(replace(task, candidates=())),
                "as_of": self.inputs.as_of,
            },
            inputs={name: self.fingerprints[name] for name in self._reads(candidate, settings)},
        )

    def _reads(self, candidate: Candidate, settings: Mapping[str, Any]) -> list[str]:
        start = settings.get("initialisation", settings.get("encoder", "scratch"))
        on_graph = "initialisation" in settings or "encoder" in settings
        # Without DFS features only the types of the columns come from there; the graph has them.
        names = ["training_table"] + ["features"] * bool(settings.get("features", True))
        names += ["temporal_graph"] * on_graph
        names += [encoder_input(start)] * (start != "scratch")
        for name in names:
            if name not in self.fingerprints:
                raise ValueError(
                    f"candidate {candidate.name!r} ({candidate.family}) reads the {name}, which is "
                    "not there; materialise it first"
                )
        return names

    def _train(
        self, candidate: Candidate, recipe: Recipe, folder: Path, progress: Progress
    ) -> Mapping[str, Any]:
        inputs = replace(self.inputs, checkpoints=self.store.work(recipe))
        trial = train_candidate(candidate, inputs, folder / BUNDLE, self.threads, progress)
        bundle = load_bundle(folder / BUNDLE)
        graph = None
        if "temporal_graph" in recipe.inputs and inputs.graph is not None:
            from models.rdl.graph_files import read_graph

            graph = read_graph(inputs.graph)
        found = predictions_of(bundle, inputs, graph)
        write_predictions(folder / PREDICTIONS, found)
        shared = trial_row(candidate, inputs, "real") | {"code_version": recipe.code}
        rows = [shared | row for row in measured_rows(candidate, inputs, bundle, trial, found)]
        # Not a file: seconds and memory differ from run to run, the same inputs give the same files.
        return trial | {ROWS: [row | {"as_of": row["as_of"].isoformat()} for row in rows]}


def evaluate(candidate: Candidate, number: int, report: Report, *, runner: TrialRunner) -> Result:
    """The trial of a study, which may stop it by what it reports on the way.

    Args:
        candidate: What to train.
        number: Of the trial.
        report: Takes the share of the budget that is spent, and the score then.
        runner: Trains it; pickled for workers.
    """
    protocol = str(runner.inputs.task.protocol)

    def told(share: float, scores: Mapping[str, float]) -> None:
        # Trees of the other protocol have models of their own.
        if protocol in scores:
            report(share, scores[protocol])

    with watching(told):
        trial = runner.run(candidate).artifact
    scores = mean_scores(trial)
    errors = [row["validation_error"] for row in bank_rows(trial) if row["protocol"] == protocol]
    known = [error for error in errors if error is not None]
    error = sum(known) / len(known) if known else None
    return Result(scores[protocol], error, scores, trial.metadata["seconds"], trial.path)


def encoder_input(objective: str) -> str:
    """The name of a pretrained encoder among a trial's inputs."""
    return f"pretrained encoder {objective}"


def mean_scores(trial: Artifact) -> dict[str, float]:
    """A trial's validation score by protocol, the mean over its seeds."""
    by_seed = trial.metadata["validation_scores"]
    return {name: float(np.mean([seed[name] for seed in by_seed])) for name in by_seed[0]}


def bank_rows(trial: Artifact) -> list[dict[str, Any]]:
    """The bank's rows of a trial, without the task's signals."""
    return [row | {"as_of": datetime.fromisoformat(row["as_of"])} for row in trial.metadata[ROWS]]


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Keeps predictions by split and protocol."""
    named = {f"{split}_{protocol}": values for (split, protocol), values in predictions.items()}
    np.savez_compressed(path, **named)  # type: ignore[arg-type]


def read_predictions(trial: Artifact, split: str, protocol: Protocol) -> np.ndarray:
    """A trial's predictions of the labelled rows of a split: (seeds, rows[, classes])."""
    with np.load(trial.path / PREDICTIONS) as found:
        return np.asarray(found[f"{split}_{protocol}"])


def validation_of(
    trials: Sequence[Artifact], training_table: pl.DataFrame, protocol: Protocol
) -> tuple[ValidationRows, list[np.ndarray]]:
    """The labelled validation rows of a task, and what each trial says of them.

    Returns:
        The rows, and by trial the mean over its seeds, (rows,) or (rows, classes). Rows of a class
        that training does not know are left out.
    """
    bundle = load_bundle(trials[0].path / BUNDLE)
    rows = labelled_rows(training_table, "val")
    labels = bundle.labels.transform(rows["label"])
    known = ~np.isnan(labels)
    found = ValidationRows(
        bundle.task.task_type,
        bundle.task.metric,
        labels[known],
        rows["cutoff_time"].to_numpy()[known],
        len(bundle.labels.classes),
        rows["entity"].to_numpy()[known],
    )
    predictions = [read_predictions(trial, "val", protocol).mean(axis=0) for trial in trials]
    return found, [one[known] for one in predictions]
