"""The training loop: epochs of steps, validation, early stopping, checkpoints.

Supervised training, pretraining and probing differ in their `Objective` alone.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from models.learning.checkpoint import (
    State,
    copy_state,
    identity,
    read_checkpoint,
    save_checkpoint,
)
from models.learning.config import LoopConfig, epoch_seed, learning_rate_at
from models.learning.device import held_gigabytes
from models.learning.watching import tell_watcher

Progress = Callable[[str], None]


class Objective(Protocol):
    """What is trained, on what, and how it is judged.

    `module` is everything that is trained; parameters without gradient stay as they are. `watched`
    maps a metric's name to whether higher is better; each watched metric keeps its own best state.
    """

    module: torch.nn.Module
    watched: Mapping[str, bool]

    def batches(self, epoch: int) -> Iterator[Any]:
        """The epoch's training batches; they depend on the run's seed and the epoch alone."""

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """The scalar loss with its gradient, and detached parts of it to log."""

    def validate(self) -> Mapping[str, float]:
        """Metrics of the whole validation split; the module is in evaluation mode, no gradient.

        A metric that is not defined is NaN, and never better than another value.
        """


@dataclass
class Fit:
    """What came of a training run.

    `best_states`, `best_values` and `best_epochs` are by watched metric: the module's state after
    the epoch (from 0) with the best value, the first of equals; or after the one of `kept_epochs`. A
    metric that was never defined has the last state and a NaN. `history` has one entry per epoch:
    epoch, steps, seconds, learning_rate, loss, its parts and the metrics. `stopped` says why training
    ended.
    """

    best_states: dict[str, State] = field(default_factory=dict)
    best_values: dict[str, float] = field(default_factory=dict)
    best_epochs: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped: str = ""


def fit(
    objective: Objective,
    config: LoopConfig,
    device: torch.device,
    folder: Path | None = None,
    progress: Progress = lambda line: None,
) -> Fit:
    """Trains the objective's module and returns the best states it went through.

    The module itself is trained in place and ends in its last state, not in a best one.

    With a folder, the state is saved at the end of every epoch; called again with the same folder,
    objective and settings, training goes on after the last finished epoch and ends, on a CPU,
    bit-equal to a run that was not interrupted. torch's global random state is left as it was.

    Args:
        objective: What is trained.
        config: How.
        device: Where; the module is moved there, batches are the objective's business.
        folder: Receives the checkpoint; None for none.
        progress: Receives one line an epoch.

    Raises:
        ValueError: An epoch has no batch, or `validate` leaves a watched metric out.
        FloatingPointError: The loss is not finite in the first epoch already.
    """
    run = _Run(objective, config, device, folder, progress)
    run.resume()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        while not run.fit.stopped:
            run.train_one_epoch()
    progress(f"stopped: {run.fit.stopped}")
    return run.fit


class _Run:
    """A training run between two epochs."""

    def __init__(
        self,
        objective: Objective,
        config: LoopConfig,
        device: torch.device,
        folder: Path | None,
        progress: Progress,
    ) -> None:
        self.objective, self.config, self.device = objective, config, device
        self.folder, self.progress = folder, progress
        self.module = objective.module.to(device)
        start = copy_state(self.module) if folder else {}
        self.identity = identity(config, start, objective.watched)
        if config.compile == "auto" and device.type == "cuda":
            # In place, so that the names of the state stay the same; sizes differ by batch.
            self.module.compile(dynamic=True)
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=device.type == "cuda",
        )
        self.autocast = _is_bfloat16(config, device)
        self.average = [p.detach().clone() for p in self.parameters] if config.averaging else []
        self.fit = Fit()
        self.steps = 0
        self.most_gigabytes = 0.0

    def resume(self) -> None:
        """Takes up the folder's checkpoint, if it is one of this run."""
        found = read_checkpoint(self.folder) if self.folder else None
        if found is None:
            return
        if found["identity"] != self.identity:
            self.progress(f"the checkpoint in {self.folder} is of another run: starting anew")
            return
        self.module.load_state_dict(found["module"])
        self.optimiser.load_state_dict(found["optimiser"])
        for own, value in zip(self.average, found["average"], strict=True):
            own.copy_(value)
        self.fit = Fit(**found["fit"])
        self.progress(f"resumed after {len(self.fit.history)} epochs")

    def train_one_epoch(self) -> None:
        """One epoch of steps, its validation, and the checkpoint."""
        epoch, started = len(self.fit.history), time.monotonic()
        torch.manual_seed(epoch_seed(self.config.seed, epoch))
        steps, losses = self._steps(epoch, started)
        if not math.isfinite(losses["loss"]):
            self._give_up(epoch, losses["loss"])
            return
        with self._averaged():
            metrics = self._validate()
            self._keep_the_best(epoch, metrics)
        seconds = time.monotonic() - started
        entry = {"epoch": epoch, "steps": steps, "seconds": seconds}
        entry["learning_rate"] = float(self.optimiser.param_groups[0]["lr"])
        self.fit.history.append(entry | losses | metrics)
        self.fit.stopped = self._reason_to_stop(epoch)
        values = ", ".join(f"{name} {value:.4f}" for name, value in (losses | metrics).items())
        self.progress(f"epoch {epoch}: {values} ({steps} steps, {seconds:.1f} s)")
        self._save()
        watched = {name: metrics[name] for name in self.objective.watched}
        tell_watcher((epoch + 1) / self.config.epochs, watched)

    def _steps(self, epoch: int, started: float) -> tuple[int, dict[str, float]]:
        first = sum(entry["steps"] for entry in self.fit.history)
        batches = itertools.islice(self.objective.batches(epoch), self.config.steps_per_epoch)
        totals: dict[str, float | Tensor] = {}
        steps = self.steps = 0
        self.module.train()
        for batch in batches:
            rate = learning_rate_at(self.config, epoch, first + steps)
            for name, value in self._step(batch, rate).items():
                # Sums stay on the device: reading a value would wait for it at every step.
                totals[name] = totals.get(name, 0.0) + value
            steps += 1
            self.steps = steps
            if self._seconds_left(started) <= 0 or self._over_memory():
                break
        if steps == 0:
            raise ValueError(f"epoch {epoch} has no training batch; are there training rows?")
        return steps, {name: float(total) / steps for name, total in totals.items()}

    def _step(self, batch: Any, rate: float) -> dict[str, float | Tensor]:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            loss, parts = self.objective.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.config.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        self.optimiser.step()
        self._take_average()
        return {"loss": loss.detach().float(), **parts}

    @torch.no_grad()
    def _take_average(self) -> None:
        if self.average:
            steps = 1 + sum(entry["steps"] for entry in self.fit.history) + self.steps
            # The first steps count for more, or the average would remember the initial weights.
            decay = min(self.config.averaging, steps / (steps + 10))
            torch._foreach_lerp_(self.average, [p.data for p in self.parameters], 1 - decay)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The module with the averaged weights, if there are any."""
        own = [p.detach().clone() for p in self.parameters] if self.average else []
        self._set_weights(self.average)
        try:
            yield
        finally:
            self._set_weights(own)

    @torch.no_grad()
    def _set_weights(self, weights: Sequence[Tensor]) -> None:
        for parameter, value in zip(self.parameters, weights, strict=False):
            parameter.copy_(value)

    def _validate(self) -> dict[str, float]:
        self.module.eval()
        with torch.no_grad():
            metrics = {name: float(value) for name, value in self.objective.validate().items()}
        if missing := sorted(self.objective.watched.keys() - metrics.keys()):
            raise ValueError(f"validation gave no value for the watched metrics {missing}")
        return metrics

    def _keep_the_best(self, epoch: int, metrics: Mapping[str, float]) -> None:
        now: State | None = None
        for name, higher_is_better in self.objective.watched.items():
            value, best = metrics[name], self.fit.best_values.get(name, math.nan)
            better = value > best if higher_is_better else value < best
            if (kept := self.config.kept_epochs) is not None:
                is_kept = epoch < kept.get(name, self.config.epochs)
            else:
                # Until the metric is defined for the first time, the last state stands in.
                is_kept = better or math.isnan(best)
            if is_kept:
                now = copy_state(self.module) if now is None else now
                self.fit.best_states[name] = now
                self.fit.best_values[name] = value
                self.fit.best_epochs[name] = epoch

    def _reason_to_stop(self, epoch: int) -> str:
        best = [
            self.fit.best_epochs[name]
            for name, value in self.fit.best_values.items()
            if not math.isnan(value)
        ]
        since = epoch - max(best, default=-1)
        if epoch + 1 >= self.config.epochs:
            return f"all {self.config.epochs} epochs are done"
        if self.config.patience is not None and best and since >= self.config.patience:
            return f"no watched metric gained for {since} epochs"
        if self._seconds_left(time.monotonic()) <= 0:
            return f"the {self.config.max_seconds} seconds are spent"
        if self.most_gigabytes > (self.config.max_gigabytes or math.inf):
            return (
                f"{self.most_gigabytes:.1f} GB were held, more than the {self.config.max_gigabytes} "
                "allowed; lower batch_size or fan_out"
            )
        return ""

    def _over_memory(self) -> bool:
        if self.config.max_gigabytes is None:
            return False
        self.most_gigabytes = max(self.most_gigabytes, held_gigabytes(self.device))
        return self.most_gigabytes > self.config.max_gigabytes

    def _seconds_left(self, started: float) -> float:
        if self.config.max_seconds is None:
            return math.inf
        spent = sum(entry["seconds"] for entry in self.fit.history)
        return self.config.max_seconds - spent - (time.monotonic() - started)

    def _give_up(self, epoch: int, loss: float) -> None:
        reason = (
            f"the loss of epoch {epoch} is {loss}; lower learning_rate "
            f"(now {self.config.learning_rate}) or clip_norm (now {self.config.clip_norm})"
        )
        if not self.fit.history:
            raise FloatingPointError(reason)
        self.fit.stopped = reason

    def _save(self) -> None:
        if self.folder is None:
            return
        # Not dataclasses.asdict, which would copy every state once more.
        found = {name: getattr(self.fit, name) for name in Fit.__dataclass_fields__}
        content = {
            "identity": self.identity,
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
            "fit": found,
        }
        save_checkpoint(self.folder, content)


def _is_bfloat16(config: LoopConfig, device: torch.device) -> bool:
    if config.precision != "auto":
        return config.precision == "bfloat16"
    return device.type == "cuda" and torch.cuda.is_bf16_supported()
