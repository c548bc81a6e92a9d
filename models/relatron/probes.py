"""Probes: how far cheap models of either family come, on the same few rows.

Trees on DFS features of depth 1 and 2; linear models on what untrained relational networks make of
the rows around an entity (random features, as in Relatron's probes, arXiv 2602.22552, there after
Rahimi and Recht, "Random features for large-scale kernel machines", NeurIPS 2007); trees on both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import lightgbm
import numpy as np
import polars as pl
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from models.database.schema import Metric, Protocol, TaskType
from models.dfs.feature_table import FeatureTable, seeds_of
from models.rdl.config import NetworkShape, Strategy
from models.rdl.examples import Examples, make_examples
from models.rdl.graph import microseconds
from models.rdl.network import Backbone
from models.rdl.rows import row_inputs
from models.rdl.sampler import TemporalSampler
from models.rdl.statistics import graph_statistics
from models.rdl.supervised import generator_for
from models.relatron.agreement import Estimate
from models.relatron.inputs import (
    NAN,
    Signal,
    SignalConfig,
    SignalInputs,
    label_encoder,
    some_rows,
    usable_rows,
)
from models.relatron.skill import median_or_mean, skill, skill_samples
from models.tabular.lightgbm_config import LightGBMConfig
from models.tabular.lightgbm_learner import predict_one
from models.tabular.lightgbm_learner import train as train_trees
from models.tabular.preparation import prepare

GROUP = "probes"
PENALTIES = tuple(10.0**power for power in range(-1, 6))
HELD_BACK = 0.2
"""The share of the training rows, the newest ones, that say when trees have learned enough."""
PATIENCE = 30
LEARNING_RATE = 0.1
BATCH = 512
MARKED = (False, False, True, True)
"""The untrained networks, each of its own weights: whether they know which row is asked about."""
WATCHED = {
    TaskType.BINARY_CLASSIFICATION: Metric.ROC_AUC,
    TaskType.MULTICLASS_CLASSIFICATION: Metric.MACRO_F1,
    TaskType.REGRESSION: Metric.MAE,
}

TRAIN = "train"
PARTS = (TRAIN, *map(str, Protocol))
Matrices = Mapping[str, np.ndarray]
"""By `train`, `frozen` and `rolling` (validation as each protocol sees it), [rows, columns]."""


def probe_signals(
    inputs: SignalInputs, config: SignalConfig, progress: Callable[[str], None]
) -> list[Signal]:
    """The skill (`skill.py`) of every probe on validation, and their differences.

    By protocol, each with `_frozen` or `_rolling` at its end: `probe_depth_1`, `probe_depth_2`
    (trees on the features within so many keys), `probe_network`, `probe_marked_network` (the mean
    of linear models on two untrained networks, which do not know or do know the row that is asked
    about), `probe_networks` (the mean of all four), `probe_together` (trees on features and
    networks); `gain_depth` (depth 2 less depth 1), `gain_network` (networks less depth 2) and
    `gain_together` (together less the better of depth 2 and the networks). NaN where there are no
    features, or no validation rows. Errors are by a bootstrap of validation rows, and for networks
    also by how far their members are apart.
    """
    rows = _Rows.of(inputs, config)
    names = [f"{name}_{protocol}" for protocol in Protocol for name in (*PROBES, *GAINS)]
    if not rows.usable:
        progress("probes: a probe needs validation rows and two different training labels")
        return [Signal(name, GROUP, NAN) for name in names]
    with threadpool_limits(1):
        predictions = _predictions(inputs, rows, config, progress)
    trivial = median_or_mean(rows.task_type, rows.labels[TRAIN], rows.classes)

    def measured(members: list[np.ndarray]) -> Estimate:
        if not members:
            return Estimate(np.full(1 + config.draws, NAN))
        truth = rows.labels[str(Protocol.ROLLING)]
        mean = np.mean(members, axis=0)
        found = skill_samples(rows.task_type, truth, mean, trivial, config.draws, config.seed)
        if len(members) == 1:
            return found
        # Other weights would have made other features: the samples vary by that, too.
        each = [skill(rows.task_type, truth, one, trivial) for one in members]
        spread = float(np.std(each, ddof=1)) / len(members) ** 0.5
        noise = np.random.default_rng(config.seed).normal(0, spread, config.draws)
        return Estimate(found.samples + np.concatenate([[0.0], noise]))

    signals = []
    for protocol in Protocol:
        found = {
            name: measured([one[str(protocol)] for one in predictions[name]]) for name in PROBES
        }
        found |= {name: Estimate(gain(found)) for name, gain in GAINS.items()}
        signals += [
            Signal(f"{name}_{protocol}", GROUP, one.value, one.error) for name, one in found.items()
        ]
    return signals


Found = Mapping[str, Estimate]
PROBES = (
    "probe_depth_1",
    "probe_depth_2",
    "probe_network",
    "probe_marked_network",
    "probe_networks",
    "probe_together",
)
GAINS: Mapping[str, Callable[[Found], np.ndarray]] = {
    "gain_depth": lambda of: of["probe_depth_2"].samples - of["probe_depth_1"].samples,
    "gain_network": lambda of: of["probe_networks"].samples - of["probe_depth_2"].samples,
    "gain_together": lambda of: (
        of["probe_together"].samples
        - np.maximum(of["probe_depth_2"].samples, of["probe_networks"].samples)
    ),
}


@dataclass(frozen=True)
class _Rows:
    """The rows that all probes share.

    `table` is the part of the training table, `labels` the encoded labels by part.
    """

    table: pl.DataFrame
    labels: Matrices
    classes: int
    task_type: TaskType

    @classmethod
    def of(cls, inputs: SignalInputs, config: SignalConfig) -> _Rows:
        usable = usable_rows(inputs)
        encoder = label_encoder(usable, inputs.task)
        sizes = {"train": config.probe_training_rows, "val": config.probe_validation_rows}
        table = pl.concat(some_rows(usable, s, most, config.seed) for s, most in sizes.items())
        table = table.filter(~np.isnan(encoder.transform(table["label"])))
        codes = encoder.transform(table["label"])
        is_training = (table["split"] == "train").to_numpy()
        labels = {TRAIN: codes[is_training]} | {str(p): codes[~is_training] for p in Protocol}
        return cls(table, labels, len(encoder.classes), inputs.task.task_type)

    @property
    def usable(self) -> bool:
        """Whether something can be learned, and scored."""
        return (
            len(self.labels[str(Protocol.ROLLING)]) > 0 and len(np.unique(self.labels[TRAIN])) > 1
        )

    def part(self, name: str) -> pl.DataFrame:
        """The rows of a part."""
        return self.table.filter(pl.col("split") == ("train" if name == TRAIN else "val"))

    def newest(self, seed: int) -> np.ndarray:
        """Which training rows are among the newest, bool; of one cutoff any are."""
        times = self.part(TRAIN)["cutoff_time"].to_physical().to_numpy()
        order = np.lexsort((np.random.default_rng(seed).permutation(times.size), times))
        chosen = np.zeros(times.size, dtype=bool)
        chosen[order[int((1 - HELD_BACK) * times.size) :]] = True
        return chosen


def _predictions(
    inputs: SignalInputs, rows: _Rows, config: SignalConfig, progress: Callable[[str], None]
) -> dict[str, list[Matrices]]:
    """Every probe's predictions of validation, one a member; none where it cannot be fitted."""
    embedded = _embeddings(inputs, rows, config)
    found: dict[str, list[Matrices]] = {name: [] for name in PROBES}
    found["probe_networks"] = [_linear(rows, one) for one in embedded]
    for name, marked in (("probe_network", False), ("probe_marked_network", True)):
        members = zip(found["probe_networks"], MARKED, strict=True)
        found[name] = [one for one, is_marked in members if is_marked == marked]
    if inputs.features is None:
        progress("probes: there are no DFS features, so trees are not tried")
        return found
    features = _only(inputs.features, rows.table)
    for depth in (1, 2):
        try:
            # Without windows, which cost and which the shipped bank's signals do not know.
            known = features.within(depth, windows=False)
            data = prepare(inputs.task, rows.table, known, LightGBMConfig().max_categories)
        except ValueError as reason:
            progress(f"probes: {reason}")
            continue
        categorical = data.encoder.categorical_columns
        found[f"probe_depth_{depth}"] = [_trees(rows, data.matrices, categorical, config)]
        if depth == 2:
            both = {n: np.hstack([data.matrices[n], *(e[n] for e in embedded)]) for n in PARTS}
            found["probe_together"] = [_trees(rows, both, categorical, config)]
    return found


