"""The database as a temporal graph in tensors: rows are nodes, foreign keys are edges.

A row is visible at a cutoff time if its event time is at or before it; rows of tables without an
event time always are, rows whose event time is missing never. Event times are kept as ranks among
all event times of the database, so that "at or before the cutoff" is one comparison of integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

from models.database.schema import ForeignKey

MISSING_TIME = torch.iinfo(torch.int64).min
ALWAYS = 0
"""The rank of rows without an event time: before every other."""


class EdgeType(NamedTuple):
    """A direction of a foreign key in PyG's form: messages go from `source` to `target`.

    Relations are named as in RelBench: `f2p_<columns>` leads from the row that holds the key to the
    row it refers to, `rev_f2p_<columns>` back.
    """

    source: str
    relation: str
    target: str

    @property
    def name(self) -> str:
        """The edge type as one word."""
        return f"{self.source}__{self.relation}__{self.target}"


@dataclass(frozen=True, slots=True)
class Values:
    """The distinct values of a categorical or text column and each row's position among them.

    `codes` is int32 [rows], -1 where the value is missing; `values` are strings in ascending order.
    `embeddings` is float32 [values, dimensions] for texts, None for categories.
    """

    codes: Tensor
    values: pl.Series
    embeddings: Tensor | None = None


@dataclass(frozen=True, slots=True)
class NodeTable:
    """A table's rows as nodes. A row's number is its position in the staged file.

    `time` is int64 [rows], microseconds since 1970 (MISSING_TIME where it is missing), None for a
    table without event time; `time_rank` int64 [rows]. `numerical` is float32 [rows, columns] with
    NaN for what is missing; `timestamps` int64 [rows, columns] in microseconds. `keys` are the
    primary key's columns in row order.
    """

    name: str
    rows: int
    time: Tensor | None
    time_rank: Tensor
    numerical_columns: tuple[str, ...]
    numerical: Tensor
    timestamp_columns: tuple[str, ...]
    timestamps: Tensor
    categorical: dict[str, Values]
    text: dict[str, Values]
    keys: pl.DataFrame

    def to(self, device: torch.device) -> NodeTable:
        """The same rows with their tensors on a device."""
        return replace(
            self,
            time=None if self.time is None else self.time.to(device),
            time_rank=self.time_rank.to(device),
            numerical=self.numerical.to(device),
            timestamps=self.timestamps.to(device),
            categorical={name: _on(values, device) for name, values in self.categorical.items()},
            text={name: _on(values, device) for name, values in self.text.items()},
        )


@dataclass(frozen=True, slots=True)
class Adjacency:
    """The rows that refer to each row by one foreign key, in order of their time, and back.

    `parent` is int64 [rows of the child table], -1 where there is none. `children` is int64 [edges],
    child rows sorted by (parent, time rank, row); those of row p stand from `first[p]` to
    `first[p + 1]`. `order` is int64 [edges], `parent * ranks + time rank` in the same order, sorted:
    the children of p that are visible at rank r end where `order` passes `p * ranks + r`.
    """

    parent: Tensor
    children: Tensor
    first: Tensor
    order: Tensor

    def to(self, device: torch.device) -> Adjacency:
        """The same on a device."""
        tensors = (self.parent, self.children, self.first, self.order)
        return Adjacency(*(tensor.to(device) for tensor in tensors))


@dataclass(frozen=True, slots=True)
class TemporalGraph:
    """A database in tensors, all on one device.

    `times` are the distinct event times, int64 microseconds, ascending: time rank k is `times[k-1]`.
    `adjacency` is by foreign key, in the order of `foreign_keys`.
    """

    tables: dict[str, NodeTable]
    foreign_keys: tuple[ForeignKey, ...]
    adjacency: tuple[Adjacency, ...]
    times: Tensor

    @property
    def ranks(self) -> int:
        """One more than the largest rank, which stands for a missing time."""
        return len(self.times) + 2

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.times.device

    @property
    def edge_types(self) -> list[EdgeType]:
        """Both directions of every foreign key: towards the parent, then back."""
        return [edge for key in self.foreign_keys for edge in directions(key)]

    def visible_rank(self, visible_until: Tensor) -> Tensor:
        """The rank up to which rows are visible at these times (int64 microseconds, [seeds])."""
        return torch.searchsorted(self.times, visible_until.contiguous(), right=True)

    def rows_of(self, table: str, keys: pl.Series) -> Tensor:
        """Row numbers of primary keys, int64 [keys].

        Raises:
            KeyError: Some keys are not in the table, or its primary key has several columns.
        """
        known = self.tables[table].keys
        if known.width != 1:
            raise KeyError(
                f"table {table!r} has the primary key {known.columns}; entities need one of a "
                "single column"
            )
        numbered = known.rename({known.columns[0]: "key"}).with_row_index("row")
        wanted = pl.DataFrame({"key": keys.cast(numbered["key"].dtype)})
        found = wanted.join(numbered, on="key", how="left", maintain_order="left")["row"]
        if found.null_count():
            example = wanted["key"].filter(found.is_null())[0]
            raise KeyError(
                f"table {table!r} lacks {found.null_count()} of {len(keys)} entities, such as "
                f"{example!r}; score entities that the database has"
            )
        return torch.from_numpy(found.cast(pl.Int64).to_numpy().copy()).to(self.device)

    def to(self, device: torch.device | str) -> TemporalGraph:
        """The same graph on a device."""
        device = torch.device(device)
        return replace(
            self,
            tables={name: table.to(device) for name, table in self.tables.items()},
            adjacency=tuple(one.to(device) for one in self.adjacency),
            times=self.times.to(device),
        )


def directions(key: ForeignKey) -> tuple[EdgeType, EdgeType]:
    """The edge type towards the parent and the one back."""
    columns = "_".join(key.columns)
    return (
        EdgeType(key.table, f"f2p_{columns}", key.parent),
        EdgeType(key.parent, f"rev_f2p_{columns}", key.table),
    )


def time_ranks(times: Sequence[Tensor | None], rows: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """The distinct event times of all tables and each table's ranks among them.

    Args:
        times: int64 microseconds per table, None for a table without event time.
        rows: Row counts of the tables.
    """
    known = [one[one != MISSING_TIME] for one in times if one is not None]
    distinct = torch.unique(torch.cat(known)) if known else torch.zeros(0, dtype=torch.int64)
    ranks = []
    for one, count in zip(times, rows, strict=True):
        if one is None:
            ranks.append(torch.full((count,), ALWAYS, dtype=torch.int64))
        else:
            rank = torch.searchsorted(distinct, one.contiguous()) + 1
            ranks.append(torch.where(one == MISSING_TIME, len(distinct) + 1, rank))
    return distinct, ranks


def adjacency_of(parent: Tensor, child_rank: Tensor, parents: int, ranks: int) -> Adjacency:
    """The adjacency of a foreign key from each child row's parent.

    Args:
        parent: int64 [child rows], -1 where the reference is missing or dangles.
        child_rank: Time ranks of the child rows.
        parents: Rows of the parent table.
        ranks: As in `TemporalGraph.ranks`.
    """
    held = torch.nonzero(parent >= 0).squeeze(1)
    order, position = torch.sort(parent[held] * ranks + child_rank[held], stable=True)
    first = torch.searchsorted(order, torch.arange(parents + 1, dtype=torch.int64) * ranks)
    return Adjacency(parent, held[position], first, order)


def as_microseconds(times: pl.Series) -> Tensor:
    """Times as int64 microseconds since 1970, MISSING_TIME for NULL."""
    numbers = times.cast(pl.Datetime("us")).to_physical().fill_null(MISSING_TIME)
    return torch.from_numpy(np.array(numbers.to_numpy(), dtype=np.int64))


def microseconds(time: datetime) -> int:
    """A time as microseconds since 1970."""
    return round((time - datetime(1970, 1, 1)) / timedelta(microseconds=1))


def _on(values: Values, device: torch.device) -> Values:
    embeddings = None if values.embeddings is None else values.embeddings.to(device)
    return Values(values.codes.to(device), values.values, embeddings)
