"""Signals as Relatron published them (arXiv 2602.22552), to be compared with the corrected ones.

What is different: labels of all times are known at once, and an entity's are averaged; links are
those of the whole database up to the date of the run; an entity is its own neighbour; contexts hold
labels whose windows are open, and the class agreement is adjusted by the mean of a standardised
label. Of meta-paths almost all neighbours are followed, from fewer entities.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from models.rdl.graph import microseconds
from models.relatron.context import contexts
from models.relatron.homophily import meta_paths, walk
from models.relatron.inputs import NAN, LabelledRows, Signal, SignalConfig, SignalInputs

GROUP = "reference"
ENTITIES = 1000
FOLLOWED = 32
"""Children of a row that are followed."""


def reference_signals(inputs: SignalInputs, config: SignalConfig) -> list[Signal]:
    """The thirteen model-free numbers of the published selector, each as `reference_<name>`.

    `homophily_mean`, `_max`, `_min`, `_mode` and `_weighted` (by pairs) over meta-paths;
    `autocorrelation_1` and `_2`; `log_rows`; `context_deviation`, `_mean`, `_adjusted`, `_sparsity`
    and `_labels`.
    """
    # Without a window a label is known as soon as its row's cutoff has passed.
    rows = replace(LabelledRows.of(inputs), window=1)
    values = (
        _homophily(inputs, rows, config)
        | _autocorrelations(rows)
        | {"log_rows": float(np.log1p(len(rows)))}
        | _context(inputs, rows, config)
    )
    return [Signal(f"reference_{name}", GROUP, value) for name, value in values.items()]


def _homophily(inputs: SignalInputs, rows: LabelledRows, config: SignalConfig) -> dict[str, float]:
    graph, task = inputs.graph, inputs.task
    labels = np.eye(rows.classes)[rows.label.astype(int)] if rows.classes else rows.label[:, None]
    entities, place = np.unique(rows.entity.numpy(), return_inverse=True)
    sums = np.zeros((len(entities), labels.shape[1]))
    np.add.at(sums, place, labels)
    mean = sums / np.bincount(place)[:, None]
    chosen = entities
    if len(entities) > ENTITIES:
        generator = np.random.default_rng(config.seed)
        chosen = np.sort(generator.choice(entities, ENTITIES, replace=False))
    starts = torch.from_numpy(chosen)
    limit = graph.visible_rank(torch.tensor([microseconds(inputs.as_of)])).expand(len(starts))
    where = np.full(graph.tables[task.entity_table].rows, -1)
    where[entities] = np.arange(len(entities))
    found, weights = [], []
    for path in meta_paths(graph, task, config.paths, trivial=True):
        start, reached = walk(graph, path, starts, limit, FOLLOWED, FOLLOWED)
        own, other = where[chosen[start.numpy()]], where[reached.numpy()]
        own, other = own[other >= 0], other[other >= 0]
        if not own.size or (rows.classes and (own == other).all()):
            continue
        value = (
            _soft_agreement(mean[own], mean[other])
            if rows.classes
            else _pearson(mean[own, 0], mean[other, 0])
        )
        if np.isfinite(value):
            found.append(value)
            weights.append(own.size)
    names = ("mean", "max", "min", "mode", "weighted")
    if not found:
        return {f"homophily_{name}": NAN for name in names}
    # The most frequent value, the first of equals.
    mode = max(found, key=lambda value: found.count(value))
    measures = (np.mean(found), max(found), min(found), mode, np.average(found, weights=weights))
    return {f"homophily_{n}": float(v) for n, v in zip(names, measures, strict=True)}


def _soft_agreement(own: np.ndarray, other: np.ndarray) -> float:
    """Adjusted homophily of class shares: (h - Z) / (1 - Z) with Z from the second members alone."""
    alike = float((own * other).sum(axis=1).mean())
    chance = float((other.mean(axis=0) ** 2).sum())
    return (alike - chance) / (1 - chance) if chance < 1 else NAN


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    if first.size < 2 or first.std() == 0 or second.std() == 0:
        return NAN
    return float(np.corrcoef(first, second)[0, 1])


def _autocorrelations(rows: LabelledRows) -> dict[str, float]:
    entity, label = rows.entity.numpy()[rows.is_training], rows.label[rows.is_training]
    found = {}
    for lag in (1, 2):
        same = entity[lag:] == entity[:-lag]
        found[f"autocorrelation_{lag}"] = _pearson(label[lag:][same], label[:-lag][same])
    return found


def _context(inputs: SignalInputs, rows: LabelledRows, config: SignalConfig) -> dict[str, float]:
    training = torch.nonzero(torch.from_numpy(rows.is_training)).squeeze(1)
    # The first rows in order of time, as they come.
    order = torch.argsort(rows.cutoff_time[training], stable=True)
    chosen = training[order][: config.rows]
    pairs = contexts(inputs, rows, chosen, config)
    row, own, other = pairs.row.numpy(), rows.label[pairs.row], rows.label[pairs.other]
    counts = np.bincount(row, minlength=len(rows))
    asked = counts[chosen.numpy()]
    found = {
        "context_sparsity": float((asked == 0).mean()),
        "context_labels": float(asked.mean()),
    }
    if not rows.classes:
        alike = _pearson(own, other)
        return found | {
            "context_deviation": 0.0, "context_mean": alike, "context_adjusted": alike
        }  # fmt: skip
    if not row.size:
        return found | {
            "context_deviation": 0.0, "context_mean": 1.0, "context_adjusted": 1.0
        }  # fmt: skip
    has_some = counts > 0
    share = np.bincount(row, own == other, minlength=len(rows))[has_some] / counts[has_some]
    known = rows.label[rows.is_training]
    scaled = (rows.label[chosen] - known.mean()) / known.std()
    return found | {
        "context_deviation": float(share.std()),
        "context_mean": float(share.mean()),
        "context_adjusted": float(share.mean() - scaled.mean()),
    }
