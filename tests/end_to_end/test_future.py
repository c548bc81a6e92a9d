"""Rows after a cutoff move nothing at or before it, through the whole pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from models.artifacts import Artifact
from models.database.importer import import_database
from models.database.schema import Protocol
from tests.end_to_end.club import DAYS, START, TEST, Tables, club_tables, write_club
from tests.end_to_end.conftest import Tiny
from tests.end_to_end.installation import Installation, another_home, day, new_installation

AS_OF = day(TEST)
TASKS = ("member_comes", "member_spend")
KEYS = ["entity", "cutoff_time"]
SECOND, THIRD = TEST + timedelta(days=20), TEST + timedelta(days=40)
END = START + timedelta(days=DAYS)


def rewritten(after: datetime) -> Tables:
    """The club with every row after a time altered, deleted or joined by a new one."""
    tables = club_tables()
    visits, members = tables["visits"], tables["members"]
    later = visits.filter(pl.col("date") > after)
    altered = later.gather_every(2).with_columns(
        paid=pl.col("paid") * 50 + 7,
        deskId=(pl.col("deskId") + 1) % 6,
        memberId=pl.when(pl.col("memberId") < 40).then(pl.col("memberId") // 2).otherwise(1),
        kind=pl.lit("night"),
        date=pl.lit(after) + (pl.col("date") - after) / 2,
    )
    added = later.gather_every(3).with_columns(
        visitId=pl.col("visitId") + 10_000, memberId=pl.lit(3, pl.Int64)
    )
    kept = visits.filter(pl.col("date") <= after)
    parts = [part.cast(dict(visits.schema)) for part in (kept, altered, added)]
    moved = pl.when(pl.col("joined") > after).then(pl.lit("moon")).otherwise(pl.col("town"))
    newcomer = pl.DataFrame(
        {"memberId": [900], "town": ["moon"], "age": [99], "joined": [after + timedelta(days=1)]}
    )
    members = pl.concat([members.with_columns(town=moved), newcomer.cast(dict(members.schema))])
    return tables | {"visits": pl.concat(parts).sort("date", "visitId"), "members": members}


def run_with(
    home: Installation,
    folder: Path,
    tables: Tables,
    job: str = "tiny_club__pipeline",
    config: Mapping[str, Any] | None = None,
) -> Installation:
    write_club(folder, tables)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RELFORGE_SOURCE_TINY_CLUB", str(folder))
        done = home.execute_here(job, AS_OF, config)
    assert done.success, done.messages()
    return home


@pytest.fixture(scope="module")
def after_as_of(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A run at the same date over a database whose every row after it has been rewritten."""
    folder = tmp_path_factory.mktemp("after-as-of")
    home = another_home(folder, tiny.installation)
    return run_with(home, folder / "source", rewritten(TEST))


