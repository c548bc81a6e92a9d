"""Where the tables and foreign keys of a schema go in a drawing: layers, order, lines.

Referenced tables stand left of the tables that refer to them. A key that spans several layers
reserves a lane in each layer between, so that its line passes beside the boxes and not behind
them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from models.database.schema import ForeignKey, RelationalSchema
from models.reporting.er_boxes import Box, make_box

GAP_X, GAP_Y, LANE, MARGIN = 84.0, 26.0, 16.0, 20.0
# A layer with more tables is spread over several: a diagram four screens tall is no overview.
MAX_LAYER = 7
_SWEEPS = 12
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A foreign key's line from the referring column to the referred one.

    `child_side` and `parent_side` are -1 where the line leaves the box on the left, 1 on the right.
    """

    key: ForeignKey
    points: list[Point]
    child_side: int
    parent_side: int


@dataclass(slots=True)
class Layout:
    """A finished drawing without its looks."""

    boxes: list[Box]
    lines: list[Line]
    width: float
    height: float


@dataclass(slots=True)
class _Node:
    """A box, or the lane of a long key in a layer that it only passes."""

    name: str
    layer: int
    box: Box | None = None
    left: list[str] = field(default_factory=list)
    right: list[str] = field(default_factory=list)
    y: float = 0.0

    @property
    def height(self) -> float:
        return self.box.height if self.box else 0.0

    @property
    def centre(self) -> float:
        return self.y + self.height / 2


def lay_out(schema: RelationalSchema, row_counts: Mapping[str, int], more: int = 3) -> Layout:
    """Place every table and foreign key; `more` is the number of plain columns a box shows."""
    boxes = {table.name: make_box(schema, table, row_counts, more) for table in schema.tables}
    keys = [key for key in schema.foreign_keys if key.table in boxes and key.parent in boxes]
    layers = _layers(schema, keys)
    nodes, lanes = _nodes(boxes, keys, layers)
    columns = _ordered_columns(nodes)
    _place(nodes, columns)
    lines = [_line(key, nodes, lanes[index]) for index, key in enumerate(keys)]
    width = max((box.x + box.width for box in boxes.values()), default=0.0) + MARGIN
    if any(key.table == key.parent for key in keys):
        width += LANE * 2
    height = max((node.y + node.height for node in nodes.values()), default=0.0) + MARGIN
    return Layout(list(boxes.values()), lines, width, height)


def _layers(schema: RelationalSchema, keys: list[ForeignKey]) -> dict[str, int]:
    """The depth of each table: 0 without references, else one more than the deepest parent."""
    parents: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        if key.parent != key.table:
            parents[key.table].append(key.parent)
    depth: dict[str, int] = {}

    def visit(table: str, path: frozenset[str]) -> int:
        if table not in depth:
            # A reference back into the path closes a cycle and says nothing about depth.
            above = [parent for parent in parents[table] if parent not in path]
            found = [visit(parent, path | {table}) for parent in above]
            depth[table] = 1 + max(found, default=-1)
        return depth[table]

    for name in schema.table_names:
        visit(name, frozenset())
    _separate_neighbours(depth, keys)
    return _spread(depth, keys)


def _separate_neighbours(depth: dict[str, int], keys: list[ForeignKey]) -> None:
    """Move tables of a cycle apart: a line needs its two boxes in different layers."""
    for _ in range(len(depth)):
        clashes = [k for k in keys if k.table != k.parent and depth[k.table] == depth[k.parent]]
        if not clashes:
            return
        depth[clashes[0].table] += 1


