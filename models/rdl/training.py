"""Trains relational networks for a task, a network per seed, and saves the bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import torch

from models.database.schema import Protocol, RelationalSchema, Task
from models.dfs.feature_table import FeatureTable
from models.learning.bundle import BundleHead
from models.learning.device import choose_device
from models.learning.loop import fit
from models.learning.outcome import TargetScale, outputs_of
from models.learning.side_by_side import run_seeds
from models.rdl.bundle import Blueprint, States, save_rdl_bundle
from models.rdl.config import RDLConfig
from models.rdl.examples import Examples, make_examples
from models.rdl.graph import TemporalGraph, microseconds
from models.rdl.graph_files import read_graph
from models.rdl.initialisation import (
    Pretrained,
    check_compatible,
    load_pretrained,
    take_over,
)
from models.rdl.network import neighbour_counts
from models.rdl.past_labels import with_past_labels
from models.rdl.preparation import Part, Preparation, prepare
from models.rdl.statistics import graph_statistics
from models.rdl.supervised import SupervisedObjective

Progress = Callable[[str], None]
SCRATCH = "scratch"


@dataclass(frozen=True)
class Assignment:
    """All that the training of one seed needs, for a process of its own.

    Attributes:
        task: The task.
        blueprint: The network.
        graph_folder: The temporal graph.
        history: Known labels, where the network reads past labels.
        parts: The labelled rows: `train`, `frozen`, `rolling`.
        classes: Number of classes.
        pretrained: Folder of the pretrained encoder, None for a start from scratch.
        work: Folder for checkpoints, None for none.
    """

    task: Task
    blueprint: Blueprint
    graph_folder: Path
    history: pl.DataFrame | None
    parts: Mapping[str, Part]
    classes: int
    pretrained: Path | None
    work: Path | None


@dataclass(frozen=True)
class TrainedNetwork:
    """One seed's states and figures, by protocol."""

    states: States
    values: Mapping[Protocol, float]
    epochs: Mapping[Protocol, int]
    history: list[dict[str, Any]]
    stopped: str


def train_rdl_bundle(
    schema: RelationalSchema,
    task: Task,
    training_table: pl.DataFrame,
    as_of: datetime,
    graph_folder: Path,
    config: RDLConfig,
    folder: Path,
    threads: int,
    progress: Progress = lambda line: None,
    *,
    text_encoder: str,
    features: FeatureTable | None = None,
    pretrained: Path | None = None,
    work: Path | None = None,
) -> dict[str, Any]:
    """Trains on the labelled rows of `train`, stops on those of `val`, saves the bundle.

    Scales and known categories come from rows up to the first validation cutoff. Each protocol
    keeps the epoch that is best on validation as that protocol sees it.

    Args:
        schema: The database, with semantic types as known at `as_of`.
        task: The task; its hidden columns are not read.
        training_table: row_id, entity, cutoff_time, label, split.
        as_of: The date of the run.
        graph_folder: The temporal graph of the staged tables.
        config: The settings.
        folder: Receives the bundle.
        threads: Seeds trained at a time on a CPU; the result does not depend on it.
        progress: Receives a line per seed and epoch.
        text_encoder: The name of the graph's text encoder.
        features: DFS features, where `config.features` asks for them.
        pretrained: Folder of a pretrained encoder; its architecture replaces that of `config`.
        work: Folder for checkpoints, from which a killed training goes on.

    Returns:
        Metadata: rows, validation scores and best epochs by seed, number of parameters.

    Raises:
        ValueError: The settings ask for features or a pretrained encoder that were not given.
    """
    _check(config, features, pretrained)
    data = prepare(
        task,
        training_table,
        as_of,
        features if config.features else None,
        with_stale=config.staleness > 0,
    )
    history = data.history if config.past_labels else None
    blueprint = _blueprint(task, as_of, graph_folder, config, data, text_encoder, pretrained)
    assignment = Assignment(
        task,
        blueprint,
        graph_folder,
        history,
        data.parts,
        len(data.labels.classes),
        pretrained,
        work,
    )
    device = choose_device(config.device)
    seeds = tuple(range(config.first_seed, config.first_seed + config.seeds))
    trained = run_seeds(train_seed, seeds, (assignment, str(device)), threads, device, progress)
    record = data.record(task) | {
        "family": "rdl",
        "validation_scores": [{str(p): one.values[p] for p in Protocol} for one in trained],
        "best_rounds": [{str(p): one.epochs[p] + 1 for p in Protocol} for one in trained],
        "curves": [_curves(one.history) for one in trained],
        "stopped": [one.stopped for one in trained],
        "parameters": asdict(blueprint.config),
        "network_parameters": sum(p.numel() for p in blueprint.network().parameters()),
        "importances": {},
        "device": str(device),
    }
    head = BundleHead(schema, task, as_of, data.features, data.labels, seeds, record)
    save_rdl_bundle(folder, head, blueprint, tuple(one.states for one in trained), history)
    return {name: value for name, value in record.items() if name != "curves"}


