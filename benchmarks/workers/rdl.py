"""This project's RDL family: temporal sampler and relational network, graph and rows in tensors.

Variants: `same` has the peer's model shape (RelBench's: every column 128 wide, four residual blocks a
table), `defaults` this project's row encoder, which is narrower. On an accelerator the graph, the
rows, and with them the sampling, are there too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import torch

from benchmarks.training import Speed, Step, TrainingRequest, measure_training
from models.rdl.build import build_graph
from models.rdl.config import NetworkShape
from models.rdl.examples import Examples, make_examples
from models.rdl.network import Backbone, RelationalNetwork
from models.rdl.rows import row_inputs
from models.rdl.sampler import SampledGraph, TemporalSampler
from models.rdl.statistics import graph_statistics

NAMES = {"same": "relforge", "defaults": "relforge, its own row encoder"}


def shape_of(request: TrainingRequest) -> NetworkShape:
    """The architecture that the request asks for."""
    asked = request.shape
    shape = NetworkShape(
        layers=len(asked.fan_out), channels=asked.channels, aggregation=asked.aggregation
    )
    if request.variant == "defaults":
        return replace(shape, dropout=0.1)
    # The widths, blocks and dropout that pytorch-frame's ResNet has in RelBench's encoder.
    return replace(shape, encoder_layers=4, dropout=0.2)


def run(request: TrainingRequest) -> Speed:
    """Build graph and model, train, measure."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    started = time.perf_counter()
    files = {table.name: Path(table.file) for table in request.case.tables}
    seeds = request.seeds().with_columns(visible_until="cutoff_time")
    graph = build_graph(request.schema, files, threads=1)
    until = seeds["cutoff_time"].max()
    statistics = graph_statistics(graph, pl.Series([until]).dt.epoch("us")[0])
    graph = graph.to(request.device)
    inputs = row_inputs(graph, statistics)
    network = RelationalNetwork(Backbone(statistics, graph.edge_types, shape_of(request)), 1)
    network.to(request.device)
    labels = seeds["label"].cast(pl.Float64).to_numpy().copy()
    examples = make_examples(graph, request.case.entity_table, seeds, labels)
    built = time.perf_counter() - started
    sampler = TemporalSampler(graph, request.shape.fan_out)
    optimiser = torch.optim.Adam(network.parameters(), lr=request.shape.learning_rate)

    def train(batch: tuple[Examples, SampledGraph]) -> Step:
        some, sample = batch
        optimiser.zero_grad()
        logits = network(inputs, sample, some.cutoff_time).squeeze(-1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, some.labels.float())
        loss.backward()
        optimiser.step()
        nodes = sum(map(len, sample.rows.values()))
        edges = sum(links.shape[1] for links in sample.edges.values())
        return Step(nodes, edges, loss.detach().item)

    batches = batches_of(sampler, examples, request.shape.batch_size)
    speed = measure_training(request, NAMES[request.variant], batches, train)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return replace(speed, build_s=built, parameters=parameters)


def batches_of(
    sampler: TemporalSampler, examples: Examples, size: int
) -> Iterator[tuple[Examples, SampledGraph]]:
    """The examples in their order, each batch with its sample."""
    device = sampler.graph.device
    generator = torch.Generator(device).manual_seed(0)
    for positions in torch.arange(len(examples), device=device).split(size):
        some = examples.take(positions)
        yield some, sampler.sample(some.table, some.rows, some.visible_until, generator)


if __name__ == "__main__":
    run(TrainingRequest.read(Path(sys.argv[1]))).write(Path(sys.argv[2]))
