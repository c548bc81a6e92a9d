"""How the gap between the families moves with each dial of the planted tasks."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import spearmanr

from models.synthetic.dials.sweep import one_dial_sweep, swept_dials

BOOTSTRAPS = 200
BINS = 4
LOGARITHMIC = ("rows", "degree")
NO_TAIL = 8.0
"""Where a fixed number of activities stands on the axis of `degree_exponent`."""


def dial_table(found: pl.DataFrame) -> pl.DataFrame:
    """One row a planted task with the value of every swept dial.

    Args:
        found: What `gaps` returns, of one protocol.

    Returns:
        gap, error, moved (the one dial in which the task differs from the centre, "" for the centre,
        "several" where all differ), and a Float64 column a dial; `aggregate` is a String.
    """
    planted = found.filter(pl.col("origin") == "planted")
    signals = [json.loads(text) for text in planted["signals"]]
    columns: dict[str, Any] = {
        "gap": planted["gap"],
        "error": planted["error"],
        "moved": [_moved(one["moved"]) for one in signals],
    }
    for dial in swept_dials():
        values = [one["dials"][dial] for one in signals]
        columns[dial] = values if dial == "aggregate" else [_number(dial, v) for v in values]
    return pl.DataFrame(columns, schema_overrides={"moved": pl.String, "aggregate": pl.String})


def dial_effects(table: pl.DataFrame) -> pl.DataFrame:
    """What each dial does to the gap, alone and among all others.

    Returns:
        One row a dial (`aggregate` left out): alone (Spearman's rank correlation of value and gap
        over the tasks that moved it alone and the centre), tasks (how many), slope (change of the
        gap over the dial's range in the least squares fit of all tasks on all dials, weighted by the
        gaps' errors) and error (its standard deviation over bootstrap samples of tasks).
    """
    dials = [dial for dial in swept_dials() if dial != "aggregate"]
    scaled = np.column_stack([_scaled(dial, table[dial].to_numpy()) for dial in dials])
    weights = 1.0 / (table["error"].to_numpy() ** 2 + 0.05**2)
    gaps = table["gap"].to_numpy()
    slopes = _slopes(scaled, gaps, weights)
    generator = np.random.default_rng(0)
    drawn = [generator.integers(len(gaps), size=len(gaps)) for _ in range(BOOTSTRAPS)]
    spread = np.std([_slopes(scaled[r], gaps[r], weights[r]) for r in drawn], axis=0, ddof=1)
    rows = []
    for place, dial in enumerate(dials):
        own = _alone(table, dial)
        varied = own[dial].n_unique() > 2
        alone = float(spearmanr(own[dial], own["gap"]).statistic) if varied else math.nan
        rows.append((dial, alone, own.height, slopes[place], spread[place]))
    return pl.DataFrame(rows, ["dial", "alone", "tasks", "slope", "error"], orient="row")


def draw_dials(table: pl.DataFrame) -> bytes:
    """A PNG with a panel a dial: the gap of the tasks that moved it alone, and of those that moved all.

    Points: tasks that differ from the centre in this dial alone, with the standard errors of their
    gaps. Line: tasks in which all dials differ, mean by quartile of this dial, with standard errors.
    """
    from matplotlib.figure import Figure

    dials = swept_dials()
    columns = 4
    figure = Figure(figsize=(11, 2.3 * math.ceil(len(dials) / columns)), layout="constrained")
    panels = figure.subplots(math.ceil(len(dials) / columns), columns, sharey=True)
    low, high = table["gap"].quantile(0.01) or -1.0, table["gap"].quantile(0.99) or 1.0
    for panel in panels.flat[len(dials) :]:
        panel.set_axis_off()
    for axes, dial in zip(panels.flat, dials, strict=False):
        own, others = _alone(table, dial), table.filter(pl.col("moved") == "several")
        axes.axhline(0, color="black", linewidth=0.6)
        axes.errorbar(
            _places(dial, own[dial]), own["gap"], yerr=own["error"],
            fmt="o", markersize=3, color="tab:orange", elinewidth=0.8, label="this dial alone",
        )  # fmt: skip
        middle, mean, error = _binned(dial, others)
        axes.errorbar(middle, mean, yerr=error, color="tab:blue", capsize=2, label="all dials")
        if dial in LOGARITHMIC:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
        if dial == "aggregate":
            axes.set_xticks(range(len(_kinds())), _kinds())
        axes.set(title=dial.replace("_", " "), ylim=(min(low, -0.1) - 0.1, max(high, 0.1) + 0.1))
    for axes in panels[:, 0]:
        axes.set_ylabel("network − DFS,\nshare of the room")
    panels.flat[0].legend(fontsize=7)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _moved(dials: Sequence[str]) -> str:
    return "" if not dials else dials[0] if len(dials) == 1 else "several"


def _alone(table: pl.DataFrame, dial: str) -> pl.DataFrame:
    return table.filter(pl.col("moved").is_in(["", dial]))


def _number(dial: str, value: Any) -> float:
    return NO_TAIL if dial == "degree_exponent" and value is None else float(value)


def _kinds() -> list[str]:
    return [str(dials.aggregate) for dials in one_dial_sweep("aggregate", 4)]


def _places(dial: str, values: pl.Series) -> list[float]:
    kinds = _kinds()
    return [float(kinds.index(v)) if dial == "aggregate" else float(v) for v in values]


def _scaled(dial: str, values: np.ndarray) -> np.ndarray:
    """Values from 0 to 1 over their range."""
    found = np.log(values) if dial in LOGARITHMIC else values.astype(float)
    return np.asarray((found - found.min()) / max(np.ptp(found), 1e-12))


def _slopes(scaled: np.ndarray, gaps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    root = np.sqrt(weights)[:, None]
    inputs = np.column_stack([scaled, np.ones(len(scaled))])
    return np.asarray(np.linalg.lstsq(inputs * root, gaps * root[:, 0], rcond=None)[0][:-1])


def _binned(dial: str, rows: pl.DataFrame) -> tuple[list[float], list[float], list[float]]:
    """Middle, mean gap and its standard error of each quarter of the rows by the dial's value."""
    if rows.is_empty():
        return [], [], []
    places = np.array(_places(dial, rows[dial]))
    gaps = rows["gap"].to_numpy()
    distinct = np.unique(places)
    if len(distinct) > BINS:
        edges = np.unique(np.quantile(places, np.linspace(0, 1, BINS + 1)))
        bins = np.clip(np.searchsorted(edges, places, side="right") - 1, 0, len(edges) - 2)
    else:
        bins = np.searchsorted(distinct, places)
    kept = [b for b in np.unique(bins) if (bins == b).sum() > 2]
    return (
        [float(places[bins == b].mean()) for b in kept],
        [float(gaps[bins == b].mean()) for b in kept],
        [float(gaps[bins == b].std(ddof=1) / math.sqrt((bins == b).sum())) for b in kept],
    )
