"""All signals of a task: what is measured before any training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from models.learning.device import one_thread
from models.relatron.context import context_signals
from models.relatron.homophily import homophily_signals
from models.relatron.inputs import LabelledRows, Signal, SignalConfig, SignalInputs
from models.relatron.labels import label_signals
from models.relatron.probes import probe_signals
from models.relatron.reference import reference_signals
from models.relatron.sizes import size_signals

__all__ = ["Signal", "SignalConfig", "SignalInputs", "signals_as_data", "task_signals"]

DEFAULT = SignalConfig()


def task_signals(
    inputs: SignalInputs,
    config: SignalConfig = DEFAULT,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Signal]:
    """The signals of a task as of a date; Relatron's (arXiv 2602.22552), corrected.

    Labels are those of `train` and `val` whose windows have closed by `as_of`; to every row, the
    rows of the database up to its cutoff are visible, and the labels that were known by then. To
    validation rows under the frozen protocol, where a signal names it, those up to the first
    validation cutoff.

    Args:
        inputs: The task.
        config: How much is looked at.
        progress: Receives a line per group of signals.

    Raises:
        ValueError: There is no labelled training row.
        KeyError: An entity of the training table is not in the database.
    """
    started = time.monotonic()
    rows = LabelledRows.of(inputs)
    groups: dict[str, Callable[[], list[Signal]]] = {
        "homophily": lambda: homophily_signals(inputs, rows, config),
        "labels": lambda: label_signals(inputs, rows, config),
        "context": lambda: context_signals(inputs, rows, config),
        "size": lambda: size_signals(inputs, rows),
        "probes": lambda: probe_signals(inputs, config, progress),
    }
    if config.reference:
        groups["reference"] = lambda: reference_signals(inputs, config)
    found: list[Signal] = []
    for name, measure in groups.items():
        with one_thread():
            signals = measure()
        ended = time.monotonic()
        found += [replace(one, seconds=(ended - started) / len(signals)) for one in signals]
        progress(f"{name}: {len(signals)} signals in {ended - started:.1f} s")
        started = ended
    return found


def signals_as_data(signals: Iterable[Signal]) -> dict[str, float | None]:
    """The signals as JSON-ready data: values by name, errors by `<name>_error`, `seconds` in all.

    None where a value is not defined; errors that are not defined are left out.
    """
    found: dict[str, float | None] = {}
    seconds = 0.0
    for one in signals:
        seconds += one.seconds
        found[one.name] = one.value if np.isfinite(one.value) else None
        if np.isfinite(one.error):
            found[f"{one.name}_error"] = one.error
    return found | {"seconds": round(seconds, 2)}
