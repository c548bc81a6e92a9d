"""Fidelity reports for people: a figure and a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from models.fidelity.detection import Detection
from models.fidelity.report import Report
from models.reporting import figure as look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS = {
    "own": "own row",
    "parents": "+ parents",
    "children": "+ children before",
    "history": "+ earlier rows",
    "all_children": "+ all children",
}
BUDGET = 150_000
SMALLEST_SHARE = 1e-3


def fidelity_figure(reports: Sequence[Report]) -> bytes:
    """Degrees and explained shares of some databases as a PNG.

    Left: for each database the distribution of a parent's degree over its key's mean degree, pooled
    over keys, as the share of parents above it. Right: how much of a column its own row explains,
    and what parents, children and earlier rows add: quartiles over the columns with such relatives.
    """
    figure = look.new_figure(10.5, 4.4)
    left, right = figure.subplots(1, 2, width_ratios=[2, 3])
    names = [report["name"] for report in reports]
    lines = [_draw_degrees(left, report, place) for place, report in enumerate(reports)]
    for place, report in enumerate(reports):
        _draw_explained(right, report, place, len(reports))
    left.set_xscale("log")
    left.set_yscale("log")
    left.set_ylim(SMALLEST_SHARE, 1.2)
    look.dress(left, "Children of a parent", "degree / mean degree", "share of parents above")
    look.legend(left, lines, names, loc="lower left")
    right.set_xticks(range(len(BARS)), list(BARS.values()), fontsize=8)
    look.dress(right, "How much of a cell is explained", "", "R² or Gini, lift", grid="y")
    look.footnote(figure, "Right: median and quartiles over columns; lifts are over the own row.")
    return look.to_png(figure, BUDGET)


def fidelity_page(
    comparison: pl.DataFrame,
    covered: pl.DataFrame | None = None,
    detected: Mapping[str, Sequence[Detection]] | None = None,
    figure: str = "",
    note: str = "",
) -> str:
    """The Markdown page: figures by group, coverage of tasks' signals, and detection.

    Args:
        comparison: From `compare`.
        covered: From `coverage`.
        detected: From `detection`, by database.
        figure: The path of the picture, as seen from the page.
        note: A sentence below the title.
    """
    parts = ["# Fidelity", note] + (
        [f"![Degrees and explained shares]({figure})"] if figure else []
    )
    groups = comparison["figure"].str.split(": ").list.first()
    for group in groups.unique(maintain_order=True):
        rows = comparison.filter(groups == group)
        rows = rows.with_columns(pl.col("figure").str.strip_prefix(f"{group}: "))
        parts += [f"## {group[0].upper()}{group[1:]}", markdown_table(rows)]
    if covered is not None:
        parts += ["## Coverage of task signals", markdown_table(covered)]
    if detected:
        rows = pl.DataFrame(
            [
                {
                    "database": name,
                    "table": one.table,
                    "rows a side": one.rows,
                    "AUROC, values": one.values,
                    "AUROC, ranks": one.ranks,
                    "telling by rank": ", ".join(one.telling_ranks),
                }
                for name, found in detected.items()
                for one in found
            ]
        )
        parts += ["## Detection (0.5: cannot be told)", markdown_table(rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(frame: pl.DataFrame) -> str:
    """A frame as a Markdown table; numbers with three significant digits, a dash for none."""
    aligned = ["---:" if dtype.is_numeric() else "---" for dtype in frame.dtypes]
    lines = [frame.columns, aligned, *([_cell(value) for value in row] for row in frame.rows())]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value).replace("|", "\\|")


def _draw_degrees(ax: Axes, report: Report, place: int) -> Any:
    values = [one["quantiles"] for one in report["degrees"] if one["quantiles"]]
    degrees = np.sort(np.concatenate(values)) if values else np.array([1.0])
    above = 1 - np.arange(degrees.size) / degrees.size
    line = ax.plot(
        degrees, above, color=look.PALETTE[place % len(look.PALETTE)], linewidth=1.5,
        linestyle=("-", "--", ":")[place // len(look.PALETTE) % 3],
    )  # fmt: skip
    return line[0]


def _draw_explained(ax: Axes, report: Report, place: int, count: int) -> None:
    for bar, name in enumerate(BARS):
        values = [one[name] for one in report["columns"] if one[name] is not None]
        if values:
            low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
            at = bar + 0.8 * ((place + 0.5) / count - 0.5)
            colour = look.PALETTE[place % len(look.PALETTE)]
            ax.plot([at, at], [low, high], color=colour, linewidth=2, alpha=0.6)
            marker = look.MARKERS[place % len(look.MARKERS)]
            ax.plot([at], [middle], color=colour, marker=marker, markersize=4)
