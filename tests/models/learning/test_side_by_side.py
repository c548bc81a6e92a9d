"""Seeds side by side: the same results, whatever the number of processes."""

from __future__ import annotations

import pytest
import torch

from models.learning.side_by_side import SeedError, run_seeds
from tests.models.learning.small import train_line, train_loudly

CPU = torch.device("cpu")


def test_the_results_do_not_depend_on_the_number_of_processes():
    alone = run_seeds(train_line, [2, 0, 1], (3,), 1, CPU)
    together = run_seeds(train_line, [2, 0, 1], (3,), 2, CPU)
    assert alone == together
    assert alone[1] == run_seeds(train_line, [0], (3,), 8, CPU)[0]
    assert alone[0] != alone[1]


def test_lines_arrive_under_the_name_of_their_seed_from_single_threaded_workers():
    lines: list[str] = []
    threads = run_seeds(train_loudly, [0, 1], (), 2, CPU, lines.append)
    assert sorted(lines) == ["seed 0: half way", "seed 1: half way"]
    assert threads == [1, 1]


def test_the_threads_of_this_process_are_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert run_seeds(train_loudly, [0], (), 2, CPU) == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failing_seed_is_named(threads):
    with pytest.raises(
        SeedError, match="seed 13 failed: ValueError: thirteen is refused"
    ) as caught:
        run_seeds(train_loudly, [1, 13], (), threads, CPU)
    assert caught.value.seed == 13
    assert isinstance(caught.value.__cause__, ValueError)
