"""Pretraining of a database's backbone: from its graph and task vectors to a checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import torch

from models.database.schema import RelationalSchema
from models.learning.device import choose_device, one_thread
from models.learning.loop import Fit, fit
from models.pretraining.config import PretrainingConfig, Stage, Term
from models.pretraining.network import PretrainingNetwork
from models.pretraining.objective import WATCHED, PretrainingObjective
from models.pretraining.rows import EntityVectors, read_entity_vectors
from models.rdl.graph import TemporalGraph, microseconds
from models.rdl.graph_files import read_graph
from models.rdl.initialisation import Pretrained, save_pretrained
from models.rdl.network import Backbone, neighbour_counts
from models.rdl.rows import row_inputs
from models.rdl.sampler import TemporalSampler
from models.rdl.statistics import graph_statistics
from models.tve.task_vectors import MANIFEST, Mode
from models.tve.timeline import timeline_from_plain

CURVES = "curves.json"
BACKBONE = "backbone."


def pretrain(
    schema: RelationalSchema,
    graph: TemporalGraph | Path,
    task_vectors: Mapping[str, Path],
    as_of: datetime,
    config: PretrainingConfig,
    folder: Path,
    *,
    device: str = "auto",
    work: Path | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Pretrains one backbone for all entity tables and writes `checkpoint.pt` and `curves.json`.

    Training sees nothing after the first validation cutoff of any task of the database: seeds look
    back from their own cutoff, windows of training targets end by then, and scales and known
    categories come from rows up to then. Columns that any task hides are not read. The state that
    is kept is the one with the least loss on the validation rows. On a CPU one thread does the work,
    so that the order of sums, and with it the result, does not depend on their number.

    Args:
        schema: The database with its tasks.
        graph: Its graph, on the CPU, or the folder of one.
        task_vectors: The folder of the task vectors of each entity table; objectives without task
            vectors take their seeds from there.
        as_of: The date of the run.
        config: What to do.
        folder: Receives the result.
        device: As in `choose_device`.
        work: Receives the checkpoints of the training loop; a run that was killed goes on from
            there and ends in the same result.
        progress: Receives a line an epoch.

    Returns:
        Metadata: rows and targets by entity table, and by stage the epochs, the best one, the
        losses, steps and seconds; parameters of the backbone; the limit.

    Raises:
        ValueError: The task vectors are not of the kind that the objective needs, or see too much.
    """
    started = time.monotonic()
    if isinstance(graph, Path):
        graph = read_graph(graph)
    limit = pretraining_limit(schema, task_vectors, as_of)
    hidden = frozenset(pair for task in schema.tasks for pair in task.hidden_columns)
    setting = _setting(graph, task_vectors, limit, as_of, hidden, config, choose_device(device))
    state: dict[str, torch.Tensor] = {}
    curves, summaries, parameters = [], [], 0
    for number, stage in enumerate(config.stages):
        network = setting.network(stage, state)
        with one_thread():
            found = _run(
                setting, network, stage, None if work is None else work / f"stage{number}", progress
            )
        parameters = sum(parameter.numel() for parameter in network.backbone.parameters())
        best = found.best_states[WATCHED]
        state = {
            name.removeprefix(BACKBONE): value
            for name, value in best.items()
            if name.startswith(BACKBONE)
        }
        curves.append({"stage": stage.name, "history": _timeless(found.history)} | _best(found))
        summaries.append(_summary(stage, found))
    pretrained = Pretrained(
        str(config.pretext),
        config.shape,
        setting.statistics,
        tuple(graph.edge_types),
        limit,
        hidden,
        state,
    )
    save_pretrained(pretrained, folder)
    (folder / CURVES).write_text(json.dumps(curves, indent=1))
    return {
        "pretext": str(config.pretext),
        "limit": str(limit),
        "rows": {table: len(known.train) for table, known in setting.vectors.items()},
        "validation_rows": {t: len(known.validation) for t, known in setting.vectors.items()},
        "targets": {table: len(known.targets) for table, known in setting.vectors.items()},
        "parameters": parameters,
        "stages": summaries,
        "seconds": time.monotonic() - started,
    }


