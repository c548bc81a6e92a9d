"""Who runs which trial: tickets, claims, and trials whose process is no more.

Every trial begins as a ticket, a waiting trial, that one worker claims: Optuna's storages let one
claimant win, so tickets in place of locks make the number of trials exact, for processes of one
machine and of several. A worker that died is known by its process on the same machine, by a silent
heartbeat on another; its trial fails and a ticket with the same parameters takes its place, once.
"""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import optuna
import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

KILLED = "killed: the process that ran it is no more"
EXHAUSTED = "exhausted: the space has no candidate that was not tried"
HEARTBEAT = 30.0
GRACE = 180.0
"""Seconds between signs of life, and without one until a worker of another machine counts as dead.

Machines' clocks have to agree by less than the difference.
"""
# User attributes of trials.
OWNER, BEAT, FIXED, RETRY_OF, FAILURE = "owner", "heartbeat", "fixed", "retry_of", "failure"


def in_order(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that count, in order; a ticket that replaces a killed trial has its place.

    A killed trial does not count, its replacement does, unless that was killed as well: what kills
    two workers is recorded as failed. Nor does a trial for which there was no candidate left.
    """
    replacements: dict[int, FrozenTrial] = {}
    for trial in trials:
        if RETRY_OF in trial.user_attrs:
            replacements.setdefault(trial.user_attrs[RETRY_OF], trial)
    found = []
    for trial in trials:
        if RETRY_OF in trial.user_attrs:
            continue
        if _failed(trial, KILLED) and trial.number in replacements:
            trial = replacements[trial.number]
        if not _failed(trial, EXHAUSTED):
            found.append(trial)
    return found


def _failed(trial: FrozenTrial, reason: str) -> bool:
    return trial.state == TrialState.FAIL and trial.user_attrs.get(FAILURE) == reason


def add_ticket(study: optuna.Study, **attributes: Any) -> None:
    """Adds a ticket; with `fixed` its parameters are given."""
    study.add_trial(create_trial(state=TrialState.WAITING, user_attrs=attributes))


def claim(study: optuna.Study, storage: BaseStorage, total: int) -> int | None:
    """The number of a trial that is now this process's; None where all `total` are taken."""
    while True:
        counted = in_order(study.get_trials(deepcopy=False))
        # By number, so that a trial is never claimed after one that was there later.
        for trial in sorted(counted[:total], key=lambda one: one.number):
            if trial.state == TrialState.WAITING and _claimed(study, storage, trial.number):
                return trial.number
        if len(counted) >= total:
            return None
        add_ticket(study)


def trial_id(study: optuna.Study, storage: BaseStorage, number: int) -> int:
    """The storage's own number of a trial."""
    known = storage.get_study_id_from_name(study.study_name)
    return storage.get_trial_id_from_study_id_trial_number(known, number)


def _claimed(study: optuna.Study, storage: BaseStorage, number: int) -> bool:
    identifier = trial_id(study, storage, number)
    try:
        if not storage.set_trial_state_values(identifier, TrialState.RUNNING):
            return False
        storage.set_trial_user_attr(identifier, OWNER, this_process())
        storage.set_trial_user_attr(identifier, BEAT, time.time())
    except UpdateFinishedTrialError:
        return False
    return True


def this_process() -> dict[str, Any]:
    """What tells this process from all others: machine, process number, when it began."""
    process = psutil.Process()
    machine = f"{socket.gethostname()}/{uuid.getnode():x}"
    return {"machine": machine, "process": process.pid, "began": process.create_time()}


def is_alive(trial: FrozenTrial) -> bool:
    """Whether the process that runs a trial still does, as far as one can know."""
    owner = trial.user_attrs.get(OWNER)
    if owner is None:
        return trial.datetime_start is None or _age(trial.datetime_start) < GRACE
    if owner["machine"] != this_process()["machine"]:
        return time.time() - trial.user_attrs.get(BEAT, 0.0) < GRACE
    return _is_running(owner)


def _age(moment: datetime) -> float:
    return (datetime.now() - moment).total_seconds()


def _is_running(owner: Mapping[str, Any]) -> bool:
    try:
        process = psutil.Process(owner["process"])
        # A number is given again; a killed child is a zombie until its parent looks.
        same = abs(process.create_time() - owner["began"]) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def replace_the_dead(study: optuna.Study, storage: BaseStorage) -> list[int]:
    """Fails the trials of dead workers and adds a ticket for each; returns their numbers."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    dead = [trial.number for trial in running if not is_alive(trial)]
    return [number for number in dead if give_up(study, storage, number)]


def give_up(study: optuna.Study, storage: BaseStorage, number: int) -> bool:
    """Fails a running trial as killed; its parameters get one more chance. False if it finished."""
    trials = study.get_trials(deepcopy=False)
    trial = trials[number]
    known = any(other.user_attrs.get(RETRY_OF) == number for other in trials)
    if RETRY_OF not in trial.user_attrs and not known:
        # First the replacement, which counts from the moment that the trial has failed.
        fixed = {FIXED: trial.params} if "candidate" in trial.user_attrs else {}
        add_ticket(study, **{RETRY_OF: number}, **fixed)
    identifier = trial_id(study, storage, number)
    try:
        storage.set_trial_user_attr(identifier, FAILURE, KILLED)
        storage.set_trial_state_values(identifier, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return False
    return True


@contextmanager
def heartbeat(storage: BaseStorage, identifier: int) -> Iterator[None]:
    """Signs of life of a trial while it runs."""
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(HEARTBEAT):
            # A storage that is out of reach for a while is the trial's business, not this one's.
            with suppress(Exception):
                storage.set_trial_user_attr(identifier, BEAT, time.time())

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
