import io
import xml.etree.ElementTree as ElementTree
from html import escape

import pytest
from PIL import Image

from models.database.schema import Column, ForeignKey, RelationalSchema, SemanticType, Table
from models.reporting.er_diagram import draw_er_diagram, draw_er_diagram_png
from models.reporting.er_layout import MAX_LAYER, lay_out


def table(name, *references, time=None, extra=6):
    names = ["id", *references, *([time] if time else []), *(f"c{i}" for i in range(extra))]
    columns = tuple(Column(n, "BIGINT", SemanticType.NUMERICAL) for n in names)
    return Table(name, columns, ("id",), time)


def key(child, column, parent, **options):
    return ForeignKey(child, (column,), parent, ("id",), **options)


def schema():
    facts = [f"fact_{i}" for i in range(12)]
    tables = [
        table("team"),
        table("employee", "manager"),
        table("match<&>", "home", "away", time="at"),
        table("ping", "pong"),
        table("pong", "ping"),
        table("alone"),
        Table("bare", (), ("id",)),
        *(table(fact, "team", "match", time="at") for fact in facts),
    ]
    keys = [
        key("employee", "manager", "employee"),
        key("match<&>", "home", "team"),
        key("match<&>", "away", "team", proposed=True),
        key("ping", "pong", "pong"),
        key("pong", "ping", "ping"),
        *(key(fact, "team", "team") for fact in facts),
        *(key(fact, "match", "match<&>") for fact in facts),
    ]
    return RelationalSchema("shop", tuple(tables), tuple(keys), title="A <b> & c")


COUNTS = {"team": 1, "employee": 1234567}


def test_the_svg_names_every_table_and_every_foreign_key():
    text = draw_er_diagram(schema(), COUNTS).decode()
    root = ElementTree.fromstring(text)
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert sorted(titles[1:]) == sorted(str(key) for key in schema().foreign_keys)
    for name in schema().table_names:
        assert f">{escape(name)}</text>" in text
    assert "1,234,567 rows" in text
    assert ">1 row<" in text
    assert "rows not counted" in text
    assert "+ 3 more" in text
    assert text.count("er-proposed") == 2  # the style and one line


def test_boxes_do_not_overlap_and_lines_stay_out_of_them():
    layout = lay_out(schema(), COUNTS)
    boxes = layout.boxes
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            beside = a.x + a.width <= b.x or b.x + b.width <= a.x
            above = a.y + a.height <= b.y or b.y + b.height <= a.y
            assert beside or above, (a.table, b.table)
    for line in layout.lines:
        # Interior points come in pairs: where a lane enters a layer and where it leaves it.
        lanes = [] if line.key.table == line.key.parent else line.points[1:-1]
        for (left, y), (right, _) in zip(lanes[::2], lanes[1::2], strict=True):
            x = (left + right) / 2
            inside = [
                b.table for b in boxes if b.x < x < b.x + b.width and b.y < y < b.y + b.height
            ]
            assert not inside, (str(line.key), inside)


def test_parents_stand_left_and_tall_layers_are_divided():
    layout = lay_out(schema(), COUNTS)
    x = {box.table: box.x for box in layout.boxes}
    assert x["team"] < x["match<&>"] < x["fact_0"]
    assert max(sum(b.x == a.x for b in layout.boxes) for a in layout.boxes) <= MAX_LAYER


def test_two_keys_to_the_same_parent_start_at_different_rows():
    lines = {line.key.columns[0]: line for line in lay_out(schema(), COUNTS).lines}
    assert lines["home"].points[0][1] != lines["away"].points[0][1]


def test_the_png_is_valid_and_both_are_deterministic():
    first, second = draw_er_diagram_png(schema(), COUNTS), draw_er_diagram_png(schema(), COUNTS)
    assert first == second
    with Image.open(io.BytesIO(first)) as image:
        image.load()
        assert image.width > 400
    assert draw_er_diagram(schema(), COUNTS) == draw_er_diagram(schema(), COUNTS)


@pytest.mark.parametrize("tables", [(), (Table("only"),)])
def test_tiny_schemas_are_drawn(tables):
    tiny = RelationalSchema("tiny", tables)
    ElementTree.fromstring(draw_er_diagram(tiny, {}))
    assert draw_er_diagram_png(tiny, {}).startswith(b"\x89PNG")
