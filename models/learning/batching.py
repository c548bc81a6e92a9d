"""Batches of row positions."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from models.learning.config import epoch_seed


def shuffled_batches(rows: int, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Every row's position once, in an order that depends on seed and epoch alone.

    Yields int64 tensors of shape (batch,) on the CPU, all of `batch_size` rows but the last. A last
    batch of a single row is joined to the one before it: a batch norm has no variance of one row.
    """
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, purpose=1))
    batches = list(torch.randperm(rows, generator=generator).split(batch_size))
    if len(batches) > 1 and batches[-1].numel() == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    yield from batches
