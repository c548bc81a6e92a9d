"""The relational network: rows and ages to embeddings, messages along foreign keys, a head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch_geometric.nn.module_dict import ModuleDict

from models.rdl.config import NORMALIZATIONS, NetworkShape
from models.rdl.graph import EdgeType, TemporalGraph, directions
from models.rdl.message_passing import Embeddings, make_layer, trimmed
from models.rdl.row_encoder import AgeEncoder, Dropout, RowEncoder, features_of
from models.rdl.rows import RowInputs
from models.rdl.sampler import SampledGraph
from models.rdl.statistics import TableStatistics

Features = tuple[Tensor, Tensor, tuple[Tensor, ...]]
Alter = Callable[[str, Features], Features]
"""Changes the features of a table's rows before they are encoded (corruption)."""


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that takes a single row, which has no variance, by the running figures."""

    def forward(self, input: Tensor) -> Tensor:
        """The normalised rows."""
        if self.training and len(input) < 2:
            return nn.functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


NORMALIZATION_LAYERS = dict(
    zip(NORMALIZATIONS, (nn.LayerNorm, BatchNorm, nn.Identity), strict=True)
)


class Backbone(nn.Module):
    """Everything below the head: what pretraining hands to fine-tuning.

    Args:
        statistics: What is known of each table.
        edge_types: The graph's.
        shape: The architecture.
        degrees: For PNA, `neighbour_counts`.
    """

    def __init__(
        self,
        statistics: Mapping[str, TableStatistics],
        edge_types: list[EdgeType],
        shape: NetworkShape,
        degrees: Mapping[EdgeType, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape
        width = shape.channels
        self.rows = ModuleDict(
            {
                table: RowEncoder(known, width, shape.encoder_layers, shape.dropout)
                for table, known in statistics.items()
            }
        )
        times = {t: int(known.is_timed) + len(known.timestamps) for t, known in statistics.items()}
        self.ages = ModuleDict(
            {t: AgeEncoder(count, width) for t, count in times.items() if count and shape.ages}
        )
        self.seed_mark = nn.Parameter(torch.randn(width) * 0.1) if shape.seed_label else None
        tables = list(statistics)
        self.layers = nn.ModuleList(
            make_layer(
                shape.convolution,
                tables,
                edge_types,
                width,
                shape.heads,
                shape.aggregation,
                degrees or {},
            )
            for _ in range(shape.layers)
        )
        normalization = NORMALIZATION_LAYERS[shape.normalization]
        self.norms = nn.ModuleList(
            ModuleDict({table: normalization(width) for table in tables})
            for _ in range(shape.layers)
        )
        self.dropout = Dropout(shape.dropout)

    def forward(
        self,
        inputs: Mapping[str, RowInputs],
        sample: SampledGraph,
        cutoff_time: Tensor,
        alter: Alter | None = None,
    ) -> Tensor:
        """The seeds' embeddings, float32 [seeds, channels].

        Args:
            inputs: Every table's rows.
            sample: The seeds' neighbourhoods.
            cutoff_time: int64 [seeds] microseconds; ages count from here.
            alter: Changes rows' features before they are encoded.
        """
        nodes = self.encode(inputs, sample, cutoff_time, alter)
        return self.propagate(nodes, sample)[sample.seed_table][: sample.seeds]

    def encode(
        self,
        inputs: Mapping[str, RowInputs],
        sample: SampledGraph,
        cutoff_time: Tensor,
        alter: Alter | None = None,
    ) -> Embeddings:
        """The embeddings of all sampled nodes before any message, by table."""
        nodes = {}
        for table, rows in sample.rows.items():
            distinct, place = distinct_rows(rows, len(inputs[table].numbers))
            features = features_of(inputs[table], distinct)
            if alter is not None:
                features = alter(table, features)
            # Many nodes of a batch are the same row as seen by different seeds: encoded once.
            encoder = cast(RowEncoder, self.rows[table])
            encoded = encoder.encode(*features)[place]
            if table in self.ages:
                cutoffs = cutoff_time[sample.seed_of[table]]
                encoded = encoded + self.ages[table](inputs[table].times[rows], cutoffs)
            if self.seed_mark is not None and table == sample.seed_table:
                seed_rows = rows[: sample.seeds]
                is_seed = rows == seed_rows[sample.seed_of[table]]
                encoded = encoded + is_seed[:, None] * self.seed_mark
            nodes[table] = encoded
        return nodes

    def propagate(self, nodes: Embeddings, sample: SampledGraph, trim: bool = True) -> Embeddings:
        """The embeddings after all layers.

        With `trim`, each layer updates only what the seeds' result depends on, and only the seeds'
        table has any nodes in the end; else all nodes are updated by every layer.
        """
        for number, (layer, norms) in enumerate(zip(self.layers, self.norms, strict=True)):
            if trim:
                kept, edges, sizes = trimmed(sample, nodes, number, self.shape.convolution.hops)
            else:
                kept, edges = nodes, sample.edges
                sizes = {table: len(embeddings) for table, embeddings in nodes.items()}
            updated = layer(kept, edges, sizes)
            nodes = {}
            for table, embeddings in updated.items():
                if len(embeddings) == 0:
                    nodes[table] = embeddings
                    continue
                result = torch.relu(cast(ModuleDict, norms)[table](embeddings))
                result = self.dropout(result)
                nodes[table] = result + kept[table][: len(result)] if self.shape.skip else result
        return nodes


class RelationalNetwork(nn.Module):
    """A backbone and a head for one kind of seed.

    Args:
        backbone: The backbone.
        outputs: Numbers per seed.
        seed_features: Width of further inputs of each seed (DFS features), 0 for none.
    """

    def __init__(self, backbone: Backbone, outputs: int, seed_features: int = 0) -> None:
        super().__init__()
        width = backbone.shape.channels
        self.backbone = backbone
        self.features = (
            nn.Sequential(nn.Linear(seed_features, width), nn.LayerNorm(width), nn.ReLU())
            if seed_features
            else None
        )
        self.head = nn.Sequential(
            nn.Linear(width * (2 if seed_features else 1), width),
            nn.ReLU(),
            Dropout(backbone.shape.dropout),
            nn.Linear(width, outputs),
        )

    def forward(
        self,
        inputs: Mapping[str, RowInputs],
        sample: SampledGraph,
        cutoff_time: Tensor,
        seed_features: Tensor | None = None,
        alter: Alter | None = None,
    ) -> Tensor:
        """Raw outputs, float32 [seeds, outputs]."""
        embedded = self.backbone(inputs, sample, cutoff_time, alter)
        if self.features is not None:
            embedded = torch.cat([embedded, self.features(seed_features)], dim=1)
        return self.head(embedded)


def distinct_rows(rows: Tensor, table_rows: int) -> tuple[Tensor, Tensor]:
    """The distinct row numbers, ascending, and the place of each row among them."""
    if table_rows > 8 * len(rows):
        distinct, place = torch.unique(rows, return_inverse=True)
        return distinct, place
    # Marking beats sorting where the table is small.
    is_there = torch.zeros(table_rows, dtype=torch.bool, device=rows.device)
    is_there[rows] = True
    return torch.nonzero(is_there).squeeze(1), (torch.cumsum(is_there, 0) - 1)[rows]


def neighbour_counts(graph: TemporalGraph, until: int, most: int) -> dict[EdgeType, Tensor]:
    """How many rows have 0, 1, ... neighbours by each edge type, of what is visible at a time.

    Args:
        graph: The graph.
        until: Microseconds.
        most: More neighbours than this count as this many (the fan-out).
    """
    limit = graph.visible_rank(torch.tensor([until], device=graph.device))
    found = {}
    for key, adjacency in zip(graph.foreign_keys, graph.adjacency, strict=True):
        to_parent, to_child = directions(key)
        is_parent = graph.tables[key.parent].time_rank <= limit
        parents = torch.nonzero(is_parent).squeeze(1)
        end = torch.searchsorted(adjacency.order, parents * graph.ranks + limit, right=True)
        counts = (end - adjacency.first[parents]).clamp(max=most)
        found[to_parent] = torch.bincount(counts, minlength=2).cpu()
        children = adjacency.parent[graph.tables[key.table].time_rank <= limit]
        has_parent = children >= 0
        has_parent[has_parent.clone()] = is_parent[children[has_parent]]
        found[to_child] = torch.bincount(has_parent.long(), minlength=2).cpu()
    return found
