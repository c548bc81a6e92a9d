"""Runs one worker in a process group of its own, with a limit on its CPU time."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from benchmarks.case import Measurement, Request, read_measurements
from benchmarks.databases import Unavailable
from benchmarks.environments import Engine, python_of, telling_line

ROOT = Path(__file__).resolve().parents[1]
# One thread in every library that has its own pool of them.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "POLARS_MAX_THREADS",
    ),
    "1",
)
# A machine may be shared: of a run's wall time only a generous multiple is waited for.
WALL_PER_CPU = 3


def measure(engine: Engine, request: Request, cpu_limit_s: int) -> list[Measurement]:
    """The engine's answer; one row with the reason where it gives none."""
    try:
        python = python_of(engine)
    except Unavailable as reason:
        return [Measurement(engine.name, skipped=str(reason))]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        asked, answered, home = (Path(folder) / name for name in ("asked", "answered", "home"))
        home.mkdir()
        request.write(asked, home)
        failure = run_limited([str(python), "-m", engine.module, asked, answered], cpu_limit_s)
        if failure:
            return [Measurement(engine.name, skipped=failure)]
        return read_measurements(answered)


def run_limited(command: list[str | Path], cpu_limit_s: int) -> str | None:
    """Runs a command; why it failed, if it did."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_limit_s, cpu_limit_s + 5))

    # A file takes the messages: a pipe would stay open as long as what the worker started.
    with tempfile.TemporaryFile("w+") as messages:
        worker = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **ONE_THREAD},
            stdout=subprocess.DEVNULL,
            stderr=messages,
            start_new_session=True,
            preexec_fn=limit,
        )
        try:
            worker.wait(timeout=cpu_limit_s * WALL_PER_CPU)
        except subprocess.TimeoutExpired:
            return f"more than {cpu_limit_s * WALL_PER_CPU} s"
        finally:
            # Also what the worker started and, killed at its limit, could not stop.
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        if worker.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            return f"more than {cpu_limit_s} CPU s"
        messages.seek(0)
        return telling_line(messages.read()) if worker.returncode else None
