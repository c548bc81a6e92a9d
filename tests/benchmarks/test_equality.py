from __future__ import annotations

import polars as pl
import pytest

from benchmarks.equality import agreement


@pytest.fixture
def write(tmp_path):
    def write(name: str, **columns: list[object]):
        file = tmp_path / name
        pl.DataFrame(columns, strict=False).write_parquet(file)
        return file

    return write


def test_results_are_compared_by_row_and_name(write):
    ours = write("a", row_id=[0, 1, 2], mean=[1.0, 2.0, None], mode=["x", "y", None], own=[1, 1, 1])
    theirs = write("b", row_id=[2, 0, 1], mean=[None, 1.0, 2.0], mode=[None, "x", "y"])
    found = agreement(ours, theirs)
    assert (found.numbers, found.cells, found.difference, found.missing) == (1, 2, 0.0, 0.0)
    assert (found.texts, found.equal_texts) == (1, 1.0)


def test_a_different_number_a_missing_one_and_a_different_text_show(write):
    ours = write("a", row_id=[0, 1, 2, 3], mean=[1.0, 2.2, 3.0, 4.0], mode=["x", "y", "z", None])
    theirs = write("b", row_id=[0, 1, 2, 3], mean=[1.0, 2.0, None, 4.0], mode=["x", "x", "z", None])
    found = agreement(ours, theirs)
    assert found.difference == pytest.approx(0.1)
    assert found.missing == 0.25
    assert found.equal_texts == 0.75


def test_not_a_number_is_a_missing_value(write):
    ours = write("a", row_id=[0, 1], std=[None, 1.0])
    theirs = write("b", row_id=[0, 1], std=[float("nan"), 1.0])
    assert agreement(ours, theirs).missing == 0.0


def test_nothing_in_common_is_said(write):
    assert str(agreement(write("a", row_id=[0], x=[1.0]), write("b", row_id=[0], y=[1.0]))) == (
        "no feature in common"
    )
