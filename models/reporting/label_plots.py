"""Plots of a training table's labels: over time, by split and as a distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from models.database.schema import TaskType
from models.reporting import figure as look
from models.reporting.values import FloatArray, floats, histogram_edges, plural, scale_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More points than this are unreadable, so neighbouring cutoffs are pooled.
MAX_POINTS = 120
MAX_CLASSES = 7
BAND = (0.1, 0.9)
_OTHER = "other classes"


def class_balance_over_time(
    training_table: pl.DataFrame,
    task_type: TaskType,
    *,
    time_column: str = "cutoff_time",
    label_column: str = "label",
    split_column: str = "split",
) -> bytes:
    """The label over the cutoffs of each split, with the number of rows beneath.

    Positive rate (binary), mean with a band of quantiles (regression), or shares of the classes
    (multiclass). Rows whose label is not known yet count as rows only.
    """
    title = "Label over time"
    rows = _tidy(training_table, task_type, time_column, label_column, split_column)
    if rows.is_empty():
        return look.placeholder(title, "The training table has no rows with a cutoff time.")
    pooled, per_point = _pool_cutoffs(rows)
    figure = look.new_figure(7.2, 4.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    unlabelled = int(rows["label"].is_null().sum())
    note = f"{plural(unlabelled, 'row')} without a known label." if unlabelled else ""
    if unlabelled == rows.height:
        top.text(0.5, 0.5, "No label is known yet.", transform=top.transAxes, ha="center")
        look.dress(top, title)
    elif task_type == TaskType.MULTICLASS_CLASSIFICATION:
        _draw_shares(top, pooled, title)
    else:
        _draw_means(top, pooled, task_type, title)
    _draw_row_counts(bottom, pooled)
    grouped = f"Each point pools up to {per_point} neighbouring cutoffs." if per_point > 1 else ""
    look.footnote(figure, grouped, note)
    return look.to_png(figure)


def label_distribution(
    training_table: pl.DataFrame,
    *,
    label_column: str = "label",
    split_column: str = "split",
) -> bytes:
    """The distribution of the labels of each split; very skewed labels get a symlog axis."""
    title = "Distribution of the label"
    table = training_table.select(
        pl.col(label_column).alias("label"), _split_expression(training_table, split_column)
    )
    parts = {
        split: floats(table.filter(pl.col("split") == split)["label"])
        for split in look.ordered_splits(table["split"].to_list())
    }
    parts = {split: values[~np.isnan(values)] for split, values in parts.items()}
    parts = {split: values for split, values in parts.items() if len(values)}
    if not parts:
        return look.placeholder(title, "No row of the training table has a known numeric label.")
    return _draw_histograms(parts, title, "label")


def _draw_histograms(parts: dict[str, FloatArray], title: str, x: str) -> bytes:
    everything = np.concatenate(list(parts.values()))
    scale = scale_of(everything)
    edges = histogram_edges(parts.values(), scale)
    fig, ax = look.new_axes()
    for split, values in parts.items():
        counts, _ = np.histogram(values, edges)
        colour = look.split_colour(split, list(parts))
        name = f"{split} ({plural(len(values), 'row')}, median {np.median(values):.4g})"
        ax.stairs(counts / len(values), edges, color=colour, linewidth=1.6, label=look.plain(name))
        ax.stairs(counts / len(values), edges, fill=True, color=colour, alpha=0.12)
    scale.apply(ax)
    look.dress(ax, title, x, "share of rows", grid="y")
    handles, names = ax.get_legend_handles_labels()
    look.legend(ax, handles, names)
    symlog = "Very skewed: the axis is logarithmic away from zero." if scale.symlog else ""
    look.footnote(fig, symlog)
    return look.to_png(fig)


def _split_expression(table: pl.DataFrame, split_column: str) -> pl.Expr:
    if split_column not in table.columns:
        return pl.lit("all rows").alias("split")
    return pl.col(split_column).cast(pl.String).fill_null("no split").alias("split")


def _tidy(
    table: pl.DataFrame, task_type: TaskType, time_column: str, label_column: str, split: str
) -> pl.DataFrame:
    kind = pl.String if task_type == TaskType.MULTICLASS_CLASSIFICATION else pl.Float64
    label = pl.col(label_column)
    if kind == pl.Float64 and table.schema[label_column] == pl.Null:
        label = label.cast(pl.Float64)
    # A time zone only shifts the axis, and matplotlib would need the zone's data.
    tidy = table.select(
        pl.col(time_column).cast(pl.Datetime("us")).dt.replace_time_zone(None).alias("time"),
        label.cast(kind, strict=False).alias("label"),
        _split_expression(table, split),
    ).drop_nulls("time")
    if kind == pl.Float64:
        finite = pl.col("label").is_finite()
        tidy = tidy.with_columns(pl.when(finite).then(pl.col("label")).alias("label"))
    return tidy


def _pool_cutoffs(rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The rows with the time of their point, and how many cutoffs a point pools.

    Cutoffs are pooled within a split only: a point never mixes training and validation rows.
    """
    cutoffs = rows.select("split", "time").unique().sort("split", "time")
    per_point = -(-cutoffs.height // MAX_POINTS)
    rank = pl.int_range(pl.len()).over("split") // per_point
    points = cutoffs.with_columns(rank.alias("group")).with_columns(
        pl.col("time").min().over("split", "group").alias("point")
    )
    joined = rows.join(points.select("split", "time", "point"), on=["split", "time"])
    return joined, per_point


def _draw_means(ax: Axes, pooled: pl.DataFrame, task_type: TaskType, title: str) -> None:
    binary = task_type == TaskType.BINARY_CLASSIFICATION
    points = (
        pooled.drop_nulls("label")
        .group_by("split", "point")
        .agg(
            pl.col("label").mean().alias("mean"),
            pl.col("label").quantile(BAND[0]).alias("low"),
            pl.col("label").quantile(BAND[1]).alias("high"),
        )
        .sort("split", "point")
    )
    splits = look.ordered_splits(pooled["split"].to_list())
    handles: list[Any] = []
    shown = [split for split in splits if split in set(points["split"].to_list())]
    for split in shown:
        part = points.filter(pl.col("split") == split)
        colour, x = look.split_colour(split, splits), part["point"].to_numpy()
        if not binary:
            _draw_band(ax, x, part["low"].to_numpy(), part["high"].to_numpy(), colour)
        style = {"marker": look.split_marker(split, splits), "markersize": 4, "linewidth": 1.4}
        handles += ax.plot(x, part["mean"].to_numpy(), color=colour, **style)  # type: ignore[arg-type]
    look.dress(ax, title, "", "positive rate" if binary else "mean (band: 10 % to 90 %)")
    if binary:
        _percent_axis(ax, float(points["mean"].to_numpy().max()))
    else:
        scale_of(points.select("mean", "low", "high").to_numpy().ravel()).apply(ax, "y")
    look.legend(ax, handles, shown, ncols=4)


def _draw_band(ax: Axes, x: Any, low: FloatArray, high: FloatArray, colour: str) -> None:
    if len(x) == 1:
        ax.vlines(x, low, high, color=colour, alpha=0.4, linewidth=4)
    else:
        ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def _percent_axis(ax: Axes, highest: float) -> None:
    from matplotlib.ticker import PercentFormatter

    ax.set_ylim(0, min(1.02, max(highest * 1.15, 0.02)))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None, symbol=" %"))


