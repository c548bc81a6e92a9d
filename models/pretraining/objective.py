"""The objective of a stage of pretraining, over all entity tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, cast

import torch
from torch import Generator, Tensor

from models.learning.batching import shuffled_batches
from models.learning.config import epoch_seed
from models.pretraining.config import PretrainingConfig, Stage, Term
from models.pretraining.corruption import alteration
from models.pretraining.losses import Sums, TypedLoss, scaled_cosine
from models.pretraining.network import PretrainingNetwork, Views
from models.pretraining.reconstruction import PARTS
from models.pretraining.rows import EntityVectors, VectorRows
from models.rdl.rows import RowInputs
from models.rdl.sampler import SampledGraph, TemporalSampler
from models.rdl.statistics import TableStatistics
from models.rdl.supervised import generator_for

WATCHED = "validation_loss"
SAMPLING, TABLES, STALENESS = 2, 3, 4
"""Purposes of the random generators of an epoch."""


class Batch(NamedTuple):
    """Rows of one entity table and the batch's source of randomness."""

    rows: VectorRows
    generator: Generator


class PretrainingObjective:
    """Task-vector rows of several entity tables, each batch of one of them.

    An entity table gets batches in proportion to its training rows. Validation goes through the
    chosen validation rows with the same alterations and neighbourhoods every time, those of an
    untrained network included, so that its values can be compared.

    Args:
        network: What is trained.
        inputs: The rows of all tables.
        sampler: Of the same graph.
        statistics: That the inputs were made with.
        vectors: By entity table, on the graph's device.
        stage: The terms of the loss and the share of altered cells.
        config: Settings.
    """

    def __init__(
        self,
        network: PretrainingNetwork,
        inputs: Mapping[str, RowInputs],
        sampler: TemporalSampler,
        statistics: Mapping[str, TableStatistics],
        vectors: Mapping[str, EntityVectors],
        stage: Stage,
        config: PretrainingConfig,
    ) -> None:
        self.module: torch.nn.Module = network
        self.network, self.inputs, self.sampler = network, inputs, sampler
        self.statistics, self.vectors, self.stage, self.config = statistics, vectors, stage, config
        self.watched: Mapping[str, bool] = {WATCHED: False}
        self.inactive_weights = {
            table: _active_share(known.train)
            if config.inactive_weight is None
            else config.inactive_weight
            for table, known in vectors.items()
            if Term.REFERENCE in stage.terms
        }

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Every training row once, in batches of one entity table each, in random order."""
        seed = self.config.seed
        device = self.sampler.graph.device
        tables = list(self.vectors)
        per_table = [
            shuffled_batches(
                len(self.vectors[table].train), self.config.batch_size, seed + i, epoch
            )
            for i, table in enumerate(tables)
        ]
        counts = [-(-len(self.vectors[table].train) // self.config.batch_size) for table in tables]
        order = torch.repeat_interleave(torch.tensor(counts))
        shuffle = torch.Generator().manual_seed(epoch_seed(seed, epoch, TABLES))
        generator = generator_for(device, epoch_seed(seed, epoch, SAMPLING))
        for number in order[torch.randperm(len(order), generator=shuffle)].tolist():
            # One batch fewer than counted where a last row was joined to the batch before.
            positions = next(per_table[number], None)
            if positions is not None:
                rows = self.vectors[tables[number]].train.take(positions.to(device))
                yield Batch(self._with_stale(rows, generator), generator)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float | Tensor]]:
        """The weighted sum of the terms, and each term."""
        table = batch.rows.seeds.table
        total, parts = self._values(table, self._sums(batch))
        return total, {name: value for name, value in parts.items() if name in self.stage.terms}

    def validate(self) -> dict[str, float]:
        """The loss over the validation rows and its parts, tables weighted by their training rows.

        Unlike in training, groups of typed targets are joined by their geometric mean: where times
        change so that one group can no longer be foretold, it does not decide alone. A table
        without validation rows does not count; NaN where there are none at all.
        """
        found: dict[str, float] = {}
        rows = {t: len(v.train) for t, v in self.vectors.items() if len(v.validation)}
        if not rows:
            return {WATCHED: float("nan")}
        for table, count in rows.items():
            sums = self._validation_sums(table)
            total, parts = self._values(table, sums, is_validation=True)
            values = {WATCHED: total, **{f"validation {n}": part for n, part in parts.items()}}
            share = count / sum(rows.values())
            for name, value in values.items():
                found[name] = found.get(name, 0.0) + share * float(value)
        return found

    def _validation_sums(self, table: str) -> dict[str, Sums]:
        device = self.sampler.graph.device
        validation = self.vectors[table].validation
        sums: dict[str, Sums] = {}
        parts = torch.arange(len(validation), device=device).split(self.config.batch_size)
        for number, positions in enumerate(parts):
            batch = Batch(validation.take(positions), generator_for(device, number))
            for name, value in self._sums(batch).items():
                sums[name] = sums[name] + value if name in sums else value
        return sums

    def _sums(self, batch: Batch) -> dict[str, Sums]:
        """What the terms are made of, so that batches can be added up."""
        seeds, generator = batch.rows.seeds, batch.generator
        sample = self.sampler.sample(seeds.table, seeds.rows, seeds.visible_until, generator)
        alter = (
            alteration(self.statistics, self.stage.corruption, generator)
            if self.stage.corruption
            else None
        )
        network = self.network
        views = network(self.inputs, sample, seeds.cutoff_time, alter)
        found: dict[str, Sums] = {}
        if len(network.heads):
            found |= self._task_vector_sums(network.task_vectors(views, sample), batch.rows)
        if network.reconstruction is not None or network.contrast is not None:
            found |= self._node_sums(views, sample, generator)
        return found

    def _task_vector_sums(self, raw: Tensor, rows: VectorRows) -> dict[str, Sums]:
        table = rows.seeds.table
        if Term.TYPED in self.stage.terms:
            typed = cast(TypedLoss, self.network.typed[table])
            return {Term.TYPED: typed(raw, rows.values, rows.mask, rows.weight)}
        share = self.inactive_weights[table]
        return {
            Term.REFERENCE: scaled_cosine(raw, rows.values, rows.weight, share, self.config.alpha)
        }

    def _node_sums(
        self, views: Views, sample: SampledGraph, generator: Generator
    ) -> dict[str, Sums]:
        chosen = some_nodes(sample, self.config.most_nodes, generator)
        rows = {table: sample.rows[table][nodes] for table, nodes in chosen.items()}
        altered = {table: views.altered[table][nodes] for table, nodes in chosen.items()}
        found: dict[str, Sums] = {}
        if self.network.reconstruction is not None:
            found |= self.network.reconstruction(altered, rows, self.inputs)
        if self.network.contrast is not None and views.clean is not None:
            clean = {table: views.clean[table][nodes] for table, nodes in chosen.items()}
            found[Term.CONTRASTIVE] = self.network.contrast(altered, clean, rows)
        return found

    def _values(
        self, table: str, sums: Mapping[str, Sums], is_validation: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its detached parts."""
        terms = self.stage.terms
        parts = {name: one.mean() for name, one in sums.items()}
        if Term.TYPED in terms and is_validation:
            parts[Term.TYPED] = sums[Term.TYPED].geometric_mean()
        if Term.MASKED in terms:
            parts[Term.MASKED] = sum((parts[part] for part in PARTS), torch.zeros(()))
        total = sum((weight * parts[term] for term, weight in terms.items()), torch.zeros(()))
        named = {str(name): value.detach() for name, value in parts.items()}
        if Term.TYPED in terms and is_validation:
            typed = cast(TypedLoss, self.network.typed[table])
            named |= typed.by_kind(sums[Term.TYPED].detach())
        return total, named

    def _with_stale(self, rows: VectorRows, generator: Generator) -> VectorRows:
        """Some rows see the database as of earlier, by up to the time that validation spans."""
        share, seeds = self.config.staleness, rows.seeds
        timeline = self.vectors[seeds.table].timeline
        span = (timeline.known_until - timeline.train_limit).total_seconds() * 1e6
        if share == 0:
            return rows
        device, count = seeds.rows.device, len(seeds)
        lag = torch.rand(count, generator=generator, device=device, dtype=torch.float64) * span
        is_stale = torch.rand(count, generator=generator, device=device) < share
        visible = seeds.visible_until - (lag * is_stale).long()
        return replace(rows, seeds=replace(seeds, visible_until=visible))


def some_nodes(sample: SampledGraph, most: int, generator: Generator) -> dict[str, Tensor]:
    """Nodes of each table that has any: the seeds, and at most so many random others, ascending."""
    chosen = {}
    for table, rows in sample.rows.items():
        first = sample.seeds if table == sample.seed_table else 0
        others = len(rows) - first
        if len(rows) == 0:
            continue
        device = rows.device
        if others > most:
            drawn = torch.randperm(others, generator=generator, device=device)[:most].sort().values
        else:
            drawn = torch.arange(others, device=device)
        chosen[table] = torch.cat([torch.arange(first, device=device), drawn + first])
    return chosen


def _active_share(rows: VectorRows) -> float:
    """The share of rows whose last component, the paper's label, says that something happens."""
    active = (rows.values[:, -1] < 0.5) * rows.weight
    return float(active.sum() / rows.weight.sum())
