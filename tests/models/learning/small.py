"""A small objective: a line through noisy points, with dropout so that random state matters."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.learning.batching import shuffled_batches
from models.learning.config import LoopConfig
from models.learning.loop import Fit, fit

ROWS, BATCH = 96, 32


class Line:
    def __init__(self, seed: int = 0, pause: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(7)
        self.inputs = torch.randn(ROWS, 4, generator=generator)
        self.labels = self.inputs.sum(dim=1) + torch.randn(ROWS, generator=generator) / 10
        self.seed, self.pause = seed, pause
        torch.manual_seed(seed)
        self.module: torch.nn.Module = torch.nn.Sequential(
            torch.nn.Linear(4, 8),
            torch.nn.BatchNorm1d(8),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.2),
            torch.nn.Linear(8, 1),
        )
        self.watched: Mapping[str, bool] = {"error": False, "negated": True}

    def batches(self, epoch: int) -> Iterator[Tensor]:
        yield from shuffled_batches(ROWS, BATCH, self.seed, epoch)

    def loss(self, batch: Tensor) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        time.sleep(self.pause)
        guess = self.module(self.inputs[batch]).squeeze(-1)
        loss = (guess.float() - self.labels[batch]).square().mean()
        return loss, {"twice": 2 * loss.detach()}

    def validate(self) -> Mapping[str, float]:
        assert not self.module.training
        assert not torch.is_grad_enabled()
        error = (self.module(self.inputs).squeeze(-1) - self.labels).square().mean().item()
        return {"error": error, "negated": -error}


def train_line(seed: int, epochs: int) -> list[float]:
    """The errors by epoch; what `run_seeds` calls."""
    return errors(fit(Line(seed), LoopConfig(epochs=epochs, seed=seed), torch.device("cpu")))


def train_loudly(seed: int, progress=print) -> int:
    if seed == 13:
        raise ValueError("thirteen is refused")
    progress("half way")
    return torch.get_num_threads()


def errors(found: Fit) -> list[float]:
    return [entry["error"] for entry in found.history]


CONFIG = LoopConfig(epochs=12, learning_rate=0.01, schedule="cosine", warm_up_steps=5, seed=3)

if __name__ == "__main__":
    # A slow run, for a test that kills it.
    torch.set_num_threads(1)
    fit(Line(3, pause=0.05), CONFIG, torch.device("cpu"), Path(sys.argv[1]))
