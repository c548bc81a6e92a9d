"""What a study needs to know, what a trial of it comes to, and the trial as a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from models.database.schema import Metric, Protocol
from models.families.candidate import Candidate
from models.search.space import Branch
from models.search.workers import FAILURE, in_order

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


@dataclass(frozen=True, slots=True)
class StudyConfig:
    """How a study searches.

    Attributes:
        metric: What scores are of; says whether higher is better.
        protocol: The protocol of every score.
        trials: Trials of the whole study, those of earlier calls included.
        seconds: No trial begins once all trials together took so long, those of earlier calls
            included and killed ones not; None for no limit.
        seed: Of the draws; the same seed gives one worker the same trials.
        sampler: `random` or `tpe`.
        pruner: `none`, `halving` or `hyperband`.
        startup: Trials before TPE learns from them.
        failures: So many failures of one worker in a row end the study.
        fingerprint: Of all that trials are trained from; a study goes on with the same alone.
    """

    metric: Metric
    protocol: Protocol
    trials: int = 30
    seconds: float | None = None
    seed: int = 0
    sampler: str = "tpe"
    pruner: str = "none"
    startup: int = 10
    failures: int = 5
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if self.trials < 1 or self.failures < 1 or (self.seconds is not None and self.seconds <= 0):
            raise ValueError(
                "a study needs a trial, some seconds and a failure to end at "
                f"(got {self.trials}, {self.seconds}, {self.failures})"
            )


@dataclass(frozen=True, slots=True)
class Result:
    """What an evaluated candidate comes to.

    `score` is the task's metric on validation under the study's protocol, `error` its standard
    error, `metrics` further figures, `seconds` those of the training (None: those of the trial),
    `path` where the trained bundle lies.
    """

    score: float
    error: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A trial of a study.

    `state` is complete, pruned, failed or running; `score` that of a complete trial, None else;
    `curve` the scores reported before the end, by 27ths of the training's budget; `failure` why a
    failed trial has no score.
    """

    number: int
    candidate: Candidate | None
    branch: Branch | None
    state: str
    score: float | None
    error: float | None
    metrics: Mapping[str, float]
    seconds: float
    path: Path | None
    failure: str | None
    curve: Mapping[int, float]


def records_of(study: optuna.Study, total: int | None = None) -> list[TrialRecord]:
    """The trials of a study that began, in order, the first `total` of them."""
    trials = in_order(study.get_trials(deepcopy=False))[:total]
    return [_record(trial) for trial in trials if trial.state in STATES]


def _record(trial: FrozenTrial) -> TrialRecord:
    known = trial.user_attrs
    plain = known.get("candidate")
    is_complete = trial.state == TrialState.COMPLETE
    return TrialRecord(
        number=trial.number,
        candidate=Candidate(**plain) if plain else None,
        branch=Branch(known["branch"]) if "branch" in known else None,
        state=STATES[trial.state],
        score=trial.value if is_complete else None,
        error=known.get("error"),
        metrics=known.get("metrics", {}),
        seconds=known.get("seconds", seconds_of(trial)),
        path=Path(known["path"]) if known.get("path") else None,
        failure=known.get(FAILURE) if trial.state == TrialState.FAIL else None,
        curve=dict(trial.intermediate_values),
    )


def seconds_of(trial: FrozenTrial) -> float:
    """The seconds that a finished trial took; 0 for others."""
    return trial.duration.total_seconds() if trial.duration is not None else 0.0


def best_of(records: Sequence[TrialRecord], metric: Metric) -> TrialRecord | None:
    """The complete trial with the best score, the first of equals; None where there is none."""
    scored = [record for record in records if record.score is not None]
    sign = 1 if metric.higher_is_better else -1
    return max(scored, key=lambda record: sign * (record.score or 0.0), default=None)


def settings_in_short(parameters: Mapping[str, Any], most: int = 6) -> str:
    """Branch, learner and the first settings of a candidate, for a line of progress."""
    plain = {name.split(".")[-1]: value for name, value in parameters.items()}
    branch, learner = plain.pop("branch", "?"), plain.pop("learner", "?")
    shown = [f"{name} {value}" for name, value in plain.items()]
    more = ", ..." if len(shown) > most else ""
    return f"{branch}/{learner}: {', '.join(shown[:most])}{more}"
