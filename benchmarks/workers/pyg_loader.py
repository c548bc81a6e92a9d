"""RelBench's GraphSAGE model, fed by PyG's loaders through torch-sparse.

Variants, because PyG samples with times only through pyg-lib, which is on no package registry:

- `temporal`: torch-sparse's own temporal sampler behind PyG's `NodeLoader`. It takes a seed's time
  from the seed's node, so each training row becomes a node of its own, with the neighbours that its
  entity had by then. Farther from the seed it draws the fan-out and then drops the rows after the
  cutoff, so that samples may be smaller than asked for.
- `untimed`: PyG's `NeighborLoader` as it is, without times. Seeds share the rows that they have in
  common and see the future: less work than a model on a database has to do, and a wrong one.

The encoders, the message passing and the graph are RelBench's (Robinson et al., 2024, RelBench: A
Benchmark for Deep Learning on Relational Databases, section 4), put together as in its GNN example.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import torch
import torch_frame
from relbench.base import Database, Table
from relbench.modeling.graph import make_pkey_fkey_graph
from relbench.modeling.nn import HeteroEncoder, HeteroGraphSAGE, HeteroTemporalEncoder
from sklearn.feature_extraction.text import HashingVectorizer
from torch import Tensor
from torch_frame import stype
from torch_frame.config.text_embedder import TextEmbedderConfig
from torch_geometric.data import HeteroData
from torch_geometric.loader import NeighborLoader, NodeLoader
from torch_geometric.nn import MLP
from torch_geometric.sampler import HeteroSamplerOutput, NeighborSampler
from torch_geometric.sampler.neighbor_sampler import remap_keys

from benchmarks.case import Case, CaseTable
from benchmarks.training import Speed, Step, TrainingRequest, TrainingShape, measure_training

TEXT_DIMENSIONS = 64
ALWAYS = torch.iinfo(torch.int64).min
NAMES = {
    "temporal": "PyG NodeLoader on torch-sparse's temporal sampler",
    "untimed": "PyG NeighborLoader on torch-sparse, without times",
}


class SparseTemporalSampler(NeighborSampler):
    """PyG's sampler with torch-sparse's temporal operator, which PyG does not call.

    Args:
        data: The graph.
        num_neighbors: The fan-out by hop.
        times: int64 by node type that has times, the seeds' type among them: no row is drawn whose
            time is after the seed's.
    """

    def __init__(
        self, data: HeteroData, num_neighbors: list[int], times: dict[str, Tensor]
    ) -> None:
        super().__init__(data, num_neighbors)
        self._times = times

    def _sample(
        self, seed: dict[str, Tensor], seed_time: object = None, **_: object
    ) -> HeteroSamplerOutput:
        node, row, col, edge = torch.ops.torch_sparse.hetero_temporal_neighbor_sample(
            self.node_types,
            self.edge_types,
            self.colptr_dict,
            self.row_dict,
            seed,
            self.num_neighbors.get_mapped_values(self.edge_types),
            self._times,
            self.num_neighbors.num_hops,
            False,
            True,
        )
        row, col, edge = (remap_keys(found, self.to_edge_type) for found in (row, col, edge))
        return HeteroSamplerOutput(node, row, col, edge, self._seed_of(seed, node, row, col))

    def _seed_of(
        self,
        seed: dict[str, Tensor],
        node: dict[str, Tensor],
        row: dict[tuple[str, str, str], Tensor],
        col: dict[tuple[str, str, str], Tensor],
    ) -> dict[str, Tensor]:
        """Each sampled row's seed, which the operator keeps to itself: followed along the edges."""
        found = {kind: torch.full_like(rows, -1) for kind, rows in node.items()}
        for kind, rows in seed.items():
            found[kind][: len(rows)] = torch.arange(len(rows))
        for _ in range(self.num_neighbors.num_hops):
            for edge_type, targets in col.items():
                of_target = found[edge_type[2]][targets]
                known = of_target >= 0
                found[edge_type[0]][row[edge_type][known]] = of_target[known]
        return found


