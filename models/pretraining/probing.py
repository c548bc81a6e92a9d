"""Linear probing: what a frozen backbone's embeddings tell of a task, beside a random backbone's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from models.database.schema import Metric, Protocol, Task, TaskType
from models.database.training_table import NoExamplesError
from models.dfs.feature_table import seeds_of
from models.learning.labels import LabelEncoder, watched_score
from models.learning.outcome import PERCENTILES
from models.rdl.config import Strategy
from models.rdl.examples import Examples, make_examples
from models.rdl.graph import TemporalGraph
from models.rdl.initialisation import Pretrained, check_compatible
from models.rdl.network import Backbone, RelationalNetwork
from models.rdl.rows import row_inputs
from models.rdl.sampler import TemporalSampler
from models.rdl.supervised import Reader

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse penalties that are tried, as in scikit-learn's `C`."""
ITERATIONS = 300


@dataclass(frozen=True, slots=True)
class ProbeConfig:
    """How to probe.

    `fan_out` and `strategy` are as in `RDLConfig`. Of the training rows at most `training_rows` are
    used, of the validation rows at most `validation_rows`, chosen at random by `seed`, which also
    initialises the random backbone.
    """

    fan_out: int = 32
    strategy: Strategy = Strategy.UNIFORM
    training_rows: int = 10_000
    validation_rows: int = 5_000
    seed: int = 0


