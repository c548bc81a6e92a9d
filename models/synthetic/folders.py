"""Many synthetic databases as RelBench folders, side by side."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from models.artifacts.recipe import canonical_json
from models.synthetic.database import Generator
from models.synthetic.generator import generate
from models.synthetic.relbench_folder import TRUTH, write_relbench_folder
from models.synthetic.streams import Streams

THREAD_VARIABLES = (
    "POLARS_MAX_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)


@dataclass(frozen=True, slots=True)
class Folders:
    """What to make: a folder `<name>_<seed>` of each seed.

    Attributes:
        generator: The three stages; picklable.
        name: What the databases are called before their seed.
        out: The folder of the folders.
        tasks: Tasks to sample of each database, at most.
        made_from: How the generator was set; written to each folder's truth.json, and compared with
            what is there.
    """

    generator: Generator
    name: str
    out: Path
    tasks: int = 0
    made_from: Mapping[str, Any] = field(default_factory=dict)

    def folder(self, seed: int) -> Path:
        """Where the database of a seed goes."""
        return self.out / f"{self.name}_{seed}"

    def settings(self) -> dict[str, Any]:
        """What truth.json records of how a folder was made, besides its seed."""
        return {**self.made_from, "tasks": self.tasks}


@dataclass(frozen=True, slots=True)
class Made:
    """What came of it: databases that were made, that were there before, and that failed, and why."""

    made: int
    kept: int
    failed: Mapping[int, str]
    seconds: float


def make_folders(
    wanted: Folders,
    seeds: Sequence[int],
    workers: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> Made:
    """Makes the folders that are not there yet.

    A folder appears when it is complete, so a call that was killed goes on where it stopped, and a
    call with more seeds adds theirs. The folders do not depend on `workers`.

    Args:
        wanted: What to make.
        seeds: One database each.
        workers: Processes, each with one thread; with 1 everything happens in this one.
        progress: Receives a line every few seconds and at the end.

    Raises:
        ValueError: a folder was made with other settings, or another call writes to `wanted.out`.
    """
    wanted.out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(wanted.out / ".lock", timeout=0):
            left = [seed for seed in seeds if not _is_there(wanted, seed)]
            return _make(wanted, left, len(seeds) - len(left), workers, progress)
    except Timeout as error:
        raise ValueError(
            f"another run is writing to {wanted.out}; wait for it or choose another folder"
        ) from error


def _is_there(wanted: Folders, seed: int) -> bool:
    folder = wanted.folder(seed)
    if not folder.exists():
        return False
    truth = folder / TRUTH
    before = json.loads(truth.read_text())["made_from"] if truth.exists() else None
    if before != json.loads(canonical_json(wanted.settings())):
        was = canonical_json(before) if before is not None else f"not by this (no {TRUTH})"
        raise ValueError(
            f"{folder} exists, but was made with other settings ({was}, now "
            f"{canonical_json(wanted.settings())}); delete it or choose another folder"
        )
    return True


def _make(
    wanted: Folders, seeds: Sequence[int], kept: int, workers: int, progress: Callable[[str], None]
) -> Made:
    started = last = time.monotonic()
    failed: dict[int, str] = {}
    for number, (seed, fault) in enumerate(_results(wanted, seeds, workers), start=1):
        if fault:
            failed[seed] = fault
        now = time.monotonic()
        if now - last > 5 or number == len(seeds):
            last = now
            pace = (now - started) / number
            progress(
                f"{number} of {len(seeds)} databases, {pace:.2f} s each, about "
                f"{pace * (len(seeds) - number):.0f} s left"
            )
    made = len(seeds) - len(failed)
    return Made(made, kept, dict(sorted(failed.items())), time.monotonic() - started)


def _results(wanted: Folders, seeds: Sequence[int], workers: int) -> Iterator[tuple[int, str]]:
    """(seed, what went wrong) of every database as it is finished."""
    if min(workers, len(seeds)) <= 1:
        yield from (_make_one(wanted, seed) for seed in seeds)
        return
    with _one_thread_each(), ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        futures: list[Future[tuple[int, str]]] = [
            pool.submit(_make_one, wanted, seed) for seed in seeds
        ]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _make_one(wanted: Folders, seed: int) -> tuple[int, str]:
    """One database; whatever goes wrong with it leaves the others alone."""
    try:
        database = generate(wanted.generator, seed)
        tasks = []
        if wanted.tasks:
            from models.synthetic.tasks.sample import sample_tasks

            sampled = sample_tasks(database, Streams(seed).child("tasks"), wanted.tasks)
            tasks = [one.task for one in sampled.tasks]
        write_relbench_folder(
            database, wanted.folder(seed), tasks=tasks, made_from=wanted.settings()
        )
    except Exception as error:
        return seed, f"{type(error).__name__}: {error}"
    return seed, ""


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that are started inside have libraries that use one thread."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
