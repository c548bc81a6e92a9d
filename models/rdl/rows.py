"""Rows as tensors that networks read: scaled numbers, category codes, text embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

from models.rdl.graph import MISSING_TIME, NodeTable, TemporalGraph
from models.rdl.statistics import TableStatistics

MICROSECONDS_A_DAY = 86_400_000_000
PERIODS = {"day": 1.0, "week": 7.0, "year": 365.2425}
"""Cycles of the calendar, in days."""


@dataclass(frozen=True, slots=True)
class RowInputs:
    """A table's rows for a network, on one device.

    Args:
        numbers: float32 [rows, numbers]: scaled values with 0 for missing, a flag per column with
            gaps, sine and cosine of the calendar's cycles.
        codes: int64 [rows, categorical columns]: the position of the value among the known ones,
            their number for others, -1 for missing.
        text_codes: int64 [rows, text columns], the row of `text_values`; -1 for missing.
        text_values: By text column, float32 [values, dimensions].
        times: int64 [rows, 1 + timestamp columns] microseconds: the event time (where there is one),
            then the timestamps.
    """

    numbers: Tensor
    codes: Tensor
    text_codes: Tensor
    text_values: tuple[Tensor, ...]
    times: Tensor


def number_names(statistics: TableStatistics) -> list[str]:
    """The names of the columns of `RowInputs.numbers`, in order."""
    names = [number.column for number in statistics.numbers]
    names += [f"{number.column} is missing" for number in statistics.numbers if number.has_gaps]
    stamps = (["event time"] if statistics.is_timed else []) + list(statistics.timestamps)
    names += [
        f"{stamp}, {part} of the {period}"
        for stamp in stamps
        for period in PERIODS
        for part in ("sine", "cosine")
    ]
    return names


def row_inputs(
    graph: TemporalGraph, statistics: Mapping[str, TableStatistics]
) -> dict[str, RowInputs]:
    """The inputs of every table's rows, on the graph's device."""
    return {name: _table_inputs(graph.tables[name], known) for name, known in statistics.items()}


def _table_inputs(table: NodeTable, known: TableStatistics) -> RowInputs:
    position = {name: i for i, name in enumerate(table.numerical_columns)}
    raw = table.numerical[:, [position[number.column] for number in known.numbers]]
    device = raw.device
    centre = torch.tensor([n.centre for n in known.numbers], device=device)
    scale = torch.tensor([n.scale for n in known.numbers], device=device)
    # asinh is the identity near zero and a logarithm far from it: heavy tails stay in reach.
    scaled = torch.asinh((raw - centre) / scale).nan_to_num(0.0)
    gaps = raw[:, [i for i, n in enumerate(known.numbers) if n.has_gaps]].isnan().float()
    stamp = {name: i for i, name in enumerate(table.timestamp_columns)}
    times = [table.time] if table.time is not None else []
    times += [table.timestamps[:, stamp[name]] for name in known.timestamps]
    cycles = [part for time in times for part in _cycles(time)]
    numbers = torch.cat([scaled, gaps, *cycles], dim=1) if cycles else torch.cat([scaled, gaps], 1)
    codes = [_codes(table, name, values) for name, values in known.categories.items()]
    text = [table.text[name] for name in known.text]
    return RowInputs(
        numbers=numbers,
        codes=_stack(codes, table.rows, device),
        text_codes=_stack([one.codes.long() for one in text], table.rows, device),
        text_values=tuple(one.embeddings for one in text if one.embeddings is not None),
        times=_stack(times, table.rows, device),
    )


def _codes(table: NodeTable, column: str, known: tuple[str, ...]) -> Tensor:
    values = table.categorical[column]
    places = values.values.replace_strict(
        list(known), list(range(len(known))), default=len(known), return_dtype=pl.Int64
    )
    # A last place for code -1, missing.
    lookup = torch.tensor([*places.to_list(), -1], device=values.codes.device)
    return lookup[values.codes.long()]


def _cycles(time: Tensor) -> list[Tensor]:
    """Sine and cosine of where a time lies in the day, the week and the year; 0 where missing."""
    is_known = (time != MISSING_TIME)[:, None]
    days = time.double() / MICROSECONDS_A_DAY
    parts = []
    for period in PERIODS.values():
        angle = 2 * math.pi * torch.remainder(days, period) / period
        parts.append(torch.stack([angle.sin(), angle.cos()], dim=1).float() * is_known)
    return parts


def _stack(columns: list[Tensor], rows: int, device: torch.device) -> Tensor:
    if not columns:
        return torch.zeros((rows, 0), dtype=torch.int64, device=device)
    return torch.stack(columns, dim=1)
