"""From a trained candidate to rows of the bank: scores with their errors, and what it cost."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.artifacts.recipe import canonical_json
from models.database.schema import Metric, Protocol
from models.dfs.feature_table import seeds_of
from models.families.bundle import Bundle, load_bundle
from models.families.candidate import Candidate
from models.families.prediction import trivial_predictions
from models.families.trial import TrialInputs, train_candidate
from models.learning.rows import RowsToPredict
from models.reporting.scores import score

BOOTSTRAPS = 100
SPLITS = ("val", "test")
Measure = Callable[[np.ndarray, np.ndarray], float]
Predictions = Mapping[tuple[str, Protocol], np.ndarray]


def measure_candidate(
    candidate: Candidate,
    inputs: TrialInputs,
    folder: Path,
    *,
    origin: str,
    signals: Mapping[str, Any],
    code_version: str,
    graph: Any = None,
    threads: int = 1,
) -> list[dict[str, Any]]:
    """Trains a candidate and scores it: a row a seed and protocol (see `BANK_SCHEMA`).

    A candidate that fails leaves one row a protocol that says why.

    Args:
        candidate: What to train.
        inputs: What from; its training table has the test rows too, where their labels are known.
        folder: Receives the bundle.
        origin: `real`, `synthetic` or `planted`.
        signals: What is known of the task besides.
        code_version: Of the code that trains.
        graph: The temporal graph in memory, where the candidate reads one.
        threads: Seeds trained at a time.
    """
    common = trial_row(candidate, inputs, origin) | {
        "signals": canonical_json(dict(signals)),
        "code_version": code_version,
    }
    try:
        trial = train_candidate(candidate, inputs, folder, threads)
    except (ValueError, FloatingPointError, RuntimeError) as error:
        failed = {"failure": f"{type(error).__name__}: {error}", "seed": 0}
        return [common | failed | {"protocol": str(protocol)} for protocol in Protocol]
    bundle = load_bundle(folder)
    found = predictions_of(bundle, inputs, graph)
    return [common | row for row in measured_rows(candidate, inputs, bundle, trial, found)]


def trial_row(candidate: Candidate, inputs: TrialInputs, origin: str) -> dict[str, Any]:
    """What all rows of a trial share: the task, its rows by split, and the candidate."""
    task = inputs.task
    return {
        "database": inputs.schema.database,
        "task": task.name,
        "as_of": inputs.as_of,
        "origin": origin,
        "task_type": str(task.task_type),
        "metric": str(task.metric),
        **{f"{split}_rows": count for split, count in _counts(inputs.training_table).items()},
        "family": candidate.family,
        "candidate": candidate.name,
        "settings": canonical_json(asdict(candidate.config())),
    }


def predictions_of(bundle: Bundle, inputs: TrialInputs, graph: Any = None) -> Predictions:
    """What a bundle says of the labelled rows of validation and test, as each protocol sees them.

    Args:
        bundle: The trained models.
        inputs: What they were trained from.
        graph: The temporal graph in memory, where the bundle reads one.

    Returns:
        By (`val` or `test`, protocol) an array (seeds, rows) or (seeds, rows, classes), rows in the
        order of `labelled_rows`; no entry for a split without labelled rows.
    """
    task = inputs.task
    known = inputs.training_table.filter(pl.col("label").is_not_null())
    found = {}
    for split in SPLITS:
        rows = labelled_rows(inputs.training_table, split)
        if rows.is_empty():
            continue
        for protocol in Protocol:
            asked = RowsToPredict(
                seeds=seeds_of(rows, task, inputs.as_of, protocol),
                tables=inputs.tables,
                features=inputs.features.under(protocol) if inputs.features is not None else None,
                label_history=known.select("entity", "cutoff_time", "label"),
                graph=graph,
                threads=1,
            )
            found[split, protocol] = np.asarray(bundle.predict(asked, protocol))
    return found


def labelled_rows(training_table: pl.DataFrame, split: str) -> pl.DataFrame:
    """The rows of a split whose label is known, in the training table's order."""
    return training_table.filter((pl.col("split") == split) & pl.col("label").is_not_null())


