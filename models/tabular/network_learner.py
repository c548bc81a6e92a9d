"""Trains a network over a feature matrix: one model per seed, a best state for each protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.database.schema import Metric, Protocol, TaskType
from models.learning.batching import shuffled_batches
from models.learning.checkpoint import State
from models.learning.config import epoch_seed
from models.learning.device import choose_device
from models.learning.labels import watched_score
from models.learning.loop import Fit, Progress, fit
from models.learning.outcome import TargetScale, make_loss, outputs_of, to_predictions
from models.tabular.network import make_network
from models.tabular.network_config import NetworkConfig
from models.tabular.network_encoding import NetworkEncoder
from models.tabular.preparation import STALE, TRAIN

# The training metric is for the plots alone, so it is measured on some of the rows.
SHOWN_ROWS = 1000
ROWS_AT_A_TIME = 4096
STALENESS = 1
"""The purpose of a random generator of an epoch; 0 is that of the order."""


@dataclass(frozen=True, slots=True)
class NetworkProblem:
    """What a network is trained on, by `train`, `frozen`, `rolling` and, where there are any, `stale`.

    `numbers`, `codes` and `labels` are tensors with one row each; `classes` is 0 for values.
    """

    encoder: NetworkEncoder
    numbers: Mapping[str, Tensor]
    codes: Mapping[str, Tensor]
    labels: Mapping[str, np.ndarray]
    task_type: TaskType
    metric: Metric
    classes: int
    scale: TargetScale

    def network(self, config: NetworkConfig) -> torch.nn.Module:
        """A network with new weights, from torch's random state."""
        return make_network(config, self.encoder, outputs_of(self.task_type, self.classes))


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """One seed's model, with what was chosen for each protocol.

    `states`, `best_rounds` (epochs, from 1) and `validation_scores` are by protocol; `curve` is the
    metric by epoch of `train` (of some of its rows) and of each protocol's validation rows.
    """

    seed: int
    states: dict[str, State]
    best_rounds: dict[str, int]
    validation_scores: dict[str, float]
    curve: dict[str, list[float]]


def train_one_seed(
    seed: int,
    problem: NetworkProblem,
    config: NetworkConfig,
    checkpoints: Path | None,
    progress: Progress = lambda line: None,
) -> TrainedNetwork:
    """Trains one model; the same seed gives the same model on a CPU.

    Args:
        seed: Decides initial weights, batches and dropout.
        problem: The encoded rows.
        config: The network's settings.
        checkpoints: Where to keep what a killed training goes on from; None for nowhere.
        progress: Receives a line an epoch.
    """
    device = choose_device(config.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = problem.network(config)
    objective = NetworkObjective(module, problem, config, seed, device)
    folder = checkpoints / f"seed_{seed}" if checkpoints else None
    return _trained(seed, fit(objective, config.loop(seed), device, folder, progress))


def _trained(seed: int, found: Fit) -> TrainedNetwork:
    return TrainedNetwork(
        seed,
        states=found.best_states,
        best_rounds={name: epoch + 1 for name, epoch in found.best_epochs.items()},
        validation_scores=found.best_values,
        curve={name: [row[name] for row in found.history] for name in (TRAIN, *Protocol)},
    )


class NetworkObjective:
    """Supervised training of a network over a table, watched under both protocols."""

    def __init__(
        self,
        module: torch.nn.Module,
        problem: NetworkProblem,
        config: NetworkConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        self.module = module
        self.problem, self.seed, self.device = problem, seed, device
        self.batch_size = config.rows_per_batch(len(problem.labels[TRAIN]))
        self.staleness = config.staleness if STALE in problem.numbers else 0.0
        self.watched: Mapping[str, bool] = {
            str(protocol): problem.metric.higher_is_better for protocol in Protocol
        }
        self.numbers = {name: rows.to(device) for name, rows in problem.numbers.items()}
        self.codes = {name: rows.to(device) for name, rows in problem.codes.items()}
        self.targets = torch.from_numpy(problem.labels[TRAIN]).to(device, torch.float32)
        self.compare = make_loss(problem.task_type, problem.metric, problem.scale)

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Positions of training rows, and which of them are shown as an earlier moment saw them."""
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, epoch, STALENESS))
        is_stale = torch.rand(len(self.targets), generator=generator) < self.staleness
        for rows in shuffled_batches(len(self.targets), self.batch_size, self.seed, epoch):
            yield rows.to(self.device), is_stale[rows].to(self.device)

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """The task's loss over the rows of a batch."""
        rows, is_stale = batch
        numbers, codes = self.numbers[TRAIN][rows], self.codes[TRAIN][rows]
        if self.staleness:
            numbers = torch.where(is_stale[:, None], self.numbers[STALE][rows], numbers)
            codes = torch.where(is_stale[:, None], self.codes[STALE][rows], codes)
        return self.compare(self.module(numbers, codes), self.targets[rows]), {}

    def validate(self) -> Mapping[str, float]:
        """The task's metric under both protocols, and of some training rows."""
        shown = np.linspace(0, len(self.targets) - 1, min(SHOWN_ROWS, len(self.targets)))
        rows = torch.from_numpy(shown.astype(np.int64))
        return {str(protocol): self._score(str(protocol), slice(None)) for protocol in Protocol} | {
            TRAIN: self._score(TRAIN, rows)
        }

    def _score(self, name: str, rows: Any) -> float:
        problem = self.problem
        raw = raw_outputs(self.module, self.numbers[name][rows], self.codes[name][rows])
        predicted = to_predictions(raw, problem.task_type, problem.scale)
        labels = problem.labels[name][rows]
        return watched_score(problem.task_type, problem.metric, labels, predicted, problem.classes)


@torch.no_grad()
def raw_outputs(module: torch.nn.Module, numbers: Tensor, codes: Tensor) -> Tensor:
    """The outputs of all rows, some at a time; the module is in evaluation mode."""
    parts = zip(numbers.split(ROWS_AT_A_TIME), codes.split(ROWS_AT_A_TIME), strict=True)
    return torch.cat([module(*part) for part in parts])
