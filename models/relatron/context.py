"""Agreement with the labelled rows in an example's context.

The context is what a network of two hops would sample around the row: the entity itself and the
entities that it reaches by two keys, as of the cutoff. The labels of theirs that were known by then
are compared with the row's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.rdl.config import Strategy
from models.rdl.sampler import TemporalSampler
from models.rdl.subsets import last_of
from models.relatron.agreement import Pairs, Resampling, agreement
from models.relatron.inputs import LabelledRows, Signal, SignalConfig, SignalInputs

GROUP = "context"
HOPS = 2
BATCH = 1024


@dataclass(frozen=True, slots=True)
class Context:
    """Pairs of a row and a labelled row in its context, both positions, int64 [pairs]."""

    row: Tensor
    other: Tensor


def context_signals(inputs: SignalInputs, rows: LabelledRows, config: SignalConfig) -> list[Signal]:
    """How alike a row's label and those in its context are.

    `context_agreement`: `agreement` over all pairs, every row counting as much as any other.
    `context_sparsity`: the share of rows without labels in their context. `context_labels`: labels
    in a context, on average.
    """
    chosen = rows.some(config.rows, config.seed)
    found = contexts(inputs, rows, chosen, config)
    per_row = torch.bincount(found.row, minlength=len(rows))
    entity = rows.entity[found.row].numpy()
    pairs = Pairs(
        entity,
        rows.label[found.row.numpy()],
        rows.label[found.other.numpy()],
        (1 / per_row[found.row].double()).numpy(),
    )
    resampling = Resampling.of(
        inputs.graph.tables[inputs.task.entity_table].rows,
        rows.entity.numpy(),
        config.draws,
        config.seed,
    )
    alike = agreement(pairs, rows.classes, resampling)
    counts = per_row[chosen].double()
    empty = float((counts == 0).double().mean())
    size = len(chosen)
    spread = float(counts.std(correction=0))
    return [
        Signal("context_agreement", GROUP, alike.value, alike.error),
        Signal("context_sparsity", GROUP, empty, float(np.sqrt(empty * (1 - empty) / size))),
        Signal("context_labels", GROUP, float(counts.mean()), spread / size**0.5),
    ]


def contexts(
    inputs: SignalInputs, rows: LabelledRows, chosen: Tensor, config: SignalConfig
) -> Context:
    """The labelled rows in the contexts of the rows at some positions.

    Of an entity's known labels the newest `config.returns` are taken.
    """
    sampler = TemporalSampler(inputs.graph, (config.middles,) * HOPS, Strategy.LAST)
    parts = [_batch(inputs, rows, part, sampler, config) for part in chosen.split(BATCH)]
    return Context(torch.cat([p.row for p in parts]), torch.cat([p.other for p in parts]))


def _batch(
    inputs: SignalInputs,
    rows: LabelledRows,
    chosen: Tensor,
    sampler: TemporalSampler,
    config: SignalConfig,
) -> Context:
    table = inputs.task.entity_table
    time = rows.cutoff_time[chosen]
    sample = sampler.sample(table, rows.entity[chosen], time)
    count = inputs.graph.tables[table].rows
    # An entity that is reached several times is there once.
    reached = torch.unique(sample.seed_of[table] * count + sample.rows[table])
    seed, entity = reached // count, reached % count
    first, end = rows.known(entity, time[seed])
    owner, place = last_of(end - first, config.returns)
    return Context(chosen[seed[owner]], first[owner] + place)
