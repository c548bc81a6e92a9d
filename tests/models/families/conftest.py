"""One trained model a task type."""

from __future__ import annotations

import pytest

from models.database.schema import Protocol, TaskType
from tests.models.tabular.trained import Trained, make_task, train_small


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[TaskType, Trained]:
    """Small models of every task type, under the rolling protocol; regression is frozen."""
    return {
        kind: train_small(make_task(kind, protocol), tmp_path_factory.mktemp(kind.value))
        for kind, protocol in {
            TaskType.BINARY_CLASSIFICATION: Protocol.ROLLING,
            TaskType.MULTICLASS_CLASSIFICATION: Protocol.ROLLING,
            TaskType.REGRESSION: Protocol.FROZEN,
        }.items()
    }
