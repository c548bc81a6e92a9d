"""Stages 2 and 3 for a schema whose rows somebody simulates; what is not simulated is made up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import polars as pl

from models.synthetic.blueprint import Blueprint, TablePlan
from models.synthetic.database import Columns, ColumnSampler, Mechanism, Place
from models.synthetic.explained import explained_share
from models.synthetic.mechanisms import Mechanisms
from models.synthetic.rows import Floats, Indices, Rows
from models.synthetic.streams import Streams


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a simulation made.

    Attributes:
        tables: Its tables by name: foreign keys (row numbers of the parents, null for none), times
            (Datetime, whole seconds) and columns; rows in the order of their times.
        states: By table what the columns do not tell of a row, float64 [rows, dimensions], each about
            standard normal; tables that are not named have none.
    """

    tables: Mapping[str, pl.DataFrame]
    states: Mapping[str, Floats] = field(default_factory=dict)


class Simulation(Protocol):
    """Whatever makes rows and columns at once."""

    def __call__(self, streams: Streams) -> Simulated:
        """The tables; equal streams give equal ones."""


@dataclass(frozen=True, slots=True)
class Causes:
    """What a simulated column is computed from.

    Attributes:
        inputs: As `Mechanism.inputs` names them; none for a column that chance alone decides.
        signal: The share of its variance that they explain; None to measure it on the rows
            (`explained_share`), which needs inputs other than a history.
    """

    inputs: tuple[str, ...] = ()
    signal: float | None = None


class SimulatedRows(dict[str, Rows]):
    """Rows by table, with the simulation that they are of."""

    def __init__(self, rows: Mapping[str, Rows], simulated: Simulated) -> None:
        super().__init__(rows)
        self.simulated = simulated


@dataclass(frozen=True, slots=True)
class HandwrittenRows:
    """Stage 2: the rows of a simulation.

    Attributes:
        simulate: The simulation.
    """

    simulate: Simulation

    def __call__(self, blueprint: Blueprint, streams: Streams) -> SimulatedRows:
        """The rows of every table; how many there are is the simulation's affair.

        Raises:
            ValueError: The simulation lacks a table, key or time of the blueprint, or its times are
                not in order or leave the blueprint's span.
        """
        simulated = self.simulate(streams)
        rows = {table.name: _rows(blueprint, table, simulated) for table in blueprint.tables}
        return SimulatedRows(rows, simulated)


@dataclass(frozen=True, slots=True)
class HandwrittenColumns:
    """Stage 3: the columns of a simulation, and made-up ones for whatever it does not have.

    Made-up columns are computed from states, keys, times and each other, not from simulated columns.

    Attributes:
        causes: How simulated columns came to be; those that are not named get no `Mechanism`.
        others: Makes the columns that the simulation lacks.
    """

    causes: Mapping[Place, Causes] = field(default_factory=dict)
    others: ColumnSampler = field(default_factory=Mechanisms)

    def __call__(
        self,
        blueprint: Blueprint,
        rows: Mapping[str, Rows],
        streams: Streams,
        interventions: Mapping[Place, float],
    ) -> Columns:
        """The values of every column.

        Raises:
            ValueError: The rows are not those of `HandwrittenRows`, or an intervention names a
                simulated column or none that can be moved.
        """
        if not isinstance(rows, SimulatedRows):
            raise ValueError(
                "HandwrittenColumns shows what a simulation made, but these rows come from another "
                "second stage; put HandwrittenRows before it"
            )
        tables = rows.simulated.tables
        simulated = {
            table.name: [name for name in table.column_names if name in tables[table.name].columns]
            for table in blueprint.tables
        }
        rest = _without(blueprint, simulated)
        _check(interventions, simulated, rest)
        made = self.others(rest, rows, streams, interventions)
        mechanisms = [
            self._mechanism(blueprint, table, column, rows.simulated)
            for table in blueprint.tables
            for column in simulated[table.name]
            if (table.name, column) in self.causes
        ]
        values = {
            name: {**{column: tables[name][column] for column in columns}, **made.values[name]}
            for name, columns in simulated.items()
        }
        return Columns(values, (*mechanisms, *made.mechanisms), made.dropped)

    def _mechanism(
        self, blueprint: Blueprint, table: TablePlan, column: str, simulated: Simulated
    ) -> Mechanism:
        causes = self.causes[table.name, column]
        signal = causes.signal
        if signal is None:
            inputs = [
                values
                for label in causes.inputs
                for values in _input(blueprint, table, label, simulated)
            ]
            signal = explained_share(simulated.tables[table.name][column], inputs)
        return Mechanism(table.name, column, causes.inputs, signal)