def train_seed(
    seed: int, assignment: Assignment, device_name: str, progress: Progress = lambda line: None
) -> TrainedNetwork:
    """Trains one network: its weights, order, samples and dropout follow from the seed."""
    device = torch.device(device_name)
    blueprint, task = assignment.blueprint, assignment.task
    graph = _graph(assignment.graph_folder, task, assignment.history).to(device)
    parts = {name: _examples(graph, task, part) for name, part in assignment.parts.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = blueprint.network()
    if assignment.pretrained is not None:
        found = load_pretrained(assignment.pretrained)
        taken, new = take_over(network.backbone, list(blueprint.edge_types), found)
        progress(f"starts from {found.pretext!r}: {taken:,} parameters taken over, {new:,} new")
    objective = SupervisedObjective(
        blueprint.reader(network.to(device), graph),
        parts["train"],
        parts.get("stale"),
        {protocol: parts[str(protocol)] for protocol in Protocol},
        task.task_type,
        task.metric,
        blueprint.scale,
        assignment.classes,
        blueprint.config.batch_of(len(parts["train"])),
        blueprint.config.staleness,
        seed,
    )
    work = assignment.work / f"seed_{seed}" if assignment.work else None
    run = fit(objective, blueprint.config.loop(seed), device, work, progress)
    return TrainedNetwork(
        states={
            p: {name: value.cpu() for name, value in run.best_states[str(p)].items()}
            for p in Protocol
        },
        values={p: run.best_values[str(p)] for p in Protocol},
        epochs={p: run.best_epochs[str(p)] for p in Protocol},
        history=run.history,
        stopped=run.stopped,
    )


def _check(config: RDLConfig, features: FeatureTable | None, pretrained: Path | None) -> None:
    if config.features and features is None:
        raise ValueError("the settings ask for DFS features as inputs, but there are none")
    if (config.initialisation == SCRATCH) != (pretrained is None):
        raise ValueError(
            f"the initialisation is {config.initialisation!r}, but "
            + ("no" if pretrained is None else "a")
            + " pretrained encoder was given"
        )


def _blueprint(
    task: Task,
    as_of: datetime,
    graph_folder: Path,
    config: RDLConfig,
    data: Preparation,
    text_encoder: str,
    pretrained: Path | None,
) -> Blueprint:
    graph = _graph(graph_folder, task, data.history if config.past_labels else None)
    until = microseconds(as_of - task.validation_span)
    statistics = graph_statistics(graph, until, task.hidden_columns)
    if pretrained is not None:
        found = load_pretrained(pretrained)
        config = replace(config, **_shape(found))
        check_compatible(
            found,
            config.shape,
            graph.edge_types,
            graph.tables,
            task.hidden_columns,
            as_of - task.validation_span,
        )
        # The pretrained encoders go with their own scales and categories.
        statistics = found.statistics_for(statistics)
    counts = neighbour_counts(graph, until, config.fan_out) if config.convolution == "pna" else {}
    return Blueprint(
        config=config,
        statistics=statistics,
        edge_types=tuple(graph.edge_types),
        degrees=counts,
        scale=TargetScale.fit(task.task_type, data.parts["train"].labels),
        outputs=outputs_of(task.task_type, len(data.labels.classes)),
        seed_inputs=data.seed_inputs,
        text_encoder=text_encoder,
    )


def _shape(pretrained: Pretrained) -> dict[str, Any]:
    """The pretrained architecture as settings; dropout, which has no weights, is not part of it."""
    shape = asdict(pretrained.shape) | {"convolution": str(pretrained.shape.convolution)}
    return {name: value for name, value in shape.items() if name != "dropout"}


def _graph(folder: Path, task: Task, history: pl.DataFrame | None) -> TemporalGraph:
    graph = read_graph(folder)
    return graph if history is None else with_past_labels(graph, task, history)


def _examples(graph: TemporalGraph, task: Task, part: Part) -> Examples:
    return make_examples(graph, task.entity_table, part.seeds, part.labels, part.features)


def _curves(history: list[dict[str, Any]]) -> dict[str, list[float]]:
    names = [str(protocol) for protocol in Protocol]
    return {name: [float(entry[name]) for entry in history] for name in names}
