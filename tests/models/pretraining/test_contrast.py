"""Contrast and reconstruction: false negatives, what counts, what does not."""

import math

import pytest
import torch

from models.pretraining.contrast import Contrast, info_nce
from models.pretraining.reconstruction import Reconstruction
from models.rdl.rows import row_inputs
from models.rdl.statistics import graph_statistics


def views(rows, width=6):
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(rows, width, generator=generator) for _ in range(2)]


def test_info_nce_by_hand():
    first, second = torch.eye(3), torch.eye(3)
    found = info_nce(first, second, torch.arange(3), temperature=0.5)
    expected = -math.log(math.exp(2) / (math.exp(2) + 2))
    torch.testing.assert_close(found, torch.full((3,), expected))


def test_the_same_row_under_another_seed_is_no_negative():
    first, second = views(4)
    whole = info_nce(first, second, torch.tensor([7, 8, 7, 9]), 0.1)
    without = info_nce(first[[0, 1, 3]], second[[0, 1, 3]], torch.tensor([7, 8, 9]), 0.1)
    torch.testing.assert_close(whole[0], without[0])
    assert whole[1] > without[1]
    all_different = info_nce(first, second, torch.arange(4), 0.1)
    assert whole[0] < all_different[0]


def test_a_table_of_one_row_does_not_count():
    contrast = Contrast(["a", "b", "c"], 6, 0.1)
    first, second = views(4)
    rows = {"a": torch.arange(4), "b": torch.tensor([5, 5, 5, 5])}
    sums = contrast({"a": first, "b": first}, {"a": second, "b": second}, rows)
    assert sums.weight.tolist() == [4, 0, 0]
    sums.mean().backward()
    assert contrast.heads["a"].weight.grad.abs().sum() > 0


@pytest.fixture(scope="module")
def visits(world):
    statistics = graph_statistics(world.graph, world.graph.times[-1], [("visits", "secret")])
    return statistics, row_inputs(world.graph, statistics)


def test_reconstruction_counts_known_values_only(world, visits):
    statistics, inputs = visits
    torch.manual_seed(0)
    heads = Reconstruction(statistics, 16)
    rows = {"visits": torch.arange(200), "customers": torch.arange(50)}
    nodes = {table: torch.randn(len(taken), 16) for table, taken in rows.items()}
    sums = heads(nodes, rows, inputs)
    amounts = world.frames["visits"]["amount"].head(200)
    numbers = [number.column for known in statistics.values() for number in known.numbers]
    assert sums["numbers"].weight[numbers.index("amount")] == len(amounts) - amounts.null_count()
    # Nothing was sampled of the shops.
    assert sums["numbers"].weight[numbers.index("size")] == 0
    assert set(numbers) == {"age", "size", "amount"}
    assert sums["categories"].weight.tolist() == [50, 200]
    assert sums["texts"].weight.tolist() == [200]
    total = sum(one.mean() for one in sums.values())
    assert torch.isfinite(total)
    total.backward()
    assert all(torch.isfinite(p.grad).all() for p in heads.parameters() if p.grad is not None)


def test_a_missing_value_has_no_influence_on_reconstruction(world, visits):
    statistics, inputs = visits
    torch.manual_seed(0)
    heads = Reconstruction(statistics, 16)
    missing = torch.nonzero(torch.isnan(world.graph.tables["visits"].numerical[:, 0])).squeeze(1)
    assert len(missing) > 10
    nodes = {"visits": torch.randn(len(missing), 16)}
    sums = heads(nodes, {"visits": missing}, inputs)
    numbers = [number.column for known in statistics.values() for number in known.numbers]
    assert sums["numbers"].total[numbers.index("amount")] == 0