def pretraining_limit(
    schema: RelationalSchema, task_vectors: Mapping[str, Path], as_of: datetime
) -> datetime:
    """The first validation cutoff of any task of the database, or of the task vectors' own split."""
    of_tasks = [
        as_of - timedelta(seconds=task.validation_span.total_seconds()) for task in schema.tasks
    ]
    of_vectors = [
        timeline_from_plain(json.loads((folder / MANIFEST).read_text())["timeline"]).train_limit
        for folder in task_vectors.values()
    ]
    if not of_vectors:
        raise ValueError(
            f"database {schema.database!r}: no task vectors were given, so there are no rows to "
            "pretrain on; make those of an entity table first"
        )
    return min(of_tasks + of_vectors)


@dataclass(frozen=True)
class _Setting:
    """What all stages share."""

    graph: TemporalGraph
    statistics: Mapping[str, Any]
    degrees: Mapping[Any, torch.Tensor]
    vectors: Mapping[str, EntityVectors]
    config: PretrainingConfig
    device: torch.device

    def backbone(self) -> Backbone:
        return Backbone(self.statistics, self.graph.edge_types, self.config.shape, self.degrees)

    def network(self, stage: Stage, state: Mapping[str, torch.Tensor]) -> PretrainingNetwork:
        """A network for a stage, from an earlier stage's backbone where there is one."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            backbone = self.backbone()
            network = PretrainingNetwork(
                backbone, self.statistics, self.vectors, stage.terms, self.config
            )
        if state:
            backbone.load_state_dict(state)
        return network


def _setting(
    graph: TemporalGraph,
    task_vectors: Mapping[str, Path],
    limit: datetime,
    as_of: datetime,
    hidden: frozenset[tuple[str, str]],
    config: PretrainingConfig,
    device: torch.device,
) -> _Setting:
    until = microseconds(limit)
    vectors = {
        table: read_entity_vectors(folder, graph, table, limit, as_of, config)
        for table, folder in task_vectors.items()
    }
    _check_modes(vectors, config)
    return _Setting(
        graph.to(device),
        graph_statistics(graph, until, hidden),
        neighbour_counts(graph, until, config.fan_out),
        {table: known.to(device) for table, known in vectors.items()},
        config,
        device,
    )


def _check_modes(vectors: Mapping[str, EntityVectors], config: PretrainingConfig) -> None:
    needed = {Term.TYPED: Mode.TYPED, Term.REFERENCE: Mode.REFERENCE}
    for stage in config.stages:
        for mode in (needed[term] for term in stage.terms if term in needed):
            if wrong := sorted(t for t, known in vectors.items() if known.mode != mode):
                raise ValueError(
                    f"{config.pretext!s} needs task vectors of mode {mode!s}, those of "
                    f"{', '.join(wrong)} have another; make them with mode: {mode!s}"
                )


def _run(
    setting: _Setting,
    network: PretrainingNetwork,
    stage: Stage,
    work: Path | None,
    progress: Callable[[str], None],
) -> Fit:
    config = setting.config
    objective = PretrainingObjective(
        network,
        row_inputs(setting.graph, setting.statistics),
        TemporalSampler(setting.graph, config.fan_outs, config.strategy),
        setting.statistics,
        setting.vectors,
        stage,
        config,
    )
    return fit(
        objective,
        config.loop(),
        setting.device,
        work,
        lambda line: progress(f"{stage.name}: {line}"),
    )


def _timeless(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the seconds, so that the same inputs give the same file."""
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in history]


def _best(found: Fit) -> dict[str, Any]:
    return {"best_epoch": found.best_epochs[WATCHED], "best_loss": found.best_values[WATCHED]}


def _summary(stage: Stage, found: Fit) -> dict[str, Any]:
    return {
        "stage": stage.name,
        "corruption": stage.corruption,
        "epochs": len(found.history),
        "steps": sum(entry["steps"] for entry in found.history),
        "seconds": sum(entry["seconds"] for entry in found.history),
        "first_loss": found.history[0][WATCHED],
        "stopped": found.stopped,
    } | _best(found)
