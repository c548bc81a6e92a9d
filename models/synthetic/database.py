"""A synthetic database and the three stages that make one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from models.synthetic.blueprint import Blueprint
from models.synthetic.rows import Rows
from models.synthetic.streams import Streams

Place = tuple[str, str]
"""(table, column)."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """How a column came to be: the ground truth.

    Attributes:
        table: The column's table.
        column: The column.
        inputs: What it was computed from: "state", "parent:<key column>.<column>",
            "own:<column>", "history:<table>.<column>.<aggregate>" (of the owner's earlier rows; with
            "@<key column>" after it, of those of another key's parent), "time".
        signal: The share of its variance that the inputs explain, from 0 to 1.
        missing: What decides which of its values are missing, "own:<column>" of another column or
            of itself; None where nothing or chance does.
    """

    table: str
    column: str
    inputs: tuple[str, ...]
    signal: float
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """What the third stage makes.

    Attributes:
        values: The columns by table.
        mechanisms: How they came to be.
        dropped: Columns of the blueprint that were not made, and that the database does not have.
    """

    values: Mapping[str, Mapping[str, pl.Series]]
    mechanisms: tuple[Mechanism, ...] = ()
    dropped: tuple[Place, ...] = ()


class Layout(Protocol):
    """Stage 1: tables, keys and columns."""

    def __call__(self, streams: Streams) -> Blueprint:
        """A blueprint."""


class RowSampler(Protocol):
    """Stage 2: rows with times, parents and states."""

    def __call__(self, blueprint: Blueprint, streams: Streams) -> dict[str, Rows]:
        """The rows of every table, by name."""


class ColumnSampler(Protocol):
    """Stage 3: values."""

    def __call__(
        self,
        blueprint: Blueprint,
        rows: Mapping[str, Rows],
        streams: Streams,
        interventions: Mapping[Place, float],
    ) -> Columns:
        """The values of every column.

        An intervention adds a constant, in standard deviations, to a numerical column; it moves
        nothing but what is computed from this column.
        """


@dataclass(frozen=True, slots=True)
class Generator:
    """Three stages, each of which can be swapped."""

    layout: Layout
    rows: RowSampler
    columns: ColumnSampler


@dataclass(frozen=True, slots=True)
class SyntheticDatabase:
    """A database out of nothing.

    Attributes:
        blueprint: Its tables, keys, columns and dates.
        tables: Its rows by table: the primary key (Int64 from 0), the foreign keys (Int64, null for
            none), the time (naive UTC microseconds, whole seconds, ascending) and the columns.
        rows: Times, parents and latent states; not for users' eyes.
        mechanisms: How each column came to be.
        seed: What it was made from.
    """

    blueprint: Blueprint
    tables: Mapping[str, pl.DataFrame]
    rows: Mapping[str, Rows]
    mechanisms: tuple[Mechanism, ...]
    seed: int
