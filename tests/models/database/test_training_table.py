"""Training tables of the club: what each split may see, and what it holds."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from models.database.staging import StageError
from models.database.training_table import check_as_of, read_training_table, summarise
from tests.conftest import BROKEN
from tests.fixtures import club_tables, day, ratings

WINDOW = timedelta(days=10)
GOOD = [
    *("declared_population", "habit", "peeks", "rating", "spends_much", "strides", "visit_count"),
]


def rows_of(labels, task, *splits):
    table = labels.tables[task].filter(pl.col("split").is_in(splits))
    return table.sort("split", "cutoff_time", "entity")


def cutoffs_of(labels, task, split):
    return rows_of(labels, task, split)["cutoff_time"].unique().sort().to_list()


def joined():
    people = club_tables()["People"]
    return dict(people.select("PersonId", "JoinedAt").iter_rows())


def visits_between(person, after, until):
    visits = club_tables()["Club Visits"]
    inside = (pl.col("at") > after) & (pl.col("at") <= until) & (pl.col("PersonId") == person)
    return visits.filter(inside)


def test_benchmark_cutoffs_end_where_windows_close(benchmark_labels):
    for task in ("visit_count", "habit", "declared_population"):
        assert cutoffs_of(benchmark_labels, task, "train") == [day(n) for n in range(0, 81, 10)]
        assert cutoffs_of(benchmark_labels, task, "val") == [day(90), day(100), day(110)]
        assert cutoffs_of(benchmark_labels, task, "test") == [day(120), day(130), day(140)]
        assert cutoffs_of(benchmark_labels, task, "predict") == []


def test_a_stride_shorter_than_the_window_still_closes_every_window(benchmark_labels):
    strided = benchmark_labels.tables["strides"]
    assert cutoffs_of(benchmark_labels, "strides", "val") == [day(n) for n in range(90, 111, 3)]
    assert cutoffs_of(benchmark_labels, "strides", "train") == [day(n) for n in range(2, 81, 3)]
    assert cutoffs_of(benchmark_labels, "strides", "test") == [day(n) for n in range(120, 145, 3)]
    assert strided.unique(["entity", "cutoff_time"]).height == strided.height


def test_members_and_labels_are_those_of_the_rows_themselves(benchmark_labels):
    table = benchmark_labels.tables["visit_count"]
    expected = [
        (person, cutoff, visits_between(person, cutoff, cutoff + WINDOW).height)
        for cutoff in table["cutoff_time"].unique()
        for person, at in joined().items()
        # Person 5 joins after as_of, so it is in no split, not even at the later test cutoffs.
        if at <= min(cutoff, day(120))
    ]
    found = table.select("entity", "cutoff_time", "label").rows()
    assert sorted(found) == sorted(expected)


def test_a_row_at_the_cutoff_is_history_and_one_at_the_windows_end_is_label(benchmark_labels):
    counts = benchmark_labels.tables["visit_count"]
    exactly = visits_between(0, day(100) - timedelta(microseconds=1), day(100))
    assert exactly.height == 1

    def label(cutoff):
        own = (pl.col("entity") == 0) & (pl.col("cutoff_time") == cutoff)
        return counts.filter(own)["label"].item()

    between = visits_between(0, day(90), day(100) - timedelta(microseconds=1)).height
    assert label(day(90)) == between + 1
    assert label(day(100)) == visits_between(0, day(100), day(110)).height


def test_the_text_of_a_manifests_sql_survives_semicolon_with_and_braces(club, benchmark_labels):
    assert set(benchmark_labels.tables) == set(GOOD)
    much = benchmark_labels.tables["spends_much"]
    for entity, cutoff, label, _ in much.iter_rows():
        paid = visits_between(entity, cutoff, cutoff + WINDOW)["Amount Paid"].drop_nulls()
        assert label == (None if paid.is_empty() else int(paid.sum() > 10))
    task_sql = (club.imported.folder / "tasks" / "the_club__spends_much.sql").read_text()
    assert "'{{ not jinja }}' <> '{% nor this %}'" in task_sql


def test_training_and_validation_see_no_row_after_as_of_whatever_the_sql_asks_for(benchmark_labels):
    peeked = rows_of(benchmark_labels, "peeks", "train", "val")
    for entity, cutoff, label, _ in peeked.iter_rows():
        assert label == visits_between(entity, cutoff, day(120)).height
    assert peeked["label"].max() > 10


def test_string_labels_keep_their_classes(benchmark_labels):
    habits = benchmark_labels.tables["habit"].sort("cutoff_time", "entity")
    counts = benchmark_labels.tables["visit_count"].sort("cutoff_time", "entity")
    expected = [{0: "none", 1: "one"}.get(count, "more") for count in counts["label"]]
    assert habits["label"].to_list() == expected


def test_rows_are_sorted_by_cutoff_and_entity(benchmark_labels):
    for table in benchmark_labels.tables.values():
        assert_frame_equal(table, table.sort("cutoff_time", "entity", maintain_order=True))


def test_what_happens_after_as_of_changes_no_training_or_validation_row(
    benchmark_labels, rewritten_labels
):
    for task in GOOD:
        before = rows_of(benchmark_labels, task, "train", "val")
        assert before.height > 20
        assert_frame_equal(before, rows_of(rewritten_labels, task, "train", "val"))
    # The future was really another one.
    test = rows_of(benchmark_labels, "visit_count", "test")
    assert not test.equals(rows_of(rewritten_labels, "visit_count", "test"))


def test_an_open_window_is_predicted_once_and_has_no_label(open_labels):
    for task in ("declared_population", "habit", "spends_much", "visit_count", "strides"):
        table = open_labels.tables[task]
        assert "test" not in table["split"].to_list()
        predicted = table.filter(pl.col("split") == "predict")
        assert predicted["cutoff_time"].unique().to_list() == [day(155)]
        assert predicted["label"].null_count() == predicted.height > 0
        assert predicted["entity"].n_unique() == predicted.height


def test_the_declared_population_is_predicted(open_labels):
    predicted = rows_of(open_labels, "declared_population", "predict")
    gold = club_tables()["People"].filter(pl.col("Tier") == "gold")["PersonId"]
    assert predicted["entity"].to_list() == gold.to_list() == [0, 2, 5]


def test_without_a_population_those_whom_the_sql_selects_are_predicted(open_labels):
    # Nobody needs to have visited: everyone who has joined is a row of the SQL at the cutoff.
    assert rows_of(open_labels, "visit_count", "predict")["entity"].to_list() == [*range(6)]


def test_sql_that_only_looks_ahead_predicts_the_entities_of_validation(open_labels):
    validated = rows_of(open_labels, "spends_much", "val")["entity"].unique().sort()
    predicted = rows_of(open_labels, "spends_much", "predict")["entity"]
    assert predicted.to_list() == validated.to_list()


def test_training_windows_close_before_validation_and_validation_before_as_of(
    benchmark_labels, open_labels
):
    for labels in (benchmark_labels, open_labels):
        for task in GOOD:
            train = rows_of(labels, task, "train")["cutoff_time"].max()
            val = rows_of(labels, task, "val")["cutoff_time"]
            assert train + WINDOW <= labels.as_of - timedelta(days=30) <= val.min()
            assert val.max() + WINDOW <= labels.as_of


def test_shipped_labels_are_taken_as_they_are_at_the_benchmarks_date(benchmark_labels):
    shipped = pl.concat(
        table.with_columns(split=pl.lit(split)) for split, table in ratings().items()
    ).select(
        pl.col("PersonId").alias("entity"),
        pl.col("asked_at").alias("cutoff_time"),
        pl.col("stars").alias("label"),
        "split",
    )
    found = benchmark_labels.tables["rating"]
    assert_frame_equal(found, shipped.sort("cutoff_time", "entity"))


def test_shipped_labels_are_split_anew_at_another_date(open_labels):
    assert cutoffs_of(open_labels, "rating", "train") == [day(n) for n in range(10, 111, 10)]
    assert cutoffs_of(open_labels, "rating", "val") == [day(130), day(140)]
    assert set(open_labels.tables["rating"]["split"]) == {"train", "val"}


def test_each_faulty_task_says_what_to_mend_and_stops_no_other(benchmark_labels):
    assert set(benchmark_labels.errors) == set(BROKEN)
    errors = benchmark_labels.errors
    for part in ("timestamp, who", "not member, label", "entity_column 'member'"):
        assert part in errors["wrong_columns"]
    for part in ("no training window fits", "2020-06-09", "Shorten the window"):
        assert part in errors["too_long"]
    assert "add its entity table 'the_club__people' to reads" in errors["forgotten_entity"]
    assert "the_club__no_times" in errors["timeless"]
    assert "event_time" in errors["timeless"]


def test_as_of_a_window_past_the_newest_row_is_refused(club):
    task = club.schema.task("visit_count")
    check_as_of(club.schema, task, day(160), newest=day(150) + timedelta(seconds=1))
    with pytest.raises(StageError, match=r"visit_count.*2020-06-09.*2020-05-30.*10 days"):
        check_as_of(club.schema, task, day(160), newest=day(150))


def test_row_numbers_and_summary_of_a_training_table(tmp_path, benchmark_labels):
    path = tmp_path / "table.parquet"
    benchmark_labels.tables["visit_count"].write_parquet(path)
    table = read_training_table(path)
    assert table["row_id"].to_list() == list(range(table.height))
    by_split = {row["split"]: row for row in summarise(table)}
    assert list(by_split) == ["train", "val", "test"]
    val = by_split["val"]
    assert (val["rows"], val["entities"], val["cutoffs"]) == (15, 5, 3)
    assert (val["first_cutoff"], val["last_cutoff"]) == (day(90), day(110))
    labels = table.filter(pl.col("split") == "val")["label"]
    assert val["mean_label"] == pytest.approx(labels.mean())
