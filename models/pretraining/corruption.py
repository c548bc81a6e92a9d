"""Altered rows: some cells take another row's value, some entries of texts become zero."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from models.rdl.network import Alter, Features
from models.rdl.rows import number_names
from models.rdl.statistics import TableStatistics

NEVER = -1


def alteration(
    statistics: Mapping[str, TableStatistics], rate: float, generator: Generator
) -> Alter:
    """Alters a share of the cells of a table's rows (Truong et al.'s published experiments).

    A cell of a number or a category takes the value of a random row among those given (swap noise:
    of the same column, so that it stays plausible); each entry of a text's embedding becomes 0. A
    missing value moves as any other does, together with its flag, so that the share of missing
    values stays the same. Event times and other times are left as they are.

    Args:
        statistics: Of all tables.
        rate: The share of altered cells.
        generator: The source of randomness, on the features' device.
    """
    cells = {table: _cell_of_number(known) for table, known in statistics.items()}

    def alter(table: str, features: Features) -> Features:
        numbers, codes, text = features
        cell = cells[table].to(numbers.device)
        return (
            _swapped(numbers, cell, rate, generator),
            _swapped(codes, torch.arange(codes.shape[1], device=codes.device), rate, generator),
            tuple(_blanked(values, rate, generator) for values in text),
        )

    return alter


def _cell_of_number(known: TableStatistics) -> Tensor:
    """For each column of `RowInputs.numbers` the cell that it belongs to; NEVER for times."""
    cells = list(range(len(known.numbers)))
    cells += [i for i, number in enumerate(known.numbers) if number.has_gaps]
    cells += [NEVER] * (len(number_names(known)) - len(cells))
    return torch.tensor(cells, dtype=torch.int64)


def _swapped(values: Tensor, cell: Tensor, rate: float, generator: Generator) -> Tensor:
    """The values [rows, columns] with some cells from other rows."""
    rows, device = len(values), values.device
    count = int(cell.max()) + 1 if len(cell) else 0
    if rows == 0 or count == 0:
        return values
    shape = (rows, count)
    is_altered = torch.rand(shape, generator=generator, device=device) < rate
    donor = torch.randint(rows, shape, generator=generator, device=device)
    own = torch.arange(rows, device=device)[:, None]
    source = torch.where(is_altered, donor, own)
    whence = torch.where(cell >= 0, source[:, cell.clamp(min=0)], own)
    return values.gather(0, whence)


def _blanked(values: Tensor, rate: float, generator: Generator) -> Tensor:
    kept = torch.rand(values.shape, generator=generator, device=values.device) >= rate
    return values * kept