def _spread(depth: dict[str, int], keys: list[ForeignKey]) -> dict[str, int]:
    """The layers with the tall ones divided; tables that others refer to stay leftmost."""
    referred = {key.parent for key in keys if key.table != key.parent}
    result: dict[str, int] = {}
    offset = 0
    for layer in range(max(depth.values(), default=-1) + 1):
        members = [table for table in depth if depth[table] == layer]
        members.sort(key=lambda table: table not in referred)
        if not members:
            continue
        pieces = -(-len(members) // MAX_LAYER)
        size = -(-len(members) // pieces)
        result.update({table: offset + index // size for index, table in enumerate(members)})
        offset += pieces
    return result


def _nodes(
    boxes: dict[str, Box], keys: list[ForeignKey], layers: dict[str, int]
) -> tuple[dict[str, _Node], list[list[str]]]:
    """Nodes by name, and for each key the names of its lanes from left to right."""
    nodes = {name: _Node(name, layers[name], box) for name, box in boxes.items()}
    all_lanes: list[list[str]] = []
    for index, key in enumerate(keys):
        low, high = sorted((key.parent, key.table), key=lambda name: layers[name])
        between = range(layers[low] + 1, layers[high])
        # The NUL keeps a lane's name apart from any table's.
        lanes = [f"\0{index}:{layer}" for layer in between]
        for layer, lane in zip(between, lanes, strict=True):
            nodes[lane] = _Node(lane, layer)
        if low != high:
            chain = [low, *lanes, high]
            for left, right in pairwise(chain):
                nodes[left].right.append(right)
                nodes[right].left.append(left)
        all_lanes.append(lanes)
    return nodes, all_lanes


def _ordered_columns(nodes: dict[str, _Node]) -> list[list[str]]:
    """The nodes of each layer from top to bottom, with few crossings (barycentre sweeps)."""
    deepest = max((node.layer for node in nodes.values()), default=-1)
    columns: list[list[str]] = [[] for _ in range(deepest + 1)]
    for name, node in nodes.items():
        columns[node.layer].append(name)
    best = [list(column) for column in columns]
    fewest = _crossings(nodes, best)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        for column in columns if forward else reversed(columns):
            _sort_by_neighbours(nodes, columns, column, forward)
        crossings = _crossings(nodes, columns)
        if crossings < fewest:
            best, fewest = [list(column) for column in columns], crossings
    return best


def _sort_by_neighbours(
    nodes: dict[str, _Node], columns: list[list[str]], column: list[str], forward: bool
) -> None:
    place = {name: i / max(len(c) - 1, 1) for c in columns for i, name in enumerate(c)}

    def weight(name: str) -> float:
        around = nodes[name].left if forward else nodes[name].right
        return sum(place[other] for other in around) / len(around) if around else place[name]

    column.sort(key=weight)


def _crossings(nodes: dict[str, _Node], columns: list[list[str]]) -> int:
    place = {name: index for column in columns for index, name in enumerate(column)}
    total = 0
    for column in columns:
        ends = [(place[name], place[other]) for name in column for other in nodes[name].right]
        pairs = ((a, b) for i, a in enumerate(ends) for b in ends[i + 1 :])
        total += sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in pairs)
    return total


def _place(nodes: dict[str, _Node], columns: list[list[str]]) -> None:
    """Coordinates: layers side by side, nodes pulled towards their neighbours without overlap."""
    x = MARGIN
    for column in columns:
        boxes = [box for name in column if (box := nodes[name].box)]
        for box in boxes:
            box.x = x
        x += max((box.width for box in boxes), default=0.0) + GAP_X
        _stack(nodes, column, [0.0] * len(column))
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 else reversed(columns):
            _stack(nodes, column, [_wish(nodes, name) for name in column])
    top = min((node.y for node in nodes.values()), default=0.0)
    for node in nodes.values():
        node.y += MARGIN - top
        if node.box:
            node.box.y = node.y


def _wish(nodes: dict[str, _Node], name: str) -> float:
    """The top at which the node would be level with its neighbours."""
    node = nodes[name]
    around = [nodes[other].centre for other in (*node.left, *node.right)]
    return (sum(around) / len(around) if around else node.centre) - node.height / 2


def _stack(nodes: dict[str, _Node], column: list[str], wishes: list[float]) -> None:
    """Give the nodes of a column their tops: as wished, in order and apart."""
    tops: list[float] = []
    for index, (name, wish) in enumerate(zip(column, wishes, strict=True)):
        if index:
            above = nodes[column[index - 1]]
            gap = GAP_Y if above.box or nodes[name].box else LANE
            wish = max(wish, tops[-1] + above.height + gap)
        tops.append(wish)
    # Pushing only downwards drifts; shifting by the mean push keeps the column balanced.
    push = sum(t - w for t, w in zip(tops, wishes, strict=True)) / max(len(tops), 1)
    for name, top in zip(column, tops, strict=True):
        nodes[name].y = top - push


def _line(key: ForeignKey, nodes: dict[str, _Node], lanes: list[str]) -> Line:
    child, parent = nodes[key.table].box, nodes[key.parent].box
    assert child is not None
    assert parent is not None
    start, end = child.row_y(key.columns[0]), parent.row_y(key.parent_columns[0])
    if child is parent:
        right = child.x + child.width
        bend = right + LANE * 1.6
        return Line(key, [(right, start), (bend, start), (bend, end), (right, end)], 1, 1)
    side = -1 if nodes[key.table].layer > nodes[key.parent].layer else 1
    points = [(_edge(child, side), start)]
    for lane in lanes if side > 0 else reversed(lanes):
        left, right = _span(nodes, nodes[lane].layer)
        through = [(left, nodes[lane].y), (right, nodes[lane].y)]
        points += through if side > 0 else reversed(through)
    return Line(key, [*points, (_edge(parent, -side), end)], side, -side)


def _edge(box: Box, side: int) -> float:
    return box.x + (box.width if side > 0 else 0.0)


def _span(nodes: dict[str, _Node], layer: int) -> Point:
    boxes = [node.box for node in nodes.values() if node.box and node.layer == layer]
    return min(box.x for box in boxes), max(box.x + box.width for box in boxes)
