"""What labels say by themselves: memory, drift, newcomers, balance."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from scipy.stats import ks_2samp, skew

from models.database.schema import Protocol, Task
from models.dfs.feature_table import seeds_of
from models.rdl.graph import as_microseconds
from models.relatron.agreement import (
    Estimate,
    Pairs,
    Resampling,
    class_tables,
    correlation,
    cramer,
)
from models.relatron.inputs import (
    NAN,
    LabelledRows,
    Signal,
    SignalConfig,
    SignalInputs,
    label_encoder,
    some_rows,
    usable_rows,
)
from models.relatron.skill import median_or_mean, skill_samples

GROUP = "labels"
LAGS = (1, 2, 3)


def label_signals(inputs: SignalInputs, rows: LabelledRows, config: SignalConfig) -> list[Signal]:
    """The signals of the labels alone.

    `autocorrelation_1` to `_3`: between a label and the k-th newest label of the entity that was
    known at the cutoff; Pearson's correlation, for several classes Cramér's V. `drift`: how far the
    mean moves from training to validation, in standard deviations of training, for several classes
    the total variation distance; `drift_distance`: the Kolmogorov-Smirnov statistic, for classes
    the total variation distance. `newcomers`: the share of validation entities without an earlier
    label. `majority_rate`: the share of the most frequent class; `positive_rate`: of the label 1;
    `label_skew` of a number. `past_mean_frozen` and `past_mean_rolling`: the skill (`skill.py`) of
    the entity's mean past label on validation rows, by what each protocol knows.
    """
    resampling = Resampling.of(
        inputs.graph.tables[inputs.task.entity_table].rows,
        rows.entity.numpy(),
        config.draws,
        config.seed,
    )
    return [
        *autocorrelations(rows, resampling),
        *_drift(rows, resampling),
        _newcomers(rows),
        *_balance(rows),
        *_past_means(inputs, rows, config),
    ]


def autocorrelations(rows: LabelledRows, resampling: Resampling) -> list[Signal]:
    """The correlation with the k-th newest known label, for every lag k."""
    first, end = rows.known(rows.entity, rows.cutoff_time)
    signals = []
    for lag in LAGS:
        later = torch.nonzero(end - lag >= first).squeeze(1)
        earlier = (end - lag)[later].numpy()
        entity = rows.entity[later].numpy()
        pairs = Pairs(entity, rows.label[later.numpy()], rows.label[earlier], np.ones(len(later)))
        several = rows.classes > 2
        found = (
            cramer(pairs, rows.classes, resampling) if several else correlation(pairs, resampling)
        )
        signals.append(Signal(f"autocorrelation_{lag}", GROUP, found.value, found.error))
    return signals


def _drift(rows: LabelledRows, resampling: Resampling) -> list[Signal]:
    entity, training = rows.entity.numpy(), rows.is_training
    if training.all():
        return [Signal("drift", GROUP, NAN), Signal("drift_distance", GROUP, NAN)]
    if rows.classes:
        # A row's split and its class make a table whose rows are the two distributions.
        split = Pairs(entity, training.astype(float), rows.label, np.ones(len(rows)))
        table = class_tables(split, max(rows.classes, 2), resampling)[:, :2]
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = table / table.sum(axis=2, keepdims=True)
            distance = Estimate(np.abs(shares[:, 0] - shares[:, 1]).sum(axis=1) / 2)
            spread = np.sqrt(shares[:, 1, 1] * (1 - shares[:, 1, 1])) if rows.classes == 2 else 1.0
            drift = Estimate(distance.samples / spread)
        return [
            Signal("drift", GROUP, drift.value, drift.error),
            Signal("drift_distance", GROUP, distance.value, distance.error),
        ]
    own, other = rows.label[training], rows.label[~training]
    spread = float(own.std())
    centred = rows.label - own.mean()

    def mean(of: np.ndarray) -> np.ndarray:
        counts = resampling.sums(entity[of], np.ones(int(of.sum())))
        return resampling.sums(entity[of], centred[of]) / counts

    with np.errstate(divide="ignore", invalid="ignore"):
        drift = Estimate(np.abs(mean(~training) - mean(training)) / spread)
    return [
        Signal("drift", GROUP, drift.value if spread else NAN, drift.error),
        Signal("drift_distance", GROUP, float(ks_2samp(own, other, method="asymp").statistic)),
    ]


def _newcomers(rows: LabelledRows) -> Signal:
    entity, training = rows.entity.numpy(), rows.is_training
    asked = np.unique(entity[~training])
    if not asked.size:
        return Signal("newcomers", GROUP, NAN)
    share = float(1 - np.isin(asked, entity[training]).mean())
    return Signal("newcomers", GROUP, share, float(np.sqrt(share * (1 - share) / asked.size)))


def _balance(rows: LabelledRows) -> list[Signal]:
    labels = rows.label[rows.is_training]
    majority = positive = skewness = NAN
    if rows.classes:
        majority = float(np.bincount(labels.astype(np.int64)).max() / labels.size)
        positive = float(labels.mean()) if rows.classes == 2 else NAN
    elif labels.std() > 0:
        skewness = float(skew(labels))
    return [
        Signal("majority_rate", GROUP, majority),
        Signal("positive_rate", GROUP, positive),
        Signal("label_skew", GROUP, skewness),
    ]


def _past_means(inputs: SignalInputs, rows: LabelledRows, config: SignalConfig) -> list[Signal]:
    usable = usable_rows(inputs)
    asked = some_rows(usable, "val", config.probe_validation_rows, config.seed)
    labels = label_encoder(usable, inputs.task).transform(asked["label"])
    asked, labels = asked.filter(~np.isnan(labels)), labels[~np.isnan(labels)]
    signals = []
    for protocol in Protocol:
        name = f"past_mean_{protocol}"
        if asked.is_empty():
            signals.append(Signal(name, GROUP, NAN))
            continue
        predicted = _past_mean(inputs, rows, asked, protocol)
        trivial = median_or_mean(inputs.task.task_type, rows.label[rows.is_training], rows.classes)
        found = skill_samples(
            inputs.task.task_type, labels, predicted, trivial, config.draws, config.seed
        )
        signals.append(Signal(name, GROUP, found.value, found.error))
    return signals


def _past_mean(
    inputs: SignalInputs, rows: LabelledRows, asked: pl.DataFrame, protocol: Protocol
) -> np.ndarray:
    """Predictions by the mean known label, or class shares; what is trivial without history."""
    task: Task = inputs.task
    seeds = seeds_of(asked, task, inputs.as_of, protocol)
    entity = inputs.graph.rows_of(task.entity_table, seeds["entity"])
    first, end = rows.known(entity, as_microseconds(seeds["visible_until"]))
    several = rows.classes > 2
    values = np.eye(rows.classes)[rows.label.astype(np.int64)] if several else rows.label[:, None]
    sums = np.concatenate([np.zeros((1, values.shape[1])), values.cumsum(axis=0)])
    counts = (end - first).numpy()[:, None]
    trivial = median_or_mean(task.task_type, rows.label[rows.is_training], rows.classes)
    mean = (sums[end.numpy()] - sums[first.numpy()]) / np.maximum(counts, 1)
    predicted = np.where(counts > 0, mean, trivial)
    return predicted if several else predicted[:, 0]