def measured_rows(
    candidate: Candidate,
    inputs: TrialInputs,
    bundle: Bundle,
    trial: Mapping[str, Any],
    predictions: Predictions,
) -> list[dict[str, Any]]:
    """A row a seed and protocol without what `trial_row` gives, the signals and the code version.

    Args:
        candidate: What was trained.
        inputs: What from.
        bundle: The trained models.
        trial: What `train_candidate` returned.
        predictions: What `predictions_of` returned.
    """
    seeds = list(bundle.seeds)
    device = _device(candidate)
    found = []
    for protocol in Protocol:
        scores = {
            split: _scores(bundle, inputs, split, predictions[split, protocol])
            for split in SPLITS
            if (split, protocol) in predictions
        }
        for place, seed in enumerate(seeds):
            own = {split: by_seed[place] for split, by_seed in scores.items()}
            test = own.get("test", {})
            found.append(
                {
                    "protocol": str(protocol),
                    "seed": int(seed),
                    "validation": float(trial["validation_scores"][place][str(protocol)]),
                    "validation_error": own["val"]["error"] if "val" in own else None,
                    "test": test.get("score"),
                    "test_error": test.get("error"),
                    "trivial_test": test.get("trivial"),
                    "epochs": int(trial["best_rounds"][place][str(protocol)]),
                    "seconds": round(trial["seconds"] / len(seeds), 2),
                    "peak_megabytes": peak_megabytes(),
                    "device": device,
                }
            )
    return found


def _device(candidate: Candidate) -> str:
    asked = getattr(candidate.config(), "device", None)
    if asked is None:
        return "cpu"
    # Torch's; trees do without it.
    from models.learning.device import choose_device

    return str(choose_device(asked))


def peak_megabytes() -> float:
    """The most memory that this process has held so far, in MB."""
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def _counts(training_table: pl.DataFrame) -> dict[str, int]:
    names = {"train": "train", "val": "validation", "test": "test"}
    return {name: labelled_rows(training_table, split).height for split, name in names.items()}


def _scores(
    bundle: Bundle, inputs: TrialInputs, split: str, predictions: np.ndarray
) -> list[dict[str, float]]:
    """Per seed the score of a split, its bootstrap error and the trivial predictor's score."""
    task = inputs.task
    labels = bundle.labels.transform(labelled_rows(inputs.training_table, split)["label"])
    classes = list(range(len(bundle.labels.classes)))
    trivial = trivial_predictions(bundle, labels.size)

    def measure(truth: np.ndarray, predicted: np.ndarray) -> float:
        return float(score(task.task_type, truth, predicted, classes=classes)[str(task.metric)])

    return [
        {
            "score": _or_nan(measure, labels, predicted),
            "error": bootstrap_error(measure, task.metric, labels, predicted),
            "trivial": _or_nan(measure, labels, trivial),
        }
        for predicted in predictions
    ]


def bootstrap_error(
    measure: Measure, metric: Metric, labels: np.ndarray, predictions: np.ndarray
) -> float:
    """The standard deviation of a score over resampled rows; NaN where it is rarely defined.

    Args:
        measure: The score of labels and predictions.
        metric: What it is; the two that most tasks have are computed for all draws at once.
        labels: Encoded, float64 [rows].
        predictions: [rows] or [rows, classes].
    """
    generator = np.random.default_rng(0)
    draws = generator.integers(labels.size, size=(BOOTSTRAPS, labels.size))
    if metric in (Metric.ROC_AUC, Metric.MAE) and predictions.ndim == 1:
        counts = np.stack([np.bincount(rows, minlength=labels.size) for rows in draws])
        if metric == Metric.MAE:
            scores = counts @ np.abs(predictions - labels) / labels.size
        else:
            scores = _areas_under_curve(labels, predictions, counts)
    else:
        scores = np.array([_or_nan(measure, labels[rows], predictions[rows]) for rows in draws])
    defined = scores[~np.isnan(scores)]
    return float(defined.std(ddof=1)) if defined.size > BOOTSTRAPS // 2 else float("nan")


def _areas_under_curve(labels: np.ndarray, values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The area for each draw, whose rows count so often; NaN where it has rows of one class only.

    The share of pairs of a positive and a negative row that are in order, ties counting half (Mann
    and Whitney, 1947).
    """
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=np.nan) != 0)
    positive = np.add.reduceat(counts[:, order] * (labels[order] == 1), starts, axis=1)
    negative = np.add.reduceat(counts[:, order] * (labels[order] != 1), starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(pairs > 0, (positive * below).sum(axis=1) / pairs, np.nan))


def _or_nan(measure: Measure, labels: np.ndarray, predictions: np.ndarray) -> float:
    try:
        return float(measure(labels, predictions))
    except (ValueError, KeyError):
        return float("nan")
