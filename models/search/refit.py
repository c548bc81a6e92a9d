"""The chosen trials trained once more, on all labelled rows: the newest ones were validation.

What a search chooses by has to be kept from training, but once the choice is made those rows are the
newest examples there are. A refit has the settings of its trial and as many trees or epochs as were
best there, so nothing is left to be chosen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.artifacts import Artifact, Recipe, code_version
from models.bank.measuring import labelled_rows
from models.database.schema import Protocol
from models.families.candidate import Candidate, recorded_candidate
from models.families.ensemble import save_ensemble
from models.families.trial import train_candidate
from models.learning.bundle import amend_record
from models.search.final import Weights
from models.search.trial_runner import BUNDLE, Progress, TrialRunner, mean_scores

STAGE = "refit"
MOST_GROWTH = 1.5
"""Trees grow with the number of rows, up to this factor."""
WEIGHT_A_SEED = 0.05
"""A member of so little weight gets no second seed: many such members steady each other."""


def refit_model(
    trials: Sequence[Artifact],
    weights: Weights,
    runner: TrialRunner,
    folder: Path,
    progress: Progress = lambda line: None,
    seeds: int = 1,
) -> None:
    """Writes the bundle of an ensemble's members, each trained on training and validation rows.

    The two protocols keep numbers of trees or epochs of their own: trees have models for both, a
    network is trained once and keeps its state after as many epochs as each protocol has.

    Args:
        trials: The trials.
        weights: By candidate.
        runner: Trained the trials.
        folder: Receives the bundle.
        progress: Receives the lines of the trainings.
        seeds: Models of a member, at least, unless it weighs little (`WEIGHT_A_SEED`).
    """
    members: list[tuple[Path, float]] = []
    for trial in trials:
        weight = weights.get(str(trial.metadata["candidate"]), 0.0)
        if weight > 0:
            rounds = {protocol: rounds_of(trial, protocol) for protocol in Protocol}
            needed = math.ceil(weight / WEIGHT_A_SEED)
            made = refit(trial, rounds, runner, progress, min(seeds, needed))
            members.append((made.path / BUNDLE, weight))
    scores = [_mean_scores(trials, weights)]
    save_ensemble(folder, members, record={"validation_scores": scores})


def refit(
    trial: Artifact,
    rounds: Mapping[Protocol, int],
    runner: TrialRunner,
    progress: Progress = lambda line: None,
    seeds: int = 1,
) -> Artifact:
    """The trial's candidate trained on all labelled rows, built or reused.

    Args:
        trial: Says what to train.
        rounds: The trees or epochs by protocol, of those that the refit is for.
        runner: Trained the trial.
        progress: Receives the lines of the training.
        seeds: Models at least, as a search tries many candidates with few seeds each.
    """
    plain = trial.record["recipe"]["config"]["candidate"]
    table = with_validation(runner.inputs.training_table)
    before, after = (
        labelled_rows(rows, "train").height for rows in (runner.inputs.training_table, table)
    )
    growth = after / max(before, 1)
    # The rows that the frozen protocol's trees were found to learn best from.
    staleness = trial.metadata.get("staleness", {}).get(str(Protocol.FROZEN))
    candidate = fixed_length(recorded_candidate(**plain), rounds, growth, staleness, seeds)
    lengths = {str(protocol): count for protocol, count in rounds.items()}
    recipe = Recipe(
        stage=STAGE,
        subject=f"{trial.record['subject']}/{'_'.join(f'{p}_{n}' for p, n in lengths.items())}",
        code=code_version("models/search/refit.py"),
        config={"rounds": lengths, "seeds": getattr(candidate.config(), "seeds", 1)},
        inputs={"trial": trial.fingerprint},
    )

    def produce(folder: Path) -> Mapping[str, Any]:
        work = runner.store.work(recipe)
        inputs = replace(runner.inputs, training_table=table, checkpoints=work)
        found = train_candidate(candidate, inputs, folder / BUNDLE, runner.threads, progress)
        # Those of the refit are of rows that it was trained on.
        kept = {"validation_scores": trial.metadata["validation_scores"]}
        amend_record(folder / BUNDLE, kept)
        return found | kept

    return runner.store.build(recipe, produce, runner.run_id, force=runner.force).artifact


def with_validation(training_table: pl.DataFrame) -> pl.DataFrame:
    """The training table with its labelled validation rows among the training rows too."""
    known = labelled_rows(training_table, "val")
    kind = training_table.schema["split"]
    return pl.concat(
        [training_table, known.with_columns(pl.lit("train").cast(kind).alias("split"))]
    )


def rounds_of(trial: Artifact, protocol: Protocol) -> int:
    """The trees or epochs that were best under a protocol, the median over the trial's seeds."""
    found = [seed[str(protocol)] for seed in trial.metadata.get("best_rounds", [])]
    return max(1, round(float(np.median(found)))) if found else 1


def fixed_length(
    candidate: Candidate,
    rounds: Mapping[Protocol, int],
    growth: float,
    staleness: float | None = None,
    seeds: int = 1,
) -> Candidate:
    """The candidate with so many trees or epochs and no early stopping.

    Args:
        candidate: A trial's.
        rounds: The best numbers on fewer rows, by protocol.
        growth: How many times the rows there are now. An epoch grows with them by itself.
        staleness: Of the trees that the frozen protocol takes; None where nothing was chosen.
        seeds: As for `refit`.
    """
    config = candidate.config()
    settings = config.__dataclass_fields__
    length: dict[str, Any] = {}
    if "epochs" in settings:
        epochs = max(rounds.values())
        kept = {str(protocol): count for protocol, count in rounds.items()}
        length = {
            "epochs": epochs,
            "patience": epochs + 1,
            "max_seconds": None,
            "kept_epochs": kept,
        }
    elif "trees" in settings:
        factor = min(growth, MOST_GROWTH)
        trees = {str(p): max(1, round(n * factor)) for p, n in rounds.items()}
        length = {"trees": trees, "max_seconds": None}
        length |= {} if staleness is None else {"staleness": staleness}
    if "seeds" in settings:
        length["seeds"] = max(config.seeds, seeds)
    return Candidate(candidate.name, candidate.family, {**candidate.settings, **length})


def _mean_scores(trials: Sequence[Artifact], weights: Weights) -> dict[str, float]:
    """The members' validation scores, averaged by weight, by protocol."""
    own = [weights.get(str(trial.metadata["candidate"]), 0.0) for trial in trials]
    scores = [mean_scores(trial) for trial in trials]
    return {
        str(protocol): float(np.average([one[str(protocol)] for one in scores], weights=own))
        for protocol in Protocol
    }
