"""The in-context learner, with a stand-in for the package: what it is given and what it answers."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from models.database.schema import Protocol, TaskType
from models.families.bundle import RowsToPredict, load_bundle
from models.tabular.in_context import InContextConfig, train_in_context_bundle
from tests.models.tabular.trained import AS_OF


class Nearest:
    """Answers with what it has read of the nearest row in the first column."""

    calls: ClassVar[list[dict]] = []

    def __init__(self, **settings):
        self.settings = settings
        Nearest.calls.append(settings)

    def fit(self, matrix, targets):
        self.matrix, self.targets = np.nan_to_num(matrix), targets
        self.settings["rows"] = len(targets)
        return self

    def predict(self, matrix, output_type):
        self.settings["output_type"] = output_type
        distances = np.abs(np.nan_to_num(matrix)[:, :1] - self.matrix[:, 0])
        return self.targets[distances.argmin(axis=1)]

    def predict_proba(self, matrix):
        found = self.predict(matrix, "classes").astype(int)
        classes = int(self.targets.max()) + 1
        return np.eye(classes)[found] * 0.8 + 0.2 / classes


@pytest.fixture
def package(monkeypatch, tmp_path):
    module = ModuleType("tabpfn")
    module.TabPFNClassifier = module.TabPFNRegressor = Nearest
    monkeypatch.setitem(sys.modules, "tabpfn", module)
    Nearest.calls.clear()
    (tmp_path / "weights.ckpt").write_text("weights")
    return InContextConfig(
        str(tmp_path / "weights.ckpt"), seeds=2, max_rows=50, max_columns=5, device="cpu"
    )


def train(made, config, folder):
    return train_in_context_bundle(made.task, made.table, made.features, AS_OF, config, folder)


@pytest.mark.parametrize("kind", list(TaskType))
def test_the_training_rows_are_read_with_each_question(trained, package, kind, tmp_path):
    made = trained[kind]
    metadata = train(made, package, tmp_path / "bundle")
    assert len(metadata["validation_scores"]) == 2
    call = Nearest.calls[0]
    assert call["random_state"] == 0
    assert call["rows"] == 50
    assert call["model_path"] == package.weights
    if kind == TaskType.REGRESSION:
        assert call["output_type"] == "median"
    bundle = load_bundle(tmp_path / "bundle")
    assert len(bundle.features) == 5
    rows = made.table.filter(pl.col("split") == "val")
    seeds = rows.select("row_id", "entity", "cutoff_time", visible_until="cutoff_time")
    asked = RowsToPredict(seeds, features=made.features.features)
    raw = bundle.predict(asked, Protocol.ROLLING)
    several = (3,) if kind == TaskType.MULTICLASS_CLASSIFICATION else ()
    assert raw.shape == (2, rows.height, *several)
    assert raw.dtype == np.float64


def test_only_training_rows_are_read(trained, package, tmp_path):
    made = trained[TaskType.REGRESSION]
    train(made, package, tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    expected = made.table.filter(pl.col("split") == "train")["label"].to_numpy()
    assert bundle.targets.tolist() == expected.tolist()


def test_what_is_missing_is_named_with_its_mend(trained, package, tmp_path, monkeypatch):
    made = trained[TaskType.REGRESSION]
    with pytest.raises(FileNotFoundError, match="checkpoint for regression and name its file"):
        train(made, InContextConfig(), tmp_path / "bundle")
    monkeypatch.setitem(sys.modules, "tabpfn", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install .relforge\[in-context\]"):
        train(made, package, tmp_path / "bundle")
