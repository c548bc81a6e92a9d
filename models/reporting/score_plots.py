"""Plots that judge predictions against known labels, one set of rows a plot.

`subject` says which rows (`test split, rolling, mean of 5 seeds`) and is part of the title: a
curve without its split and protocol cannot be compared with anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.database.schema import TaskType
from models.reporting import figure as look
from models.reporting.scores import UNKNOWN_LABEL, class_positions, score
from models.reporting.values import (
    CLIP_QUANTILE,
    FloatArray,
    Scale,
    class_names,
    clipped_range,
    histogram_edges,
    known_pairs,
    plural,
    scale_of,
    thin,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CONFUSION_CLASSES = 15
_SCATTER_LIMIT = 2000
_CALIBRATION_BINS = 10


def titled(title: str, subject: str) -> str:
    """A plot's title with the rows that it is about."""
    return f"{title}: {subject}" if subject else title


def roc_curve(labels: Any, predictions: Any, *, subject: str = "") -> bytes:
    """True against false positive rate of a binary task, with the area under it."""
    title = titled("ROC curve", subject)
    truth, guess, dropped = known_pairs(labels, predictions)
    if complaint := _not_two_classes(truth):
        return look.placeholder(title, complaint)
    from sklearn import metrics

    false_rate, true_rate, _ = metrics.roc_curve(truth, guess)
    area = score(TaskType.BINARY_CLASSIFICATION, truth, guess)["roc_auc"]
    at = thin(len(false_rate))
    figure, ax = look.new_axes(4.6, 4.2)
    curve = ax.plot(false_rate[at], true_rate[at], color=look.BLUE, linewidth=1.8)
    chance = ax.plot([0, 1], [0, 1], color=look.MUTED, linewidth=1, linestyle="--")
    _square(ax, title, "false positive rate", "true positive rate")
    names = [f"model, ROC AUC {area:.3f}", "chance, 0.500"]
    look.legend(ax, curve + chance, names, loc="lower right")
    look.footnote(figure, _rows_note(truth, dropped))
    return look.to_png(figure)


def precision_recall_curve(labels: Any, predictions: Any, *, subject: str = "") -> bytes:
    """Precision against recall of a binary task, with the positive rate as the baseline."""
    title = titled("Precision and recall", subject)
    truth, guess, dropped = known_pairs(labels, predictions)
    if complaint := _not_two_classes(truth):
        return look.placeholder(title, complaint)
    from sklearn import metrics

    precision, recall, _ = metrics.precision_recall_curve(truth, guess)
    area = score(TaskType.BINARY_CLASSIFICATION, truth, guess)["average_precision"]
    at, rate = thin(len(recall)), float(truth.mean())
    figure, ax = look.new_axes(4.6, 4.2)
    # Steps, not a line: interpolation between thresholds would promise unreachable precision.
    curve = ax.step(recall[at], precision[at], color=look.BLUE, linewidth=1.8, where="post")
    chance = ax.plot([0, 1], [rate, rate], color=look.MUTED, linewidth=1, linestyle="--")
    _square(ax, title, "recall", "precision")
    names = [f"model, average precision {area:.3f}", f"positive rate, {rate:.3f}"]
    look.legend(ax, curve + chance, names, loc="best")
    look.footnote(figure, _rows_note(truth, dropped))
    return look.to_png(figure)


