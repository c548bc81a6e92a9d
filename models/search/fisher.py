"""Tasks as points of Fisher space, whose neighbours lend their good trials (AutoTransfer).

Cao et al., "AutoTransfer: AutoML with knowledge transfer", ICLR 2023, Section 4.2: how the loss of a
few anchor networks depends on their random weights says what kind of task it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from models.database.schema import Metric, Task, TaskType
from models.families.candidate import Candidate
from models.learning.outcome import TargetScale, make_loss, outputs_of
from models.rdl.bundle import Blueprint
from models.rdl.config import RDLConfig
from models.rdl.examples import Examples, make_examples
from models.rdl.graph import TemporalGraph, microseconds
from models.rdl.network import neighbour_counts
from models.rdl.preparation import prepare
from models.rdl.statistics import graph_statistics
from models.rdl.supervised import Reader, generator_for
from models.search.priors import priors_of
from models.search.space import Space

ANCHORS: tuple[Mapping[str, Any], ...] = (
    {"convolution": "hgt", "channels": 128, "layers": 1, "fan_out": 128, "heads": 1,
     "normalization": "batch", "seed_label": False},
    {"convolution": "pna", "channels": 64, "layers": 1, "fan_out": 32, "heads": 1,
     "aggregation": "sum", "skip": True, "seed_label": False},
    {"convolution": "relgnn", "channels": 64, "layers": 1, "fan_out": 64, "heads": 1,
     "strategy": "uniform", "normalization": "none", "aggregation": "sum", "skip": True},
    {"convolution": "relgnn", "channels": 64, "layers": 4, "fan_out": 8, "heads": 1,
     "normalization": "batch", "seed_label": False},
    {"convolution": "sage", "channels": 64, "layers": 1, "fan_out": 128, "strategy": "uniform",
     "normalization": "batch", "aggregation": "sum", "seed_label": False},
    {"convolution": "sage", "channels": 64, "layers": 1, "fan_out": 32},
)  # fmt: skip
"""Relatron's six anchor networks (ICLR 2026, released configurations), with our names. A layer of
RelGNN reads two hops: eight of them with the published fan-out of 64 take minutes a batch; here 8."""
REPEATS = 2
BATCHES = 20
BATCH = 256
HEAD_RATE = 1e-2
HEAD_EPOCHS = 50


@dataclass(frozen=True, slots=True)
class _Task:
    """The examples of a task on a graph, and how outputs are judged."""

    graph: TemporalGraph
    train: Examples
    validation: Examples
    task_type: TaskType
    metric: Metric
    scale: TargetScale
    outputs: int


def fisher_embedding(
    task: Task,
    training_table: pl.DataFrame,
    as_of: datetime,
    graph: TemporalGraph,
    text_encoder: str,
    anchors: Sequence[Mapping[str, Any]] = ANCHORS,
    repeats: int = REPEATS,
    batches: int = BATCHES,
) -> np.ndarray:
    """The task's point, float64 [anchors * repeats].

    For each anchor and repeat: a backbone of random weights, frozen; a head fitted to the training
    labels over it; then the squared gradients of the validation loss by the backbone's weights, with
    labels drawn from what the network predicts (true labels for regression), summed over batches to
    g. The coordinate is mean(g^2) / mean(g)^2: how unevenly the weights matter, 1 or more.

    Args:
        task: The task; its hidden columns are not read.
        training_table: row_id, entity, cutoff_time, label, split; of `train` and `val` rows alone.
        as_of: The date of the run.
        graph: The temporal graph, on the CPU.
        text_encoder: The name of its text encoder.
        anchors: Settings of the networks.
        repeats: Random weights of each anchor.
        batches: At most so many batches of 256 examples of each split.
    """
    data = prepare(task, training_table, as_of, None)
    train, validation = (
        make_examples(graph, task.entity_table, part.seeds, part.labels)
        for part in (data.parts["train"], data.parts[str(task.protocol)])
    )
    scale = TargetScale.fit(task.task_type, data.parts["train"].labels)
    outputs = outputs_of(task.task_type, len(data.labels.classes))
    known = _Task(graph, train, validation, task.task_type, task.metric, scale, outputs)
    until = microseconds(as_of - task.validation_span)
    statistics = graph_statistics(graph, until, task.hidden_columns)
    found = []
    for anchor in anchors:
        config = RDLConfig(**(dict(anchor) | {"dropout": 0.0, "features": False}))
        is_pna = config.convolution == "pna"
        degrees = neighbour_counts(graph, until, config.fan_out) if is_pna else {}
        edges = tuple(graph.edge_types)
        blueprint = Blueprint(
            config, statistics, edges, degrees, scale, outputs, None, text_encoder
        )
        found += [_coordinate(blueprint, known, seed, batches) for seed in range(repeats)]
    return np.array(found)


def _coordinate(blueprint: Blueprint, task: _Task, seed: int, batches: int) -> float:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = blueprint.network()
        reader = blueprint.reader(network.eval(), task.graph)
        _fit_head(reader, task, seed, batches)
        weights = [weight for weight in network.backbone.parameters() if weight.requires_grad]
        squares = [torch.zeros_like(weight) for weight in weights]
        loss = make_loss(task.task_type, task.metric, task.scale)
        for part, generator in _batches(task.validation, seed, batches):
            raw = reader.raw(part, generator)
            labels = _drawn_labels(raw, part.labels, task.task_type, generator)
            gradients = torch.autograd.grad(loss(raw, labels), weights, allow_unused=True)
            for total, gradient in zip(squares, gradients, strict=True):
                if gradient is not None:
                    total += gradient.square()
    g = torch.cat([one.flatten() for one in squares]).double()
    # Gradients are small, their fourth powers smaller: scaled, which the ratio does not see.
    g = g / g.max().clamp(min=torch.finfo(torch.float32).tiny)
    return float(g.square().mean() / g.mean().square()) if bool(g.any()) else 1.0


def _fit_head(reader: Reader, task: _Task, seed: int, batches: int) -> None:
    """Fits the head over the frozen backbone's embeddings, which are computed once."""
    network = reader.network
    with torch.no_grad():
        cached = []
        for part, generator in _batches(task.train, seed, batches):
            sample = reader.sampler.sample(part.table, part.rows, part.visible_until, generator)
            embedded = network.backbone(reader.inputs, sample, part.cutoff_time)
            cached.append((embedded, part.labels))
    loss = make_loss(task.task_type, task.metric, task.scale)
    optimiser = torch.optim.Adam(nn.ModuleList([network.head]).parameters(), lr=HEAD_RATE)
    for _ in range(HEAD_EPOCHS):
        for embedded, labels in cached:
            optimiser.zero_grad(set_to_none=True)
            loss(network.head(embedded), labels).backward()  # type: ignore[no-untyped-call]
            optimiser.step()


