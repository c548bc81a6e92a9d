"""Random subsets without replacement, many at a time, as tensor operations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

DENSE = 4
"""Up to so many times the subset's size all candidates get a random key; beyond, numbers are drawn
until enough are distinct, which costs the same whatever the number of candidates."""


def all_of(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Every element of every set.

    Args:
        counts: int64 [sets], the sizes.

    Returns:
        The set and the element (0 to its size - 1) of each choice, both int64.
    """
    sets = torch.repeat_interleave(counts)
    starts = torch.cumsum(counts, 0) - counts
    return sets, torch.arange(len(sets), device=counts.device) - starts[sets]


def last_of(counts: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The last `size` elements of every set, or all where there are fewer."""
    kept = counts.clamp(max=size)
    sets, elements = all_of(kept)
    return sets, elements + (counts - kept)[sets]


def uniform_of(counts: Tensor, size: int, generator: Generator | None) -> tuple[Tensor, Tensor]:
    """A uniformly random subset of `size` elements of every set, or all where there are no more.

    Args:
        counts: int64 [sets], the sizes of the sets.
        size: Size of the subsets.
        generator: Of the device of `counts`.

    Returns:
        The set and the element of each choice, both int64, by ascending set.
    """
    is_small = counts <= size
    if size == 0 or bool(is_small.all()):
        return all_of(counts.clamp(max=size))
    is_dense = ~is_small & (counts <= DENSE * size)
    is_sparse = ~is_small & ~is_dense
    parts = [
        _within(is_small, counts, all_of),
        _within(is_dense, counts, lambda some: _by_random_keys(some, size, generator)),
        _within(is_sparse, counts, lambda some: _by_drawing(some, size, generator)),
    ]
    sets = torch.cat([part[0] for part in parts])
    elements = torch.cat([part[1] for part in parts])
    order = torch.argsort(sets, stable=True)
    return sets[order], elements[order]


Choose = Callable[[Tensor], tuple[Tensor, Tensor]]


def _within(mask: Tensor, counts: Tensor, choose: Choose) -> tuple[Tensor, Tensor]:
    chosen = torch.nonzero(mask).squeeze(1)
    if len(chosen) == 0:
        return chosen, chosen
    sets, elements = choose(counts[chosen])
    return chosen[sets], elements


def _by_random_keys(
    counts: Tensor, size: int, generator: Generator | None
) -> tuple[Tensor, Tensor]:
    sets, elements = all_of(counts)
    keys = torch.rand(len(sets), generator=generator, device=counts.device, dtype=torch.float64)
    shuffled = elements[torch.argsort(keys + sets)]
    # Sorted by set, then key: what stands at `elements` is the set's permutation.
    kept = elements < size
    return sets[kept], shuffled[kept]


def _by_drawing(counts: Tensor, size: int, generator: Generator | None) -> tuple[Tensor, Tensor]:
    """Draws numbers independently and keeps the first `size` distinct ones.

    By symmetry every subset is equally likely, and stays so when sets with too few distinct numbers
    are drawn anew.
    """
    chosen = torch.empty((len(counts), size), dtype=torch.int64, device=counts.device)
    open_sets = torch.arange(len(counts), device=counts.device)
    while len(open_sets):
        shape = (len(open_sets), 2 * size)
        keys = torch.rand(shape, generator=generator, device=counts.device, dtype=torch.float64)
        drawn = (keys * counts[open_sets, None]).to(torch.int64)
        in_order, place = torch.sort(drawn, dim=1, stable=True)
        repeated = torch.zeros_like(drawn, dtype=torch.bool)
        repeated.scatter_(1, place[:, 1:], in_order[:, 1:] == in_order[:, :-1])
        rank = torch.cumsum(~repeated, dim=1)
        done = rank[:, -1] >= size
        keep = ~repeated & (rank <= size) & done[:, None]
        chosen[open_sets[done]] = drawn[keep].view(-1, size)
        open_sets = open_sets[~done]
    sets = torch.arange(len(counts), device=counts.device).repeat_interleave(size)
    return sets, chosen.view(-1)
