"""The league's graph and its inputs, built once; nothing changes them."""

import pytest
import torch

from tests.models.rdl.league import league_graph, league_inputs


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Tensors this small are slower on several threads, many times so on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def league(tmp_path_factory):
    return league_graph(tmp_path_factory.mktemp("league"))


@pytest.fixture(scope="session")
def statistics(league):
    return league_inputs(league)[0]


@pytest.fixture(scope="session")
def inputs(league):
    return league_inputs(league)[1]
