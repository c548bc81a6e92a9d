import pytest

from models.quality.plan import Check


@pytest.fixture(params=["rows", "figures"])
def judge(request, monkeypatch):
    """The two things that Great Expectations judges; by either it must find every fault.

    That is the rows of a small table and the figures of a large one. DuckDB's figures would fail a
    check by themselves, so they are silenced.
    """
    monkeypatch.setattr(Check, "within", True)
    if request.param == "figures":
        monkeypatch.setattr("models.quality.relation.ROW_LIMIT", 0)
        monkeypatch.setattr("models.quality.plan.ROW_LIMIT", 1)
    return request.param
