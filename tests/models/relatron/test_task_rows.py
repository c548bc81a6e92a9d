import json
import math

import polars as pl
import pytest

from models.bank.store import BANK_SCHEMA, append_to_bank, read_bank
from models.relatron.task_rows import features_of, task_rows
from tests.models.relatron.fabricated import bank_row


def rows_of(folder, *rows):
    append_to_bank(folder, rows)
    return task_rows(read_bank([folder]))


def test_a_gap_is_that_of_the_trials_that_validation_prefers(tmp_path):
    found = rows_of(
        tmp_path,
        bank_row("shop", "churn", "dfs", 0, 0.80, 0.60),
        bank_row("shop", "churn", "dfs", 1, 0.70, 0.90),
        bank_row("shop", "churn", "rdl", 0, 0.75, 0.75),
        bank_row("shop", "churn", "rdl", 1, 0.65, 0.50),
    ).row(0, named=True)
    assert found["gap_rdl"] == pytest.approx((0.75 - 0.60) / 0.75)
    assert found["validation_gap_rdl"] == pytest.approx((0.75 - 0.80) / 0.75)
    assert found["room"] == pytest.approx(0.5 / 0.75)
    assert found["gap_hybrid"] is None
    assert found["race_dfs"] == 1.0
    # Two trials only: which one validation prefers is most of the doubt.
    assert found["error_rdl"] > 0.1


def test_a_branch_is_not_better_for_having_been_searched_longer(tmp_path):
    found = rows_of(
        tmp_path,
        bank_row("shop", "churn", "dfs", 0, 0.7, 0.7),
        bank_row("shop", "churn", "rdl", 0, 0.6, 0.6),
        bank_row("shop", "churn", "rdl", 1, 0.8, 0.8),
    ).row(0, named=True)
    assert found["trials"] == 1
    assert found["gap_rdl"] == pytest.approx(0.0)


def test_errors_are_signed_and_seeds_averaged(tmp_path):
    mae = {"task_type": "regression", "metric": "mae", "trivial_test": 4.0}
    found = rows_of(
        tmp_path,
        bank_row("shop", "sales", "dfs", 0, 2.0, 2.0, **mae),
        bank_row("shop", "sales", "rdl", 0, 1.0, 0.9, **mae),
        bank_row("shop", "sales", "rdl", 0, 1.0, 1.1, **mae | {"seed": 1}),
        bank_row("shop", "sales", "rdl", 1, None, None, **mae | {"failure": "diverged"}),
    ).row(0, named=True)
    assert found["gap_rdl"] == pytest.approx((2.0 - 1.0) / 2.0)
    assert found["trials"] == 1


def test_signals_are_columns_without_what_only_the_test_rows_tell(tmp_path):
    signals = {"told": 2, "unknown": None, "told_error": 1.0, "rate_test": 0.3, "dials": {"a": 1}}
    rows = rows_of(
        tmp_path, bank_row("shop", "churn", "dfs", 0, 0.7, 0.7, signals=json.dumps(signals))
    )
    features = features_of(rows)
    assert features.columns == ["log_rows", "regression", "told", "unknown"]
    assert features["told"][0] == 2.0
    assert math.isnan(features["unknown"][0])
    assert features["log_rows"][0] == pytest.approx(math.log(1101))


def test_an_empty_bank_has_no_tasks():
    assert task_rows(pl.DataFrame(schema=dict(BANK_SCHEMA))).height == 0