def _rows(blueprint: Blueprint, table: TablePlan, simulated: Simulated) -> Rows:
    if table.name not in simulated.tables:
        raise ValueError(
            f"table {table.name}: the schema declares it, but the simulation does not make it (it "
            f"makes: {', '.join(simulated.tables)}); simulate it, or take it out of the schema"
        )
    frame = simulated.tables[table.name]
    needed = [*(key.column for key in table.keys), table.time_column]
    for column in needed:
        if column and column not in frame.columns:
            raise ValueError(
                f"table {table.name}, column {column}: keys and times cannot be made up, and the "
                "simulation does not make this one; simulate it, or take it out of the schema"
            )
    states = simulated.states.get(table.name, np.zeros((frame.height, 0)))
    return Rows(
        _shares(blueprint, table.name, frame[table.time_column]) if table.time_column else None,
        {key.column: _parents(frame[key.column]) for key in table.keys},
        states[:, None, :],
    )


def _parents(keys: pl.Series) -> Indices:
    return keys.fill_null(-1).to_numpy()


def _shares(blueprint: Blueprint, table: str, times: pl.Series) -> Floats:
    """Times as shares of the span; `moments` gives back the very same seconds."""
    outside = times.is_null() | ~times.is_between(blueprint.start, blueprint.end)
    if outside.any():
        raise ValueError(
            f"table {table}, column {times.name}: {outside.sum()} of {len(times)} simulated times "
            f"are NULL or outside the span from {blueprint.start} to {blueprint.end}; widen the "
            "span, or leave these rows out"
        )
    if not times.is_sorted():
        raise ValueError(
            f"table {table}, column {times.name}: simulated rows are not in the order of their "
            "times; sort them, and number them after that"
        )
    start = (blueprint.start - datetime(1970, 1, 1)) // timedelta(seconds=1)
    seconds = times.dt.epoch("s").to_numpy() - start
    # The middle of a second, so that rounding leads to neither of its neighbours.
    return np.minimum((seconds + 0.5) / blueprint.span.total_seconds(), 1.0)


def _without(blueprint: Blueprint, simulated: Mapping[str, Collection[str]]) -> Blueprint:
    """The blueprint without the simulated columns."""
    tables = [
        replace(
            table,
            columns=tuple(c for c in table.columns if c.name not in simulated[table.name]),
        )
        for table in blueprint.tables
    ]
    return replace(blueprint, tables=tuple(tables))


def _check(
    interventions: Mapping[Place, float],
    simulated: Mapping[str, Collection[str]],
    rest: Blueprint,
) -> None:
    for table, column in interventions:
        if column in simulated.get(table, ()):
            others = [f"{plan.name}.{name}" for plan in rest.tables for name in plan.column_names]
            raise ValueError(
                f"intervention on table {table!r}, column {column!r}: it is simulated, and nothing "
                "in a simulation can be moved; choose a column that is made up (there are: "
                f"{', '.join(others) or 'none'})"
            )


def _input(
    blueprint: Blueprint, table: TablePlan, label: str, simulated: Simulated
) -> list[pl.Series]:
    """The values of an input, one series a dimension."""
    frame = simulated.tables[table.name]
    kind, _, place = label.partition(":")
    if kind == "state":
        return [pl.Series(values) for values in simulated.states[table.name].T]
    if kind == "time" and table.time_column:
        return [frame[table.time_column]]
    if kind == "own":
        return [frame[place]]
    if kind == "parent":
        key_column, _, column = place.partition(".")
        parent = next(key.parent for key in table.keys if key.column == key_column)
        return [simulated.tables[parent][column].gather(frame[key_column])]
    raise ValueError(
        f"table {table.name}: how much {label!r} explains cannot be measured; give the signal"
    )
