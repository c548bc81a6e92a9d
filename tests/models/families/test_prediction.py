"""Predictions of a run: both protocols, scores where the future is known, and the write-back."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from models.database.schema import Protocol, TaskType
from models.database.warehouse import Warehouse
from models.families.bundle import load_bundle
from models.families.prediction import (
    PREDICTIONS,
    SCORES,
    build_predictions,
    predictions_file,
    write_submission,
    write_to_warehouse,
)
from tests.models.dfs.shop import day

TYPES = list(TaskType)


@pytest.fixture(scope="module")
def predicted(trained, tmp_path_factory):
    found = {}
    for kind, made in trained.items():
        folder = tmp_path_factory.mktemp(f"predicted-{kind}")
        bundle = load_bundle(made.folder)
        metadata = build_predictions(made.task, bundle, made.table, made.under(), folder)
        found[kind] = (folder, metadata)
    return found


@pytest.mark.parametrize("kind", TYPES)
def test_every_row_from_as_of_on_is_predicted_under_both_protocols(trained, predicted, kind):
    folder, metadata = predicted[kind]
    table = trained[kind].table
    later = table.filter(pl.col("split").is_in(["test", "predict"]))
    assert metadata["rows"] == later.height == 12 * 4
    assert metadata["cutoffs"] == 4
    for protocol in Protocol:
        rows = pl.read_parquet(folder / predictions_file(protocol))
        assert_frame_equal(
            rows.select("entity", "cutoff_time", "label", "split"),
            later.select("entity", "cutoff_time", "label", "split"),
        )
        assert rows["prediction"].null_count() == 0


@pytest.mark.parametrize("kind", TYPES)
def test_the_runs_own_predictions_are_those_of_its_protocol_without_labels(
    trained, predicted, kind
):
    folder, _ = predicted[kind]
    own = pl.read_parquet(folder / PREDICTIONS)
    rows = pl.read_parquet(folder / predictions_file(trained[kind].task.protocol))
    assert_frame_equal(own, rows.drop("label", "split"))
    frozen, rolling = (
        pl.read_parquet(folder / predictions_file(protocol))["prediction"] for protocol in Protocol
    )
    assert not frozen.equals(rolling)


@pytest.mark.parametrize("kind", TYPES)
def test_scores_are_of_labelled_rows_only(predicted, kind):
    folder, metadata = predicted[kind]
    scores = json.loads((folder / SCORES).read_text())
    assert scores == metadata["scores"]
    assert {(row["split"], row["protocol"]) for row in scores} == {
        (split, protocol) for split in ("val", "test") for protocol in ("frozen", "rolling")
    }
    rows = {row["split"]: row["rows"] for row in scores}
    assert rows == {"val": 12 * 4, "test": 12 * 3}
    assert {row["seeds"] for row in scores} == {2}


def test_scores_follow_from_the_predictions_file(trained, predicted):
    folder, metadata = predicted[TaskType.REGRESSION]
    made = trained[TaskType.REGRESSION]
    train = made.table.filter(pl.col("split") == "train")["label"].to_numpy()
    for protocol in Protocol:
        rows = pl.read_parquet(folder / predictions_file(protocol)).drop_nulls("label")
        error = np.abs((rows["prediction"] - rows["label"]).to_numpy()).mean()
        trivial = np.abs(rows["label"].to_numpy() - np.median(train)).mean()
        found = {
            row["metric"]: row
            for row in metadata["scores"]
            if (row["split"], row["protocol"]) == ("test", protocol)
        }
        assert found["mae"]["ensemble"] == pytest.approx(error)
        assert found["mae"]["baseline"] == pytest.approx(trivial)
        assert found["nmae"]["ensemble"] == pytest.approx(error / train.std(ddof=1))
        # An average of models errs no more than they do on average.
        assert found["mae"]["ensemble"] <= found["mae"]["mean"] + 1e-12


def test_an_unknown_future_has_predictions_and_no_test_score(trained, tmp_path):
    made = trained[TaskType.BINARY_CLASSIFICATION]
    table = made.table.filter(pl.col("split") != "test")
    bundle = load_bundle(made.folder)
    metadata = build_predictions(made.task, bundle, table, made.under(), tmp_path)
    assert {row["split"] for row in metadata["scores"]} == {"val"}
    assert pl.read_parquet(tmp_path / PREDICTIONS)["cutoff_time"].unique().to_list() == [day(30)]


@pytest.mark.parametrize("kind", TYPES)
def test_the_submission_holds_the_frozen_test_predictions(trained, predicted, kind):
    made, (folder, _) = trained[kind], predicted[kind]
    path = write_submission(made.features.schema, made.task, folder)
    assert path.name == "The-Shop__custom-task.csv"
    submitted = pl.read_csv(path, try_parse_dates=True)
    assert submitted.columns == ["customer", "seen_at", "answer"]
    frozen = pl.read_parquet(folder / predictions_file(Protocol.FROZEN))
    test = frozen.filter(pl.col("split") == "test")
    assert submitted["customer"].to_list() == test["entity"].to_list()
    assert submitted["seen_at"].to_list() == test["cutoff_time"].to_list()
    assert submitted["answer"].to_list() == test["prediction"].to_list()


def written(warehouse, columns="*"):
    with warehouse.turn() as turn, turn.connect() as connection:
        return connection.execute(f"select {columns} from shop_predictions.custom").pl()


def test_predictions_are_written_back_once_per_as_of(trained, predicted, tmp_path):
    made, (folder, _) = trained[TaskType.REGRESSION], predicted[TaskType.REGRESSION]
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")

    def write(as_of, path, fingerprint):
        schema = made.features.schema
        write_to_warehouse(warehouse, schema, made.task, as_of, path, fingerprint)

    first = pl.read_parquet(folder / PREDICTIONS)
    other = first.head(5).with_columns(prediction=pl.lit(9.0))
    other.write_parquet(tmp_path / "other.parquet")
    write(day(24), folder / PREDICTIONS, "one")
    write(day(24), folder / PREDICTIONS, "one")
    found = written(warehouse)
    assert found.columns == ["as_of", "fingerprint", *first.columns]
    assert_frame_equal(found.select(first.columns), first)
    write(day(10), folder / PREDICTIONS, "one")
    assert written(warehouse).height == 2 * first.height
    # Another artifact of the same date takes the place of the first, and of no other date.
    write(day(24), tmp_path / "other.parquet", "two")
    found = written(warehouse)
    assert found.filter(pl.col("as_of") == day(24))["fingerprint"].to_list() == ["two"] * 5
    assert found.filter(pl.col("as_of") == day(10)).height == first.height


def test_a_write_back_that_fails_keeps_what_was_there(trained, predicted, tmp_path):
    made, (folder, _) = trained[TaskType.REGRESSION], predicted[TaskType.REGRESSION]
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    schema = made.features.schema
    write_to_warehouse(warehouse, schema, made.task, day(24), folder / PREDICTIONS, "one")
    before = written(warehouse)
    broken = pl.DataFrame({"entity": ["who"], "cutoff_time": [day(1)], "prediction": ["much"]})
    broken.write_parquet(tmp_path / "broken.parquet")
    path = tmp_path / "broken.parquet"
    with pytest.raises(Exception, match="Could not convert"):
        write_to_warehouse(warehouse, schema, made.task, day(24), path, "two")
    assert_frame_equal(written(warehouse), before)
