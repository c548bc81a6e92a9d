import os
from pathlib import Path

import pytest

from models.relatron.evaluation import evaluate
from models.relatron.published import (
    homophily_correlation,
    predictions,
    published_rows,
    read_published,
    regret,
    size_correlation,
    winners,
)

REFERENCE = os.environ.get("RELFORGE_REFERENCE")
needs_table = pytest.mark.skipif(
    not REFERENCE, reason="RELFORGE_REFERENCE names no folder with task_feature_summary.csv"
)


@pytest.fixture(scope="module")
def table():
    return read_published(Path(str(REFERENCE)) / "task_feature_summary.csv")


def right(table, selected_by, classifier, left_out):
    chosen = predictions(table, selected_by, classifier, left_out)
    return int((chosen == winners(table, selected_by)).sum())


def test_another_table_is_refused(tmp_path):
    (tmp_path / "other.csv").write_text("train_rows,val_rows\n1,2\n")
    with pytest.raises(ValueError, match="h_adjs_corr_mean"):
        read_published(tmp_path / "other.csv")


@needs_table
def test_the_majority_wins_as_often_as_the_published_choice_by_test(table):
    assert (winners(table, "val").sum(), winners(table, "test").sum()) == (15, 19)
    assert right(table, "val", "decision tree", "task") == 21
    assert right(table, "test", "decision tree", "task") == 19
    assert right(table, "val", "gradient boosting", "task") == 20


@needs_table
def test_without_the_database_the_published_choice_is_the_majority_and_size_alone_is_better(table):
    assert right(table, "val", "decision tree", "database") == 15
    assert right(table, "val", "size stump", "task") == 19
    assert right(table, "val", "size stump", "database") == 19
    assert right(table, "test", "size stump", "task") == 16


@needs_table
def test_mean_relative_regrets(table):
    always = winners(table, "val") * 0
    assert regret(table, "val", always + 1) == pytest.approx(0.0237, abs=5e-5)
    assert regret(table, "val", always) == pytest.approx(0.0642, abs=5e-5)
    tree = predictions(table, "val", "decision tree", "task")
    assert regret(table, "val", tree) == pytest.approx(0.0077, abs=5e-5)
    stump = predictions(table, "val", "size stump", "task")
    assert regret(table, "val", stump) == pytest.approx(0.0065, abs=5e-5)


@needs_table
def test_the_published_correlation_is_one_of_units(table):
    published = homophily_correlation(table, "test", relative=False)
    assert published.tasks == 22
    assert published.spearman == pytest.approx(-0.433, abs=5e-4)
    assert published.spearman_p == pytest.approx(0.044, abs=5e-4)
    assert abs(homophily_correlation(table, "test", relative=True).spearman) < 0.1
    assert abs(homophily_correlation(table, "val", relative=True).spearman) < 0.1
    assert size_correlation(table, "val").spearman == pytest.approx(0.56, abs=0.02)


@needs_table
def test_our_selector_on_the_published_tasks_is_not_worse_than_the_majority(table):
    found = dict(evaluate(published_rows(table), "published").select("chooser", "regret").rows())
    assert found["size stump"] == pytest.approx(0.0065, abs=5e-5)
    assert found["selector"] <= found["majority"] + 1e-9
