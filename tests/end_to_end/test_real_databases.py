"""The command line on a real RelBench database, where RELFORGE_DATABASES names a folder of them."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from tests.end_to_end.installation import new_installation


@pytest.mark.end_to_end
def test_formula_one_is_run_to_a_submission_that_relbench_accepts(tmp_path: Path):
    folder = Path(os.environ.get("RELFORGE_DATABASES") or "/nowhere") / "rel-f1"
    if not folder.is_dir():
        pytest.skip("RELFORGE_DATABASES names no folder with rel-f1")
    import relbench

    installation = new_installation(tmp_path)
    arguments = ["--source", folder, "--task", "driver-top3", "--output", tmp_path / "out"]
    finished = installation.run(*arguments)
    assert finished.returncode == 0, finished.stdout
    task = relbench.load_dataset(str(folder)).load_task("driver-top3")
    expected = task.get_table("test", mask_input_cols=False)
    out = tmp_path / "out" / "rel-f1" / "driver-top3"
    submission = pd.read_csv(out / "rel-f1__driver-top3.csv", parse_dates=["date"])
    keys = ["date", "driverId"]
    aligned = expected.df[keys].merge(submission, on=keys, how="left")
    assert len(submission) == len(expected.df)
    assert aligned["qualifying"].notna().all()
    found = task.evaluate(aligned["qualifying"].to_numpy(), expected)
    # The last published LightGBM on features of this kind is at 0.80 under this protocol.
    assert found["roc_auc"] > 0.75
    scores = pl.read_parquet(out / "training_table.parquet")
    assert scores.filter(pl.col("split") == "test").height == len(expected.df)
