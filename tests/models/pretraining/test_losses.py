"""Losses of task vectors: masks, units, groups, and the cosine error by hand."""

import math

import pytest
import torch
from torch.nn import functional

from models.pretraining.losses import Sums, TypedLoss, scaled_cosine


def target(kind, group):
    return {"kind": kind, "group": group}


TARGETS = [
    target("any", "any(a)"),
    target("count", "count(a)"),
    target("sum", "sum(a)"),
    target("sum", "sum(a)"),
    target("category", "category(a.x)"),
    target("category", "category(a.x)"),
    target("share", "share(a)"),
]
VALUES = torch.tensor([[1.0, 0.5, 2.0, -3.0, 0.5, 0.25, 0.3], [0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
MASK = torch.tensor([[True] * 7, [True, True, True, False, False, False, False]])
WEIGHT = torch.tensor([1.0, 3.0])


def raw():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 7, generator=generator).requires_grad_()


def test_each_group_is_a_masked_weighted_mean_and_groups_count_alike():
    given = raw()
    sums = TypedLoss(TARGETS)(given, VALUES, MASK, WEIGHT)
    bits = functional.binary_cross_entropy_with_logits
    huber = functional.huber_loss
    logits = torch.cat([given[0, 4:6], torch.zeros(1)])
    expected = [
        (bits(given[0, 0], VALUES[0, 0]) + 3 * bits(given[1, 0], VALUES[1, 0])) / 4,
        (huber(given[0, 1], VALUES[0, 1]) + 3 * huber(given[1, 1], VALUES[1, 1])) / 4,
        (
            huber(given[0, 2], VALUES[0, 2])
            + huber(given[0, 3], VALUES[0, 3])
            + 3 * huber(given[1, 2], VALUES[1, 2])
        )
        / 5,
        -(torch.tensor([0.5, 0.25, 0.25]) * logits.log_softmax(0)).sum(),
        bits(given[0, 6], VALUES[0, 6]),
    ]
    torch.testing.assert_close(sums.means(), torch.stack(expected))
    torch.testing.assert_close(sums.mean(), torch.stack(expected).mean())


def test_a_single_category_is_a_binary_cross_entropy():
    given, values = torch.tensor([[0.7]]), torch.tensor([[0.2]])
    loss = TypedLoss([target("category", "c")])
    found = loss(given, values, torch.tensor([[True]]), torch.ones(1))
    expected = functional.binary_cross_entropy_with_logits(given, values)
    torch.testing.assert_close(found.mean(), expected)


def test_masked_entries_have_neither_influence_nor_gradient():
    loss = TypedLoss(TARGETS)
    given = raw()
    loss(given, VALUES, MASK, WEIGHT).mean().backward()
    assert (given.grad[~MASK] == 0).all()
    assert (given.grad[MASK] != 0).all()
    other = torch.where(MASK, given.detach(), torch.tensor(77.0))
    one = loss(given, VALUES, MASK, WEIGHT).mean()
    two = loss(other, torch.where(MASK, VALUES, 5.0), MASK, WEIGHT).mean()
    assert one == two


def test_a_group_without_an_entry_drops_out():
    mask = torch.zeros_like(MASK)
    mask[:, 0] = True
    sums = TypedLoss(TARGETS)(raw(), VALUES, mask, WEIGHT)
    assert sums.mean() == sums.means()[0]
    nothing = TypedLoss(TARGETS)(raw(), VALUES, torch.zeros_like(MASK), WEIGHT).mean()
    assert nothing == 0


def test_sums_of_batches_are_those_of_all_rows():
    loss, given = TypedLoss(TARGETS), raw().detach()
    whole = loss(given, VALUES, MASK, WEIGHT)
    halves = [loss(given[[i]], VALUES[[i]], MASK[[i]], WEIGHT[[i]]) for i in range(2)]
    torch.testing.assert_close((halves[0] + halves[1]).mean(), whole.mean())


def test_foretelling_the_means_costs_one():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(400, 7, generator=generator)
    values[:, 1:4] *= 3
    values[:, 4:6] *= 0.5
    values[:, 0] = (values[:, 0] > 0.9).float()
    mask = torch.rand(400, 7, generator=generator) > 0.3
    mask[:, 5] = mask[:, 4]
    weight = torch.rand(400, generator=generator)
    loss = TypedLoss(TARGETS)
    before = loss(torch.zeros(400, 7), values, mask, weight).means()
    loss.fit_units(values, mask, weight)
    counted = mask * weight[:, None]
    means = (values * counted).sum(0) / counted.sum(0)
    given = means.clone()
    given[[0, 6]] = torch.logit(means[[0, 6]])
    given[4:6] = (means[4:6] / (1 - means[4:6].sum())).log()
    found = loss(given.expand(400, 7), values, mask, weight).means()
    torch.testing.assert_close(found, torch.ones(5))
    after = loss(torch.zeros(400, 7), values, mask, weight).means()
    torch.testing.assert_close(after * loss.units, before)


def test_the_cosine_error_by_hand():
    values = torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    given = torch.tensor([[2.0, 0.0, 0.0], [3.0, 0.0, 4.0]])
    sums = scaled_cosine(given, values, torch.tensor([1.0, 2.0]), inactive_weight=0.3, alpha=2.0)
    active, inactive = (1 - 0.6) ** 2, (1 - 0.8) ** 2
    expected = (0.7 * active + 0.3 * 2 * inactive) / (0.7 + 0.6)
    assert sums.mean().item() == pytest.approx(expected, rel=1e-5)


def test_the_cosine_error_knows_directions_only():
    inactive, active = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.3, 0.4, 0.0]])

    def error(given, values):
        return scaled_cosine(given, values, torch.ones(1), 0.5, 2.0).mean().item()

    # An inactive row's target is a basis vector, at right angles to every active one.
    assert error(inactive, active) == pytest.approx(1.0)
    assert error(9 * inactive, inactive) == pytest.approx(0.0, abs=1e-6)
    assert error(9 * active, active) == error(active, active) == pytest.approx(0.0, abs=1e-6)
    assert error(-active, active) == pytest.approx(4.0)


def test_sums_of_nothing_are_zero_and_finite():
    sums = Sums(torch.zeros(2), torch.zeros(2))
    assert sums.mean() == 0
    assert math.isfinite(sums.means().sum())
