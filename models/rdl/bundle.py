"""Bundles of relational networks: a state per seed and protocol, and what the networks read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from models.database.schema import Protocol, TaskType
from models.learning.bundle import BundleBase, BundleHead, read_bundle, write_bundle
from models.learning.config import known_settings
from models.learning.device import choose_device
from models.learning.outcome import TargetScale, to_predictions
from models.learning.rows import RowsToPredict
from models.rdl.build import build_graph
from models.rdl.config import RDLConfig, Strategy
from models.rdl.examples import make_examples
from models.rdl.graph import EdgeType, NodeTable, TemporalGraph
from models.rdl.network import Backbone, RelationalNetwork
from models.rdl.past_labels import TABLE as PAST_LABELS
from models.rdl.past_labels import with_past_labels
from models.rdl.rows import row_inputs
from models.rdl.sampler import TemporalSampler
from models.rdl.seed_inputs import SeedInputs
from models.rdl.statistics import TableStatistics, statistics_from_plain
from models.rdl.supervised import Reader
from models.rdl.text import text_encoder_named
from models.tabular.preparation import features_of

KIND = "rdl"
HISTORY = "label_history.parquet"
States = Mapping[Protocol, Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class Blueprint:
    """What a network is made from besides its weights, and what it reads.

    Attributes:
        config: The settings.
        statistics: What is known of each table, `past labels` included where they are read.
        edge_types: The graph's, in order.
        degrees: For PNA.
        scale: Of the training labels.
        outputs: Numbers per seed.
        seed_inputs: Encodes the seed's DFS features; None where none are read.
        text_encoder: The name of the text encoder of the graph.
    """

    config: RDLConfig
    statistics: Mapping[str, TableStatistics]
    edge_types: tuple[EdgeType, ...]
    degrees: Mapping[EdgeType, torch.Tensor]
    scale: TargetScale
    outputs: int
    seed_inputs: SeedInputs | None
    text_encoder: str

    def network(self) -> RelationalNetwork:
        """A network with fresh weights, from torch's global random state."""
        backbone = Backbone(self.statistics, list(self.edge_types), self.config.shape, self.degrees)
        width = self.seed_inputs.width if self.seed_inputs else 0
        return RelationalNetwork(backbone, self.outputs, width)

    def reader(self, network: RelationalNetwork, graph: TemporalGraph) -> Reader:
        """The network over a graph (with past labels where it reads them), on the graph's device."""
        sampler = TemporalSampler(graph, self.config.fan_outs, Strategy(self.config.strategy))
        return Reader(network, row_inputs(graph, self.statistics), sampler)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "config": asdict(self.config),
            "statistics": [known.to_plain() for known in self.statistics.values()],
            "edge_types": [list(edge) for edge in self.edge_types],
            "degrees": [[list(edge), counts.tolist()] for edge, counts in self.degrees.items()],
            "scale": self.scale.to_plain(),
            "outputs": self.outputs,
            "seed_inputs": self.seed_inputs.to_plain() if self.seed_inputs else None,
            "text_encoder": self.text_encoder,
        }


def blueprint_from_plain(plain: Mapping[str, Any]) -> Blueprint:
    """The blueprint whose `to_plain` this is."""
    statistics = [statistics_from_plain(entry) for entry in plain["statistics"]]
    inputs = plain["seed_inputs"]
    return Blueprint(
        config=RDLConfig(**known_settings(RDLConfig, plain["config"])),
        statistics={known.table: known for known in statistics},
        edge_types=tuple(EdgeType(*edge) for edge in plain["edge_types"]),
        degrees={EdgeType(*edge): torch.tensor(counts) for edge, counts in plain["degrees"]},
        scale=TargetScale.from_plain(plain["scale"]),
        outputs=plain["outputs"],
        seed_inputs=SeedInputs.from_plain(inputs) if inputs else None,
        text_encoder=plain["text_encoder"],
    )


