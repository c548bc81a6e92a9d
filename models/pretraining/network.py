"""The network of pretraining: one backbone, and heads that are thrown away afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from torch_geometric.nn.module_dict import ModuleDict

from models.pretraining.config import PretrainingConfig, Term
from models.pretraining.contrast import Contrast
from models.pretraining.losses import TypedLoss
from models.pretraining.reconstruction import Reconstruction
from models.pretraining.rows import EntityVectors
from models.rdl.message_passing import Embeddings
from models.rdl.network import Alter, Backbone
from models.rdl.rows import RowInputs
from models.rdl.sampler import SampledGraph
from models.rdl.statistics import TableStatistics

ROWS_FOR_UNITS = 20_000


@dataclass(frozen=True, slots=True)
class Views:
    """Node embeddings by table: of the altered rows, and of the rows as they are where needed.

    Where only seeds are needed, the seeds' table alone has nodes.
    """

    altered: Embeddings
    clean: Embeddings | None


class PretrainingNetwork(nn.Module):
    """A backbone with what the terms of a loss need.

    Args:
        backbone: Shared by all entity tables.
        statistics: The backbone's.
        vectors: The task vectors by entity table.
        terms: The terms of the loss.
        config: Settings.
    """

    def __init__(
        self,
        backbone: Backbone,
        statistics: Mapping[str, TableStatistics],
        vectors: Mapping[str, EntityVectors],
        terms: Mapping[Term, float],
        config: PretrainingConfig,
    ) -> None:
        super().__init__()
        width = config.shape.channels
        self.backbone = backbone
        self.heads = ModuleDict()
        self.typed = ModuleDict()
        if Term.TYPED in terms or Term.REFERENCE in terms:
            for table, known in vectors.items():
                self.heads[table] = nn.Linear(width, len(known.targets))
        if Term.TYPED in terms:
            for table, known in vectors.items():
                self.typed[table] = _typed_loss(known)
        self.reconstruction = Reconstruction(statistics, width) if Term.MASKED in terms else None
        self.contrast = (
            Contrast(list(statistics), width, config.temperature)
            if Term.CONTRASTIVE in terms
            else None
        )

    def forward(
        self,
        inputs: Mapping[str, RowInputs],
        sample: SampledGraph,
        cutoff_time: Tensor,
        alter: Alter | None,
    ) -> Views:
        """The nodes' embeddings after message passing, in the views that the terms need."""
        whole = self.reconstruction is not None or self.contrast is not None

        def view(alter: Alter | None) -> Embeddings:
            nodes = self.backbone.encode(inputs, sample, cutoff_time, alter)
            return self.backbone.propagate(nodes, sample, trim=not whole)

        return Views(view(alter), view(None) if self.contrast is not None else None)

    def task_vectors(self, views: Views, sample: SampledGraph) -> Tensor:
        """The head's output for the seeds alone, [seeds, targets].

        Other nodes of the seeds' table may be in the sample too.
        """
        seeds = views.altered[sample.seed_table][: sample.seeds]
        return cast(nn.Linear, self.heads[sample.seed_table])(seeds)


def _typed_loss(vectors: EntityVectors) -> TypedLoss:
    """The loss in units of the training rows, of at most so many of them at regular steps."""
    train = vectors.train
    step = -(-len(train) // ROWS_FOR_UNITS)
    loss = TypedLoss(vectors.targets).to(train.values.device)
    loss.fit_units(train.values[::step], train.mask[::step], train.weight[::step])
    return loss
