import subprocess
import sys

import pytest

from models.quality.data_docs import fresh_directory
from models.quality.raw import check_raw_tables
from models.quality.staged import check_staged_tables
from models.quality.training import check_training_table
from tests.fixtures import PATIENCE
from tests.models.quality.shop import NOW, SCHEMA, TASK, shop_frames, training_frame, write


def test_data_docs_show_every_table_with_its_expectations(tmp_path):
    tables = write(tmp_path, shop_frames())
    report = check_staged_tables(SCHEMA, tables, now=NOW, docs_dir=tmp_path / "new" / "docs")
    assert report.docs_index == tmp_path / "new" / "docs" / "index.html"
    index = report.docs_index.read_text()
    pages = {path.name: path.read_text() for path in report.docs_index.parent.rglob("*.html")}
    for table in SCHEMA.table_names:
        assert table in index
        assert any(name.endswith(f"-{table}.html") for name in pages)
    orders = next(text for name, text in pages.items() if name.endswith("-orders.html"))
    for expected in ("order_id", "values must be unique", "ordered_at", "customers"):
        assert expected in orders
    assert sum(p.stat().st_size for p in report.docs_index.parent.rglob("*")) < 2_000_000


def test_data_docs_of_a_call_replace_those_of_the_last(tmp_path):
    docs = tmp_path / "docs"
    check_raw_tables(SCHEMA, write(tmp_path, shop_frames()), docs)
    path = write(tmp_path, {"churn": training_frame()})["churn"]
    check_training_table(TASK, path, as_of=NOW, last_event=NOW, docs_dir=docs)
    index = (docs / "index.html").read_text()
    assert "churn" in index
    assert "customers" not in index
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".parquet") == ["docs"]


def test_a_run_that_dies_leaves_the_old_directory(tmp_path):
    target = tmp_path / "docs"
    with fresh_directory(target) as directory:
        (directory / "page").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        _die_while_building(target)
    assert (target / "page").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]


def _die_while_building(target):
    with fresh_directory(target) as directory:
        (directory / "page").write_text("new")
        assert (target / "page").read_text() == "old"
        raise KeyboardInterrupt


def test_the_catalogue_needs_neither_great_expectations_nor_dagster_nor_pandas():
    code = (
        "import sys; sys.modules['dagster'] = None; import models.quality.results,"
        " models.quality.staged, models.quality.training, models.quality.raw;"
        " assert not {'great_expectations', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
