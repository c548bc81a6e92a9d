"""Several seeds of one training, side by side on a CPU's cores."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import torch

from models.learning.device import one_thread

Result = TypeVar("Result")
Progress = Callable[[str], None]


class SeedError(RuntimeError):
    """The training of one seed failed; `seed` says which, the cause is what happened."""

    def __init__(self, seed: int, error: BaseException) -> None:
        super().__init__(f"seed {seed} failed: {type(error).__name__}: {error}")
        self.seed = seed


def run_seeds(
    function: Callable[..., Result],
    seeds: Sequence[int],
    arguments: Sequence[Any],
    threads: int,
    device: torch.device,
    progress: Progress | None = None,
) -> list[Result]:
    """`function(seed, *arguments)` of every seed, in the order of the seeds.

    On a CPU, `threads` seeds run at a time, each in a process of its own with one torch thread:
    threads that share the work of one small network mostly wait for each other, and the order of
    their sums would make the result depend on their number. With one thread or one seed everything
    happens in this process; on an accelerator too, one seed after the other.

    Args:
        function: Picklable where there are processes: a function of a module.
        seeds: One call each.
        arguments: Picklable; every process gets a copy, so pass paths of what is large.
        threads: Seeds at a time; the results do not depend on it.
        device: Where `function` will train.
        progress: If given, `function` gets a keyword `progress`, whose lines arrive here under the
            name of their seed.

    Raises:
        SeedError: A seed failed; seeds that have not started are given up.
    """
    if device.type != "cpu":
        return [_run_here(function, seed, arguments, progress) for seed in seeds]
    workers = min(threads, len(seeds))
    if workers > 1:
        return _run_in_processes(function, seeds, arguments, workers, progress)
    with one_thread():
        return [_run_here(function, seed, arguments, progress) for seed in seeds]


def _run_here(
    function: Callable[..., Result],
    seed: int,
    arguments: Sequence[Any],
    progress: Progress | None,
) -> Result:
    try:
        if progress is None:
            return function(seed, *arguments)
        return function(seed, *arguments, progress=lambda line: progress(f"seed {seed}: {line}"))
    except Exception as error:
        raise SeedError(seed, error) from error


def _run_in_processes(
    function: Callable[..., Result],
    seeds: Sequence[int],
    arguments: Sequence[Any],
    workers: int,
    progress: Progress | None,
) -> list[Result]:
    # Forked processes would inherit torch's threads in an undefined state.
    context = multiprocessing.get_context("spawn")
    lines = context.Queue() if progress else None
    # Pickled by hand: torch's own way of passing tensors between processes needs shared memory,
    # which containers are often short of.
    work = pickle.dumps((function, tuple(arguments)))
    listener = threading.Thread(target=_listen, args=(lines, progress), daemon=True)
    if lines is not None:
        listener.start()
    executor = ProcessPoolExecutor(workers, context, _prepare, (work, lines))
    try:
        futures = [executor.submit(_run_in_worker, seed) for seed in seeds]
        results = []
        for seed, future in zip(seeds, futures, strict=True):
            try:
                results.append(pickle.loads(future.result()))
            except Exception as error:
                raise SeedError(seed, error) from error
        return results
    finally:
        executor.shutdown(cancel_futures=True)
        if lines is not None:
            lines.put(None)
            listener.join()


def _listen(lines: Any, progress: Progress) -> None:
    for line in iter(lines.get, None):
        progress(line)


# What a worker process was started with.
_work: dict[str, Any] = {}


def _prepare(work: bytes, lines: Any) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    function, arguments = pickle.loads(work)
    _work.update(function=function, arguments=arguments, lines=lines)


def _die_with_parent() -> None:
    """A parent that was killed cannot stop its workers, which would train on for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_in_worker(seed: int) -> bytes:
    options: dict[str, Any] = {}
    lines = _work["lines"]
    if lines is not None:
        options["progress"] = lambda line: lines.put(f"seed {seed}: {line}")
    return pickle.dumps(_work["function"](seed, *_work["arguments"], **options))
