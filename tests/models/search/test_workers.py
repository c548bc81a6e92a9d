"""Kills and several workers: nothing lost but the trial in flight, nothing twice, the exact total."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import optuna
import pytest
from optuna.trial import TrialState

from models.search.records import records_of
from models.search.sampling import signature
from models.search.storage import open_storage
from models.search.study import run_study
from models.search.workers import FAILURE, KILLED, add_ticket, claim, is_alive
from tests.fixtures import PATIENCE, ROOT, wait_for
from tests.models.search.toy import SPACE, TREES, config, evaluate, evaluate_slowly, plain
from tests.postgres_server import postgres_server as postgres_server


def start(what, place):
    command = [sys.executable, "-m", "tests.models.search.toy", what, str(place)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)


def load(place):
    return optuna.load_study(study_name="toy", storage=open_storage(place))


def kill_when_it_hangs(folder):
    process = start("hang", folder)
    wait_for(lambda: (folder / "hangs").exists() or process.poll() is not None)
    assert process.poll() is None, process.stderr.read().decode()
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_killed_study_loses_nothing_but_the_trial_in_flight(tmp_path):
    kill_when_it_hangs(tmp_path)
    before = load(tmp_path).get_trials()
    assert [t.state for t in before] == [TrialState.COMPLETE] * 4 + [TrialState.RUNNING]
    lines = []
    records = run_study(config(8), SPACE, evaluate, tmp_path, "toy", lines.append)
    assert "trial 4 was killed" in lines[0]
    after = load(tmp_path).get_trials()
    assert after[4].state == TrialState.FAIL
    assert after[4].user_attrs[FAILURE] == KILLED
    assert after[5].params == before[4].params
    assert [r.number for r in records] == [0, 1, 2, 3, 5, 6, 7, 8]
    # The whole is what it would have been without the kill.
    assert plain(records) == plain(run_study(config(8), SPACE, evaluate, tmp_path / "new", "toy"))


def test_what_kills_twice_is_a_failure(tmp_path):
    class Killed(BaseException):
        pass

    def die(candidate, number, report):
        if number in (1, 2):
            raise Killed
        return evaluate(candidate, number, report)

    for _ in range(2):
        with pytest.raises(Killed):
            run_study(config(4), SPACE, die, tmp_path, "toy")
    records = run_study(config(4), SPACE, die, tmp_path, "toy")
    assert [r.number for r in records] == [0, 2, 3, 4]
    assert [r.state for r in records] == ["complete", "failed", "complete", "complete"]
    assert records[1].failure == KILLED
    params = [t.params for t in load(tmp_path).get_trials()]
    assert params[1] == params[2]
    assert params[3] != params[2]


@pytest.fixture(params=["journal", "sqlite", "postgres"])
def place(request, tmp_path, monkeypatch):
    """Where studies can live; Postgres is left out where it is not installed."""
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_server")
        monkeypatch.setenv("PGPASSWORD", server.password)
        name = f"studies_{uuid.uuid4().hex[:8]}"
        server.execute(f"create database {name}")
        return server.url(name)
    return tmp_path if request.param == "journal" else f"sqlite:///{tmp_path}/studies.db"


def test_two_processes_share_a_study(place):
    processes = [start("work", place) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors.decode()
    trials = load(place).get_trials()
    finished = [t for t in trials if t.state != TrialState.WAITING]
    assert [t.state for t in finished] == [TrialState.COMPLETE] * 16
    assert len({signature(t.params) for t in finished}) == 16
    assert len({t.user_attrs["owner"]["process"] for t in finished}) == 2
    assert len(records_of(load(place), 16)) == 16


def test_workers_are_processes_of_one_call(tmp_path):
    lines = []
    slow = partial(evaluate_slowly, 0.05)
    records = run_study(config(10), TREES, slow, tmp_path, "toy", lines.append, workers=2)
    assert [r.state for r in records] == ["complete"] * 10
    owners = {t.user_attrs["owner"]["process"] for t in load(tmp_path).get_trials()[:10]}
    assert os.getpid() not in owners
    assert sum(line.startswith("worker ") for line in lines) == 10


def test_a_claim_is_exact_and_a_ticket_has_one_owner(tmp_path):
    storage = open_storage(tmp_path)
    study = optuna.create_study(storage=storage, study_name="toy")
    for _ in range(3):
        add_ticket(study)
    other = optuna.load_study(study_name="toy", storage=open_storage(tmp_path))
    claims = [claim(s, s._storage, 2) for s in (study, other, study, other)]
    assert claims == [0, 1, None, None]


def test_claims_of_the_same_moment_are_distinct(place):
    optuna.create_study(storage=open_storage(place), study_name="toy")

    def claim_all(_):
        storage = open_storage(place)
        study = optuna.load_study(study_name="toy", storage=storage)
        return list(iter(lambda: claim(study, storage, 20), None))

    with ThreadPoolExecutor(4) as pool:
        found = [number for numbers in pool.map(claim_all, range(4)) for number in numbers]
    assert len(found) == len(set(found)) == 20


def test_a_worker_of_another_machine_is_known_by_its_heartbeat(tmp_path):
    storage = open_storage(tmp_path)
    study = optuna.create_study(storage=storage, study_name="toy")
    claim(study, storage, 1)
    (trial,) = study.get_trials()
    assert is_alive(trial)
    trial.user_attrs["owner"] = {"machine": "elsewhere", "process": 1, "began": 0.0}
    assert is_alive(trial)
    trial.user_attrs["heartbeat"] = time.time() - 1000
    assert not is_alive(trial)
