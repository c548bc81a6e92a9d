from __future__ import annotations

import pytest

from benchmarks.databases import write_case
from benchmarks.task_vector_speed import HEADER, SIBLINGS, lines_of
from benchmarks.transactions import ROLES, RetailSize, make_transactions


@pytest.mark.parametrize("shared", SIBLINGS)
def test_sibling_vectors_are_those_of_the_range_joins(shared, tmp_path):
    frames = make_transactions(RetailSize(600, 40, 15, 5))
    case = write_case("retail", tmp_path, "customers", frames, ROLES)
    (ours, _), (reference, line) = lines_of(case, shared, tmp_path, cpu_limit_s=60)
    assert (ours.skipped, reference.skipped) == ("", "")
    assert ours.rows == reference.rows == frames["seeds"].height
    against_ours = str(dict(zip(HEADER, line, strict=True))["against ours"])
    assert against_ours.startswith("6 numbers")
    assert "missing" not in against_ours
    assert float(against_ours.split(": ")[1].split(" ")[0]) < 1e-3
