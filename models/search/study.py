"""Studies: candidates of a space evaluated one after the other, on storage that outlives processes.

A study belongs to a task, a date and the fingerprint of what its trials are trained from. It lives in
a database (a URL) or in a journal file of a folder, both of Optuna (Akiba et al., "Optuna", KDD 2019);
optuna-dashboard opens either.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import optuna
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from models.artifacts.recipe import canonical_json
from models.families.candidate import Candidate
from models.search.priors import Priors
from models.search.processes import run_workers
from models.search.records import (
    Result,
    StudyConfig,
    TrialRecord,
    best_of,
    records_of,
    seconds_of,
    settings_in_short,
)
from models.search.sampling import (
    RESOURCE,
    DrawnSampler,
    draw,
    make_pruner,
    make_sampler,
    signature,
)
from models.search.space import Space, branch_of
from models.search.storage import open_storage
from models.search.workers import (
    EXHAUSTED,
    FAILURE,
    FIXED,
    add_ticket,
    claim,
    give_up,
    heartbeat,
    in_order,
    replace_the_dead,
    trial_id,
)

Progress = Callable[[str], None]
Report = Callable[[float, float], None]
"""Takes the share of a training's budget that is spent (0 to 1) and the validation score then.

Raises `optuna.TrialPruned` where the trial is not worth the rest."""
Evaluate = Callable[[Candidate, int, Report], Result]
"""Trains a candidate, which is the trial of this number."""
POLL = 0.05


def study_name(task: str, as_of: datetime, fingerprint: str) -> str:
    """The name of the study of a task at a date from these inputs."""
    return f"{task}/{as_of:%Y-%m-%d}/{fingerprint[:12]}"


def run_study(
    config: StudyConfig,
    space: Space,
    evaluate: Evaluate,
    storage: str | Path,
    name: str,
    progress: Progress = lambda line: None,
    workers: int = 1,
    warm_starts: Sequence[Candidate] = (),
    priors: Priors | None = None,
) -> list[TrialRecord]:
    """Searches until the study's budget is spent; called again, it goes on where it was.

    Every trial is recorded when it ends, so that a kill costs the trials in flight alone, whose
    candidates the next call evaluates first. Any number of processes may work at one study, started
    here (`workers`) or on other machines with the same URL or folder: together they run exactly
    `config.trials` trials, no candidate twice. With one worker the trials follow from the seed.

    Args:
        config: Budgets, sampler and pruner.
        space: What to search.
        evaluate: Trains a candidate; picklable (a function of a module, or a `partial` of one) for
            several workers. What it raises is a failed trial.
        storage: A URL, or a folder.
        name: The study's.
        progress: Receives a line per trial.
        workers: Processes to start; 1 for none besides this one.
        warm_starts: Candidates to evaluate first; those that are not in the space are passed over.
        priors: What TPE's first draws come from.

    Returns:
        The trials in order, also those of earlier calls and other machines.

    Raises:
        ValueError: The study exists and searches another space, from other inputs or for another
            score.
        RuntimeError: Too many trials failed in a row; names the first failure.
    """
    job = _Job(config, space, evaluate, storage, name, priors)
    study = job.create()
    _add_warm_starts(study, space, warm_starts, progress)
    if workers > 1:
        run_workers(_work, (job,), workers, progress)
    else:
        _work(job, progress)
    return records_of(study, config.trials)


@dataclass(frozen=True)
class _Job:
    """The arguments of `run_study`, for a process of its own."""

    config: StudyConfig
    space: Space
    evaluate: Evaluate
    place: str | Path
    name: str
    priors: Priors | None

    def create(self) -> optuna.Study:
        """The study, new or as it is."""
        higher_is_better = self.config.metric.higher_is_better
        study = optuna.create_study(
            storage=open_storage(self.place),
            study_name=self.name,
            direction="maximize" if higher_is_better else "minimize",
            load_if_exists=True,
        )
        of = {
            "metric": str(self.config.metric),
            "protocol": str(self.config.protocol),
            "fingerprint": self.config.fingerprint,
            "space": canonical_json(asdict(self.space)),
        }
        for key, value in of.items():
            if study.user_attrs.get(key, value) != value:
                raise ValueError(
                    f"the study {self.name!r} has the {key} {study.user_attrs[key]}, not {value}; "
                    "give the new one another name"
                )
            study.set_user_attr(key, value)
        return study


def _add_warm_starts(
    study: optuna.Study, space: Space, candidates: Sequence[Candidate], progress: Progress
) -> None:
    trials = study.get_trials(deepcopy=False)
    known = {signature(t.user_attrs[FIXED]) for t in trials if FIXED in t.user_attrs}
    for candidate in candidates:
        parameters = space.parameters_of(candidate)
        if parameters is None:
            progress(f"the warm start {candidate.name!r} is not in the space: passed over")
        elif signature(parameters) not in known:
            known.add(signature(parameters))
            add_ticket(study, **{FIXED: parameters})


def _work(job: _Job, progress: Progress) -> None:
    """Runs trials until none is left to claim and none is running."""
    storage = open_storage(job.place)
    study = optuna.load_study(
        study_name=job.name, storage=storage, pruner=make_pruner(job.config.pruner)
    )
    failures: list[str] = []
    while True:
        for dead in replace_the_dead(study, storage):
            progress(f"trial {dead} was killed; its candidate gets one more chance")
        number = None if _is_over(study, job.config) else claim(study, storage, job.config.trials)
        if number is None:
            if not _is_running(study):
                return
            time.sleep(POLL)
            continue
        run = _Run(job, study, storage, number, progress)
        if (state := run.finish()) is None:
            progress("the space has no candidate left that was not tried")
            return
        failures = [*failures, run.failure] if state == TrialState.FAIL else []
        if len(failures) >= job.config.failures:
            raise RuntimeError(
                f"{len(failures)} trials of the study {job.name!r} failed in a row, the first with "
                f"{failures[0]}; mend that and run again, other trials are kept"
            )


def _is_over(study: optuna.Study, config: StudyConfig) -> bool:
    """Whether the seconds are spent."""
    counted = in_order(study.get_trials(deepcopy=False))
    return config.seconds is not None and sum(map(seconds_of, counted)) >= config.seconds


def _is_running(study: optuna.Study) -> bool:
    return bool(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))


class _Run:
    """One claimed trial, from the draw of its candidate to its end."""

    def __init__(
        self, job: _Job, study: optuna.Study, storage: BaseStorage, number: int, progress: Progress
    ) -> None:
        self.job, self.study, self.storage = job, study, storage
        self.number, self.progress = number, progress
        self.identifier = trial_id(study, storage, number)
        self.failure = ""

    def finish(self) -> TrialState | None:
        """Draws, evaluates and records; None where there is no candidate left."""
        with heartbeat(self.storage, self.identifier):
            try:
                return self._finish()
            except BaseException:
                # An interruption, not a failure of the candidate: whoever goes on tries it again.
                give_up(self.study, self.storage, self.number)
                raise

    def _finish(self) -> TrialState | None:
        parameters = self._draw()
        if parameters is None:
            self.storage.set_trial_user_attr(self.identifier, FAILURE, EXHAUSTED)
            self.storage.set_trial_state_values(self.identifier, TrialState.FAIL)
            return None
        self.study.sampler = DrawnSampler(parameters)
        trial = optuna.Trial(self.study, self.identifier)
        candidate = self.job.space.suggest(trial)
        branch = branch_of(candidate.family, candidate.settings)
        trial.set_user_attr("branch", str(branch))
        # Last: it says that the draw is done.
        trial.set_user_attr("candidate", asdict(candidate))
        started = time.monotonic()
        reporter = _Reporter(trial)
        try:
            result = self.job.evaluate(candidate, self.number, reporter)
            if math.isnan(result.score) and not reporter.is_pruned:
                raise ValueError("the validation score is not defined (NaN)")
        except Exception as error:
            if not (reporter.is_pruned or isinstance(error, TrialPruned)):
                self.failure = f"{type(error).__name__}: {error}"
            reporter.is_pruned, result = not self.failure, Result(math.nan)
        return self._record(trial, reporter, result, time.monotonic() - started)

    def _draw(self) -> dict | None:
        """The trial's parameters: given ones, unless another trial has them, or drawn ones."""
        trials = self._trials_when_earlier_are_drawn()
        own = trials[self.number]
        taken = {signature(t.params) for t in trials if t.params and t.number != self.number}
        given = own.user_attrs.get(FIXED)
        if given is not None and ("retry_of" in own.user_attrs or signature(given) not in taken):
            return dict(given)
        config, place = self.job.config, _place(trials, self.number)

        def seed(attempt: int) -> int:
            return int(np.random.SeedSequence((config.seed, place, attempt)).generate_state(1)[0])

        return draw(
            self.study,
            own,
            self.job.space,
            lambda attempt: make_sampler(
                config.sampler, seed(attempt), config.startup, self.job.priors
            ),
            taken,
            seed(-1 % 2**32),
        )

    def _trials_when_earlier_are_drawn(self) -> list[FrozenTrial]:
        """All trials, once those claimed before have their candidates: no two draw the same."""
        while True:
            trials = self.study.get_trials(deepcopy=False)
            earlier = trials[: self.number]
            if all(t.state != TrialState.RUNNING or "candidate" in t.user_attrs for t in earlier):
                return trials
            replace_the_dead(self.study, self.storage)
            time.sleep(POLL)

    def _record(
        self, trial: optuna.Trial, reporter: _Reporter, result: Result, seconds: float
    ) -> TrialState:
        state = TrialState.COMPLETE
        if self.failure or reporter.is_pruned:
            state = TrialState.FAIL if self.failure else TrialState.PRUNED
        found = {
            FAILURE: self.failure or None,
            "error": result.error,
            "metrics": dict(result.metrics),
            "seconds": round(seconds if result.seconds is None else result.seconds, 3),
            "path": str(result.path) if result.path else None,
            "fingerprint": self.job.config.fingerprint or None,
        }
        try:
            for key, value in found.items():
                if value is not None:
                    trial.set_user_attr(key, value)
            score = result.score if state == TrialState.COMPLETE else None
            self.study.tell(self.number, score, state)
        except UpdateFinishedTrialError:
            self.progress(f"trial {self.number} was taken for dead meanwhile: its result is lost")
            return TrialState.RUNNING
        self._tell(trial, state, result.score, seconds)
        return state

    def _tell(self, trial: optuna.Trial, state: TrialState, score: float, seconds: float) -> None:
        place = _place(self.study.get_trials(deepcopy=False), self.number)
        config = self.job.config
        best = best_of(records_of(self.study), config.metric)
        what = f"{config.metric} {score:.4f}" if state == TrialState.COMPLETE else "pruned"
        shown = f"failed, {self.failure}" if self.failure else what
        known = f"{best.score:.4f}" if best else "none yet"
        self.progress(
            f"trial {place + 1} of {config.trials} ({settings_in_short(trial.params)}): {shown} "
            f"({config.protocol}; best {known}) in {seconds:.1f} s"
        )


def _place(trials: Sequence[FrozenTrial], number: int) -> int:
    """The place of a trial among those that count, from 0."""
    return [trial.number for trial in in_order(trials)].index(number)


class _Reporter:
    """Takes a trial's scores on the way, once per 27th of its budget, and says when to stop.

    What goes back, such as the second seed of a candidate after the first, is not reported again.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial, self._lock, self._last = trial, threading.Lock(), 0
        self.is_pruned = False

    def __call__(self, share: float, score: float) -> None:
        with self._lock:
            step = int(share * RESOURCE + 1e-9)
            # A training that came to its end is judged by its result.
            if not self.is_pruned and self._last < step < RESOURCE and not math.isnan(score):
                self._last = step
                self._trial.report(score, step)
                self.is_pruned = self._trial.should_prune()
            if self.is_pruned:
                raise TrialPruned(f"pruned at {self._last} of {RESOURCE} parts of the budget")
