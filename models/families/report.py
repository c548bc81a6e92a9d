"""Gathers the report of a run from its training table, bundle and predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from models.database.schema import Protocol, RelationalSchema, Task, TaskType
from models.families.bundle import Bundle
from models.families.prediction import SCORES, predictions_file
from models.reporting import plots
from models.reporting.report import (
    CheckRow,
    FeatureRow,
    ScoreRow,
    TaskReport,
    summarize_splits,
)
from models.reporting.scores import scores_by_cutoff
from models.reporting.wording import leakage_statement, question

FAMILY_TITLES = {
    "lightgbm": "LightGBM",
    "linear": "Linear model over features",
    "resnet": "ResNet over features",
    "ft_transformer": "FT-Transformer over features",
    "tabpfn": "TabPFN over features",
    "rdl": "Relational deep learning",
    "lightgbm_on_embeddings": "LightGBM over pretrained embeddings",
    "ensemble": "Ensemble",
}
Plots = dict[str, tuple[bytes, str]]
BASELINES = {
    TaskType.BINARY_CLASSIFICATION: "the positive rate of the training labels for everyone",
    TaskType.MULTICLASS_CLASSIFICATION: "the class shares of the training labels for everyone",
    TaskType.REGRESSION: "the median of the training labels for everyone",
}


def gather_report(
    schema: RelationalSchema,
    task: Task,
    as_of: datetime,
    training_table: pl.DataFrame,
    bundle: Bundle,
    predictions: Path,
    checks: tuple[CheckRow, ...],
    er_diagram: bytes,
    fingerprints: Mapping[str, str],
) -> TaskReport:
    """The report of one task at one date.

    Args:
        schema: The database.
        task: The task.
        as_of: The date of the run.
        training_table: row_id, entity, cutoff_time, label, split.
        bundle: The model that predicted.
        predictions: The folder that `build_predictions` filled.
        checks: Outcomes of the quality gates.
        er_diagram: The schema as SVG.
        fingerprints: Artifact of each stage.
    """
    scores = tuple(ScoreRow(**row) for row in json.loads((predictions / SCORES).read_text()))
    family = FAMILY_TITLES.get(bundle.record["family"], bundle.record["family"])
    paths = {feature.name: feature.description for feature in bundle.features}
    paths |= bundle.record.get("descriptions", {})
    importances = sorted(bundle.record["importances"].items(), key=lambda item: -item[1])
    # The published table names its columns canonically, whatever the task's own SQL calls them.
    canonical = replace(
        task, entity_column="entity", time_column="cutoff_time", label_column="label"
    )
    return TaskReport(
        database_title=schema.title,
        task=task,
        as_of=as_of,
        question=question(task),
        source=f"{schema.source.kind} {schema.source.location}".strip(),
        model=f"{family}, the mean of {len(bundle.seeds)} seeds, trained as of {bundle.as_of:%Y-%m-%d}",
        baseline=BASELINES[task.task_type],
        scores=scores,
        notes=_notes(scores, bundle, as_of),
        splits=summarize_splits(training_table, canonical),
        leakage=leakage_statement(task, as_of, schema),
        parameters=dict(bundle.record["parameters"]),
        features=tuple(
            FeatureRow(name, share, paths[name]) for name, share in importances if share > 0
        ),
        checks=checks,
        plots=report_plots(task, training_table, bundle, predictions),
        er_diagram=er_diagram,
        fingerprints=fingerprints,
    )


def _notes(scores: tuple[ScoreRow, ...], bundle: Bundle, as_of: datetime) -> tuple[str, ...]:
    notes = []
    if not any(score.split == "test" for score in scores):
        notes.append(
            "The future of this run is not known yet: no window after as_of has closed in the data, "
            "so there is no test score. Run this as_of again once it has."
        )
    if bundle.as_of != as_of:
        notes.append(
            f"Scored with the model of {bundle.as_of:%Y-%m-%d}; it was not trained anew as of "
            f"{as_of:%Y-%m-%d}."
        )
    return tuple(notes)


def report_plots(
    task: Task, training_table: pl.DataFrame, bundle: Bundle, predictions: Path
) -> Plots:
    """The plots of a run by title, each with a caption; labelled rows of the task's protocol."""
    own = pl.read_parquet(predictions / predictions_file(task.protocol))
    found: Plots = {
        "Labels over time": (
            plots.class_balance_over_time(training_table, task.task_type),
            "By cutoff and split, with the number of rows beneath.",
        )
    }
    if task.task_type == TaskType.REGRESSION:
        found["Label distribution"] = (
            plots.label_distribution(training_table),
            "Labels of each split.",
        )
    if bundle.record["importances"]:
        names, gains = zip(*bundle.record["importances"].items(), strict=True)
        found["Feature importance"] = (
            plots.feature_importance(names, gains),
            "Share of the total gain, mean over the seeds.",
        )
    if curves := seed_curves(bundle, task.protocol):
        found["Learning curve"] = (
            plots.learning_curve(curves, str(task.metric)),
            f"The {task.protocol} protocol takes each model at its best validation score.",
        )
    return found | prediction_plots(task, bundle, own, predictions)


