"""One tiny database for all tests, and one torch thread: its tensors are too small for two."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.models.pretraining.world import World


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))
