"""Signals and features of tasks whose truth is known, and the coverage of their ranges."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from models.aggregation.paths import Hop
from models.database.schema import ForeignKey, Task, TaskType
from models.fidelity.coverage import coverage, share_inside
from models.fidelity.databases import real_database
from models.fidelity.signals import SIGNALS, shipped_tasks, task_signals
from models.fidelity.spectrum import KINDS, gain_spectrum, kind_of, spectrum_of
from tests.fixtures import write_relbench_folder
from tests.models.fidelity.made import START, made_database, moments

PEOPLE, CUTOFFS, WINDOW = 120, 6, 10
TASK = Task(
    name="comes",
    entity_table="person",
    entity_column="person_id",
    time_column="cutoff_time",
    label_column="label",
    task_type=TaskType.BINARY_CLASSIFICATION,
    window=timedelta(days=WINDOW),
    stride=timedelta(days=WINDOW),
    validation_span=timedelta(days=WINDOW),
)
NUMBER = replace(TASK, task_type=TaskType.REGRESSION)


@pytest.fixture(scope="module")
def club(tmp_path_factory):
    """People with visits; half of them stop for good at day 20. Fees lie above, orders below visits."""
    generator = np.random.default_rng(0)
    person = np.repeat(np.arange(PEOPLE), 40)
    days = generator.random(person.size) * (CUTOFFS + 1) * WINDOW
    kept = (person % 2 == 0) | (days < 2 * WINDOW)
    person, days = person[kept], days[kept]
    visit = pl.DataFrame(
        {
            "visit_id": np.arange(person.size),
            "person_id": person,
            "at": moments(days),
            "mood": generator.normal(size=person.size) + person % 3,
        }
    )
    frames = {"person": pl.DataFrame({"person_id": np.arange(PEOPLE)}), "visit": visit}
    folder = tmp_path_factory.mktemp("club")
    return made_database(folder, frames, [("visit", "person_id", "person")], {"visit": "at"})


def training_table(label, splits=("train",) * 5 + ("val",)):
    """A row a person and cutoff; the label is a function of the person and the cutoff's number."""
    rows = [
        (
            person,
            START + timedelta(days=WINDOW * (cutoff + 1)),
            label(person, cutoff),
            splits[cutoff],
        )
        for cutoff in range(len(splits))
        for person in range(PEOPLE)
    ]
    frame = pl.DataFrame(rows, schema=["entity", "cutoff_time", "label", "split"], orient="row")
    return frame.with_row_index("row_id").with_columns(pl.col("row_id").cast(pl.Int64))


def test_a_label_that_follows_activity_is_told_by_recency(club):
    stopped = training_table(lambda person, cutoff: int(person % 2 == 1 and cutoff > 1))
    found = task_signals(club, TASK, stopped)
    assert found["recency AUROC"] > 0.95
    assert (found["rows"], found["entities"], found["cutoffs"]) == (5 * PEOPLE, PEOPLE, 5)
    assert found["positive rate"] == pytest.approx(0.3)
    assert found["label skewness"] is None
    assert found["degree"] > 10
    # From 0.3 to 0.5 in standard deviations of the training labels.
    assert found["drift"] == pytest.approx(0.2 / np.sqrt(0.21), rel=0.01)


def test_history_is_the_past_of_the_same_entity_alone(club):
    generator = np.random.default_rng(1)
    same = generator.random(PEOPLE) < 0.5
    constant = task_signals(club, TASK, training_table(lambda person, cutoff: int(same[person])))
    assert constant["autocorrelation"] == pytest.approx(1)
    assert constant["history AUROC"] > 0.85  # nothing is known of the first cutoff's rows
    fresh = generator.random((PEOPLE, CUTOFFS)) < 0.5
    random = task_signals(
        club, TASK, training_table(lambda person, cutoff: int(fresh[person, cutoff]))
    )
    assert abs(random["autocorrelation"]) < 0.15
    assert abs(random["history AUROC"] - 0.5) < 0.08


def test_a_label_counts_as_history_only_once_its_window_has_closed(club):
    table = training_table(lambda person, cutoff: person % 2)
    long = replace(TASK, window=timedelta(days=100 * WINDOW))
    assert task_signals(club, long, table)["history AUROC"] == 0.5
    two = replace(TASK, window=timedelta(days=2 * WINDOW))
    assert (
        task_signals(club, two, table)["history AUROC"]
        < task_signals(club, TASK, table)["history AUROC"]
    )


def test_later_labels_do_not_move_earlier_history(club):
    rows = training_table(lambda person, cutoff: (person + cutoff) % 2)
    changed = rows.with_columns(
        label=pl.when(pl.col("split") == "val").then(1 - pl.col("label")).otherwise("label")
    )
    both = [task_signals(club, TASK, table)["autocorrelation"] for table in (rows, changed)]
    assert both[0] == both[1] == pytest.approx(-1)


