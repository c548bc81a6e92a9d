from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.database.schema import TaskType
from models.relatron.reference import reference_signals
from tests.models.relatron.planted_task import QUICK, by_name, inputs_of, planted


def test_the_published_form_sees_itself_and_the_future(tmp_path):
    made = planted(autocorrelation=0.6, entities=80, cutoffs=4, rows=300)
    inputs = inputs_of(made, tmp_path)
    found = by_name(reference_signals(inputs, QUICK))
    assert len(found) == 13
    rows = inputs.training_table.filter(pl.col("split").is_in(["train", "val"]))
    assert found["reference_log_rows"].value == pytest.approx(np.log(1 + rows.height))
    train = rows.filter(pl.col("split") == "train").sort("entity", "cutoff_time")
    lagged = train.with_columns(before=pl.col("label").shift(1).over("entity"))
    expected = lagged.drop_nulls("before").select(pl.corr("label", "before")).item()
    assert found["reference_autocorrelation_1"].value == pytest.approx(expected)
    assert 0.5 < found["reference_context_mean"].value < 1
    numbers = replace(
        inputs,
        task=replace(inputs.task, task_type=TaskType.REGRESSION),
        training_table=inputs.training_table.with_columns(pl.col("label").cast(pl.Float64)),
    )
    found = by_name(reference_signals(numbers, QUICK))
    # A key out and back leads from every entity to itself alone.
    assert found["reference_homophily_max"].value == pytest.approx(1)
