"""Watching a training from outside: its validation scores while it runs, with the right to stop it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

Watcher = Callable[[float, Mapping[str, float]], None]
"""Takes the share of the training's budget that is spent (0 to 1) and its validation metrics."""

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Trainings in this context tell the watcher how they stand; what it raises ends them.

    Networks tell after every epoch, of its watched metrics; trees every tenth round, of the task's
    metric under each protocol. Trainings in processes of their own (several seeds of a network at a
    time) are not watched.
    """
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def tell_watcher(share: float, metrics: Mapping[str, float]) -> None:
    """Tells the watcher of this context, if there is one."""
    if (watcher := _watcher.get()) is not None:
        watcher(share, metrics)
