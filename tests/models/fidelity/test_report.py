"""The report as a whole: plain numbers, side by side, for people."""

from __future__ import annotations

import io
import json

import numpy as np
import polars as pl
import pytest
from PIL import Image

from models.fidelity.coverage import coverage
from models.fidelity.databases import synthetic_database
from models.fidelity.detection import Detection
from models.fidelity.marginals import marginals, size
from models.fidelity.report import compare, fidelity_report, pool
from models.fidelity.writing import fidelity_figure, fidelity_page, markdown_table
from models.synthetic.database import Generator
from models.synthetic.draws import Fixed, LogUniformInteger
from models.synthetic.generator import generate
from models.synthetic.layered_layout import LayeredLayout
from tests.models.fidelity.made import made_database, moments
from tests.models.fidelity.test_tasks import NUMBER, club, training_table

__all__ = ["club"]


@pytest.fixture(scope="module")
def report(club):
    table = training_table(lambda person, cutoff: float(person % 3))
    as_of = table["cutoff_time"].max()
    return fidelity_report("club", club.schema, club.tables, [(NUMBER, table)], as_of)


def test_a_report_is_plain_and_complete(report, club):
    assert json.loads(json.dumps(report)) == json.loads(json.dumps(report, allow_nan=False))
    groups = {figure.split(": ")[0] for figure in report["figures"]}
    assert groups == {"size", "columns", "degrees", "explained", "DFS features", "tasks"}
    assert [one["key"] for one in report["degrees"]] == ["visit(person_id) -> person"]
    assert {one["column"] for one in report["columns"]} == {"mood"}
    assert report["signals"][0]["task"] == report["spectra"][0]["task"] == "comes"
    assert report["figures"]["tasks: rows"] == 600
    bare = fidelity_report("club", club.schema, club.tables)
    assert bare["signals"] == bare["spectra"] == []
    with pytest.raises(ValueError, match="as_of"):
        fidelity_report("club", club.schema, club.tables, [(NUMBER, pl.DataFrame())])


def test_reports_stand_side_by_side_and_can_be_pooled(report):
    lower = {**report, "name": "b", "figures": {"size: rows": 10.0, "size: tables": None}}
    upper = {**report, "name": "c", "figures": {"size: rows": 30.0, "new: x": 1.0}}
    found = compare([lower, upper])
    assert found.columns == ["figure", "b", "c"]
    assert found.rows() == [
        ("size: rows", 10, 30),
        ("size: tables", None, None),
        ("new: x", None, 1),
    ]
    pooled = pool([lower, upper], "both")
    assert pooled["figures"] == {"size: rows": 20, "size: tables": None, "new: x": 1}
    assert len(pooled["degrees"]) == 2 * len(report["degrees"])
    assert pool([lower, upper], "high", 1.0)["figures"]["size: rows"] == 30
    with pytest.raises(ValueError, match="several reports are called b"):
        compare([lower, lower])
    with pytest.raises(ValueError, match="no reports"):
        pool([], "none")


def test_figure_and_page_can_be_drawn(report):
    reports = [report, {**report, "name": "$other", "degrees": [], "columns": []}]
    png = fidelity_figure(reports)
    assert Image.open(io.BytesIO(png)).size[0] > 800
    assert fidelity_figure(reports) == png
    found = Detection("visit", 500, 0.9, 0.6, ("mood",), ("mood", "at"))
    covered = coverage(report["signals"], report["signals"])
    page = fidelity_page(compare(reports), covered, {"club": [found]}, "f.png", "Two databases.")
    assert page.startswith("# Fidelity\n\nTwo databases.\n\n![")
    for part in (
        "## Size",
        "## Explained",
        "| tail index |",
        "## Coverage",
        "| club | visit | 500 |",
    ):
        assert part in page
    assert "| mood, at |" in page


def test_cells_of_a_page():
    frame = pl.DataFrame({"a|b": ["x|y"], "n": [12345.678], "m": [0.123456], "o": [None]})
    assert markdown_table(frame).splitlines()[-1] == "| x\\|y | 12,346 | 0.123 | – |"


def test_marginals_are_counted(tmp_path):
    generator = np.random.default_rng(0)
    rows = 1000
    frame = pl.DataFrame(
        {
            "thing_id": range(rows),
            "at": moments(np.arange(rows)),
            "even": generator.normal(size=rows),
            "wild": np.exp(2 * generator.normal(size=rows)),
            "rare": np.arange(rows) < 10,
            "kind": ["a", "b", "b", "b"] * (rows // 4),
            "gaps": [None, 1.0, 2.0, 2.0, 2.0] * (rows // 5),
        }
    )
    made = made_database(tmp_path, {"thing": frame}, times={"thing": "at"})
    found = marginals(made)
    assert found["share of numerical columns"] == pytest.approx(3 / 5)
    assert found["share of timestamp columns"] == 0
    assert found["missing: mean share"] == pytest.approx(0.2 / 5)
    assert found["missing: share of columns with any"] == pytest.approx(1 / 5)
    assert found["numbers: share with |skewness| > 2"] == pytest.approx(1 / 3)
    assert found["booleans: median minority rate"] == pytest.approx(0.01)
    assert found["booleans: share with a minority < 5 %"] == 1
    assert found["categories: median number"] == 2
    assert found["categories: median share of the most frequent"] == pytest.approx(0.75)
    counted = size(made)
    assert (counted["tables"], counted["rows"], counted["columns"]) == (1, rows, 5)
    bare = made_database(tmp_path / "bare", {"thing": frame.select("thing_id")})
    assert marginals(bare) == {}


def test_a_synthetic_database_is_reported_as_any_other(tmp_path):
    from tests.models.synthetic.plain_stages import PlainColumns, PlainRows

    layout = LayeredLayout(
        tables=Fixed(3), columns=Fixed(3), activity_rows=LogUniformInteger(300, 400)
    )
    made = generate(Generator(layout, PlainRows(), PlainColumns()), 5)
    database = synthetic_database(made, tmp_path)
    found = fidelity_report("synthetic", database.schema, database.tables)
    assert found["figures"]["size: tables"] == 3
    # Columns that are drawn one by one explain nothing, nor do relatives.
    assert found["figures"]["explained: together: median"] < 0.1
    assert found == fidelity_report("synthetic", database.schema, database.tables)