def test_numbers_and_classes_have_signals_and_the_test_split_is_not_looked_at(club):
    generator = np.random.default_rng(2)
    values = np.exp(2 * generator.normal(size=(PEOPLE, CUTOFFS)))
    numbers = training_table(lambda person, cutoff: float(values[person, cutoff]))
    found = task_signals(club, NUMBER, numbers)
    assert found["positive rate"] is None
    assert found["label skewness"] > 2
    classes = replace(TASK, task_type=TaskType.MULTICLASS_CLASSIFICATION)
    table = training_table(lambda person, cutoff: "abbb"[person % 4])
    assert task_signals(club, classes, table)["positive rate"] == pytest.approx(0.75)
    hidden = numbers.with_columns(
        label=pl.when(pl.col("split") == "val").then(1e9).otherwise("label"),
        split=pl.col("split").replace("val", "test"),
    )
    training = numbers.filter(pl.col("split") == "train")
    assert task_signals(club, NUMBER, hidden) == task_signals(club, NUMBER, training)
    assert task_signals(club, NUMBER, training)["drift"] is None
    few = task_signals(club, NUMBER, numbers.head(10))
    assert few == dict.fromkeys(SIGNALS)


def test_an_entity_without_timed_children_has_no_recency(tmp_path):
    alone = made_database(tmp_path, {"person": pl.DataFrame({"person_id": range(PEOPLE)})})
    found = task_signals(alone, TASK, training_table(lambda person, cutoff: person % 2))
    assert (found["recency AUROC"], found["degree"]) == (None, None)
    assert found["history AUROC"] > 0.8


def test_the_gain_lies_where_the_label_comes_from(club):
    table = training_table(lambda person, cutoff: float(person % 3))
    found = gain_spectrum(club, NUMBER, table, START + timedelta(days=60), rows=300)
    assert found is not None
    assert found.kinds[KINDS.index("child")] > 0.9
    assert found.top[0] > 0.5
    assert found.top[0] <= found.top[1] <= found.top[2] <= 1
    assert 1 <= found.effective < found.features
    again = gain_spectrum(club, NUMBER, table, START + timedelta(days=60), rows=300)
    assert again == found
    constant = table.with_columns(label=pl.lit(1.0))
    assert gain_spectrum(club, NUMBER, constant, START + timedelta(days=60)) is None


def test_the_spectrum_of_known_gains():
    found = spectrum_of("t", np.array([2.0, 0.0, 2.0, 4.0]), ["own", "own", "child", "parent"], 9)
    assert found.top == (0.5, 1.0, 1.0)
    assert found.effective == pytest.approx(np.exp(1.5 * np.log(2)))
    assert dict(zip(KINDS, found.kinds, strict=True)) == pytest.approx(
        dict.fromkeys(KINDS, 0.0) | {"own": 0.25, "child": 0.25, "parent": 0.5}
    )


def test_kinds_of_paths():
    key = ForeignKey("visit", ("person_id",), "person", ("person_id",))
    up, down = Hop(key, forward=True), Hop(key, forward=False)
    paths = {
        "own": (),
        "parent": (up, up),
        "child": (down,),
        "child's parent": (down, up),
        "sibling": (up, down),
        "grandchild": (down, down),
    }
    assert [kind_of(path) for path in paths.values()] == list(paths) == list(KINDS)


def test_coverage_counts_real_tasks_inside_the_synthetic_range():
    synthetic = [{"rows": float(value), "degree": 1.0} for value in range(1001)]
    real = [{"rows": 25.0, "degree": None}, {"rows": 24.0}, {"rows": 975.0}, {"rows": 2000.0}]
    found = coverage(real, synthetic)
    rows = found.row(by_predicate=pl.col("signal") == "rows", named=True)
    assert (rows["synthetic_low"], rows["synthetic_high"]) == (25, 975)
    assert (rows["real_low"], rows["real_high"], rows["inside"]) == (24, 2000, 0.5)
    degree = found.row(by_predicate=pl.col("signal") == "degree", named=True)
    assert (degree["inside"], degree["real_tasks"], degree["synthetic_tasks"]) == (None, 0, 1001)
    assert found["signal"].to_list() == list(SIGNALS)
    assert share_inside({"rows": 100.0, "degree": 2.0}, synthetic) == 0.5
    assert share_inside({}, synthetic) is None
    assert coverage([], []).height == len(SIGNALS)


def test_a_relbench_folder_is_read_with_the_label_tables_that_lie_in_it(tmp_path):
    folder = write_relbench_folder(tmp_path / "club")
    club = real_database(folder)
    assert club.schema.table("people").column("Tier").semantic_type is not None
    assert set(club.tables) == {"people", "club_visits"}
    ((task, rows),) = shipped_tasks(folder, club)
    assert task.name == "rating"
    assert rows.columns == ["row_id", "entity", "cutoff_time", "label", "split"]
    assert rows["cutoff_time"].is_sorted()
    assert rows["split"].value_counts().sort("split").rows() == [("train", 32), ("val", 12)]
    assert rows["cutoff_time"].min() == datetime(2020, 1, 11)
    assert task_signals(club, task, rows)["rows"] == 32
