"""Training tables: RelBench's rows, and nothing of the future in them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
import relbench
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from models.database.durations import format_duration
from models.database.relbench_import import read_relbench
from models.synthetic.draws import Fixed
from models.synthetic.streams import Streams
from models.synthetic.tasks import (
    Checks,
    Grammar,
    Labeller,
    TaskKind,
    autocomplete_task,
    label_table,
    sample_tasks,
)
from models.synthetic.tasks.labels import cutoff_grid
from models.synthetic.tasks.question import Aggregate, Question
from models.synthetic.tasks.routes import Route
from tests.models.synthetic.tasks.market import market

TIMES = ("created_at", "ordered_at", "packed_at")
LENIENT = Checks(1, 1, 1, 1, 1.0, 0.0, 1.0, 1e9, 1.0, 1.0, 0.0)
NEXT_ORDERS = Question(
    Route("customers", "orders", "customer_id"),
    Aggregate.SUM,
    "amount",
    None,
    timedelta(days=12),
    3,
    evaluation_cutoffs=3,
)


@pytest.fixture(scope="module")
def database():
    return market()


@pytest.fixture(scope="module")
def sampled(database):
    """A dozen tasks of every sort, whatever they are worth."""
    return sample_tasks(database, Streams(8), 14, checks=LENIENT).tasks


@pytest.fixture(scope="module")
def folder(database, sampled, tmp_path_factory):
    """The database and its tasks as RelBench folder."""
    place = tmp_path_factory.mktemp("relbench") / "market"
    (place / "db").mkdir(parents=True)
    plan = database.blueprint
    tables = {}
    for table in plan.tables:
        frame = database.tables[table.name]
        times = pl.col(pl.Datetime("us")).cast(pl.Datetime("ns"))
        frame.with_columns(times).write_parquet(place / "db" / f"{table.name}.parquet")
        fkeys = {key.column: key.parent for key in table.keys}
        tables[table.name] = {
            "pkey": table.primary_key,
            "time_col": table.time_column,
            "fkeys": fkeys,
        }
    manifest = {
        "name": plan.name,
        "val_timestamp": str(plan.validation),
        "test_timestamp": str(plan.test),
        "tables": tables,
    }
    (place / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    for task, *_ in sampled:
        (place / "tasks" / task.name).mkdir(parents=True)
        text = yaml.safe_dump({k: v for k, v in manifest_of(task).items() if v is not None})
        (place / "tasks" / task.name / "manifest.yaml").write_text(text)
    return place


def manifest_of(task):
    return {
        "name": task.name,
        "kind": str(task.kind),
        "task_type": str(task.task_type),
        "entity_table": task.entity_table,
        "entity_col": task.entity_column,
        "target_col": task.target_column,
        "time_col": task.time_column,
        "timedelta": format_duration(task.timedelta) if task.timedelta else None,
        "num_eval_timestamps": task.evaluation_cutoffs,
        "sql": task.sql,
        "remove_columns": [list(pair) for pair in task.remove_columns],
    }


def test_rows_are_those_of_relbenchs_own_task_tables(sampled, folder):
    dataset = relbench.load_dataset(str(folder))
    assert {task.kind for task, *_ in sampled} == set(TaskKind)
    assert {task.terms.get("hops") for task, *_ in sampled} >= {1, 2}
    for task, labels, _ in sampled:
        loaded = dataset.load_task(task.name, regenerate=True)
        whole = loaded.get_db(upto_test_timestamp=False)
        for split in ("train", "val", "test"):
            theirs = loaded.get_table(split, mask_input_cols=False, db=whole).df
            theirs = theirs.sort_values([task.time_column, task.entity_column])
            ours = labels.filter(pl.col("split") == split)
            assert len(ours) == len(theirs) > 0, (task.name, split)
            assert ours["entity"].to_list() == theirs[task.entity_column].tolist()
            times = pd.to_datetime(theirs[task.time_column]).dt.to_pydatetime().tolist()
            assert ours["cutoff_time"].to_list() == times
            found, other = ours["label"].to_list(), theirs[task.target_column].tolist()
            if isinstance(found[0], str):
                assert found == other
            else:
                np.testing.assert_allclose(found, np.asarray(other, float), rtol=1e-12)


def test_the_importer_takes_every_forecast(sampled, folder):
    declared = read_relbench(str(folder))
    forecasts = {task.name for task, *_ in sampled if task.kind == TaskKind.FORECAST}
    assert {task.title for task in declared.schema.tasks} == forecasts


def hours(low, high):
    return st.integers(low, high).map(lambda hour: timedelta(hours=hour))


@settings(max_examples=100, deadline=None)
@given(window=hours(1, 900), before=hours(0, 3000), after=hours(1, 2000), count=st.integers(1, 6))
def test_cutoffs_are_those_of_relbench(database, window, before, after, count):
    plan = database.blueprint
    first, last = plan.validation - window - before, plan.test + window + after
    found = cutoff_grid(plan, first, last, window, count)
    start, test = pd.Timestamp(plan.validation), pd.Timestamp(plan.test)
    expected = {
        "train": pd.date_range(start=start - window, end=first, freq=-pd.Timedelta(window)),
        "val": pd.date_range(
            start=start, end=min(start + window * (count - 1), test - window), freq=window
        ),
        "test": pd.date_range(
            start=test, end=min(test + window * (count - 1), last - window), freq=window
        ),
    }
    assert {k: sorted(v.to_pydatetime()) for k, v in expected.items()} == found


def test_the_table_has_the_columns_that_training_reads(sampled):
    for task, labels, _ in sampled:
        assert labels.columns == ["row_id", "entity", "cutoff_time", "label", "split"]
        assert labels.dtypes[:3] == [pl.Int64, pl.Int64, pl.Datetime("us")]
        assert labels["row_id"].to_list() == list(range(len(labels)))
        assert labels.select("cutoff_time", "entity").is_duplicated().sum() == 0
        assert labels.sort("cutoff_time", "entity").equals(labels)
        assert {"forecast": labels["label"].is_null().sum(), "autocomplete": 0}[task.kind] == 0


def later_rows_changed(database, moment):
    """Every row after a moment says something else, and half of them are gone."""
    tables = {}
    for table in database.blueprint.tables:
        frame = database.tables[table.name]
        if table.time_column:
            late = pl.col(table.time_column) > moment
            numbers = [c.name for c in table.columns if c.kind in ("numerical", "integer")]
            frame = frame.with_columns(
                pl.when(late).then(-pl.col(name) - 7).otherwise(pl.col(name)).alias(name)
                for name in numbers
            )
            gone = late & (pl.int_range(pl.len()) % 2 == 0)
            frame = frame.filter(~gone) if table.name != "customers" else frame
        tables[table.name] = frame
    return replace(database, tables=tables)


def test_training_labels_know_nothing_after_validation_begins(database):
    plan = database.blueprint
    task = NEXT_ORDERS.task(plan)
    changed = later_rows_changed(database, plan.validation)
    before, after = label_table(database, task), label_table(changed, task)
    assert before.filter(split="train").equals(after.filter(split="train"))
    assert not before.filter(split="val").equals(after.filter(split="val"))


def test_validation_labels_know_nothing_after_the_test_begins(database):
    plan = database.blueprint
    task = NEXT_ORDERS.task(plan)
    changed = later_rows_changed(database, plan.test)
    before, after = label_table(database, task), label_table(changed, task)
    for split in ("train", "val"):
        assert before.filter(split=split).equals(after.filter(split=split))
    assert not before.filter(split="test").equals(after.filter(split="test"))


def test_training_and_validation_do_not_see_rows_after_the_test_began(database):
    """Even SQL that reads every row of a table."""
    plan = database.blueprint
    count = "(SELECT count(*) FROM orders)"
    sql = f"SELECT timestamp, customer_id, {count} AS label FROM timestamps, customers"
    labels = label_table(database, replace(NEXT_ORDERS.task(plan), sql=sql))
    orders = database.tables["orders"]
    until_test = len(orders.filter(pl.col("ordered_at") <= plan.test))
    counts = {
        split: rows["label"].unique().to_list() for (split,), rows in labels.group_by("split")
    }
    assert counts == {"train": [until_test], "val": [until_test], "test": [len(orders)]}


def test_thresholds_know_nothing_after_validation_begins(database):
    """Conditions, thresholds and windows are the same whatever happens later."""
    changed = later_rows_changed(database, database.blueprint.validation)
    # The last rows set how long a window may be.
    keep = {"orders": -1, "items": -1}
    for name, row in keep.items():
        last = database.tables[name][row]
        changed.tables[name].extend(last)
    grammar = Grammar(autocomplete=Fixed(False))
    with Labeller(database) as known, Labeller(changed) as other:
        for number in range(40):
            streams = Streams(5).child(str(number))
            tasks = [drawn(grammar, labeller, streams) for labeller in (known, other)]
            assert tasks[0] == tasks[1]


def drawn(grammar, labeller, streams):
    try:
        return grammar(labeller, streams.generator("try"))
    except ValueError as error:
        return str(error)


def test_who_comes_after_the_test_began_is_left_out(database):
    plan = database.blueprint
    born = database.tables["customers"].filter(pl.col("created_at") > plan.test)["customer_id"]
    task = replace(NEXT_ORDERS, active_windows=0).task(plan)
    labels = label_table(database, task)
    first_test, *later = sorted(labels.filter(split="test")["cutoff_time"].unique())
    assert first_test == plan.test
    assert later
    assert len(born) > 0
    assert not set(born) & set(labels["entity"])


def test_an_autocomplete_table_splits_rows_by_their_own_times(database):
    plan = database.blueprint
    table = plan.table("orders")
    # Somebody orders at the very moment that validation, and the test, begin.
    orders = database.tables["orders"]
    moments = [plan.validation, plan.test]
    chosen = pl.Series([(orders["ordered_at"] <= moment).sum() - 1 for moment in moments])
    times = orders["ordered_at"].scatter(chosen, pl.Series(moments, dtype=pl.Datetime("us")))
    orders = orders.with_columns(times)
    database = replace(database, tables={**database.tables, "orders": orders})
    task = autocomplete_task(database, table, table.columns[0])
    labels = label_table(database, task)
    assert times.is_sorted()
    assert set(moments) <= set(labels["cutoff_time"])
    assert len(labels) == orders["amount"].count() < len(orders)
    joined = labels.join(orders, left_on="entity", right_on="order_id")
    assert joined["label"].equals(joined["amount"], null_equal=True)
    assert joined["cutoff_time"].equals(joined["ordered_at"])
    times = {split: rows["cutoff_time"] for (split,), rows in labels.group_by("split")}
    assert times["train"].max() <= plan.validation < times["val"].min()
    assert times["val"].max() <= plan.test < times["test"].min()


def test_equal_databases_have_equal_tables(database):
    task = NEXT_ORDERS.task(database.blueprint)
    assert label_table(database, task).equals(label_table(market(), task))
    assert not label_table(database, task).equals(label_table(market(4), task))


def test_a_window_that_does_not_fit_is_refused_in_words(database):
    task = replace(NEXT_ORDERS, window=timedelta(days=51)).task(database.blueprint)
    with pytest.raises(
        ValueError, match=r"no val, test window of 51 days fits.*shorten the window"
    ):
        label_table(database, task)


def test_sql_that_does_not_run_is_shown(database):
    task = replace(NEXT_ORDERS.task(database.blueprint), sql="SELECT * FROM nowhere")
    with pytest.raises(ValueError, match=r"customers-sum-orders-amount.*nowhere"):
        label_table(database, task)


def test_a_database_without_times_is_refused(database):
    late = pl.lit(datetime(2030, 1, 1), pl.Datetime("us"))
    tables = {
        name: frame.with_columns(late.alias(c) for c in frame.columns if c in TIMES)
        for name, frame in database.tables.items()
    }
    with pytest.raises(ValueError, match="no row with a time up to its test's start"):
        Labeller(replace(database, tables=tables))