class Model(torch.nn.Module):
    """RelBench's row encoder, relative times (of timed samples), GraphSAGE and a linear head."""

    def __init__(
        self, data: HeteroData, statistics: dict[str, Any], entity: str, shape: TrainingShape
    ) -> None:
        super().__init__()
        self.entity = entity
        names = {kind: data[kind].tf.col_names_dict for kind in data.node_types}
        timed = [kind for kind in data.node_types if "time" in data[kind]]
        self.rows = HeteroEncoder(shape.channels, names, statistics)
        self.times = HeteroTemporalEncoder(timed, shape.channels)
        self.messages = HeteroGraphSAGE(
            data.node_types,
            data.edge_types,
            shape.channels,
            aggr=shape.aggregation,
            num_layers=len(shape.fan_out),
        )
        self.head = MLP(shape.channels, out_channels=1, norm="batch_norm", num_layers=1)

    def forward(self, batch: HeteroData) -> Tensor:
        """One logit a seed."""
        rows = self.rows(batch.tf_dict)
        seeds = batch[self.entity].batch_size
        if "batch" in batch[self.entity]:
            cutoffs = batch[self.entity].seed_time
            for kind, relative in self.times(cutoffs, batch.time_dict, batch.batch_dict).items():
                rows[kind] = rows[kind] + relative
        rows = self.messages(rows, batch.edge_index_dict)
        return self.head(rows[self.entity][:seeds]).squeeze(-1)