def _only(features: FeatureTable, rows: pl.DataFrame) -> FeatureTable:
    """The features of some rows alone."""
    own = rows.select("row_id")
    return replace(
        features,
        features=features.features.join(own, on="row_id", how="semi"),
        frozen=features.frozen.join(own, on="row_id", how="semi"),
        stale=features.stale.join(own, on="row_id", how="semi"),
    )


def _trees(
    rows: _Rows, matrices: Matrices, categorical: list[int], config: SignalConfig
) -> Matrices:
    """Predictions of LightGBM, whose trees are counted on the newest training rows."""
    newest = rows.newest(config.seed)
    fitted, labels = matrices[TRAIN], rows.labels[TRAIN]
    parts = {TRAIN: ~newest} | {str(protocol): newest for protocol in Protocol}
    settings = LightGBMConfig(
        seeds=1,
        rounds=config.probe_rounds,
        early_stopping=PATIENCE,
        learning_rate=LEARNING_RATE,
        extra={"seed": config.seed},
    )
    (model,) = train_trees(
        {name: fitted[chosen] for name, chosen in parts.items()},
        {name: labels[chosen] for name, chosen in parts.items()},
        categorical,
        rows.task_type,
        WATCHED[rows.task_type],
        rows.classes,
        settings,
        threads=1,
    )
    booster = lightgbm.Booster(model_str=model.texts[Protocol.ROLLING])
    rounds = model.best_rounds[Protocol.ROLLING]
    return {str(p): predict_one(booster, matrices[str(p)], rounds) for p in Protocol}


