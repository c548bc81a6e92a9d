"""Trials: one candidate trained for one task at one date."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from models.database.schema import RelationalSchema, Task
from models.dfs.feature_table import FeatureTable
from models.families.candidate import Candidate
from models.learning.bundle import amend_record

Progress = Callable[[str], None]
Needed = TypeVar("Needed")


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
    started = time.monotonic()
    checkpoints = inputs.checkpoints / candidate.name if inputs.checkpoints else None
    trial = _Trial(
        candidate,
        candidate.config(),
        inputs,
        folder,
        threads,
        lambda line: progress(f"{candidate.name}: {line}"),
        checkpoints,
    )
    found = TRAINERS[candidate.family](trial)
    names = {"candidate": candidate.name, "family": candidate.family}
    amend_record(folder, names)
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    return dict(found) | names | {"seconds": round(time.monotonic() - started, 1)}


@dataclass(frozen=True, slots=True)
class _Trial:
    """The arguments of `train_candidate`, the candidate's settings, and a place for checkpoints."""

    candidate: Candidate
    config: Any
    inputs: TrialInputs
    folder: Path
    threads: int
    progress: Progress
    checkpoints: Path | None

    def features(self) -> FeatureTable:
        return self._needed(self.inputs.features, "DFS features", "feature table")

    def graph(self) -> Path:
        return self._needed(self.inputs.graph, "the temporal graph", "temporal graph")

    def _needed(self, found: Needed | None, what: str, asset: str) -> Needed:
        if found is None:
            raise ValueError(
                f"candidate {self.candidate.name!r} ({self.candidate.family}) reads {what}, but "
                f"there is none; materialise the {asset} first"
            )
        return found


def _train_lightgbm(trial: _Trial) -> Mapping[str, Any]:
    from models.tabular.training import train_bundle

    return train_bundle(
        trial.inputs.task,
        trial.inputs.training_table,
        trial.features(),
        trial.inputs.as_of,
        trial.config,
        trial.folder,
        trial.threads,
        trial.progress,
    )


def _train_network(trial: _Trial) -> Mapping[str, Any]:
    from models.tabular.network_training import train_network_bundle

    return train_network_bundle(
        trial.inputs.task,
        trial.inputs.training_table,
        trial.features(),
        trial.inputs.as_of,
        trial.config,
        trial.folder,
        trial.threads,
        trial.progress,
        trial.checkpoints,
    )


def _train_in_context(trial: _Trial) -> Mapping[str, Any]:
    from models.tabular.in_context import train_in_context_bundle

    return train_in_context_bundle(
        trial.inputs.task,
        trial.inputs.training_table,
        trial.features(),
        trial.inputs.as_of,
        trial.config,
        trial.folder,
        trial.progress,
    )


def _train_rdl(trial: _Trial) -> Mapping[str, Any]:
    from models.rdl.training import train_rdl_bundle

    inputs = trial.inputs
    return train_rdl_bundle(
        inputs.schema,
        inputs.task,
        inputs.training_table,
        inputs.as_of,
        trial.graph(),
        trial.config,
        trial.folder,
        trial.threads,
        trial.progress,
        text_encoder=inputs.text_encoder,
        features=inputs.features,
        pretrained=inputs.pretrained.get(trial.config.initialisation),
        work=trial.checkpoints,
    )


def _train_on_embeddings(trial: _Trial) -> Mapping[str, Any]:
    from models.families.embedding_features import train_embedding_features_bundle

    inputs, config = trial.inputs, trial.config
    if config.encoder not in inputs.pretrained:
        raise ValueError(
            f"candidate {trial.candidate.name!r} ({trial.candidate.family}) reads embeddings by "
            f"the encoder pretrained on {config.encoder!r}, but there is none; materialise this "
            "encoder first"
        )
    return train_embedding_features_bundle(
        inputs.schema,
        inputs.task,
        inputs.training_table,
        inputs.as_of,
        trial.graph(),
        inputs.pretrained[config.encoder],
        config,
        trial.folder,
        trial.threads,
        trial.progress,
        text_encoder=inputs.text_encoder,
        features=trial.features() if config.features else None,
    )


TRAINERS: Mapping[str, Callable[[_Trial], Mapping[str, Any]]] = {
    "lightgbm": _train_lightgbm,
    "linear": _train_network,
    "resnet": _train_network,
    "ft_transformer": _train_network,
    "tabpfn": _train_in_context,
    "rdl": _train_rdl,
    "lightgbm_on_embeddings": _train_on_embeddings,
}