def run(request: TrainingRequest) -> Speed:
    """Build graph and model, train, measure."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    started = time.perf_counter()
    data, statistics = graph_of(request)
    loader, labels = loader_of(request, data)
    entity = request.case.entity_table
    model = Model(data, statistics, entity, request.shape).to(request.device)
    built = time.perf_counter() - started
    optimiser = torch.optim.Adam(model.parameters(), lr=request.shape.learning_rate)

    def train(batch: HeteroData) -> Step:
        batch = batch.to(request.device, non_blocking=True)
        wanted = labels[batch[entity].input_id.cpu()].to(request.device)
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(batch), wanted)
        loss.backward()
        optimiser.step()
        nodes = sum(batch[kind].tf.num_rows for kind in batch.node_types)
        edges = sum(batch[kind].edge_index.shape[1] for kind in batch.edge_types)
        return Step(nodes, edges, loss.detach().item)

    speed = measure_training(request, NAMES[request.variant], iter(loader), train)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return replace(speed, build_s=built, parameters=parameters)


def loader_of(request: TrainingRequest, data: HeteroData) -> tuple[Iterable[HeteroData], Tensor]:
    """The loader over all batches, and the labels of its seeds."""
    entity, seeds = request.case.entity_table, request.seeds()
    keys = pl.read_parquet(request.case.table(entity).file)[request.case.table(entity).primary_key]
    rows = torch.from_numpy(_row_numbers(seeds["entity"], keys).to_numpy().copy())
    labels = torch.from_numpy(seeds["label"].cast(pl.Float32).to_numpy().copy())
    settings: dict[str, Any] = {
        "batch_size": request.shape.batch_size,
        "num_workers": request.loaders,
    }
    fan_out = list(request.shape.fan_out)
    if request.variant == "untimed":
        return NeighborLoader(data, fan_out, (entity, rows), **settings), labels
    cutoffs = torch.from_numpy(seeds["cutoff_time"].dt.epoch("s").to_numpy().copy())
    first, times = add_seed_nodes(data, entity, rows, cutoffs)
    sampler = SparseTemporalSampler(data, fan_out, times)
    nodes = (entity, torch.arange(first, first + len(rows)))
    return NodeLoader(data, sampler, nodes, input_time=cutoffs, **settings), labels


def add_seed_nodes(
    data: HeteroData, entity: str, rows: Tensor, cutoffs: Tensor
) -> tuple[int, dict[str, Tensor]]:
    """Append a node per seed to the entity's, with its entity's columns and visible neighbours.

    Args:
        data: The graph, changed in place.
        entity: The seeds' table.
        rows: int64 [seeds], row numbers.
        cutoffs: int64 [seeds], seconds; edges from later rows are left out.

    Returns:
        The number of the first new node, and the times for the sampler by node type.
    """
    frame = data[entity].tf
    first = frame.num_rows
    times = {kind: data[kind].time for kind in data.node_types if "time" in data[kind]}
    times[entity] = torch.cat([times.get(entity, torch.full((first,), ALWAYS)), cutoffs])
    data[entity].tf = torch_frame.cat([frame, frame[rows]], dim=0)
    if "time" in data[entity]:
        data[entity].time = torch.cat([data[entity].time, data[entity].time[rows]])
    for edge_type in data.edge_types:
        if edge_type[2] == entity:
            sources, targets = data[edge_type].edge_index
            order = torch.argsort(targets, stable=True)
            begins = torch.searchsorted(targets[order], torch.arange(first + 1))
            counts = (begins[1:] - begins[:-1])[rows]
            new = torch.repeat_interleave(torch.arange(len(rows)), counts)
            within = torch.arange(len(new)) - (counts.cumsum(0) - counts)[new]
            copied = torch.stack([sources[order][begins[rows][new] + within], first + new])
            if "time" in data[edge_type[0]]:
                copied = copied[:, data[edge_type[0]].time[copied[0]] <= cutoffs[new]]
            data[edge_type].edge_index = torch.cat([data[edge_type].edge_index, copied], dim=1)
    return first, times


def graph_of(request: TrainingRequest) -> tuple[HeteroData, dict[str, Any]]:
    """RelBench's graph of the case, and torch-frame's column statistics."""
    tables = {table.name: _table(request.case, table) for table in request.case.tables}
    types = {table.name: _types(table, request) for table in request.case.tables}
    embedder = TextEmbedderConfig(text_embedder=embed, batch_size=4096)
    return make_pkey_fkey_graph(Database(tables), types, text_embedder_cfg=embedder)


def embed(texts: list[str]) -> Tensor:
    """Hashed character trigrams, float32 [texts, 64]."""
    vectoriser = HashingVectorizer(
        analyzer="char_wb", ngram_range=(3, 3), n_features=TEXT_DIMENSIONS
    )
    return torch.from_numpy(vectoriser.transform(map(str, texts)).toarray()).float()


def _table(case: Case, table: CaseTable) -> Table:
    """The table in RelBench's form: keys are row numbers, times nanoseconds."""
    frame = pl.read_parquet(table.file)
    numbered = {
        key: _row_numbers(frame[key], _keys(case.table(parent)))
        for key, parent in table.foreign_keys
    }
    frame = frame.with_columns(
        pl.int_range(frame.height, dtype=pl.Int64).alias(table.primary_key), **numbered
    )
    pandas = frame.to_pandas()
    if table.time_column:
        pandas[table.time_column] = pandas[table.time_column].astype("datetime64[ns]")
    for key in numbered:
        pandas[key] = pandas[key].astype(pd.Int64Dtype())
    return Table(pandas, dict(table.foreign_keys), table.primary_key, table.time_column)


def _keys(table: CaseTable) -> pl.Series:
    return pl.read_parquet(table.file, columns=[table.primary_key])[table.primary_key]


def _row_numbers(values: pl.Series, keys: pl.Series) -> pl.Series:
    numbered = pl.DataFrame({"key": keys}).with_row_index("row")
    wanted = pl.DataFrame({"key": values.cast(keys.dtype)})
    found = wanted.join(numbered, on="key", how="left", maintain_order="left")["row"]
    return found.cast(pl.Int64)


def _types(table: CaseTable, request: TrainingRequest) -> dict[str, stype]:
    types = dict.fromkeys(table.numerical, stype.numerical)
    for column in table.categorical:
        is_text = (table.name, column) in request.text
        types[column] = stype.text_embedded if is_text else stype.categorical
    if table.time_column:
        types[table.time_column] = stype.timestamp
    return types


if __name__ == "__main__":
    run(TrainingRequest.read(Path(sys.argv[1]))).write(Path(sys.argv[2]))
