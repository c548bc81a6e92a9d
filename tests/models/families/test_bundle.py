"""Bundles: a model in a folder, scored in a fresh process with nothing but the tables."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from polars.testing import assert_frame_equal

from models.database.schema import Protocol, TaskType
from models.families.bundle import attach_predictions, load_bundle
from models.families.score import find_tables, main, visible_entities
from models.learning.labels import LabelEncoder
from tests.fixtures import PATIENCE, ROOT
from tests.models.dfs.shop import day, store
from tests.models.tabular.trained import AS_OF


def score_in_a_fresh_process(bundle, tables, output, *options):
    command = [sys.executable, "-m", "models.families.score", bundle, tables, "--output", output]
    finished = subprocess.run(
        [*map(str, command), *map(str, options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return pl.read_parquet(output)


@pytest.mark.parametrize("task_type", list(TaskType))
def test_a_fresh_process_predicts_what_this_one_does(trained, tmp_path, task_type):
    made = trained[task_type]
    bundle = load_bundle(made.folder)
    rows = made.table.filter(pl.col("cutoff_time") == day(28))
    options = ["--cutoff", day(28).isoformat()]
    if made.task.protocol == Protocol.FROZEN:
        options += ["--visible-until", AS_OF.isoformat()]
    tables = made.files["customers"].parent
    fresh = score_in_a_fresh_process(made.folder, tables, tmp_path / "out.parquet", *options)
    found = rows.join(made.under()[made.task.protocol], on="row_id", maintain_order="left")
    raw = bundle.predict_features(found, made.task.protocol)
    here = attach_predictions(rows.select("entity", "cutoff_time"), raw, bundle.labels)
    assert fresh.height == 12
    assert_frame_equal(fresh, here, check_exact=True)
    assert here["prediction"].n_unique() > 1


def test_chosen_entities_are_scored_in_their_order(trained, tmp_path):
    made = trained[TaskType.REGRESSION]
    pl.DataFrame({"entity": [5, 1]}).write_parquet(tmp_path / "who.parquet")
    main(
        [
            *(str(made.folder), str(made.files["customers"].parent)),
            *("--cutoff", "2024-01-29", "--entities", str(tmp_path / "who.parquet")),
            *("--output", str(tmp_path / "out.parquet")),
        ]
    )
    scored = pl.read_parquet(tmp_path / "out.parquet")
    assert scored["entity"].to_list() == [5, 1]
    assert scored["cutoff_time"].to_list() == [day(28)] * 2


def test_rows_after_the_cutoff_change_no_prediction(trained, tmp_path):
    made = trained[TaskType.REGRESSION]
    bundle = load_bundle(made.folder)
    frames = {name: pl.read_parquet(path) for name, path in made.files.items()}
    orders = frames["orders"]
    past = orders.filter(pl.col("at") <= AS_OF)
    later = orders.filter(pl.col("at") > AS_OF).with_columns(pl.col("price") + 1e6)
    assert later.height > 10
    changed = store(frames | {"orders": pl.concat([past, later])}, tmp_path)
    who = frames["customers"]["id"]
    before = bundle.score(made.files, who, AS_OF, threads=1)
    assert_frame_equal(before, bundle.score(changed, who, AS_OF, threads=1))
    # Frozen at as_of, a later cutoff sees the same rows; rolling it sees the changed ones.
    frozen = [bundle.score(files, who, day(30), AS_OF, 1) for files in (made.files, changed)]
    assert_frame_equal(*frozen)
    rolling = [bundle.score(files, who, day(30), None, 1) for files in (made.files, changed)]
    assert not rolling[0].equals(rolling[1])


def test_each_protocol_uses_its_own_number_of_trees(trained):
    for made in trained.values():
        bundle = load_bundle(made.folder)
        rows = made.table.filter(pl.col("split") == "val")
        found = rows.join(made.features.features, on="row_id", maintain_order="left")
        matrix = bundle.encoder.transform(found)
        for protocol in Protocol:
            raw = bundle.predict_features(found, protocol)
            for guess, model, best in zip(raw, bundle.models, bundle.best_rounds, strict=True):
                own = model[protocol].predict(matrix, num_iteration=best[protocol])
                assert_array_equal(guess, own)


def test_a_bundle_keeps_the_features_that_it_uses(trained):
    made = trained[TaskType.BINARY_CLASSIFICATION]
    bundle = load_bundle(made.folder)
    assert {feature.name for feature in bundle.features} == set(bundle.encoder.columns)
    assert len(bundle.features) < len(made.features.definitions)
    assert bundle.task == made.task
    assert bundle.as_of == AS_OF
    assert len(bundle.models) == len(bundle.best_rounds) == 2
    assert bundle.record["rows"] == {"train": 12 * 7, "val": 12 * 4}


def test_class_probabilities_come_with_the_likeliest_class(trained):
    made = trained[TaskType.MULTICLASS_CLASSIFICATION]
    bundle = load_bundle(made.folder)
    scored = bundle.score(made.files, pl.Series(range(12)), day(20), threads=1)
    names = ["probability_few", "probability_many", "probability_none"]
    assert scored.columns == ["entity", "cutoff_time", "prediction", *names]
    shares = scored.select(names).to_numpy()
    assert np.allclose(shares.sum(axis=1), 1)
    likeliest = [names[at].removeprefix("probability_") for at in shares.argmax(axis=1)]
    assert scored["prediction"].to_list() == likeliest


def test_the_prediction_is_the_mean_over_the_seeds():
    keys = pl.DataFrame({"entity": [1, 2]})
    raw = np.array([[0.0, 1.0], [0.5, 0.5]])
    assert attach_predictions(keys, raw, LabelEncoder())["prediction"].to_list() == [0.25, 0.75]


def test_a_folder_without_a_bundle_or_a_table_is_named(tmp_path, trained):
    with pytest.raises(FileNotFoundError, match=r"holds no model bundle"):
        load_bundle(tmp_path)
    bundle = load_bundle(trained[TaskType.REGRESSION].folder)
    with pytest.raises(FileNotFoundError, match=r"no Parquet file for table customers, regions"):
        find_tables(tmp_path, bundle.schema)


def test_only_entities_that_exist_at_the_cutoff_are_scored(trained):
    made = trained[TaskType.REGRESSION]
    bundle = load_bundle(made.folder)
    assert visible_entities(bundle, made.files, day(0)).to_list() == list(range(12))
    stores = pl.read_parquet(made.files["stores"])
    of_stores = replace(bundle, task=replace(bundle.task, entity_table="stores"))
    opened = stores.filter(pl.col("opened") <= day(5))["id"].sort()
    assert 0 < opened.len() < stores.height
    assert visible_entities(of_stores, made.files, day(5)).to_list() == opened.to_list()
