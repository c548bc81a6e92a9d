"""Many folders: the same whatever the number of processes, and made once."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace

import pytest
import relbench
from filelock import FileLock

from models.synthetic.database import Generator
from models.synthetic.draws import Fixed, Integer
from models.synthetic.folders import Folders, make_folders
from models.synthetic.layered_layout import LayeredLayout
from models.synthetic.schema_layout import SchemaLayout
from tests.models.synthetic.plain_stages import PlainColumns, PlainRows

SMALL = LayeredLayout(
    tables=Integer(3, 5), entity_rows=Fixed(30), activity_rows=Fixed(80), columns=Integer(1, 4)
)
SHOP = """create table people (id int primary key, joined_at timestamp not null, colour text);
create table visits (id int primary key, person int not null references people,
    at timestamp not null, spent double precision);"""


@dataclass(frozen=True, slots=True)
class FailingRows:
    """Makes no database of an odd seed; says which threads its process may use."""

    def __call__(self, blueprint, streams):
        if streams.seed % 2:
            raise ValueError(f"seed {streams.seed} is odd, {os.environ.get('OMP_NUM_THREADS')}")
        return PlainRows()(blueprint, streams)


def folders(out, rows=None, **settings):
    return Folders(Generator(SMALL, rows or PlainRows(), PlainColumns()), "small", out, **settings)


def content(folder):
    """Bytes by file; the version of the code may change while it is worked on."""
    return {
        str(path.relative_to(folder)): re.sub(rb'"code_version": "\w+"', b"", path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_processes_make_the_folders_that_one_makes(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("POLARS_MAX_THREADS", raising=False)
    lines: list[str] = []
    alone = make_folders(folders(tmp_path / "alone"), range(4))
    broken = folders(tmp_path / "both", FailingRows())
    both = make_folders(broken, range(4), 2, lines.append)
    assert (alone.made, alone.kept, dict(alone.failed)) == (4, 0, {})
    # A database that fails leaves the others alone; each process has one thread.
    assert (both.made, both.kept) == (2, 0)
    assert both.failed == {seed: f"ValueError: seed {seed} is odd, 1" for seed in (1, 3)}
    assert lines[-1].startswith("4 of 4 databases, ")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "POLARS_MAX_THREADS" not in os.environ
    mended = make_folders(replace(broken, generator=folders(tmp_path).generator), range(4))
    assert (mended.made, mended.kept, dict(mended.failed)) == (2, 2, {})
    made = content(tmp_path / "alone")
    assert made == content(tmp_path / "both")
    assert len({made[f"small_{seed}/db/activity_1.parquet"] for seed in range(4)}) == 4
    for seed in range(4):
        relbench.load_dataset(tmp_path / "both" / f"small_{seed}").get_db()


def test_what_is_there_is_kept_and_more_can_be_added(tmp_path):
    wanted = folders(tmp_path, made_from={"preset": "plain"})
    make_folders(wanted, [0, 1])
    before = content(tmp_path)
    stamp = (tmp_path / "small_0" / "manifest.yaml").stat().st_mtime_ns
    more = make_folders(wanted, [0, 1, 2])
    assert (more.made, more.kept) == (1, 2)
    assert (tmp_path / "small_0" / "manifest.yaml").stat().st_mtime_ns == stamp
    after = content(tmp_path)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[0] for name in after} == {"small_0", "small_1", "small_2"}


def test_folders_of_other_settings_are_refused_before_anything_is_made(tmp_path):
    make_folders(folders(tmp_path, made_from={"preset": "plain"}), [1])
    with pytest.raises(ValueError, match=r"small_1 exists, but was made with other settings"):
        make_folders(folders(tmp_path, made_from={"preset": "other"}), [0, 1])
    (tmp_path / "small_3").mkdir()
    with pytest.raises(ValueError, match=r"small_3 exists, .*not by this \(no truth.json\)"):
        make_folders(folders(tmp_path, made_from={"preset": "plain"}), [3])
    assert sorted(path.name for path in tmp_path.glob("small_*")) == ["small_1", "small_3"]


def test_one_run_at_a_time_writes_to_a_folder(tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(ValueError, match="another run is writing"):
        make_folders(folders(tmp_path), [0])


def test_tasks_are_sampled_for_each_database(tmp_path):
    layout = SchemaLayout.from_ddl(SHOP, entity_rows=Fixed(80), activity_rows=Fixed(2500))
    wanted = Folders(Generator(layout, PlainRows(), PlainColumns()), "shop", tmp_path, tasks=2)
    assert dict(make_folders(wanted, [3]).failed) == {}
    dataset = relbench.load_dataset(wanted.folder(3))
    names = dataset.get_task_names()
    assert 1 <= len(names) <= 2
    for name in names:
        assert len(dataset.load_task(name).get_table("train").df) > 0
    truth = json.loads((wanted.folder(3) / "truth.json").read_text())
    assert sorted(truth["tasks"]) == names
    assert truth["made_from"] == {"tasks": 2}
