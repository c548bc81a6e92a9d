"""The entity-relationship diagram of a database, as SVG and as PNG, without Graphviz."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from models.database.schema import RelationalSchema
from models.reporting import figure as look
from models.reporting.er_boxes import (
    CHARACTER,
    FONT_SIZE,
    HEADER_HEIGHT,
    PADDING,
    ROW_HEIGHT,
    Box,
    Row,
    mark_width,
)
from models.reporting.er_layout import Line, Point, lay_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEGEND = (
    "PK primary key · FK foreign key · time: event time · blue header: rows are events"
    " · dashed: proposed key"
)
# Twenty tables of text do not fit into the bytes of a plot.
_PNG_BYTES = 150_000
_LEGEND_WIDTH, _LEGEND_HEIGHT = 780.0, 30.0
_FOOT, _BAR = 9.0, 6.0
_MARK_COLOURS = {"PK": "#0072B2", "FK": "#A65E00", "time": "#00785A"}
_EVENT, _STATIC, _BORDER, _EDGE = "#DCEBF5", "#ECECEC", "#9AA4AD", "#5B6B78"

# Screens in dark mode get a dark diagram; a style sheet inside an SVG image stays inside it.
_STYLE = """
.er-font{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:12px}
.er-font{fill:#222}
.er-name{font-weight:bold;font-size:13px}.er-muted{fill:#666;font-size:10.5px}
.er-mark{font-weight:bold;font-size:10px}
.er-PK{fill:#0072B2}.er-FK{fill:#A65E00}.er-time{fill:#00785A}
.er-box{fill:#fff;stroke:#9AA4AD}.er-event{fill:#DCEBF5}.er-static{fill:#ECECEC}
.er-edge{fill:none;stroke:#5B6B78;stroke-width:1.3}.er-proposed{stroke-dasharray:6 4}
@media (prefers-color-scheme:dark){.er-font{fill:#E8E8E8}.er-muted{fill:#AAA}
.er-PK{fill:#6CB8EC}.er-FK{fill:#F0B35A}.er-time{fill:#4FD0A8}.er-box{fill:#1E2328;stroke:#5C6873}
.er-event{fill:#223B4D}.er-static{fill:#33383D}.er-edge{stroke:#9FB0BE}}
"""


def draw_er_diagram(
    schema: RelationalSchema, row_counts: Mapping[str, int], more: int = 3
) -> bytes:
    """The schema's tables and foreign keys as a standalone SVG.

    Args:
        schema: The database.
        row_counts: Rows by table; a table that is missing says so.
        more: How many columns a box shows besides keys and event time.
    """
    layout = lay_out(schema, row_counts, more)
    width, height = max(layout.width, _LEGEND_WIDTH), layout.height + _LEGEND_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img">',
        f"<title>Tables of {escape(schema.title or schema.database)}</title>",
        f"<style>{_STYLE}</style>",
        *(_svg_line(line) for line in layout.lines),
        *(_svg_box(box) for box in layout.boxes),
        _svg_text(20, height - 14, _LEGEND, "er-muted"),
        "</svg>",
    ]
    return "\n".join(parts).encode("utf-8")


def draw_er_diagram_png(
    schema: RelationalSchema, row_counts: Mapping[str, int], more: int = 3
) -> bytes:
    """The same diagram as a PNG on white, for places that show no SVG."""
    layout = lay_out(schema, row_counts, more)
    width, height = max(layout.width, _LEGEND_WIDTH), layout.height + _LEGEND_HEIGHT
    # One drawing pixel is one image pixel up to a size that stays legible and small.
    scale = min(1.25, 1800 / width, 2400 / height)
    figure = look.new_figure(
        width * scale / look.DOTS_PER_INCH, height * scale / look.DOTS_PER_INCH
    )
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_axis_off()
    points = scale * 72 / look.DOTS_PER_INCH
    for line in layout.lines:
        _paint_line(ax, line)
    for box in layout.boxes:
        _paint_box(ax, box, points)
    _paint_text(ax, 20, height - 14, _LEGEND, 10.5 * points, look.MUTED)
    return look.to_png(figure, _PNG_BYTES)


def _curves(line: Line) -> list[tuple[Point, Point, Point, Point]]:
    """The line as cubic curves that leave and enter horizontally."""
    if line.child_side == line.parent_side:
        start, first, second, end = line.points
        return [(start, first, second, end)]
    curves = []
    for (x0, y0), (x1, y1) in pairwise(line.points):
        middle = (x0 + x1) / 2
        curves.append(((x0, y0), (middle, y0), (middle, y1), (x1, y1)))
    return curves


def _ends(line: Line) -> list[tuple[Point, Point]]:
    """The strokes of the crow's foot at the referring end and the bar at the referred end."""
    (x, y), (u, v) = line.points[0], line.points[-1]
    tip, bar = x + line.child_side * _FOOT, u + line.parent_side * _BAR
    return [((tip, y), (x, y - 5)), ((tip, y), (x, y + 5)), ((bar, v - 5), (bar, v + 5))]


def _svg_line(line: Line) -> str:
    (x, y), *_ = line.points
    path = f"M{x:.1f} {y:.1f}" + "".join(
        "C" + " ".join(f"{px:.1f} {py:.1f}" for px, py in curve[1:]) for curve in _curves(line)
    )
    ends = "".join(f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" for (a, b), (c, d) in _ends(line))
    dashed = " er-proposed" if line.key.proposed else ""
    title = f"<title>{escape(str(line.key))}</title>"
    curve = f'<path class="er-edge{dashed}" d="{path}"/>'
    return f'<g>{title}{curve}<path class="er-edge" d="{ends}"/></g>'


def _svg_box(box: Box) -> str:
    place = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}"'
    header = "er-event" if _is_event(box) else "er-static"
    left = box.x + PADDING
    parts = [
        f'<rect class="er-box" {place} height="{box.height:.1f}" rx="4"/>',
        f'<rect class="{header}" {place} height="{HEADER_HEIGHT - 4:.1f}" rx="4"/>',
        _svg_text(left, box.y + 15, box.table, "er-name"),
        _svg_text(left, box.y + 29, box.subtitle, "er-muted"),
    ]
    for row in box.rows:
        baseline = box.row_y(row.column) + 4
        for mark, x in _mark_places(row, left):
            parts.append(_svg_text(x, baseline, mark, f"er-mark er-{mark}"))
        parts.append(_svg_text(_name_x(row, left), baseline, row.column, ""))
        kind = f'class="er-font er-muted" text-anchor="end" x="{box.x + box.width - PADDING:.1f}"'
        if row.kind:
            parts.append(f'<text {kind} y="{baseline:.1f}">{escape(row.kind)}</text>')
    if box.hidden:
        parts.append(_svg_text(left, _more_y(box), f"+ {box.hidden} more", "er-muted"))
    return "\n".join(parts)


def _svg_text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="er-font {style}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _is_event(box: Box) -> bool:
    return any("time" in row.marks for row in box.rows)


def _mark_places(row: Row, x: float) -> list[tuple[str, float]]:
    """Each mark of a row with where it starts."""
    places = []
    for mark in row.marks:
        places.append((mark, x))
        x += (len(mark) * 0.8 + 1) * FONT_SIZE * CHARACTER
    return places


def _name_x(row: Row, x: float) -> float:
    return x + mark_width(row) * FONT_SIZE * CHARACTER


def _more_y(box: Box) -> float:
    return box.y + HEADER_HEIGHT + (len(box.rows) + 0.5) * ROW_HEIGHT + 3


def _paint_line(ax: Axes, line: Line) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    vertices, codes = [line.points[0]], [int(Path.MOVETO)]
    for curve in _curves(line):
        vertices += curve[1:]
        codes += [int(Path.CURVE4)] * 3
    style = "--" if line.key.proposed else "-"
    path = Path(vertices, codes)
    ax.add_patch(PathPatch(path, fill=False, edgecolor=_EDGE, linewidth=1, linestyle=style))
    for (a, b), (c, d) in _ends(line):
        ax.plot([a, c], [b, d], color=_EDGE, linewidth=1)


def _paint_box(ax: Axes, box: Box, points: float) -> None:
    from matplotlib.patches import Rectangle

    fill = _EVENT if _is_event(box) else _STATIC
    corner = (box.x, box.y)
    body = {"facecolor": "white", "edgecolor": _BORDER, "linewidth": 0.8, "zorder": 3}
    ax.add_patch(Rectangle(corner, box.width, box.height, **body))  # type: ignore[arg-type]
    ax.add_patch(Rectangle(corner, box.width, HEADER_HEIGHT - 4, color=fill, zorder=4))
    left = box.x + PADDING
    _paint_text(ax, left, box.y + 15, box.table, 13 * points, look.INK, weight="bold")
    _paint_text(ax, left, box.y + 29, box.subtitle, 10.5 * points, look.MUTED)
    for row in box.rows:
        baseline = box.row_y(row.column) + 4
        for mark, x in _mark_places(row, left):
            _paint_text(ax, x, baseline, mark, 10 * points, _MARK_COLOURS[mark], weight="bold")
        _paint_text(ax, _name_x(row, left), baseline, row.column, 12 * points, look.INK)
        right = box.x + box.width - PADDING
        _paint_text(ax, right, baseline, row.kind, 10.5 * points, look.MUTED, align="right")
    if box.hidden:
        _paint_text(ax, left, _more_y(box), f"+ {box.hidden} more", 10.5 * points, look.MUTED)


def _paint_text(
    ax: Axes,
    x: float,
    y: float,
    text: str,
    size: float,
    colour: str,
    *,
    weight: str = "normal",
    align: str = "left",
) -> None:
    font = {"family": "DejaVu Sans Mono", "weight": weight, "size": size}
    ax.text(x, y, look.plain(text, 200), color=colour, ha=align, zorder=5, **font)  # type: ignore[arg-type]