def _linear(rows: _Rows, matrices: Matrices) -> Matrices:
    """Predictions of a linear model with a solution in closed form.

    Ridge regression, its penalty chosen by leaving one training row out; for classes linear
    discriminants with Ledoit and Wolf's shrinkage ("Honey, I shrunk the sample covariance matrix",
    2004).
    """
    scaler = StandardScaler().fit(matrices[TRAIN])
    inputs, labels = scaler.transform(matrices[TRAIN]), rows.labels[TRAIN]
    asked = {str(p): scaler.transform(matrices[str(p)]) for p in Protocol}
    if rows.task_type == TaskType.REGRESSION:
        ridge = RidgeCV(PENALTIES).fit(inputs, labels)
        low, high = labels.min(), labels.max()
        return {name: ridge.predict(one).clip(low, high) for name, one in asked.items()}
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(inputs, labels)
    known = model.classes_.astype(int)
    found = {}
    for name, one in asked.items():
        probabilities = np.zeros((len(one), rows.classes))
        probabilities[:, known] = model.predict_proba(one)
        is_binary = rows.task_type == TaskType.BINARY_CLASSIFICATION
        found[name] = probabilities[:, 1] if is_binary else probabilities
    return found


def _embeddings(inputs: SignalInputs, rows: _Rows, config: SignalConfig) -> list[Matrices]:
    """What untrained networks make of the rows, in the order of `MARKED`.

    Scales and known categories come from rows up to the first validation cutoff.
    """
    graph, task = inputs.graph, inputs.task
    until = microseconds(inputs.as_of - task.validation_span)
    statistics = graph_statistics(graph, until, task.hidden_columns)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        networks = [
            Backbone(
                statistics,
                graph.edge_types,
                NetworkShape(
                    layers=len(config.probe_fan_outs),
                    channels=config.probe_channels,
                    seed_label=is_marked,
                ),
            ).eval()
            for is_marked in MARKED
        ]
    known = row_inputs(graph, statistics)
    sampler = TemporalSampler(graph, config.probe_fan_outs, Strategy.LAST)

    @torch.no_grad()
    def embed(examples: Examples) -> list[np.ndarray]:
        parts: list[list[torch.Tensor]] = [[] for _ in networks]
        for number, positions in enumerate(torch.arange(len(examples)).split(BATCH)):
            batch = examples.take(positions)
            generator = generator_for(graph.device, number)
            sample = sampler.sample(batch.table, batch.rows, batch.visible_until, generator)
            for part, network in zip(parts, networks, strict=True):
                part.append(network(known, sample, batch.cutoff_time))
        return [torch.cat(part).numpy() for part in parts]

    found = {}
    for name in PARTS:
        protocol = Protocol.ROLLING if name == TRAIN else Protocol(name)
        seeds = seeds_of(rows.part(name), task, inputs.as_of, protocol)
        found[name] = embed(make_examples(graph, task.entity_table, seeds))
    return [{name: each[i] for name, each in found.items()} for i in range(len(networks))]
