"""LightGBM over embeddings by a pretrained, frozen encoder, beside the DFS features.

An entity's embedding is what a backbone pretrained without labels (`models.pretraining`) makes of
the temporal neighbourhood that the row may see; its dimensions are columns like any other (feature
extraction in the sense of Peters et al., "To tune or not to tune? Adapting pretrained
representations to diverse tasks", RepL4NLP 2019).

Why this does not leak: each embedding is computed as of its row's own limit, and the encoder was
trained on nothing after the first validation cutoff, so no validation or later row had a part in
it. It saw no labels either. What it was trained to tell (of training rows, what happened after them)
may resemble the labels, and embeddings of training rows may be somewhat too good for that; how far
trees should trust them is decided on validation rows, whose future the encoder has not seen. A
supervised network's embeddings would not do: fitted to the very labels of the training rows, they
say of these rows more than of any other, and trees would learn to believe them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import torch

from models.aggregation.features import Feature
from models.database.schema import Protocol, RelationalSchema, Task
from models.dfs.feature_table import FeatureTable
from models.families.embedding_config import EmbeddingFeaturesConfig
from models.learning.bundle import FILE as BUNDLE_FILE
from models.learning.bundle import BundleHead, read_bundle
from models.learning.config import known_settings
from models.learning.device import choose_device, one_thread
from models.learning.rows import RowsToPredict
from models.pretraining.config import PretrainingConfig
from models.rdl.bundle import graph_to_read, no_predictions
from models.rdl.config import Strategy
from models.rdl.examples import make_examples
from models.rdl.graph import TemporalGraph
from models.rdl.graph_files import read_graph
from models.rdl.initialisation import FILE as ENCODER_FILE
from models.rdl.initialisation import Pretrained, check_compatible, load_pretrained
from models.rdl.network import RelationalNetwork
from models.rdl.preparation import features_seen, prepare
from models.rdl.rows import row_inputs
from models.rdl.sampler import TemporalSampler
from models.rdl.supervised import Reader
from models.tabular.encoding import FeatureEncoder
from models.tabular.lightgbm_bundle import (
    LightGBMBundle,
    load_lightgbm_bundle,
    save_lightgbm_bundle,
)
from models.tabular.lightgbm_learner import importances, train
from models.tabular.preparation import TRAIN, features_of, training_parts

KIND = "lightgbm_on_embeddings"


@dataclass(frozen=True, slots=True)
class Embedder:
    """A frozen backbone, and how it reads the database around an entity."""

    pretrained: Pretrained
    config: EmbeddingFeaturesConfig

    @property
    def columns(self) -> tuple[str, ...]:
        """A name for each dimension of the embeddings."""
        pretext, channels = self.pretrained.pretext, self.pretrained.shape.channels
        return tuple(f"{pretext} embedding {number}" for number in range(channels))

    @property
    def descriptions(self) -> dict[str, str]:
        """What each of `columns` is, in words."""
        return {
            name: f"dimension {number} of the embedding by the encoder of {self.pretrained.pretext!r}"
            for number, name in enumerate(self.columns)
        }

    def embed(self, graph: TemporalGraph, table: str, seeds: pl.DataFrame) -> pl.DataFrame:
        """The embeddings of seeds, in their order: a Float32 column per dimension.

        On a CPU one thread computes them, so that their number changes nothing: to trees, which cut
        between neighbouring numbers, almost equal is not equal.

        Args:
            graph: The database's graph.
            table: The entity table.
            seeds: entity, cutoff_time, visible_until.

        Raises:
            KeyError: An entity is not in the table.
        """
        graph = graph.to(choose_device(self.config.device))
        examples = make_examples(graph, table, seeds)
        with one_thread():
            found = self._reader(graph).embeddings(examples)
        return pl.DataFrame(found.cpu().numpy(), schema=list(self.columns))

    def _reader(self, graph: TemporalGraph) -> Reader:
        known = self.pretrained
        with torch.random.fork_rng(devices=[]):
            network = RelationalNetwork(known.backbone(), outputs=1)
        sampling = PretrainingConfig(
            shape=known.shape,
            fan_out=self.config.fan_out,
            strategy=Strategy(self.config.strategy),
        )
        sampler = TemporalSampler(graph, sampling.fan_outs, sampling.strategy)
        return Reader(network.to(graph.device), row_inputs(graph, known.statistics), sampler)


@dataclass(frozen=True)
class EmbeddingFeaturesBundle(LightGBMBundle):
    """LightGBM models whose columns are embeddings and, unless left out, DFS features."""

    embedder: Embedder
    text_encoder: str

    def predict(self, rows: RowsToPredict, protocol: Protocol) -> np.ndarray:
        """Predictions of every seed's model: shape (seeds, rows) or (seeds, rows, classes)."""
        if rows.seeds.is_empty():
            return no_predictions(self)
        statistics = self.embedder.pretrained.statistics
        graph = graph_to_read(self, rows, statistics, self.text_encoder)
        embeddings = self.embedder.embed(graph, self.task.entity_table, rows.seeds)
        if self.features:
            embeddings = embeddings.hstack(features_of(self, rows))
        return self.predict_features(embeddings, protocol)


