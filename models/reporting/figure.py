"""The look shared by every plot: palette, axes, placeholders, and deterministic PNG bytes.

Figures are built with matplotlib's object API on an Agg canvas, never with pyplot: stages run in
threads of one Dagster process, and pyplot's current figure is process-wide state. The same inputs
give the same bytes, so a plot never makes an artifact look changed.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image as PillowImage

# Okabe and Ito's palette: distinguishable with the common colour vision deficiencies.
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
PALETTE = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#D55E00", "#7A5195", "#8C8C8C")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK, MUTED, GRID = "#222222", "#666666", "#E3E3E3"

DOTS_PER_INCH = 120
# Plots live in Dagster's event log and, together, inside one HTML page.
MAX_BYTES = 60_000
_SPLIT_ORDER = {
    "train": 0,
    "training": 0,
    "val": 1,
    "valid": 1,
    "validation": 1,
    "test": 2,
    "predict": 2,
    "prediction": 2,
}


def new_figure(width: float = 7.2, height: float = 3.8) -> Figure:
    """An empty figure on an Agg canvas, sized in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH)
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    figure.set_facecolor("white")
    FigureCanvasAgg(figure)
    return figure


def new_axes(width: float = 7.2, height: float = 3.8) -> tuple[Figure, Axes]:
    """A figure with a single plot."""
    figure = new_figure(width, height)
    return figure, figure.subplots()


def dress(ax: Axes, title: str = "", x: str = "", y: str = "", grid: str = "both") -> None:
    """Give an axes the house style; `grid` is `x`, `y`, `both` or empty."""
    if title:
        ax.set_title(plain(title, 90), loc="left", fontsize=10.5, color=INK, fontweight="bold")
    ax.set_xlabel(plain(x, 90), fontsize=9, color=INK)
    ax.set_ylabel(plain(y, 40), fontsize=9, color=INK)
    ax.tick_params(labelsize=8.5, colors=MUTED, length=3)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color("#AAAAAA")
    ax.set_axisbelow(True)
    if grid:
        ax.grid(axis=grid, color=GRID, linewidth=0.7)  # type: ignore[arg-type]


def footnote(figure: Figure, *sentences: str) -> None:
    """Write the non-empty sentences under the plot: what was dropped, grouped or clipped."""
    text = " ".join(plain(sentence, 220) for sentence in sentences if sentence)
    if text:
        figure.supxlabel(text, x=0.01, ha="left", fontsize=7.5, color=MUTED, wrap=True)


def legend(ax: Axes, handles: Sequence[Any], names: Iterable[str], **options: Any) -> None:
    """A small legend; names are shown literally."""
    # matplotlib leaves out names that start with an underscore.
    labels = [f" {name}" if name.startswith("_") else name for name in map(plain, names)]
    settings: dict[str, Any] = {
        "fontsize": 8,
        "framealpha": 0.85,
        "edgecolor": "none",
        "labelcolor": INK,
    } | options
    ax.legend(handles, labels, **settings)


def to_png(figure: Figure, budget: int = MAX_BYTES) -> bytes:
    """The figure as PNG bytes: palette image, no time stamp and no software version."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    return compress(image, budget)


def compress(image: PillowImage, budget: int) -> bytes:
    """PNG bytes with as many colours as the budget allows; dense text needs few of them."""
    from PIL import Image

    content = b""
    for colours in (200, 48, 16):
        reduced = image.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        reduced.save(buffer, format="PNG", optimize=True)
        content = buffer.getvalue()
        if len(content) <= budget:
            break
    return content


def placeholder(title: str, sentence: str) -> bytes:
    """A plot's stand-in that says in one sentence why there is nothing to draw."""
    figure, ax = new_axes(7.2, 1.6)
    ax.set_axis_off()
    ax.set_title(plain(title, 90), loc="left", fontsize=10.5, color=INK, fontweight="bold")
    ax.text(0.0, 0.6, plain(sentence, 240), fontsize=9.5, color=MUTED, wrap=True, va="center")
    return to_png(figure)


def plain(text: object, limit: int = 60) -> str:
    """Text that matplotlib shows literally (no mathematics), on one line, cut in the middle."""
    line = " ".join(str(text).split())
    if len(line) > limit:
        head = (limit - 1) * 2 // 3
        line = f"{line[:head]}…{line[len(line) - (limit - 1 - head) :]}"
    return line.replace("$", r"\$")


def ordered_splits(names: Iterable[str]) -> list[str]:
    """Split names in the order of time: train, validation, test, then any others by name."""
    return sorted(set(names), key=lambda name: (_SPLIT_ORDER.get(name.lower(), 9), name))


def split_colour(name: str, splits: Sequence[str]) -> str:
    """The colour of a split, the same in every plot for the usual three."""
    return PALETTE[_style_index(name, splits)]


def split_marker(name: str, splits: Sequence[str]) -> str:
    """The marker of a split, so that colour is never the only distinction."""
    return MARKERS[_style_index(name, splits)]


def _style_index(name: str, splits: Sequence[str]) -> int:
    usual = _SPLIT_ORDER.get(name.lower())
    if usual is not None:
        return usual
    others = [split for split in splits if split.lower() not in _SPLIT_ORDER]
    return (3 + others.index(name)) % len(PALETTE)