def probe(
    pretrained: Pretrained,
    graph: TemporalGraph,
    task: Task,
    training_table: pl.DataFrame,
    as_of: datetime,
    config: ProbeConfig = ProbeConfig(),
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Scores of linear models on frozen embeddings, of the pretrained and of a random backbone.

    Embeddings are computed once per protocol: under the frozen one training rows see the database
    as of earlier, by lags drawn from those of the validation rows. They are standardised by the
    training rows; logistic regression (classes) or ridge regression (values) is fitted to them with
    each of `STRENGTHS`, and the best score on validation is reported. As the strength is chosen on
    the rows it is scored on, scores are a little too good, those of the random backbone as much as
    the others.

    Args:
        pretrained: The backbone.
        graph: The database's graph, on the device to use.
        task: The task.
        training_table: row_id, entity, cutoff_time, label and split of the task's examples.
        as_of: The date of the run.
        config: How.
        progress: Receives a line per backbone.

    Returns:
        `task`, `metric`, `rows` (training, validation), `pretrained` and `random` (each the score
        and the chosen strength by protocol) and `seconds`. A score that is not defined is NaN.

    Raises:
        ValueError: The backbone does not fit the graph or the task (`check_compatible`).
        NoExamplesError: There are no labelled training or validation rows.
    """
    started = time.monotonic()
    check_compatible(
        pretrained,
        pretrained.shape,
        graph.edge_types,
        graph.tables,
        task.hidden_columns,
        as_of - task.validation_span,
    )
    rows = _Rows.of(graph, task, training_table, as_of, config)
    scores = {}
    for name, backbone in _backbones(pretrained, config.seed).items():
        with threadpool_limits(1):
            scores[name] = rows.scores(rows.reader(pretrained, graph, backbone, config))
        progress(f"probe of {task.name}, {name} backbone: {scores[name]}")
    return {
        "task": task.name,
        "metric": str(task.metric),
        "rows": rows.counts,
        **scores,
        "seconds": time.monotonic() - started,
    }


def _backbones(pretrained: Pretrained, seed: int) -> dict[str, Backbone]:
    """The pretrained backbone and one of random weights, with the same inputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random = pretrained.random_backbone()
    mean_degrees = {n: v for n, v in pretrained.state.items() if "avg_deg" in n}
    random.load_state_dict(mean_degrees, strict=False)
    return {"pretrained": pretrained.backbone(), "random": random}


@dataclass(frozen=True, slots=True)
class _Rows:
    """A task's examples with encoded labels."""

    task: Task
    labels: LabelEncoder
    train: Mapping[Protocol, Examples]
    validation: Mapping[Protocol, Examples]

    @classmethod
    def of(
        cls,
        graph: TemporalGraph,
        task: Task,
        training_table: pl.DataFrame,
        as_of: datetime,
        config: ProbeConfig,
    ) -> _Rows:
        known = training_table.filter(pl.col("label").is_not_null())
        train = _some(known.filter(pl.col("split") == "train"), config.training_rows, config.seed)
        val = _some(known.filter(pl.col("split") == "val"), config.validation_rows, config.seed)
        if train.is_empty() or val.is_empty():
            raise NoExamplesError(
                f"task {task.name!r} has {train.height} labelled training and {val.height} "
                "validation rows as of "
                f"{as_of}; a probe needs both, so choose a date at which windows have closed"
            )
        labels = LabelEncoder.fit(train["label"], task.task_type != TaskType.REGRESSION)

        def examples(rows: pl.DataFrame, protocol: Protocol) -> Examples:
            seeds = seeds_of(rows, task, as_of, protocol)
            return make_examples(
                graph, task.entity_table, seeds, np.array(labels.transform(rows["label"]))
            )

        validation = {protocol: examples(val, protocol) for protocol in Protocol}
        rolling = examples(train, Protocol.ROLLING)
        frozen = _lagged(rolling, validation[Protocol.FROZEN], config.seed)
        return cls(task, labels, {Protocol.ROLLING: rolling, Protocol.FROZEN: frozen}, validation)

    @property
    def counts(self) -> dict[str, int]:
        """Training and validation rows."""
        protocol = Protocol.ROLLING
        return {"train": len(self.train[protocol]), "val": len(self.validation[protocol])}

    def reader(
        self,
        pretrained: Pretrained,
        graph: TemporalGraph,
        backbone: Backbone,
        config: ProbeConfig,
    ) -> Reader:
        """The backbone with what it reads."""
        hops = range(pretrained.shape.hops)
        fan_outs = tuple(max(config.fan_out // 2**hop, 2) for hop in hops)
        return Reader(
            RelationalNetwork(backbone, outputs=1).to(graph.device),
            row_inputs(graph, pretrained.statistics),
            TemporalSampler(graph, fan_outs, config.strategy),
        )

    def scores(self, reader: Reader) -> dict[str, dict[str, float]]:
        """The best score on validation and its strength, by protocol."""
        found: dict[str, dict[str, float]] = {}
        for protocol, validation in self.validation.items():
            train = self.train[protocol]
            embedded = reader.embeddings(train).double().cpu().numpy()
            scaler = StandardScaler().fit(embedded)
            rows = scaler.transform(embedded)
            inputs = scaler.transform(reader.embeddings(validation).double().cpu().numpy())
            labels: np.ndarray = train.labels.cpu().numpy()
            truth: np.ndarray = validation.labels.cpu().numpy()
            by_strength = {
                strength: self._score(
                    truth, _fitted(self.task.task_type, rows, labels, strength)(inputs)
                )
                for strength in STRENGTHS
            }
            strength = _best(by_strength, self.task.metric)
            found[str(protocol)] = {"score": by_strength[strength], "strength": strength}
        return found

    def _score(self, truth: np.ndarray, predictions: np.ndarray) -> float:
        task_type, classes = self.task.task_type, len(self.labels.classes)
        return watched_score(task_type, self.task.metric, truth, predictions, classes)


def _some(rows: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """At most so many rows, chosen by chance, in their order."""
    if rows.height <= most:
        return rows
    chosen = np.random.default_rng(seed).choice(rows.height, most, replace=False)
    return rows[np.sort(chosen)]


def _lagged(train: Examples, frozen: Examples, seed: int) -> Examples:
    """The training rows, seen as of earlier by as much as random ones of the frozen rows are."""
    lags = frozen.cutoff_time - frozen.visible_until
    drawn = torch.randint(len(lags), (len(train),), generator=torch.Generator().manual_seed(seed))
    return replace(train, visible_until=train.visible_until - lags[drawn.to(lags.device)])


def _fitted(
    task_type: TaskType, inputs: np.ndarray, labels: np.ndarray, strength: float
) -> Callable[[np.ndarray], np.ndarray]:
    """A linear model's predictions: probabilities [rows] or [rows, classes], or values [rows]."""
    if task_type == TaskType.REGRESSION:
        lowest, highest = np.percentile(labels, PERCENTILES)
        ridge = Ridge(alpha=1 / strength).fit(inputs, labels)
        return lambda rows: np.asarray(ridge.predict(rows)).clip(lowest, highest)
    if len(np.unique(labels)) < 2:
        only = float(labels[0])
        if task_type == TaskType.MULTICLASS_CLASSIFICATION:
            return lambda rows: np.ones((len(rows), 1))
        return lambda rows: np.full(len(rows), only)
    model = LogisticRegression(C=strength, max_iter=ITERATIONS).fit(inputs, labels)
    if task_type == TaskType.BINARY_CLASSIFICATION:
        return lambda rows: np.asarray(model.predict_proba(rows)[:, 1])
    return lambda rows: np.asarray(model.predict_proba(rows))


def _best(scores: Mapping[float, float], metric: Metric) -> float:
    """The strength of the best score, the least of equals; undefined scores lose."""
    sign = 1 if metric.higher_is_better else -1
    return max(scores, key=lambda s: -np.inf if np.isnan(scores[s]) else sign * scores[s])
