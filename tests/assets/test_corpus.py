"""A corpus of one planted task through its asset, and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.corpus import CORPUS, corpus, corpus_folder
from assets.workplace import Workplace
from models.corpus.study import gaps, planted, read_corpus

CONFIG = {"databases": 0, "planted": 1, "model_seeds": 1, "seconds": 5.0, "workers": 1}


def materialized(home: Path, **other: Any) -> dict[str, Any]:
    workplace = Workplace(home=str(home), dbt_project=str(home / "dbt"), threads=1)
    done = dg.materialize(
        [corpus],
        resources={"workplace": workplace},
        run_config={"ops": {"synthetic__corpus": {"config": CONFIG | other}}},
    )
    (event,) = done.asset_materializations_for_node("synthetic__corpus")
    assert event.asset_key == CORPUS
    return {name: value.value for name, value in event.metadata.items()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    found = materialized(folder)
    assert found["failed"].records == []
    assert (found["databases"], found["there before"], found["tasks"]) == (1, 0, 1)
    return folder


def bank(home: Path) -> pl.DataFrame:
    return read_corpus(corpus_folder(Workplace(home=str(home), dbt_project="").settings))


def test_both_families_are_in_the_bank_under_both_protocols(home: Path):
    rows = bank(home)
    found = set(zip(rows["family"], rows["protocol"], strict=True))
    assert found == {(f, p) for f in ("lightgbm", "rdl") for p in ("frozen", "rolling")}
    assert rows["origin"].unique().to_list() == ["planted"]
    assert rows.select(pl.col("test", "validation").is_between(0.4, 1).all()).row(0) == (True, True)
    assert (rows["test_error"] > 0).all()
    assert (rows["peak_megabytes"] > 50).all()


def test_a_finished_corpus_makes_nothing_again(home: Path):
    before = bank(home)
    again = materialized(home)
    assert (again["there before"], again["rows of the bank"]) == (1, before.height)
    assert bank(home).equals(before)


def test_the_gap_of_a_task_has_an_error_and_its_dials(home: Path):
    found = gaps(bank(home))
    assert found.height == 2
    assert (found["error"] > 0).all()
    swept = planted(found, "homophily")
    assert swept["value"].is_between(0, 1).all()


def test_settings_that_make_no_sense_fail_before_any_work(tmp_path: Path):
    with pytest.raises(dg.Failure, match="at least one database"):
        materialized(tmp_path, planted=0)
    assert not corpus_folder(Workplace(home=str(tmp_path), dbt_project="").settings).exists()