def train_embedding_features_bundle(
    schema: RelationalSchema,
    task: Task,
    training_table: pl.DataFrame,
    as_of: datetime,
    graph_folder: Path,
    pretrained: Path,
    config: EmbeddingFeaturesConfig,
    folder: Path,
    threads: int,
    progress: Callable[[str], None] = lambda line: None,
    *,
    text_encoder: str,
    features: FeatureTable | None = None,
) -> dict[str, Any]:
    """Trains on the labelled rows of `train`, stops on those of `val`, saves the bundle.

    Training rows are embedded as of their own cutoff and, if `staleness` is not zero, as an earlier
    moment saw them; validation rows as each protocol sees them.

    Args:
        schema: The database, with semantic types as known at `as_of`.
        task: The task; an encoder that may read its hidden columns is refused.
        training_table: row_id, entity, cutoff_time, label, split.
        as_of: The date of the run.
        graph_folder: The temporal graph of the staged tables.
        pretrained: Folder of the pretrained encoder; the bundle gets a copy.
        config: The settings.
        folder: Receives the bundle.
        threads: Seeds trained at a time; the result does not depend on it.
        progress: Receives lines.
        text_encoder: The name of the graph's text encoder.
        features: The DFS features that are columns too; None for none.

    Returns:
        Metadata: rows, kept columns, validation scores and best rounds by seed, importances.

    Raises:
        ValueError: The settings ask for features that were not given, the encoder does not fit the
            graph or the task (`check_compatible`), or no column varies in the training rows.
    """
    if config.features and features is None:
        raise ValueError("the settings ask for DFS features, but there are none")
    graph = read_graph(graph_folder)
    embedder = Embedder(load_pretrained(pretrained), config)
    _check(embedder.pretrained, graph, task, as_of)
    # Labels and rows are as for networks, which need no features.
    data = prepare(task, training_table, as_of, None, with_stale=config.staleness > 0)
    features = (
        features.within(config.depth, config.windows) if features and config.features else None
    )
    definitions = features.definitions if features else ()
    parts: dict[str, pl.DataFrame] = {}
    for name, part in data.parts.items():
        parts[name] = embedder.embed(graph, task.entity_table, part.seeds)
        if features is not None and definitions:
            found = features_seen(features, name, part.seeds).drop("row_id")
            parts[name] = parts[name].hstack(found)
        progress(f"{part.seeds.height:,} rows embedded by the encoder {config.encoder!r}, {name}")
    names = [*(feature.name for feature in definitions), *embedder.columns]
    fitted = pl.concat(part.select(names) for part in training_parts(parts))
    encoder = FeatureEncoder.fit(fitted, config.max_categories)
    if not encoder.columns:
        raise ValueError(
            f"task {task.name}: none of its {len(names)} features and dimensions varies in the "
            f"{parts[TRAIN].height} training rows; pretrain the encoder anew"
        )
    models = train(
        {name: encoder.transform(rows) for name, rows in parts.items()},
        {name: part.labels for name, part in data.parts.items()},
        encoder.categorical_columns,
        task.task_type,
        task.metric,
        len(data.labels.classes),
        config,
        threads,
        progress,
    )
    texts = [text for model in models for text in model.texts.values()]
    gains = importances([lightgbm.Booster(model_str=text) for text in texts])
    record = data.record(task) | {
        "family": KIND,
        "features": len(encoder.columns),
        "validation_scores": [model.validation_scores for model in models],
        "best_rounds": [model.best_rounds for model in models],
        "staleness": models[0].staleness,
        "curves": [model.curve for model in models],
        "importances": dict(zip(encoder.columns, gains.tolist(), strict=True)),
        "descriptions": embedder.descriptions,
        "parameters": asdict(config),
    }
    head = BundleHead(
        schema,
        task,
        as_of,
        _kept(definitions, encoder),
        data.labels,
        tuple(model.seed for model in models),
        record,
    )
    save_lightgbm_bundle(folder, head, encoder, models)
    _add_encoder(folder, pretrained, text_encoder, config)
    return {name: v for name, v in record.items() if name not in ("curves", "descriptions")}


def load_embedding_features_bundle(folder: Path) -> EmbeddingFeaturesBundle:
    """The bundle in a folder.

    Raises:
        FileNotFoundError: the folder holds no bundle, or one without its encoder.
    """
    trees = load_lightgbm_bundle(folder)
    content = read_bundle(folder)[1]
    config = EmbeddingFeaturesConfig(
        **known_settings(EmbeddingFeaturesConfig, content["embedding"])
    )
    return EmbeddingFeaturesBundle(
        **vars(trees),
        embedder=Embedder(load_pretrained(folder), config),
        text_encoder=content["text_encoder"],
    )


def _add_encoder(
    folder: Path, pretrained: Path, text_encoder: str, config: EmbeddingFeaturesConfig
) -> None:
    """Makes a saved LightGBM bundle one of this kind, which holds its encoder as well."""
    shutil.copyfile(pretrained / ENCODER_FILE, folder / ENCODER_FILE)
    content = json.loads((folder / BUNDLE_FILE).read_text())
    content |= {"kind": KIND, "text_encoder": text_encoder, "embedding": asdict(config)}
    (folder / BUNDLE_FILE).write_text(json.dumps(content, indent=1))


def _check(pretrained: Pretrained, graph: TemporalGraph, task: Task, as_of: datetime) -> None:
    check_compatible(
        pretrained,
        pretrained.shape,
        graph.edge_types,
        graph.tables,
        task.hidden_columns,
        as_of - task.validation_span,
    )
    # A network may start from a smaller encoder and learn the rest; a frozen one cannot.
    new = sorted(set(graph.tables) - set(pretrained.statistics))
    new += sorted(edge.name for edge in set(graph.edge_types) - set(pretrained.edge_types))
    if new:
        raise ValueError(
            f"the encoder pretrained on {pretrained.pretext!r} lacks {len(new)} tables or foreign "
            f"keys of the graph ({', '.join(new)}) and is not trained further; pretrain it again on "
            "this schema"
        )


def _kept(definitions: tuple[Feature, ...], encoder: FeatureEncoder) -> tuple[Feature, ...]:
    kept = set(encoder.columns)
    return tuple(feature for feature in definitions if feature.name in kept)
