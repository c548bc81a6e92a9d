"""The temporal graph and its samples in PyG's terms: HeteroData, BaseSampler, NodeLoader.

Models written for PyG read the graph through `torch_geometric.loader.NodeLoader`:

    loader = NodeLoader(
        hetero_data(graph),
        node_sampler=TemporalNeighborSampler(TemporalSampler(graph, (16, 8))),
        input_nodes=("drivers", rows),
        input_time=visible_until,
        batch_size=512,
    )

Every batch is disjoint by seed, and its nodes and edges stand hop by hop, so
`torch_geometric.utils.trim_to_layer` applies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch_frame
from torch import Generator, Tensor
from torch_frame import TensorFrame
from torch_frame.data import MultiEmbeddingTensor
from torch_geometric.data import HeteroData
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    HeteroSamplerOutput,
    NegativeSampling,
    NodeSamplerInput,
)

from models.rdl.graph import TemporalGraph, directions
from models.rdl.row_encoder import features_of
from models.rdl.rows import RowInputs, number_names, row_inputs
from models.rdl.sampler import SampledGraph, TemporalSampler
from models.rdl.statistics import TableStatistics


class TemporalNeighborSampler(BaseSampler):
    """A `TemporalSampler` by PyG's conventions for samplers, for `NodeLoader`.

    The seeds' times (`input_time`) are what `TemporalSampler.sample` calls `visible_until`: int64
    microseconds since 1970, and no later row is sampled. They are required: a sample without a time
    would see the future.

    Args:
        sampler: The sampler; samples are on its graph's device.
        generator: The source of randomness, on that device. Without one it is torch's global
            generator, which differs from one loader process to the next; a generator of one's own
            does not, so it is for `num_workers=0`.
    """

    def __init__(self, sampler: TemporalSampler, generator: Generator | None = None) -> None:
        super().__init__()
        self.sampler, self.generator = sampler, generator

    def sample_from_nodes(self, index: NodeSamplerInput, **_: Any) -> HeteroSamplerOutput:
        """The neighbourhoods of seeds; `metadata` holds the seeds' positions and times.

        Raises:
            ValueError: The seeds have no table, no times, or times that are no int64.
        """
        if index.input_type is None:
            raise ValueError("seeds need the table they are rows of: input_nodes=(table, rows)")
        if index.time is None or index.time.dtype != torch.int64:
            found = "none" if index.time is None else str(index.time.dtype)
            raise ValueError(
                f"seeds of {index.input_type!r} need input_time, the int64 microseconds up to which "
                f"rows are visible (got {found})"
            )
        device = self.sampler.graph.device
        sample = self.sampler.sample(
            index.input_type, index.node.to(device), index.time.to(device), self.generator
        )
        return HeteroSamplerOutput(
            node=dict(sample.rows),
            row={tuple(edge): links[0] for edge, links in sample.edges.items()},
            col={tuple(edge): links[1] for edge, links in sample.edges.items()},
            edge={tuple(edge): None for edge in sample.edges},
            batch=dict(sample.seed_of),
            num_sampled_nodes=dict(sample.nodes_per_hop),
            num_sampled_edges={tuple(edge): n for edge, n in sample.edges_per_hop.items()},
            metadata=(index.input_id, index.time),
        )

    def sample_from_edges(
        self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> HeteroSamplerOutput:
        """Refused: seeds are rows of one entity table, as the tasks' labels are.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "a temporal graph is sampled around rows, not around pairs of rows; use NodeLoader with "
            "the rows as input_nodes"
        )


def hetero_data(
    graph: TemporalGraph, statistics: Mapping[str, TableStatistics] | None = None
) -> HeteroData:
    """The whole graph as PyG's HeteroData, on the graph's device.

    By table: `num_nodes`; `time`, int64 microseconds (MISSING_TIME where it is missing), where the
    table has an event time; with `statistics`, `tf`, pytorch-frame's TensorFrame of the rows as
    networks read them (`row_inputs`). Ages are not among them, as they depend on the seed: take
    them from `time` and the batch's `seed_time`. By edge type: `edge_index`, int64 [2, edges].

    Args:
        graph: The graph.
        statistics: What is known of each table. A text column takes its embedding's size for every
            row, not once for every distinct text.
    """
    data = HeteroData()
    for name, table in graph.tables.items():
        data[name].num_nodes = table.rows
        if table.time is not None:
            data[name].time = table.time
    for key, adjacency in zip(graph.foreign_keys, graph.adjacency, strict=True):
        to_parent, to_child = directions(key)
        links = torch.stack([adjacency.children, adjacency.parent[adjacency.children]])
        data[tuple(to_parent)].edge_index = links
        data[tuple(to_child)].edge_index = links.flip(0)
    for name, inputs in row_inputs(graph, statistics or {}).items():
        frame = tensor_frame(inputs, (statistics or {})[name])
        if frame is not None:
            data[name].tf = frame
    return data


def tensor_frame(inputs: RowInputs, statistics: TableStatistics) -> TensorFrame | None:
    """A table's rows as pytorch-frame's TensorFrame; None where it has no usable column.

    Numbers are scaled, categories the codes of `RowInputs.codes`, texts their embeddings.
    """
    rows = torch.arange(len(inputs.numbers), device=inputs.numbers.device)
    numbers, codes, text = features_of(inputs, rows)
    features: dict[torch_frame.stype, Tensor | MultiEmbeddingTensor] = {}
    names: dict[torch_frame.stype, list[str]] = {}
    if numbers.shape[1]:
        features[torch_frame.numerical], names[torch_frame.numerical] = (
            numbers,
            number_names(statistics),
        )
    if statistics.categories:
        features[torch_frame.categorical] = codes
        names[torch_frame.categorical] = list(statistics.categories)
    if text:
        ends = torch.tensor([0, *(one.shape[1] for one in text)], device=rows.device).cumsum(0)
        joined = torch.cat(text, dim=1)
        features[torch_frame.embedding] = MultiEmbeddingTensor(len(rows), len(text), joined, ends)
        names[torch_frame.embedding] = list(statistics.text)
    return TensorFrame(features, names) if features else None


def to_hetero_data(
    sample: SampledGraph, visible_until: Tensor, input_id: Tensor | None = None
) -> HeteroData:
    """A sample as a batch of `NodeLoader`: what PyG's models expect, without a loader.

    By table: `n_id`, the row of each node, `batch`, the seed that it belongs to, `num_nodes` and
    `num_sampled_nodes` by hop; of the seeds' table also `batch_size`, `seed_time` and `input_id`. By
    edge type: `edge_index` and `num_sampled_edges` by hop.

    Args:
        sample: The sample.
        visible_until: int64 [seeds] microseconds, what it was sampled with.
        input_id: int64 [seeds], the seeds' positions among all examples; None for 0, 1, ...
    """
    data = HeteroData()
    for table, rows in sample.rows.items():
        store = data[table]
        store.num_nodes, store.n_id, store.batch = len(rows), rows, sample.seed_of[table]
        store.num_sampled_nodes = sample.nodes_per_hop[table]
    for edge, links in sample.edges.items():
        data[tuple(edge)].edge_index = links
        data[tuple(edge)].num_sampled_edges = sample.edges_per_hop[edge]
    seeds = data[sample.seed_table]
    seeds.batch_size, seeds.seed_time = sample.seeds, visible_until
    seeds.input_id = (
        torch.arange(sample.seeds, device=visible_until.device) if input_id is None else input_id
    )
    return data
