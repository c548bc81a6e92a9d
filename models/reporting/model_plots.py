"""Plots of a fitted model: what it uses, how it learned, how it fares over time, what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from models.database.schema import TaskType
from models.reporting import figure as look
from models.reporting.score_plots import titled
from models.reporting.values import (
    FloatArray,
    class_names,
    floats,
    histogram_edges,
    known_pairs,
    plural,
    scale_of,
    thin,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_POINTS = 120
_MAX_CLASSES = 20
_ABOVE = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": 2}


@dataclass(frozen=True, slots=True)
class SeedCurve:
    """The metric by iteration of one seed's training; `best` is the chosen iteration, from 0."""

    seed: int
    train: Sequence[float]
    validation: Sequence[float]
    best: int | None = None


def feature_importance(names: Sequence[str], gains: Any, top: int = 25) -> bytes:
    """The features with the largest share of the total gain, largest first."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    title = "Feature importance"
    values = np.nan_to_num(floats(gains))
    if len(values) != len(names):
        raise ValueError(f"names and gains differ in length (got {len(names)}, {len(values)})")
    if not len(values) or values.sum() <= 0:
        return look.placeholder(title, "The model uses no feature: every gain is zero.")
    shares = values / values.sum()
    order = sorted(range(len(names)), key=lambda index: (-shares[index], names[index]))[:top]
    order = [index for index in order if shares[index] > 0]
    figure, ax = look.new_axes(7.2, 0.21 * len(order) + 1.2)
    rows = np.arange(len(order))
    ax.barh(rows, shares[order], color=look.BLUE, height=0.72)
    ax.set_yticks(rows, [look.plain(names[index], 58) for index in order])
    ax.invert_yaxis()
    for row, index in enumerate(order):
        ax.text(shares[index], row, f" {shares[index]:.1%}", va="center", fontsize=7.5)
    look.dress(ax, title, "share of the total gain", "", grid="x")
    ax.margins(x=0.1, y=0.01)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    used = int((values > 0).sum())
    total = f"{len(order)} of {used:,} features in use ({len(values):,} offered)"
    look.footnote(figure, f"{total}; those shown hold {shares[order].sum():.0%} of the gain.")
    return look.to_png(figure)


def learning_curve(curves: Sequence[SeedCurve], metric: str, *, subject: str = "") -> bytes:
    """Training and validation metric by iteration; thin lines are seeds, dots the chosen ones."""
    title = titled("Learning curve", subject)
    drawn = [curve for curve in curves if len(curve.train) or len(curve.validation)]
    if not drawn:
        return look.placeholder(title, "The training recorded no iterations.")
    figure, ax = look.new_axes()
    handles: dict[str, Any] = {}
    for curve in drawn:
        parts = (("train", curve.train, "--"), ("validation", curve.validation, "-"))
        for split, recorded, style in parts:
            line = _draw_history(ax, floats(list(recorded)), split, style)
            if line is not None:
                handles.setdefault(split, line)
        _draw_best(ax, curve)
    look.dress(ax, title, "iteration", metric)
    look.legend(ax, list(handles.values()), list(handles))
    seeds = f"{plural(len(drawn), 'seed')} ({', '.join(str(curve.seed) for curve in drawn[:10])})."
    chosen = any(curve.best is not None for curve in drawn)
    look.footnote(figure, seeds, "Dots mark the iteration that was kept." if chosen else "")
    return look.to_png(figure)


def score_by_cutoff(
    scores: pl.DataFrame, metric: str, *, baseline: float | None = None, subject: str = ""
) -> bytes:
    """The metric at each prediction cutoff, a line for each protocol.

    Args:
        scores: Columns `cutoff_time`, `score` and, with several lines, `protocol`.
        metric: The metric's name, for the axis.
        baseline: The trivial predictor's score over all cutoffs, drawn as a dashed line.
        subject: Which model and split.
    """
    title = titled("Score by prediction cutoff", subject)
    rows = _tidy_scores(scores)
    if rows.is_empty():
        return look.placeholder(title, "No cutoff has a defined score yet.")
    figure, ax = look.new_axes(7.2, 3.4)
    handles, names, widest = [], [], 1
    protocols = sorted(rows["protocol"].unique().to_list())
    for index, protocol in enumerate(protocols):
        points, pooled = _pool_scores(rows.filter(pl.col("protocol") == protocol))
        widest = max(widest, pooled)
        style = {"color": look.PALETTE[index % 8], "marker": look.MARKERS[index % 8]}
        x, y = points["cutoff_time"].to_numpy(), points["score"].to_numpy()
        handles += ax.plot(x, y, markersize=4, linewidth=1.4, **style)  # type: ignore[arg-type]
        names.append(protocol)
    if baseline is not None and np.isfinite(baseline):
        handles.append(ax.axhline(baseline, color=look.MUTED, linewidth=1, linestyle="--"))
        names.append("trivial predictor")
    look.dress(ax, title, "prediction cutoff", metric)
    _date_axis(ax)
    look.legend(ax, handles, names, ncols=3)
    pooled_note = f"Each point is the mean of up to {widest} neighbouring cutoffs."
    look.footnote(figure, pooled_note if widest > 1 else "")
    return look.to_png(figure)


def prediction_distribution(
    predictions: Any,
    labels: Any = None,
    *,
    task_type: TaskType,
    classes: Sequence[Any] = (),
    subject: str = "",
) -> bytes:
    """What the model says, whether or not the labels are known yet.

    Binary predictions are split by label and regression labels laid beside them where known;
    multiclass shows each class's mean probability and share of first choices.
    """
    title = titled("Distribution of predictions", subject)
    if task_type == TaskType.MULTICLASS_CLASSIFICATION:
        return _class_predictions(np.asarray(predictions, dtype=np.float64), classes, title)
    guess = floats(predictions)
    parts = {"all predictions": guess[~np.isnan(guess)]}
    if not len(parts["all predictions"]):
        return look.placeholder(title, "There are no predictions.")
    truth, known_guess, _ = known_pairs(labels, guess) if labels is not None else (guess[:0],) * 3
    if len(truth) and task_type == TaskType.BINARY_CLASSIFICATION:
        parts = {f"label {value:g}": known_guess[truth == value] for value in np.unique(truth)}
    elif len(truth):
        parts["labels"] = truth
    figure, ax = look.new_axes(7.2, 3.2)
    scale = scale_of(np.concatenate(list(parts.values())))
    edges, handles = histogram_edges(parts.values(), scale), []
    for index, values in enumerate(parts.values()):
        colour, shares = look.PALETTE[index % 8], np.histogram(values, edges)[0] / len(values)
        ax.stairs(shares, edges, fill=True, color=colour, alpha=0.15)
        handles.append(ax.stairs(shares, edges, color=colour, linewidth=1.6))
    scale.apply(ax)
    binary = task_type == TaskType.BINARY_CLASSIFICATION
    look.dress(ax, title, "predicted probability" if binary else "value", "share of rows", "y")
    names = [f"{name} ({plural(len(values), 'row')})" for name, values in parts.items()]
    look.legend(ax, handles, names)
    look.footnote(figure, "" if len(truth) else "No label is known yet: this is not a score.")
    return look.to_png(figure)


def _class_predictions(probabilities: FloatArray, classes: Sequence[Any], title: str) -> bytes:
    if probabilities.ndim != 2 or not probabilities.size:
        return look.placeholder(title, "There are no predictions.")
    probabilities = probabilities[np.isfinite(probabilities).all(axis=1)]
    if not len(probabilities):
        return look.placeholder(title, "There are no predictions.")
    mean = probabilities.mean(axis=0)
    first = np.bincount(probabilities.argmax(axis=1), minlength=len(mean)) / len(probabilities)
    order = np.lexsort((np.arange(len(mean)), -mean))[:_MAX_CLASSES]
    named = class_names(classes) or [str(index) for index in range(len(mean))]
    figure, ax = look.new_axes(7.2, 0.3 * len(order) + 1.4)
    rows = np.arange(len(order))
    bars = [
        ax.barh(rows - 0.19, mean[order], 0.36, color=look.BLUE),
        ax.barh(rows + 0.19, first[order], 0.36, color=look.ORANGE),
    ]
    ax.set_yticks(rows, [look.plain(named[index], 40) for index in order])
    ax.invert_yaxis()
    look.dress(ax, title, "share", "", grid="x")
    look.legend(ax, bars, ["mean probability", "share of first choices"], **_ABOVE)
    hidden = len(mean) - len(order)
    look.footnote(figure, f"{plural(len(probabilities), 'row')}.", _hidden_note(hidden))
    return look.to_png(figure)


def _hidden_note(hidden: int) -> str:
    return f"{hidden} less likely classes not shown." if hidden > 0 else ""


def _draw_history(ax: Axes, values: FloatArray, split: str, style: str) -> Any:
    at = thin(len(values))
    if not len(at) or np.isnan(values).all():
        return None
    colour = look.split_colour(split, [split])
    marker = look.split_marker(split, [split]) if len(at) < 3 else ""
    line = ax.plot(at, values[at], style, color=colour, linewidth=1.2, alpha=0.75, marker=marker)
    return line[0]


def _draw_best(ax: Axes, curve: SeedCurve) -> None:
    history = curve.validation if len(curve.validation) else curve.train
    if curve.best is not None and 0 <= curve.best < len(history):
        ax.plot([curve.best], [history[curve.best]], "o", color=look.INK, markersize=5, zorder=5)


def _tidy_scores(scores: pl.DataFrame) -> pl.DataFrame:
    protocol = (
        pl.col("protocol").cast(pl.String) if "protocol" in scores.columns else pl.lit("score")
    )
    rows = scores.select(
        pl.col("cutoff_time").cast(pl.Datetime("us")).dt.replace_time_zone(None),
        pl.col("score").cast(pl.Float64, strict=False),
        protocol.alias("protocol"),
    )
    return rows.drop_nulls().filter(pl.col("score").is_finite()).sort("protocol", "cutoff_time")


def _pool_scores(rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    per_point = -(-rows.height // MAX_POINTS)
    group = (pl.int_range(pl.len()) // per_point).alias("group")
    pooled = rows.group_by(group).agg(pl.col("cutoff_time").min(), pl.col("score").mean())
    return pooled.sort("group"), per_point


def _date_axis(ax: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
