"""Trials: one candidate trained for one task at one date."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from models.database.schema import RelationalSchema, Task
from models.dfs.feature_table import FeatureTable
from models.families.candidate import Candidate
from models.learning.bundle import amend_record

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrialInputs:
    """What candidates are trained from; a family reads what it needs.

    Attributes:
        schema: The database, with semantic types as known at `as_of`.
        task: The task.
        as_of: The date of the run.
        training_table: row_id, entity, cutoff_time, label, split.
        features: The DFS features of its rows; None where no candidate reads any.
        tables: Parquet of each staged table, by table name.
        graph: Folder of the temporal graph; None where no candidate reads it.
        text_encoder: The name of the graph's text encoder.
        pretrained: Folders of pretrained encoders, by the name that a candidate's `initialisation`
            or `encoder` gives.
        checkpoints: Where training keeps what it goes on from after a kill; it has to outlive the
            process. None for nowhere.
    """

    schema: RelationalSchema
    task: Task
    as_of: datetime
    training_table: pl.DataFrame
    features: FeatureTable | None = None
    tables: Mapping[str, Path] = field(default_factory=dict)
    graph: Path | None = None
    text_encoder: str = ""
    pretrained: Mapping[str, Path] = field(default_factory=dict)
    checkpoints: Path | None = None


def train_candidate(
    candidate: Candidate,
    inputs: TrialInputs,
    folder: Path,
    threads: int,
    progress: Progress = lambda line: None,
) -> dict[str, Any]:
    """Trains a candidate and saves its bundle into the folder.

    Args:
        candidate: What to train.
        inputs: What from.
        folder: Receives the bundle.
        threads: Seeds trained at a time on a CPU; the result does not depend on it.
        progress: Receives lines that begin with the candidate's name.

    Returns:
        Metadata: candidate, family, seconds, rows, validation_scores and best_rounds (per seed, by
        protocol), parameters, and what else the family reports.

    Raises:
        ValueError: The candidate is not valid, or the family needs an input that is None.
    """
    config = candidate.config()
    started = time.monotonic()
    checkpoints = inputs.checkpoints / candidate.name if inputs.checkpoints else None

    def report(line: str) -> None:
        progress(f"{candidate.name}: {line}")

    trainer = TRAINERS[candidate.family]
    found = trainer(candidate, config, inputs, folder, threads, report, checkpoints)
    names = {"candidate": candidate.name, "family": candidate.family}
    amend_record(folder, names)
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    return dict(found) | names | {"seconds": round(time.monotonic() - started, 1)}


Trainer = Callable[
    [Candidate, Any, TrialInputs, Path, int, Progress, Path | None], Mapping[str, Any]
]


def _train_lightgbm(
    candidate: Candidate,
    config: Any,
    inputs: TrialInputs,
    folder: Path,
    threads: int,
    progress: Progress,
    checkpoints: Path | None,
) -> Mapping[str, Any]:
    from models.tabular.training import train_bundle

    rows, features = inputs.training_table, _features(candidate, inputs)
    return train_bundle(
        inputs.task, rows, features, inputs.as_of, config, folder, threads, progress
    )


def _train_network(
    candidate: Candidate,
    config: Any,
    inputs: TrialInputs,
    folder: Path,
    threads: int,
    progress: Progress,
    checkpoints: Path | None,
) -> Mapping[str, Any]:
    from models.tabular.network_training import train_network_bundle

    rows, features = inputs.training_table, _features(candidate, inputs)
    return train_network_bundle(
        inputs.task, rows, features, inputs.as_of, config, folder, threads, progress, checkpoints
    )


def _train_in_context(
    candidate: Candidate,
    config: Any,
    inputs: TrialInputs,
    folder: Path,
    threads: int,
    progress: Progress,
    checkpoints: Path | None,
) -> Mapping[str, Any]:
    from models.tabular.in_context import train_in_context_bundle

    rows, features = inputs.training_table, _features(candidate, inputs)
    return train_in_context_bundle(
        inputs.task, rows, features, inputs.as_of, config, folder, progress
    )


def _train_rdl(
    candidate: Candidate,
    config: Any,
    inputs: TrialInputs,
    folder: Path,
    threads: int,
    progress: Progress,
    checkpoints: Path | None,
) -> Mapping[str, Any]:
    from models.rdl.training import train_rdl_bundle

    return train_rdl_bundle(
        inputs.schema,
        inputs.task,
        inputs.training_table,
        inputs.as_of,
        _graph(candidate, inputs),
        config,
        folder,
        threads,
        progress,
        text_encoder=inputs.text_encoder,
        features=inputs.features,
        pretrained=inputs.pretrained.get(config.initialisation),
        work=checkpoints,
    )


def _train_on_embeddings(
    candidate: Candidate,
    config: Any,
    inputs: TrialInputs,
    folder: Path,
    threads: int,
    progress: Progress,
    checkpoints: Path | None,
) -> Mapping[str, Any]:
    from models.families.embedding_features import train_embedding_features_bundle

    if config.encoder not in inputs.pretrained:
        raise ValueError(
            f"candidate {candidate.name!r} ({candidate.family}) reads embeddings by the encoder "
            f"pretrained on {config.encoder!r}, but there is none; materialise this encoder first"
        )
    return train_embedding_features_bundle(
        inputs.schema,
        inputs.task,
        inputs.training_table,
        inputs.as_of,
        _graph(candidate, inputs),
        inputs.pretrained[config.encoder],
        config,
        folder,
        threads,
        progress,
        text_encoder=inputs.text_encoder,
        features=_features(candidate, inputs) if config.features else None,
    )


TRAINERS: Mapping[str, Trainer] = {
    "lightgbm": _train_lightgbm,
    "resnet": _train_network,
    "ft_transformer": _train_network,
    "tabpfn": _train_in_context,
    "rdl": _train_rdl,
    "lightgbm_on_embeddings": _train_on_embeddings,
}


def _features(candidate: Candidate, inputs: TrialInputs) -> FeatureTable:
    if inputs.features is None:
        raise ValueError(
            f"candidate {candidate.name!r} ({candidate.family}) reads DFS features, but there are "
            "none; materialise the feature table first"
        )
    return inputs.features


def _graph(candidate: Candidate, inputs: TrialInputs) -> Path:
    if inputs.graph is None:
        raise ValueError(
            f"candidate {candidate.name!r} ({candidate.family}) reads the temporal graph, but there "
            "is none; materialise the temporal graph first"
        )
    return inputs.graph