def calibration(labels: Any, predictions: Any, *, subject: str = "") -> bytes:
    """Reliability diagram of a binary task: observed against predicted rate, and a histogram."""
    title = titled("Calibration", subject)
    truth, guess, dropped = known_pairs(labels, predictions)
    if complaint := _not_binary(truth):
        return look.placeholder(title, complaint)
    if guess.min() < 0 or guess.max() > 1:
        return look.placeholder(title, "The predictions are not probabilities between 0 and 1.")
    figure = look.new_figure(4.8, 5.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    predicted, observed, error = _reliability(truth, guess)
    ideal = top.plot([0, 1], [0, 1], color=look.MUTED, linewidth=1, linestyle="--")
    bars = top.errorbar(
        predicted, observed, error, color=look.BLUE, marker="o", markersize=4, linewidth=1.4
    )
    look.dress(top, title, "", "observed positive rate")
    top.set_xlim(-0.02, 1.02)
    top.set_ylim(-0.02, 1.02)
    look.legend(top, [bars, ideal[0]], ["model (95 % interval)", "perfectly calibrated"])
    bottom.hist(guess, bins=np.linspace(0, 1, 41).tolist(), color=look.BLUE, alpha=0.75)
    look.dress(bottom, "", "predicted probability", "rows", grid="y")
    equal = f"Points are {len(predicted)} groups of about equally many rows."
    look.footnote(figure, equal, _rows_note(truth, dropped))
    return look.to_png(figure)


def predicted_against_actual(labels: Any, predictions: Any, *, subject: str = "") -> bytes:
    """Predicted against actual values of a regression task, with the identity line."""
    title = titled("Predicted against actual", subject)
    truth, guess, dropped = known_pairs(labels, predictions)
    if not len(truth):
        return look.placeholder(title, "No row has both a known label and a prediction.")
    low, high = clipped_range(truth, guess)
    both = np.concatenate([truth, guess])
    scale = replace(scale_of(both[(both >= low) & (both <= high)]), low=low, high=high)
    figure, ax = look.new_axes(4.9, 4.4)
    dense = len(truth) > _SCATTER_LIMIT
    if dense:
        _draw_density(figure, ax, truth, guess, scale)
    else:
        ax.scatter(truth, guess, s=12, color=look.BLUE, alpha=0.45, linewidths=0)
    ax.plot([low, high], [low, high], color=look.ORANGE, linewidth=1.4)
    scale.apply(ax, "x")
    scale.apply(ax, "y")
    look.dress(ax, title, "actual", "predicted", grid="" if dense else "both")
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    skewed = "Very skewed: the axes are logarithmic away from zero." if scale.symlog else ""
    outside = _outside_note(truth, guess, low, high)
    look.footnote(figure, skewed, outside, _rows_note(truth, dropped))
    return look.to_png(figure)


def _draw_density(
    figure: Figure, ax: Axes, truth: FloatArray, guess: FloatArray, scale: Scale
) -> None:
    """A two-dimensional histogram: scattered points would only show where any row is."""
    from matplotlib.colors import LogNorm

    across, up = histogram_edges([truth], scale), histogram_edges([guess], scale)
    counts, _, _ = np.histogram2d(truth, guess, [across, up])
    filled = np.ma.masked_equal(counts.T, 0)
    norm = LogNorm(1, max(counts.max(), 2))
    image = ax.pcolormesh(across, up, filled, cmap="cividis", norm=norm)
    colours = figure.colorbar(image, ax=ax, shrink=0.8)
    colours.set_label("rows", fontsize=8.5)
    colours.ax.tick_params(labelsize=8)


def confusion_matrix(
    labels: Any, predictions: Any, classes: Sequence[Any], *, subject: str = ""
) -> bytes:
    """Where each class of a multiclass task was sent; a row of the matrix adds up to 100 %.

    `predictions` are (rows, classes) probabilities or one class a row. With many classes, the
    frequent ones are shown and the rest pooled.
    """
    title = titled("Confusion matrix", subject)
    truth, choice = class_positions(labels, classes), _choices(predictions, classes)
    known = (truth != UNKNOWN_LABEL) & (choice != UNKNOWN_LABEL)
    truth, choice, dropped = truth[known], choice[known], int((~known).sum())
    if not len(truth):
        return look.placeholder(title, "No row has both a known label and a prediction.")
    counts, names = _confusion_counts(truth, choice, class_names(classes))
    figure, ax = look.new_axes(max(4.2, 0.5 * len(names) + 2.4), max(3.6, 0.42 * len(names) + 2.0))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    look.dress(ax, title, "predicted class", "actual class", grid="")
    positions = list(range(len(names)))
    ax.set_xticks(positions, [look.plain(name, 16) for name in names], rotation=40, ha="right")
    rows = [f"{look.plain(name, 16)} ({n:,})" for name, n in zip(names, counts.sum(1), strict=True)]
    ax.set_yticks(positions, rows)
    for (i, j), share in np.ndenumerate(shares):
        if counts[i, j]:
            colour = "white" if share < 0.55 else "black"
            ax.text(j, i, f"{share:.0%}", ha="center", va="center", fontsize=7, color=colour)
    look.footnote(figure, f"{plural(len(truth), 'row')}.", _dropped_note(dropped))
    return look.to_png(figure)


def _choices(predictions: Any, classes: Sequence[Any]) -> NDArray[np.int64]:
    array = np.asarray(predictions)
    if array.ndim != 2:
        return class_positions(predictions, classes)
    if not array.shape[1]:
        return np.full(len(array), UNKNOWN_LABEL)
    unknown = np.isnan(array.astype(np.float64)).any(axis=1)
    return np.where(unknown, UNKNOWN_LABEL, np.nan_to_num(array).argmax(axis=1))


def _confusion_counts(
    truth: NDArray[np.int64], choice: NDArray[np.int64], names: list[str]
) -> tuple[NDArray[np.int64], list[str]]:
    """Counts of (actual, predicted), least frequent and unlisted classes pooled at the end."""
    frequency = np.bincount(truth[truth >= 0], minlength=len(names))
    by_frequency = np.lexsort((np.arange(len(names)), -frequency))
    shown = np.sort(by_frequency[:MAX_CONFUSION_CLASSES])
    other = len(shown)
    # The last slot also catches the position -1 of classes that the model does not list.
    slot = np.full(len(names) + 1, other)
    slot[shown] = np.arange(len(shown))
    counts = np.zeros((other + 1, other + 1), dtype=np.int64)
    np.add.at(counts, (slot[truth], slot[choice]), 1)
    labels = [names[index] for index in shown] + ["other"]
    if counts[other].any() or counts[:, other].any():
        return counts, labels
    return counts[:other, :other], labels[:other]


def _reliability(
    truth: FloatArray, guess: FloatArray
) -> tuple[FloatArray, FloatArray, NDArray[np.float64]]:
    """Mean prediction, observed rate and its 95 % Wilson interval in groups of equal size."""
    order = np.argsort(guess, kind="stable")
    # Rows with the same prediction stay together, or their order would decide the diagram.
    edges = np.unique(np.quantile(guess, np.linspace(0, 1, _CALIBRATION_BINS + 1)[1:-1]))
    groups = np.split(order, np.searchsorted(guess[order], edges, side="right"))
    groups = [group for group in groups if len(group)]
    predicted = np.array([guess[group].mean() for group in groups])
    observed = np.array([truth[group].mean() for group in groups])
    size = np.array([len(group) for group in groups])
    z = 1.96
    centre = (observed + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * np.sqrt(observed * (1 - observed) / size + z**2 / (4 * size**2)) / (1 + z**2 / size)
    below = np.maximum(observed - (centre - half), 0)
    above = np.maximum(centre + half - observed, 0)
    return predicted, observed, np.stack([below, above])


def _square(ax: Axes, title: str, x: str, y: str) -> None:
    look.dress(ax, title, x, y)
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)


def _not_binary(truth: FloatArray) -> str:
    """Why these are not labels of a binary task, if so."""
    if not len(truth):
        return "No row has both a known label and a prediction."
    if not np.isin(truth, (0.0, 1.0)).all():
        return "The labels are not 0 and 1."
    return ""


def _not_two_classes(truth: FloatArray) -> str:
    if complaint := _not_binary(truth):
        return complaint
    if len(np.unique(truth)) < 2:
        rows = plural(len(truth), "row")
        return f"All {rows} have the label {truth[0]:g}: a ranking of the classes is not defined."
    return ""


def _outside_note(truth: FloatArray, guess: FloatArray, low: float, high: float) -> str:
    outside = int(((truth < low) | (truth > high) | (guess < low) | (guess > high)).sum())
    if not outside:
        return ""
    share = f"{CLIP_QUANTILE:.1%} and {1 - CLIP_QUANTILE:.1%}"
    return f"{plural(outside, 'row')} beyond the quantiles {share} not shown."


def _rows_note(truth: FloatArray, dropped: int) -> str:
    return f"{plural(len(truth), 'row')}. {_dropped_note(dropped)}".strip()


def _dropped_note(dropped: int) -> str:
    return f"{plural(dropped, 'row')} without a label or a prediction left out." if dropped else ""
