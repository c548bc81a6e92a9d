"""Worker processes of one study on this machine; one that is killed leaves its work to the others."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, cast

Progress = Callable[[str], None]


def run_workers(
    function: Callable[..., None], arguments: Sequence[Any], workers: int, progress: Progress
) -> None:
    """Calls `function(*arguments, progress)` in so many new processes and waits for them.

    Args:
        function: Of a module, so that it can be pickled.
        arguments: Picklable.
        workers: How many processes.
        progress: Receives their lines, under the worker's number.

    Raises:
        RuntimeError: One of them raised, which ends the others, or none came to its end.
    """
    # Forked processes would inherit threads in an undefined state.
    context = multiprocessing.get_context("spawn")
    running: dict[Any, tuple[int, Any]] = {}
    try:
        for worker in range(workers):
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_run, args=(there, function, tuple(arguments)))
            process.start()
            there.close()
            running[here] = (worker, process)
        _listen(running, workers, progress)
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def _listen(running: dict[Any, tuple[int, Any]], workers: int, progress: Progress) -> None:
    lost = 0
    while running:
        for ready in wait(list(running)):
            pipe = cast(Connection, ready)
            worker, process = running[pipe]
            try:
                is_error, text = pipe.recv()
            except EOFError:
                process.join()
                del running[pipe]
                if process.exitcode != 0:
                    lost += 1
                    progress(f"worker {worker} ended with exit code {process.exitcode}")
                continue
            if is_error:
                raise RuntimeError(text)
            progress(f"worker {worker}: {text}")
    if lost == workers:
        raise RuntimeError(f"all {workers} workers were killed; run again to go on")


def _run(pipe: Connection, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        function(*arguments, lambda line: pipe.send((False, line)))
    except Exception as error:
        pipe.send((True, str(error) or type(error).__name__))


def _die_with_parent() -> None:
    """A parent that was killed cannot stop its workers, which would go on for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
