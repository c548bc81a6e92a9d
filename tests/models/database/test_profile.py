from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from models.database.profile import is_compatible, is_within, profile_table


def test_statistics_by_type(tmp_path: Path):
    path = tmp_path / "t.parquet"
    duckdb.sql("""
        SELECT * FROM (VALUES
            (1, 1.5::DOUBLE, '2020-01-01', 'two words', DATE '2020-01-01', [1]),
            (2, 'NaN', '2020-01-02T10:00:00Z', 'one', DATE '2020-01-03', [2]),
            (2, 2.5, 'epoch', E' tab\tand  gap ', NULL, NULL),
            (NULL, NULL, NULL, NULL, NULL, NULL)
        ) AS t (i, f, s, words, d, l)""").write_parquet(str(path))
    profile = profile_table(path)
    assert profile.rows == 4
    assert profile.exact
    i, f, s, words, d, unknown = profile.columns
    assert (i.nulls, i.distinct, i.minimum, i.maximum) == (1, 2, 1, 2)
    assert (f.minimum, f.maximum) == (1.5, None)  # NaN is no JSON number
    assert s.timestamp_share == pytest.approx(2 / 3)
    assert words.mean_tokens == pytest.approx((2 + 1 + 3) / 3)
    assert words.mean_length == pytest.approx((9 + 3 + 14) / 3)
    assert (d.minimum, d.maximum) == ("2020-01-01", "2020-01-03")
    assert (d.null_share, d.distinct_share, d.values) == (0.5, 1.0, 2)
    assert (unknown.minimum, unknown.nulls) == (None, 2)
    assert json.loads(json.dumps(profile.to_dict()))["columns"][0]["name"] == "i"
    with pytest.raises(KeyError, match="absent"):
        profile.column("absent")


def test_large_tables_are_estimated_and_filtered():
    connection = duckdb.connect()
    connection.execute("CREATE TABLE t AS SELECT i, i % 10 AS g FROM range(20000) r(i)")
    estimated = profile_table("t", connection, exact_below=1000)
    assert not estimated.exact
    assert estimated.column("i").distinct == pytest.approx(20000, rel=0.2)
    assert estimated.column("i").distinct <= 20000
    assert profile_table("t", connection, where="i < 5").column("g").distinct == 5
    empty = profile_table("t", connection, where="false").column("i")
    assert (empty.rows, empty.distinct, empty.null_share, empty.distinct_share) == (0, 0, 0.0, 0.0)


def test_folder_of_parts_and_comparisons(tmp_path: Path):
    for part in (1, 2):
        duckdb.sql(f"SELECT {part} AS i, {part} * 1.0::DOUBLE AS f, 'x' AS s").write_parquet(
            str(tmp_path / f"{part}.parquet")
        )
    i, f, s = profile_table(tmp_path).columns
    assert i.rows == 2
    # Doubles are keys only where nulls made them so.
    assert not is_compatible(i, f)
    assert not is_compatible(i, s)
    assert is_within(i, i)