def _batches(
    examples: Examples, seed: int, batches: int
) -> Iterator[tuple[Examples, torch.Generator]]:
    order = torch.randperm(len(examples), generator=generator_for(torch.device("cpu"), seed))
    for number, positions in enumerate(order[: batches * BATCH].split(BATCH)):
        yield examples.take(positions), generator_for(examples.rows.device, number)


def _drawn_labels(
    raw: Tensor, labels: Tensor, task_type: TaskType, generator: torch.Generator
) -> Tensor:
    raw = raw.detach()
    if task_type == TaskType.BINARY_CLASSIFICATION:
        return torch.bernoulli(torch.sigmoid(raw.squeeze(-1)), generator=generator)
    if task_type == TaskType.MULTICLASS_CLASSIFICATION:
        return torch.multinomial(raw.softmax(dim=-1), 1, generator=generator).squeeze(1)
    return labels


def nearest_tasks(
    point: np.ndarray, others: Mapping[str, np.ndarray], count: int
) -> list[tuple[str, float]]:
    """The tasks with the most similar points, most similar first, with the cosine.

    Coordinates are in logarithms, less their mean over the other tasks: all of them are positive,
    and raw points would all look alike.
    """
    if not others:
        return []
    names = sorted(others)
    known = np.log(np.stack([others[name] for name in names]))
    centre = known.mean(axis=0)
    own, known = np.log(point) - centre, known - centre
    norms = np.linalg.norm(own) * np.linalg.norm(known, axis=1)
    cosines = known @ own / np.where(norms > 0, norms, 1.0)
    order = np.argsort(-cosines, kind="stable")[:count]
    return [(names[at], float(cosines[at])) for at in order]


def transferred_priors(
    space: Space,
    neighbours: Sequence[tuple[str, float]],
    good_trials: Mapping[str, Sequence[Candidate]],
) -> dict[str, dict[Any, float]]:
    """Priors of what was good for the neighbours, each weighted by its similarity (never below 0).

    A task's weight is shared among its good trials, so that many of them say no more than few.
    """
    weighted = [
        (candidate, max(similarity, 0.0) / len(good_trials[name]))
        for name, similarity in neighbours
        for candidate in good_trials.get(name, ())
    ]
    return priors_of(space, weighted)
