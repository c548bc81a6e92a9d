"""Altered rows: the right share of cells, values of the same column, flags that go along."""

import pytest
import torch

from models.pretraining.corruption import alteration
from models.rdl.statistics import NumberScale, TableStatistics

ROWS, RATE = 4000, 0.25
KNOWN = TableStatistics(
    "t",
    is_timed=True,
    numbers=(NumberScale("a", 0, 1, True), NumberScale("b", 0, 1, False)),
    categories={"c": ("x", "y"), "d": ("z",)},
    timestamps=(),
    text={"e": 8},
)


def features(rows=ROWS):
    """Numbers a and b, the flag of a, six parts of the event time."""
    generator = torch.Generator().manual_seed(3)
    numbers = torch.rand(rows, 9, generator=generator) + 1
    is_missing = torch.rand(rows, generator=generator) < 0.4
    numbers[:, 2] = is_missing.float()
    numbers[is_missing, 0] = 0.0
    codes = torch.randint(-1, 500, (rows, 2), generator=generator)
    return numbers, codes, (torch.rand(rows, 8, generator=generator) + 1,)


def alter(given, seed=0, rate=RATE):
    return alteration({"t": KNOWN}, rate, torch.Generator().manual_seed(seed))("t", given)


def test_the_asked_share_of_cells_is_altered():
    given = features()
    numbers, codes, (text,) = alter(given)
    share = pytest.approx(RATE, abs=0.03)
    assert (numbers[:, 1] != given[0][:, 1]).float().mean().item() == share
    assert (codes != given[1]).float().mean(0).tolist() == [share, share]
    assert (text == 0).float().mean().item() == share
    assert ((text == given[2][0]) | (text == 0)).all()


def test_values_come_from_the_same_column_and_are_never_nan():
    given = features()
    numbers, codes, (text,) = alter(given)
    for found in (numbers, text):
        assert torch.isfinite(found).all()
    for column in range(9):
        assert torch.isin(numbers[:, column], given[0][:, column]).all()
    for column in range(2):
        assert torch.isin(codes[:, column], given[1][:, column]).all()


def test_a_missing_value_takes_its_flag_along():
    given = features()
    numbers, _, _ = alter(given)
    assert ((numbers[:, 0] == 0) == (numbers[:, 2] == 1)).all()
    # The share of missing values stays: nothing is lost to values that were not chosen.
    before, after = given[0][:, 2].mean().item(), numbers[:, 2].mean().item()
    assert after == pytest.approx(before, abs=0.03)


def test_times_stay_as_they_are():
    given = features()
    assert torch.equal(alter(given, rate=1.0)[0][:, 3:], given[0][:, 3:])


def test_the_generator_decides_and_the_input_is_left_alone():
    given = features()
    copies = [part.clone() for part in (given[0], given[1], given[2][0])]
    one, two, other = alter(given, 1), alter(given, 1), alter(given, 2)
    assert torch.equal(one[0], two[0])
    assert not torch.equal(one[0], other[0])
    assert all(torch.equal(a, b) for a, b in zip(copies, (*given[:2], given[2][0]), strict=True))


@pytest.mark.parametrize("rows", [0, 1])
def test_tiny_tables(rows):
    given = features(rows)
    numbers, codes, _ = alter(given, rate=0.9)
    assert torch.equal(numbers, given[0])
    assert torch.equal(codes, given[1])


def test_a_table_without_columns():
    empty = TableStatistics("t", False, (), {}, (), {})
    given = (torch.zeros(5, 0), torch.zeros(5, 0, dtype=torch.int64), ())
    found = alteration({"t": empty}, 0.5, torch.Generator())("t", given)
    assert found[0].shape == (5, 0)
