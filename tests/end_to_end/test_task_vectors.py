"""Task vectors in the pipeline: they hold the labels of its tasks, and later dates extend earlier."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import polars as pl

from tests.end_to_end.club import TEST
from tests.end_to_end.conftest import Tiny
from tests.end_to_end.installation import Installation, day

AS_OF = day(TEST)


def test_labels_can_be_read_off_the_task_vectors_of_their_entity(tiny: Tiny):
    home = tiny.installation
    artifact = home.artifacts()["task_vectors", f"tiny_club/members/{AS_OF}"]
    raw = pl.read_parquet(artifact.path / "raw.parquet")
    for task, label in {
        "member_spend": pl.col("SUM(visits.paid, next 20 days)"),
        "member_comes": (pl.col("COUNT(visits, next 20 days)") > 3).cast(pl.Float64),
    }.items():
        table = home.artifact("training_table", task, AS_OF).path / "training_table.parquet"
        labels = pl.read_parquet(table).filter(pl.col("split") != "test")
        labels = labels.with_columns(pl.col("cutoff_time").cast(pl.Datetime("us")))
        # Dormant rows are a sample, and who never came before is not there.
        both = labels.join(raw, on=["cutoff_time", "entity", "split"])
        assert set(both["split"]) == {"train", "val"}
        assert both.height > 0.5 * labels.height
        difference = both.select(label - pl.col("label").cast(pl.Float64)).to_series()
        assert difference.abs().max() < 1e-9, task


def test_task_vectors_of_a_later_date_extend_those_of_an_earlier_one(elsewhere: Installation):
    job, config = "tiny_club__member_spend__pipeline", {"force": True}
    dates = [day(TEST - timedelta(days=20)), AS_OF]
    made = {}
    for date in dates:
        done = elsewhere.execute_here(job, date)
        assert done.success, done.messages()
        made[date] = done.assets["tiny_club/members/task_vectors"]
    assert made[dates[0]]["made"] == "from scratch"
    assert made[AS_OF]["made"].startswith(f"extended from {dates[0]}")
    op = {"tiny_club__members__task_vectors": {"config": config}}
    scratch = elsewhere.execute_here(job, AS_OF, {"ops": op})
    found = scratch.assets["tiny_club/members/task_vectors"]
    assert found["made"] == "from scratch"
    artifact = elsewhere.artifacts()["task_vectors", f"tiny_club/members/{AS_OF}"]
    assert found["fingerprint"] == made[AS_OF]["fingerprint"]
    assert found["content"] == made[AS_OF]["content"]
    vectors = pl.read_parquet(artifact.path / "task_vectors.parquet")
    # The grid is that of the task: 20 days apart, validation from 60 days before the date.
    train = vectors.filter(pl.col("split") == "train")["cutoff_time"].unique().sort().to_list()
    assert train[-1] == TEST - timedelta(days=80)
    assert {b - a for a, b in pairwise(train)} == {timedelta(days=20)}
