"""Wall time, CPU time and peak memory of a piece of work, its other processes included."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

OtherProcesses = Callable[[], Sequence[int]]


class Meter:
    """Measures the body of a `with` statement.

    Attributes:
        wall_s: Wall seconds.
        cpu_s: CPU seconds of this process, of its children that have ended, and of `others`.
        peak_mb: Sum over this process and `others` of the most memory each had resident, in MiB.

    Args:
        others: The ids of processes that work for this one without being its children.
    """

    def __init__(self, others: OtherProcesses = tuple) -> None:
        self._others = others
        self.wall_s = self.cpu_s = self.peak_mb = 0.0

    def __enter__(self) -> Meter:
        for process in self._processes():
            _reset_peak(process)
        self._started = (time.perf_counter(), self._cpu())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        wall, cpu = self._started
        self.wall_s, self.cpu_s = time.perf_counter() - wall, self._cpu() - cpu
        self.peak_mb = sum(map(_peak_mb, self._processes()))

    def _processes(self) -> list[int]:
        return [os.getpid(), *self._others()]

    def _cpu(self) -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own = sum(usage.ru_utime + usage.ru_stime for usage in used)
        return own + sum(map(_cpu_seconds, self._others()))


def _cpu_seconds(process: int) -> float:
    """CPU seconds of another process, by Linux' process table."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _reset_peak(process: int) -> None:
    """Let the kernel count the peak from here, where it can."""
    try:
        Path(f"/proc/{process}/clear_refs").write_text("5")
    except OSError:
        return


def _peak_mb(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        if process != os.getpid():
            return 0.0
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
