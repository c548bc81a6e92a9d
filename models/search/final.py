"""From a search's trials to the model: one of them, or an ensemble."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.artifacts import Artifact
from models.database.schema import Protocol, Task
from models.families.ensemble import save_ensemble
from models.families.leaderboard import leaderboard
from models.families.trial import TrialInputs
from models.search.choice import Choice, Contender, choose, within_one_error
from models.search.ensemble import shared_weights
from models.search.trial_runner import BUNDLE, ROWS, mean_scores, validation_of
from models.search.validation import ValidationRows, standard_error

ENSEMBLE = "ensemble"
CHOICES = (ENSEMBLE, *(str(rule) for rule in Choice))


def make_model(
    trials: Sequence[Artifact], inputs: TrialInputs, choice: str, folder: Path
) -> dict[str, Any]:
    """Writes the model's bundle into a folder.

    Args:
        trials: Of one task at one date.
        inputs: What they were trained from.
        choice: `ensemble` for `shared_weights` of the trials, or a rule of `Choice`, which takes one
            trial under the task's protocol.
        folder: Receives the bundle.

    Returns:
        Metadata of the model: candidate, family, features, rows, validation_scores and best_rounds
        by seed, why (in words), and the leaderboard of the trials, with the weight of each: the
        task's protocol before the other, each from the best on validation.

    Raises:
        ValueError: There is no such choice, or no trial has a validation score.
    """
    if choice not in CHOICES:
        raise ValueError(f"choice must be one of {', '.join(CHOICES)} (got {choice!r})")
    if choice == ENSEMBLE and len(trials) > 1:
        found, weights = _ensemble(trials, inputs, folder)
    else:
        rule = Choice.BEST_VALIDATION if choice == ENSEMBLE else Choice(choice)
        found, weights = _one(trials, inputs, rule, folder)
    board = [
        asdict(row) | {"protocol": str(row.protocol), "weight": weights[row.candidate]}
        for row in leaderboard([trial.metadata for trial in trials])
    ]
    return found | {"leaderboard": sorted(board, key=partial(_place, task=inputs.task))}


def _place(row: Mapping[str, Any], task: Task) -> tuple[bool, bool, float]:
    is_undefined = row["mean"] != row["mean"]
    sign = -1 if task.metric.higher_is_better else 1
    return row["protocol"] != str(task.protocol), is_undefined, sign * row["mean"]


Weights = Mapping[str, float]
"""By candidate, the same under both protocols."""


def weights_of(board: Sequence[Mapping[str, Any]]) -> Weights:
    """The weights of a leaderboard."""
    return {row["candidate"]: row["weight"] for row in board}


def _one(
    trials: Sequence[Artifact], inputs: TrialInputs, rule: Choice, folder: Path
) -> tuple[dict[str, Any], Weights]:
    names = [str(trial.metadata["candidate"]) for trial in trials]
    decision = choose(contenders(trials, inputs, rule), inputs.task.metric, rule)
    chosen = trials[names.index(decision.name)]
    shutil.copytree(chosen.path / BUNDLE, folder)
    weights = {name: float(name == decision.name) for name in names}
    found = {name: value for name, value in chosen.metadata.items() if name != ROWS}
    return found | {"why": f"{decision.name}: {decision.reason}"}, weights


def contenders(trials: Sequence[Artifact], inputs: TrialInputs, rule: Choice) -> list[Contender]:
    """The trials as the rule looks at them, under the task's protocol."""
    task = inputs.task
    scores = [mean_scores(trial)[str(task.protocol)] for trial in trials]
    found = [
        Contender(str(trial.metadata["candidate"]), str(trial.metadata["family"]), score)
        for trial, score in zip(trials, scores, strict=True)
    ]
    if rule == Choice.BEST_VALIDATION:
        return found
    rows, predictions = validation_of(trials, inputs.training_table, task.protocol)
    resampled = [rows.resampled(one) for one in predictions]
    late: list[float | None] = [None] * len(trials)
    if rule == Choice.LATE_VALIDATION:
        last = rows.late()
        late = [float(s) for s in rows.take(last).scores(np.stack([p[last] for p in predictions]))]
    found = [
        replace(c, error=standard_error(draws), resampled=draws, late=slice_score)
        for c, draws, slice_score in zip(found, resampled, late, strict=True)
    ]
    if rule not in (Choice.ONE_STANDARD_ERROR_FLATTEST, Choice.VOTE):
        return found
    from models.search.landscape import landscape

    near = {one.name for one in within_one_error(found, task.metric)}
    return [
        replace(contender, landscape=landscape(trial.path / BUNDLE, inputs, task.protocol))
        if rule == Choice.VOTE or contender.name in near
        else contender
        for contender, trial in zip(found, trials, strict=True)
    ]


def _ensemble(
    trials: Sequence[Artifact], inputs: TrialInputs, folder: Path
) -> tuple[dict[str, Any], Weights]:
    names = [str(trial.metadata["candidate"]) for trial in trials]
    rows, by_protocol = _validation(trials, inputs)
    shares = shared_weights(rows, list(by_protocol.values()))
    scores = {
        str(protocol): float(rows.scores(np.tensordot(shares, predictions, axes=1)[None])[0])
        for protocol, predictions in by_protocol.items()
    }
    weights = dict(zip(names, map(float, shares), strict=True))
    members = [
        (trial.path / BUNDLE, weights[name]) for name, trial in zip(names, trials, strict=True)
    ]
    save_ensemble(folder, members, record={"validation_scores": [scores]})
    return _about(trials, weights, scores), weights


def _validation(
    trials: Sequence[Artifact], inputs: TrialInputs
) -> tuple[ValidationRows, dict[Protocol, np.ndarray]]:
    """The validation rows and the predictions of them by protocol, (trials, rows[, classes])."""
    found = {p: validation_of(trials, inputs.training_table, p) for p in Protocol}
    rows, _ = found[inputs.task.protocol]
    return rows, {protocol: np.stack(predictions) for protocol, (_, predictions) in found.items()}


def _about(
    trials: Sequence[Artifact], weights: Weights, scores: Mapping[str, float]
) -> dict[str, Any]:
    used = sorted(((weight, name) for name, weight in weights.items() if weight), reverse=True)
    listed = ", ".join(f"{weight:.0%} {name}" for weight, name in used)
    return {
        "candidate": f"ensemble of {len(used)} trials",
        "family": ENSEMBLE,
        "rows": trials[0].metadata["rows"],
        "features": max(int(trial.metadata["features"]) for trial in trials),
        "validation_scores": [dict(scores)],
        "best_rounds": [{str(protocol): 0 for protocol in Protocol}],
        "seconds": sum(float(trial.metadata["seconds"]) for trial in trials),
        "why": f"selected on validation under both protocols together: {listed}",
    }
