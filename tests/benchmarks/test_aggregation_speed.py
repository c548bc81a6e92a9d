"""A shop of a few hundred events through the whole command, without the peers' environments."""

from __future__ import annotations

import pytest

from benchmarks import databases
from benchmarks.aggregation_scaling import all_series, measure_point, slope, summary
from benchmarks.aggregation_speed import Options, report, rows_of
from benchmarks.shop import ShopSize

TINY = ShopSize(events=600, users=30, items=10, seeds=40)


@pytest.fixture
def tiny(monkeypatch):
    write = lambda name, folder: databases.write_shop(name, folder, TINY)  # noqa: E731
    monkeypatch.setitem(databases.CASES, "tiny", write)
    return Options(("tiny",), (2,), ("ours", "featuretools"), ("six",), cpu_limit_s=60, repeats=1)


def test_the_same_features_as_featuretools_from_two_processes(tiny, tmp_path):
    rows = list(rows_of(tiny, tmp_path))
    engines = [row.measurement.engine.split(" ")[0] for row in rows]
    assert engines == ["relforge", "featuretools"]
    assert not any(row.measurement.skipped for row in rows)
    ours, theirs = rows[0].measurement, rows[1].measurement
    assert ours.features == theirs.features == 18
    assert ours.rows == theirs.rows == 40
    assert ours.cpu_s > 0
    assert ours.peak_mb > 50
    assert "14 numbers" in rows[1].against_ours
    assert "4 texts: 100.0% equal" in rows[1].against_ours
    assert float(rows[1].against_ours.split(": ")[1].split(" ")[0]) < 1e-9
    table = report(rows).splitlines()
    assert table[0].startswith("| case | depth | engine")
    assert "featuretools" in table[3]


def test_what_is_not_there_is_skipped_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.delenv("RELFORGE_DATABASES", raising=False)
    (row,) = rows_of(Options(("f1",), (1,), ("ours",), ("six",), 60, 1), tmp_path)
    assert "RELFORGE_DATABASES" in row.measurement.skipped
    assert "skipped" in report([row])


def test_a_series_grows_in_what_it_says_and_has_a_slope():
    series = {one.name: one for one in all_series(scale=0.001)}
    late = series["late grandchildren"]
    growth = [late.growth(size) for size in late.sizes]
    assert growth == sorted(growth)
    points = [measure_point(late, size, 60) for size in (late.sizes[0], late.sizes[-1])]
    assert not any(point.measurement.skipped for point in points)
    assert points[0].measurement.features > 0
    assert slope(points, lambda got: got.cpu_s) < 5
    assert "events per user" in summary(points)