def _draw_shares(ax: Axes, pooled: pl.DataFrame, title: str) -> None:
    """Stacked bars: one for each point, the most frequent classes first."""
    known = pooled.drop_nulls("label")
    frequent = known["label"].value_counts().sort(["count", "label"], descending=[True, False])
    classes = frequent["label"].head(MAX_CLASSES).to_list()
    known = known.with_columns(
        pl.when(pl.col("label").is_in(classes)).then(pl.col("label")).otherwise(pl.lit(_OTHER))
    )
    names = classes + ([_OTHER] if frequent.height > MAX_CLASSES else [])
    times = known["point"].unique().sort()
    counts = known.group_by("point", "label").len()
    totals = known.group_by("point").len().sort("point")["len"].to_numpy()
    width = _bar_width(times)
    base, handles = np.zeros(len(times)), []
    for index, name in enumerate(names):
        part = counts.filter(pl.col("label") == name).select("point", "len")
        aligned = pl.DataFrame({"point": times}).join(part, on="point", how="left").sort("point")
        share = aligned["len"].fill_null(0).to_numpy() / totals
        colour = look.PALETTE[index]
        handles.append(ax.bar(times.to_numpy(), share, width, base, color=colour, align="edge"))
        base = base + share
    look.dress(ax, title, "", "share of rows", grid="")
    _percent_axis(ax, 1.0)
    look.legend(ax, handles, names, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _bar_width(times: pl.Series) -> Any:
    """A bar as wide as the shortest gap between points; a day when there is only one."""
    gaps = np.diff(times.to_numpy())
    return gaps.min() * 0.95 if len(gaps) else np.timedelta64(1, "D")


def _draw_row_counts(ax: Axes, pooled: pl.DataFrame) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    splits = look.ordered_splits(pooled["split"].to_list())
    counts = pooled.group_by("split", "point").len().sort("split", "point")
    handles = []
    for split in splits:
        part = counts.filter(pl.col("split") == split)
        colour = look.split_colour(split, splits)
        x, rows = part["point"].to_numpy(), part["len"].to_numpy()
        handles.append(ax.vlines(x, 0, rows, color=colour, linewidth=2.5))
    look.dress(ax, "", "prediction cutoff", "rows", grid="y")
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    locator = AutoDateLocator()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    look.legend(ax, handles, splits, loc="upper left", bbox_to_anchor=(1.0, 1.0))