def seed_curves(bundle: Bundle, protocol: Protocol) -> list[plots.SeedCurve]:
    """Each seed's metric by round, with the round that the protocol takes; empty if not recorded."""
    curves = bundle.record.get("curves", [])
    rounds = bundle.record.get("best_rounds") or [{} for _ in curves]
    return [
        plots.SeedCurve(
            seed,
            curve.get(f"train_{protocol}", curve.get("train", [])),
            curve.get(protocol, []),
            best[protocol] - 1 if protocol in best else None,
        )
        for seed, curve, best in zip(bundle.seeds, curves, rounds, strict=True)
    ]


def prediction_plots(task: Task, bundle: Bundle, own: pl.DataFrame, predictions: Path) -> Plots:
    """Plots of the predictions: against the labels where these are known, else alone."""
    subject = f"test split, {task.protocol} protocol"
    labels = bundle.labels.transform(own["label"])
    known = ~np.isnan(labels)
    guesses = _as_array(own, bundle)
    classes = bundle.labels.classes
    found: Plots = {
        "Predictions": (
            plots.prediction_distribution(
                guesses,
                labels if known.any() else None,
                task_type=task.task_type,
                classes=classes,
                subject=subject if known.any() else "future not known",
            ),
            "What the model predicts from as_of on.",
        )
    }
    if not known.any():
        return found
    labels, guesses = labels[known], guesses[known]
    if task.task_type == TaskType.BINARY_CLASSIFICATION:
        found["ROC curve"] = (plots.roc_curve(labels, guesses, subject=subject), "")
        found["Precision and recall"] = (
            plots.precision_recall_curve(labels, guesses, subject=subject),
            "",
        )
        found["Calibration"] = (
            plots.calibration(labels, guesses, subject=subject),
            "Predicted probability against the observed rate.",
        )
    elif task.task_type == TaskType.REGRESSION:
        found["Predicted against actual"] = (
            plots.predicted_against_actual(labels, guesses, subject=subject),
            "",
        )
    else:
        found["Confusion matrix"] = (
            plots.confusion_matrix(labels, guesses, list(range(len(classes))), subject=subject),
            "",
        )
    found["Score by cutoff"] = (_score_by_cutoff(task, bundle, predictions), "One point a cutoff.")
    return found


def _score_by_cutoff(task: Task, bundle: Bundle, predictions: Path) -> bytes:
    parts = []
    for protocol in Protocol:
        rows = pl.read_parquet(predictions / predictions_file(protocol))
        scored = scores_by_cutoff(
            task.task_type,
            rows["cutoff_time"],
            bundle.labels.transform(rows["label"]),
            _as_array(rows, bundle),
            str(task.metric),
            classes=list(range(len(bundle.labels.classes))),
        )
        parts.append(scored.with_columns(pl.lit(str(protocol)).alias("protocol")))
    return plots.score_by_cutoff(pl.concat(parts), str(task.metric))


def _as_array(rows: pl.DataFrame, bundle: Bundle) -> np.ndarray:
    if bundle.task.task_type != TaskType.MULTICLASS_CLASSIFICATION:
        return rows["prediction"].to_numpy()
    return rows.select([f"probability_{name}" for name in bundle.labels.classes]).to_numpy()
