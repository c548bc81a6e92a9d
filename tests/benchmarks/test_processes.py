from __future__ import annotations

import sys
import time

import pytest

from benchmarks.metering import Meter
from benchmarks.processes import run_limited


def run(code: str, cpu_limit_s: int = 5) -> str | None:
    return run_limited([sys.executable, "-c", code], cpu_limit_s)


def test_a_command_that_ends_well_has_no_failure():
    assert run("print(1)") is None


def test_a_command_past_its_limit_of_cpu_time_says_so():
    assert run("while True: pass", cpu_limit_s=1) == "more than 1 CPU s"


def test_a_failure_is_told_by_the_line_that_names_the_error():
    failure = run("raise ValueError('no such table\\nLINE 1: select\\n  ^')")
    assert failure == "ValueError: no such table"


def test_what_a_command_started_ends_with_it(tmp_path):
    alive = tmp_path / "alive"
    child = f"import time; time.sleep(1); open({str(alive)!r}, 'w')"
    run(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}])")
    time.sleep(1.5)
    assert not alive.exists()


def test_a_meter_measures_cpu_time_and_memory():
    with Meter() as idle:
        pass
    with Meter() as busy:
        held = bytearray(200 * 2**20)
        held[:: 2**12] = b"x" * len(held[:: 2**12])
        sum(range(2_000_000))
    assert busy.cpu_s > idle.cpu_s
    assert busy.peak_mb > idle.peak_mb + 150


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_a_meter_lets_errors_through(kind):
    with pytest.raises(kind), Meter():
        raise kind
