"""LightGBM's callbacks: stopping early, and telling who watches a training."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import lightgbm
import numpy as np

from models.database.schema import Metric, Protocol
from models.learning.watching import tell_watcher


def _position_of_best(values: np.ndarray, higher_is_better: bool) -> int:
    return int(values.argmax() if higher_is_better else values.argmin())


class StopWhenNoneGains:
    """A LightGBM callback: stops when no protocol's validation score has gained for so long.

    It stops too when `max_seconds` have gone by since it was made, but never before the first tree.
    """

    order = 30

    def __init__(
        self, protocols: Sequence[Protocol], patience: int, max_seconds: float | None = None
    ) -> None:
        self.protocols, self.patience = protocols, patience
        self.curve: dict[str, list[float]] = {}
        self.higher_is_better = False
        self.cut_short = False
        self._end = None if max_seconds is None else time.monotonic() + max_seconds

    def __call__(self, environment: lightgbm.callback.CallbackEnv) -> None:
        """Notes a round's scores and ends the training after enough rounds without a better one."""
        for name, _, value, higher_is_better, *_ in environment.evaluation_result_list or []:
            self.curve.setdefault(name, []).append(float(value))
            self.higher_is_better = higher_is_better
        settled = all(self._rounds_since_best(p) >= self.patience for p in self.protocols)
        self.cut_short = not settled and self._end is not None and time.monotonic() >= self._end
        if settled or self.cut_short:
            raise lightgbm.callback.EarlyStopException(environment.iteration, [])

    def _rounds_since_best(self, protocol: Protocol) -> int:
        values = np.asarray(self.curve[protocol])
        return len(values) - 1 - _position_of_best(values, self.higher_is_better)


class Tell:
    """A LightGBM callback: every tenth round tells who watches the task's metric by protocol.

    Macro F1, for which LightGBM watches the log loss, is not told.
    """

    order = 20
    every = 10

    def __init__(
        self,
        metric: Metric,
        labels: Mapping[str, np.ndarray],
        protocols: Sequence[Protocol],
        rounds: int,
    ) -> None:
        self.metric, self.protocols, self.rounds = metric, protocols, rounds
        self.variance = {protocol: float(np.var(labels[protocol])) for protocol in Protocol}

    def __call__(self, environment: lightgbm.callback.CallbackEnv) -> None:
        """Tells the watcher after every tenth round."""
        done = environment.iteration + 1
        if done % self.every or self.metric == Metric.MACRO_F1:
            return
        found = {entry[0]: float(entry[2]) for entry in environment.evaluation_result_list or []}
        metrics = {
            str(protocol): self._of(found[protocol], protocol) for protocol in self.protocols
        }
        tell_watcher(done / self.rounds, metrics)

    def _of(self, value: float, protocol: Protocol) -> float:
        """The task's metric of what LightGBM watches for it."""
        if self.metric == Metric.ACCURACY:
            return 1 - value
        if self.metric == Metric.RMSE:
            return value**0.5
        if self.metric == Metric.R2:
            variance = self.variance[protocol]
            return 1 - value / variance if variance > 0 else np.nan
        return value
