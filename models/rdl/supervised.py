"""Supervised training of the relational network: the objective, and predictions in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Generator, Tensor

from models.database.schema import Metric, Protocol, TaskType
from models.learning.batching import shuffled_batches
from models.learning.config import epoch_seed
from models.learning.labels import watched_score
from models.learning.outcome import TargetScale, make_loss, to_predictions
from models.rdl.examples import Examples
from models.rdl.network import RelationalNetwork
from models.rdl.rows import RowInputs
from models.rdl.sampler import TemporalSampler

EVALUATION_BATCH = 1024
SAMPLING, STALENESS = 2, 3
"""Purposes of the random generators of an epoch."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A network with what it reads: predicts examples in batches.

    Sampling for predictions is seeded by the position of the batch alone, so the same examples give
    the same predictions.
    """

    network: RelationalNetwork
    inputs: Mapping[str, RowInputs]
    sampler: TemporalSampler

    def raw(self, examples: Examples, generator: Generator) -> Tensor:
        """Raw outputs of a batch, float32 [examples, outputs]."""
        sample = self.sampler.sample(
            examples.table, examples.rows, examples.visible_until, generator
        )
        return self.network(self.inputs, sample, examples.cutoff_time, examples.features)

    @torch.no_grad()
    def all_raw(self, examples: Examples) -> Tensor:
        """Raw outputs of any number of examples, float32 [examples, outputs]."""
        return self._in_batches(examples, self.raw)

    @torch.no_grad()
    def embeddings(self, examples: Examples) -> Tensor:
        """The backbone's embeddings of the seeds, float32 [examples, channels]."""

        def embed(batch: Examples, generator: Generator) -> Tensor:
            sample = self.sampler.sample(batch.table, batch.rows, batch.visible_until, generator)
            return self.network.backbone(self.inputs, sample, batch.cutoff_time)

        return self._in_batches(examples, embed)

    def _in_batches(
        self, examples: Examples, function: Callable[[Examples, Generator], Tensor]
    ) -> Tensor:
        self.network.eval()
        device = examples.rows.device
        if len(examples) == 0:
            raise ValueError("there are no examples to predict")
        positions = torch.arange(len(examples), device=device).split(EVALUATION_BATCH)
        found = [
            function(examples.take(part), generator_for(device, number))
            for number, part in enumerate(positions)
        ]
        return torch.cat(found)


def generator_for(device: torch.device, seed: int) -> Generator:
    """A generator on a device, from a seed."""
    return torch.Generator(device=device).manual_seed(seed)


class SupervisedObjective:
    """Labelled examples, judged by the task's metric on validation under both protocols.

    Args:
        reader: The network and what it reads.
        train: Training examples, each seen as of its own cutoff.
        stale: The same as earlier moments saw them, in the same order; None for none.
        validation: Validation examples under each protocol.
        task_type: Decides the loss.
        metric: What is watched, once per protocol: `frozen` and `rolling`.
        scale: Of the training labels.
        classes: Number of classes (multiclass only).
        batch_size: Examples a step.
        staleness: Share of training examples seen as of an earlier moment (`RDLConfig`).
        seed: Of order, sampling and staleness.
    """

    def __init__(
        self,
        reader: Reader,
        train: Examples,
        stale: Examples | None,
        validation: Mapping[Protocol, Examples],
        task_type: TaskType,
        metric: Metric,
        scale: TargetScale,
        classes: int,
        batch_size: int,
        staleness: float,
        seed: int,
    ) -> None:
        self.reader = reader
        self.module: torch.nn.Module = reader.network
        self.train, self.stale, self.validation = train, stale, validation
        self.task_type, self.metric, self.scale, self.classes = task_type, metric, scale, classes
        self.batch_size, self.staleness, self.seed = batch_size, staleness, seed
        self.watched: Mapping[str, bool] = {
            str(protocol): metric.higher_is_better for protocol in Protocol
        }
        self._loss = make_loss(task_type, metric, scale)

    def batches(self, epoch: int) -> Iterator[tuple[Examples, Generator]]:
        """Shuffled training examples, some of them stale, with the batch's random generator."""
        device = self.train.rows.device
        generator = generator_for(device, epoch_seed(self.seed, epoch, SAMPLING))
        train = self._with_stale(epoch)
        for positions in shuffled_batches(len(train), self.batch_size, self.seed, epoch):
            yield train.take(positions.to(device)), generator

    def loss(self, batch: tuple[Examples, Generator]) -> tuple[Tensor, dict[str, float | Tensor]]:
        """The task's loss."""
        examples, generator = batch
        raw = self.reader.raw(examples, generator)
        return self._loss(raw, examples.labels), {}

    def validate(self) -> dict[str, float]:
        """The task's metric under each protocol."""
        found: dict[str, float] = {}
        seen: list[tuple[Examples, float]] = []
        for protocol, examples in self.validation.items():
            # With a single validation cutoff both protocols ask the same.
            value = next(
                (v for e, v in seen if torch.equal(e.visible_until, examples.visible_until)), None
            )
            if value is None:
                value = self._score(examples)
                seen.append((examples, value))
            found[str(protocol)] = value
        return found

    def _score(self, examples: Examples) -> float:
        raw = self.reader.all_raw(examples)
        predictions = to_predictions(raw, self.task_type, self.scale)
        labels: np.ndarray = examples.labels.cpu().numpy()
        return watched_score(self.task_type, self.metric, labels, predictions, self.classes)

    def _with_stale(self, epoch: int) -> Examples:
        """The examples, some of them as an earlier moment saw them, others every epoch."""
        if self.staleness == 0 or self.stale is None:
            return self.train
        device, size = self.train.rows.device, len(self.train)
        generator = generator_for(device, epoch_seed(self.seed, epoch, STALENESS))
        is_stale = torch.rand(size, generator=generator, device=device) < self.staleness
        visible = torch.where(is_stale, self.stale.visible_until, self.train.visible_until)
        features = self.train.features
        if features is not None and self.stale.features is not None:
            features = torch.where(is_stale[:, None], self.stale.features, features)
        return replace(self.train, visible_until=visible, features=features)
