"""Subsets have their size, no repeats, and each is as likely as any other."""

from collections import Counter
from itertools import combinations, pairwise
from math import comb

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from models.rdl.subsets import DENSE, all_of, last_of, uniform_of
from tests.models.aggregation.random_databases import examples

COUNTS = st.lists(st.one_of(st.integers(0, 12), st.integers(0, 4000)), max_size=30)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def as_lists(chosen, sets):
    """The chosen elements of each set, in order."""
    found = [[] for _ in range(sets)]
    for place, element in zip(*(part.tolist() for part in chosen), strict=True):
        found[place].append(element)
    return found


@examples(60)
@given(COUNTS, st.integers(0, 20), st.integers(0, 2**40))
def test_uniform_subsets(counts, size, seed):
    sets, elements = uniform_of(torch.tensor(counts, dtype=torch.int64), size, generator(seed))
    assert sets.dtype == elements.dtype == torch.int64
    assert all(one <= other for one, other in pairwise(sets.tolist()))
    for count, chosen in zip(counts, as_lists((sets, elements), len(counts)), strict=True):
        assert len(chosen) == min(count, size)
        assert len(set(chosen)) == len(chosen)
        assert all(0 <= element < count for element in chosen)


@examples(40)
@given(COUNTS, st.integers(0, 20))
def test_last_elements(counts, size):
    chosen = last_of(torch.tensor(counts, dtype=torch.int64), size)
    expected = [list(range(count))[max(count - size, 0) :] for count in counts]
    assert as_lists(chosen, len(counts)) == expected


@examples(20)
@given(COUNTS)
def test_all_elements(counts):
    chosen = all_of(torch.tensor(counts, dtype=torch.int64))
    assert as_lists(chosen, len(counts)) == [list(range(count)) for count in counts]


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (5, 2),  # random keys
        (7, 6),
        (2 * DENSE, 2),  # the most that gets random keys
        (2 * DENSE + 1, 2),  # drawn
        (13, 3),
        (60, 1),
    ],
)
def test_every_subset_is_equally_likely(count, size):
    sets = 40 * comb(count, size)
    # Sets of all three kinds beside each other, whose subsets must not lean on their neighbours'.
    counts = torch.tensor([count, size, 1, count, 3 * DENSE * size + 7] * (sets // 2))
    found = as_lists(uniform_of(counts, size, generator(1)), len(counts))
    for first in (0, 3):
        drawn = Counter(tuple(sorted(chosen)) for chosen in found[first::5])
        expected = [drawn[one] for one in combinations(range(count), size)]
        assert sum(expected) == sets // 2
        assert chisquare(expected).pvalue > 1e-3


@pytest.mark.parametrize(("count", "size"), [(20, 6), (1000, 8), (10**12, 5)])
def test_every_element_is_equally_likely(count, size):
    counts = torch.full((20_000,), count)
    _, elements = uniform_of(counts, size, generator(2))
    parts = 20
    drawn = torch.bincount(elements * parts // count, minlength=parts)
    assert drawn.sum() == len(counts) * size
    assert chisquare(drawn.numpy()).pvalue > 1e-3


def test_subsets_of_different_sets_are_independent():
    first, second = uniform_of(torch.tensor([6, 6] * 20_000), 1, generator(3))[1].view(-1, 2).T
    pairs = torch.bincount(6 * first + second, minlength=36)
    assert chisquare(pairs.numpy()).pvalue > 1e-3


def test_randomness_comes_from_the_generator_alone():
    counts = torch.tensor([3, 30, 3000, 9] * 50)
    one, again = (uniform_of(counts, 4, generator(5)) for _ in range(2))
    assert all(torch.equal(first, second) for first, second in zip(one, again, strict=True))
    assert not torch.equal(one[1], uniform_of(counts, 4, generator(6))[1])
    state = torch.get_rng_state()
    uniform_of(counts, 4, generator(5))
    assert torch.equal(torch.get_rng_state(), state)