@pytest.fixture(scope="module")
def after_second(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The same, with the rows after the second prediction cutoff rewritten."""
    folder = tmp_path_factory.mktemp("after-second")
    home = another_home(folder, tiny.installation)
    return run_with(home, folder / "source", rewritten(SECOND))


def rows(artifact: Artifact) -> pl.DataFrame:
    frame = pl.read_parquet(artifact.path / "training_table.parquet")
    return frame.with_row_index("row_id").with_columns(pl.col("row_id").cast(pl.Int64))


def features(home: Installation, task: str, file: str, where: pl.Expr) -> pl.DataFrame:
    """The features of those rows of the training table, by entity and cutoff."""
    table = rows(home.artifact("training_table", task, AS_OF)).filter(where)
    found = pl.read_parquet(home.artifact("features", task, AS_OF).path / file)
    return table.join(found, on="row_id").drop("row_id", "label").sort(KEYS)


def predictions(home: Installation, task: str, protocol: Protocol) -> pl.DataFrame:
    folder = home.artifact("predictions", task, AS_OF).path
    frame = pl.read_parquet(folder / f"predictions_{protocol}.parquet")
    return frame.select(*KEYS, "prediction").sort(KEYS)


def common(a: pl.DataFrame, b: pl.DataFrame, least: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    a, b = a.join(b, on=KEYS, how="semi").sort(KEYS), b.join(a, on=KEYS, how="semi").sort(KEYS)
    assert a.height >= least
    return a, b


LEARNED = pl.col("split").is_in(["train", "val"])


@pytest.mark.parametrize("task", TASKS)
def test_the_rows_to_learn_from_do_not_depend_on_the_future(
    tiny: Tiny, after_as_of: Installation, task: str
):
    before = rows(tiny.installation.artifact("training_table", task, AS_OF))
    after = rows(after_as_of.artifact("training_table", task, AS_OF))
    assert_frame_equal(before.filter(LEARNED), after.filter(LEARNED), check_exact=True)
    assert not before.filter(~LEARNED).equals(after.filter(~LEARNED)), "the test labels must move"
    assert 900 not in after["entity"], "who joined after as_of is not known at as_of"


@pytest.mark.parametrize("task", TASKS)
def test_features_do_not_depend_on_rows_after_the_cutoff(
    tiny: Tiny, after_as_of: Installation, task: str
):
    seen = LEARNED | (pl.col("cutoff_time") == TEST)
    before = features(tiny.installation, task, "features.parquet", seen)
    after = features(after_as_of, task, "features.parquet", seen)
    before, after = common(before, after, 600)
    assert before.width > 20
    assert_frame_equal(before, after, check_exact=True)
    frozen = [
        features(home, task, "features_frozen.parquet", pl.lit(True))
        for home in (tiny.installation, after_as_of)
    ]
    assert_frame_equal(*common(*frozen, 80), check_exact=True)


@pytest.mark.parametrize("task", TASKS)
def test_the_model_does_not_depend_on_the_future(
    tiny: Tiny, after_as_of: Installation, after_second: Installation, task: str
):
    model = tiny.installation.artifact("model", task, AS_OF)
    for home in (after_as_of, after_second):
        other = home.artifact("model", task, AS_OF)
        assert other.fingerprint != model.fingerprint, "it was trained anew"
        assert other.content == model.content


@pytest.mark.parametrize("task", TASKS)
def test_frozen_predictions_at_every_cutoff_do_not_move(
    tiny: Tiny, after_as_of: Installation, task: str
):
    pair = [predictions(h, task, Protocol.FROZEN) for h in (tiny.installation, after_as_of)]
    before, after = common(*pair, 30)
    assert before["cutoff_time"].n_unique() == 3
    assert_frame_equal(before, after, check_exact=True)


@pytest.mark.parametrize("task", TASKS)
def test_rolling_predictions_see_rows_up_to_their_own_cutoff_and_no_further(
    tiny: Tiny, after_second: Installation, task: str
):
    pair = [predictions(h, task, Protocol.ROLLING) for h in (tiny.installation, after_second)]
    before, after = common(*pair, 60)
    until = pl.col("cutoff_time") <= SECOND
    assert before.filter(until)["cutoff_time"].n_unique() == 2
    assert_frame_equal(before.filter(until), after.filter(until), check_exact=True)
    third = pl.col("cutoff_time") == THIRD
    assert not before.filter(third).equals(after.filter(third)), "a rolling cutoff sees its past"


def test_an_import_declares_the_same_whatever_happens_after_the_benchmarks_date(
    tiny: Tiny, tmp_path: Path
):
    folder = write_club(tmp_path / "source", rewritten(TEST))
    project = new_installation(tmp_path / "other").project
    imported = import_database(str(folder), project).folder
    first = tiny.installation.project / "models" / "tiny_club"
    for path in first.rglob("*"):
        if path.is_file():
            text = (imported / path.relative_to(first)).read_text()
            assert text.replace(str(folder), str(tiny.folder)) == path.read_text()


def test_task_vectors_do_not_depend_on_rows_after_as_of(tiny: Tiny, after_as_of: Installation):
    """Nor does their scaling."""
    before, after = (
        home.artifacts()["task_vectors", f"tiny_club/members/{AS_OF}"]
        for home in (tiny.installation, after_as_of)
    )
    assert before.fingerprint != after.fingerprint
    for name in ("task_vectors.parquet", "raw.parquet", "manifest.json"):
        assert (before.path / name).read_bytes() == (after.path / name).read_bytes(), name
    assert pl.read_parquet(before.path / "task_vectors.parquet").height > 100