@dataclass(frozen=True)
class RDLBundle(BundleBase):
    """Relational networks, one per seed, each with a state per protocol."""

    blueprint: Blueprint
    states: tuple[States, ...]
    label_history: pl.DataFrame | None

    @property
    def text_encoder(self) -> str:
        """The name of the text encoder of the graph that it reads."""
        return self.blueprint.text_encoder

    def predict(self, rows: RowsToPredict, protocol: Protocol) -> np.ndarray:
        """Predictions of every seed's model: shape (seeds, rows) or (seeds, rows, classes)."""
        if rows.seeds.is_empty():
            return no_predictions(self)
        device = choose_device(self.blueprint.config.device)
        graph = self._graph(rows).to(device)
        inputs = self.blueprint.seed_inputs
        features = inputs.transform(features_of(self, rows)) if inputs else None
        examples = make_examples(graph, self.task.entity_table, rows.seeds, features=features)
        reader = self.blueprint.reader(self.blueprint.network().to(device), graph)
        found = []
        for states in self.states:
            reader.network.load_state_dict(states[protocol])
            raw = reader.all_raw(examples)
            found.append(to_predictions(raw, self.task.task_type, self.blueprint.scale))
        return np.stack(found)

    def _graph(self, rows: RowsToPredict) -> TemporalGraph:
        own = {t: k for t, k in self.blueprint.statistics.items() if t != PAST_LABELS}
        graph = graph_to_read(self, rows, own, self.text_encoder)
        if not self.blueprint.config.past_labels:
            return graph
        history = self.label_history if rows.label_history is None else rows.label_history
        assert history is not None, "a bundle that reads past labels holds those of its training"
        return with_past_labels(graph, self.task, history)


def graph_to_read(
    head: BundleHead,
    rows: RowsToPredict,
    statistics: Mapping[str, TableStatistics],
    text_encoder: str,
) -> TemporalGraph:
    """The run's graph where a bundle's network can read it, else one made from the tables.

    Args:
        head: The bundle; a graph that is made has its schema.
        rows: What the run has at hand.
        statistics: Of the schema's tables. The run's graph must have the same tables and foreign
            keys, as the network has no weights for others, and every column that is read.
        text_encoder: The name of the text encoder that the network knows.
    """
    graph: TemporalGraph | None = rows.graph
    if (
        graph is not None
        and graph.foreign_keys == head.schema.foreign_keys
        and graph.tables.keys() == statistics.keys()
        and all(_has_columns(graph.tables[name], known) for name, known in statistics.items())
    ):
        return graph
    encoder = text_encoder_named(text_encoder)
    return build_graph(head.schema, rows.tables, text_encoder=encoder, threads=rows.threads)


def no_predictions(head: BundleHead) -> np.ndarray:
    """The predictions of no rows, float64: shape (seeds, 0) or (seeds, 0, classes)."""
    is_multiclass = head.task.task_type == TaskType.MULTICLASS_CLASSIFICATION
    classes = (len(head.labels.classes),) if is_multiclass else ()
    return np.zeros((len(head.seeds), 0, *classes))


def save_rdl_bundle(
    folder: Path,
    head: BundleHead,
    blueprint: Blueprint,
    states: tuple[States, ...],
    label_history: pl.DataFrame | None,
) -> None:
    """Writes a bundle; `states` are by seed, then by protocol."""
    write_bundle(folder, KIND, head, {"blueprint": blueprint.to_plain()})
    for seed, by_protocol in zip(head.seeds, states, strict=True):
        torch.save({str(p): dict(state) for p, state in by_protocol.items()}, _file(folder, seed))
    if label_history is not None:
        label_history.write_parquet(folder / HISTORY)


def load_rdl_bundle(folder: Path) -> RDLBundle:
    """The bundle in a folder.

    Raises:
        FileNotFoundError: the folder holds no bundle.
    """
    common, content = read_bundle(folder)
    loaded = [
        torch.load(_file(folder, seed), map_location="cpu", weights_only=True)
        for seed in common["seeds"]
    ]
    history = folder / HISTORY
    return RDLBundle(
        **common,
        blueprint=blueprint_from_plain(content["blueprint"]),
        states=tuple({p: states[str(p)] for p in Protocol} for states in loaded),
        label_history=pl.read_parquet(history) if history.exists() else None,
    )


def _file(folder: Path, seed: int) -> Path:
    return folder / f"seed_{seed}.pt"


def _has_columns(table: NodeTable, known: TableStatistics) -> bool:
    return (
        {number.column for number in known.numbers} <= set(table.numerical_columns)
        and set(known.categories) <= set(table.categorical)
        and set(known.timestamps) <= set(table.timestamp_columns)
        and set(known.text) <= set(table.text)
        and known.is_timed == (table.time is not None)
    )
