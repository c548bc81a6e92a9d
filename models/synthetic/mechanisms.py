"""Stage 3, the default: values of columns, each by a mechanism of its own.

The latent number of a column is x = √s·f(inputs) + √(1-s)·ε: a random function f of the row's state,
of earlier columns of the row, of columns of its parents and of what happened to its owner before,
standardised, and noise. So the share s of its variance that anybody can explain is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar

import numpy as np
import polars as pl

from models.synthetic.blueprint import Blueprint, ColumnKind, ColumnPlan
from models.synthetic.column_inputs import Input, Party, Sheet, sheet
from models.synthetic.column_values import ColumnValues
from models.synthetic.database import Columns, Mechanism, Place
from models.synthetic.draws import Choice, Draw, LogUniform, Uniform, sample_within
from models.synthetic.generator import moments
from models.synthetic.history import Aggregate
from models.synthetic.missing import MissingKind, MissingValues
from models.synthetic.random_functions import REFERENCE, Activation, random_function
from models.synthetic.rows import Floats, Indices, Rows
from models.synthetic.streams import Streams

NUMERIC = (ColumnKind.NUMERICAL, ColumnKind.INTEGER)
"""Kinds that an intervention can move."""

YEAR, MONTH, WEEK = 365.25, 30.44, 7.0
"""Days."""


@dataclass(frozen=True, slots=True)
class Mechanisms:
    """Settings of values; every field is drawn once a column, unless it says otherwise.

    Attributes:
        derived: The share of a table's columns that repeat what columns before them say: copied,
            summed, rounded, sorted into bins. Drawn once a table.
        derived_inputs: Columns that a derived one is computed from.
        derived_signal: The share of its variance that they explain.
        derivations: What the units of its function do, drawn once a unit.
        signal: The share of another column's variance that its inputs explain.
        state_inputs: Dimensions of the row's own state that a column is computed from.
        own_inputs: Earlier columns of the row.
        parent_inputs: Columns of the row's parents.
        history_inputs: Aggregates over earlier rows of the row's owner, or of an entity that another
            key points at. Activities only.
        time_inputs: The row's time: a trend or a season. Tables that show a time only.
        activations: What the units of a column's function do, drawn once a unit.
        aggregates: What is computed of earlier rows, drawn once an input.
        half_life: Of a decayed mean, as a share of the span, drawn once an input.
        values: What columns show.
        missing: What they lack.
    """

    derived: Draw[float] = Uniform(0.0, 0.8)
    derived_inputs: Draw[int] = Choice((1, 2, 3), (0.6, 0.3, 0.1))
    derived_signal: Draw[float] = Uniform(0.9, 1.0)
    derivations: Draw[Activation] = Choice(
        (Activation.LINEAR, Activation.RAMP, Activation.LOGARITHM), (0.7, 0.15, 0.15)
    )
    signal: Draw[float] = Uniform(0.4, 0.98)
    state_inputs: Draw[int] = Choice((0, 1, 2), (0.4, 0.45, 0.15))
    own_inputs: Draw[int] = Choice((0, 1, 2), (0.5, 0.35, 0.15))
    parent_inputs: Draw[int] = Choice((0, 1, 2, 3), (0.15, 0.35, 0.3, 0.2))
    history_inputs: Draw[int] = Choice((0, 1, 2), (0.2, 0.45, 0.35))
    time_inputs: Draw[int] = Choice((0, 1), (0.8, 0.2))
    activations: Draw[Activation] = Choice(
        tuple(Activation), (0.15, 0.15, 0.1, 0.1, 0.1, 0.25, 0.15)
    )
    aggregates: Draw[Aggregate] = Choice(tuple(Aggregate))
    half_life: Draw[float] = LogUniform(0.01, 0.3)
    values: ColumnValues = field(default_factory=ColumnValues)
    missing: MissingValues = field(default_factory=MissingValues)

    def __call__(
        self,
        blueprint: Blueprint,
        rows: Mapping[str, Rows],
        streams: Streams,
        interventions: Mapping[Place, float],
    ) -> Columns:
        """The values of every column, tables and columns in the blueprint's order.

        A row's values depend on nothing that came to be after it: without the rows after some
        moment, the others' values are the same.

        Raises:
            ValueError: An intervention names no numerical or integer column, or a setting was drawn
                that makes no sense.
        """
        _check(blueprint, interventions)
        sheets: dict[str, Sheet] = {}
        values: dict[str, dict[str, pl.Series]] = {}
        mechanisms: list[Mechanism] = []
        for plan in blueprint.tables:
            here = sheets[plan.name] = sheet(blueprint, plan, rows, streams.child(plan.name))
            writer = _Writer(self, blueprint, sheets, here, streams.child(plan.name))
            values[plan.name], made = writer.table(interventions)
            mechanisms += made
        return Columns(values, tuple(mechanisms))


@dataclass(frozen=True, slots=True)
class _Cause:
    """What a column is computed from, the share of its variance that this explains, and how."""

    inputs: Sequence[Input]
    signal: float
    activations: Draw[Activation]


@dataclass(slots=True)
class _Writer:
    """Computes the columns of one table, one after the other.

    Attributes:
        pasts: Whose past a row can know, by what happened to them.
    """

    settings: Mechanisms
    blueprint: Blueprint
    sheets: Mapping[str, Sheet]
    here: Sheet
    streams: Streams
    pasts: Sequence[tuple[Party, Sheet]] = field(init=False)

    def __post_init__(self) -> None:
        self.pasts = [
            (party, events)
            for party in self.here.parties
            for events in self.sheets.values()
            if events.past(party.table)
        ]

    def table(
        self, interventions: Mapping[Place, float]
    ) -> tuple[dict[str, pl.Series], list[Mechanism]]:
        """The columns by name, and how each came to be."""
        table = self.here.plan
        at = moments(self.blueprint, self.here.times[REFERENCE:])
        generator = self.streams.generator("missing")
        share = sample_within("columns", self.settings.missing.columns, generator, 0.0, 1.0)
        lacks = generator.random(len(table.columns)) < share
        generator = self.streams.generator("derived")
        share = sample_within("derived", self.settings.derived, generator, 0.0, 1.0)
        derived = generator.random(len(table.columns)) < share
        shown: dict[str, pl.Series] = {}
        made: list[Mechanism] = []
        for place, plan in enumerate(table.columns):
            added = interventions.get((table.name, plan.name), 0.0)
            values, mechanism = self._column(plan, bool(derived[place]), added, at)
            if plan.nullable and lacks[place]:
                lacking, cause = self._gaps(plan)
                values = values.set(pl.Series(lacking), None)
                mechanism = replace(mechanism, missing=cause)
            shown[plan.name] = values
            made.append(mechanism)
        return shown, made

    def _column(
        self, plan: ColumnPlan, derived: bool, added: float, at: Indices
    ) -> tuple[pl.Series, Mechanism]:
        """A column without gaps, and how it came to be; what others read of it is kept.

        Args:
            plan: The column.
            derived: Whether it is computed from columns before it alone; the first one never is.
            added: What an intervention adds to its latent number.
            at: The rows' times, int64 microseconds [rows].
        """
        streams = self.streams.child(plan.name)
        design, looks = streams.generator("design"), streams.generator("look")
        cause = self._derivation(design) if derived and self.here.carried else self._cause(design)
        look = self.settings.values.look(plan, self.here.plan.time_column is not None, looks)
        noises = streams.generator("noise").standard_normal((REFERENCE + len(at), look.latents))
        latents, shares = [], []
        for noise in noises.T:
            latent, share = _latent(cause, noise, design)
            latent[REFERENCE:] += added
            latents.append(latent)
            shares.append(share)
        shown = look(latents, at, looks)
        self.here.carried[plan.name] = shown.carried
        labels = tuple(dict.fromkeys(read.label for read in cause.inputs))
        mechanism = Mechanism(self.here.plan.name, plan.name, labels, float(np.mean(shares)))
        return shown.values, mechanism

    def _gaps(self, plan: ColumnPlan) -> tuple[np.ndarray, str | None]:
        """Which rows of a column lack a value, and what decides it."""
        generator = self.streams.child(plan.name).generator("missing")
        gaps = self.settings.missing.gaps(generator)
        cause = None
        if gaps.kind == MissingKind.NOT_AT_RANDOM:
            cause = plan.name
        elif gaps.kind == MissingKind.AT_RANDOM:
            # Only columns before it, so that another column at the table's end moves nothing.
            others = [column for column in self.here.carried if column != plan.name]
            cause = others[int(generator.integers(len(others)))] if others else None
        if cause is None:
            nothing = np.zeros(len(self.here.times) - REFERENCE)
            return gaps(nothing, generator), None
        return gaps(self.here.carried[cause][REFERENCE:], generator), f"own:{cause}"

    def _derivation(self, generator: np.random.Generator) -> _Cause:
        """What a column is computed from that repeats columns before it."""
        columns = _some(list(self.here.carried), self.settings.derived_inputs, generator)
        signal = sample_within("signal", self.settings.derived_signal, generator, 0.0, 1.0)
        return _Cause([self.here.own(name) for name in columns], signal, self.settings.derivations)

    def _cause(self, generator: np.random.Generator) -> _Cause:
        """What any other column is computed from."""
        inputs = self._inputs(generator)
        signal = sample_within("signal", self.settings.signal, generator, 0.0, 1.0)
        return _Cause(inputs, signal, self.settings.activations)

    def _inputs(self, generator: np.random.Generator) -> list[Input]:
        """What a column is computed from."""
        return [
            *self._states(generator),
            *self._own(generator),
            *self._of_parents(generator),
            *self._of_history(generator),
            *self._of_time(generator),
        ]

    def _states(self, generator: np.random.Generator) -> Iterator[Input]:
        dimensions = range(self.here.states.shape[1])
        for dimension in _some(dimensions, self.settings.state_inputs, generator):
            yield self.here.state(dimension)

    def _own(self, generator: np.random.Generator) -> Iterator[Input]:
        for column in _some(list(self.here.carried), self.settings.own_inputs, generator):
            yield self.here.own(column)

    def _of_parents(self, generator: np.random.Generator) -> Iterator[Input]:
        # A table without a time is there from the start: it knows no row that comes later.
        choice = [
            (key, column)
            for key in self.here.plan.keys
            if self.here.plan.time_column or not self.sheets[key.parent].plan.time_column
            for column in self.sheets[key.parent].carried
        ]
        for key, column in _some(choice, self.settings.parent_inputs, generator):
            absent = float(generator.standard_normal())
            yield self.here.parent(key.column, self.sheets[key.parent], column, absent)

    def _of_history(self, generator: np.random.Generator) -> Iterator[Input]:
        for party, events in _some(self.pasts, self.settings.history_inputs, generator):
            aggregate = self.settings.aggregates.sample(generator)
            half_life = sample_within("half_life", self.settings.half_life, generator, 1e-6, 1e6)
            columns = list(events.carried)
            column = columns[int(generator.integers(len(columns)))] if columns else None
            if column is None or aggregate == Aggregate.COUNT:
                column, aggregate = None, Aggregate.COUNT
            yield self.here.history(party, events, column, aggregate, half_life, generator)

    def _of_time(self, generator: np.random.Generator) -> Iterator[Input]:
        if not self.here.plan.time_column:
            return
        days = self.blueprint.span / timedelta(days=1)
        periods = [period / days for period in (YEAR, MONTH, WEEK) if period <= days]
        for period in _some([None, *periods], self.settings.time_inputs, generator):
            if period is None:
                yield self.here.trend()
            else:
                yield self.here.season(period, float(generator.random()))


def _latent(cause: _Cause, noise: Floats, design: np.random.Generator) -> tuple[Floats, float]:
    """A latent number of every row, and the share that the inputs explain of these rows'."""
    if not cause.inputs:
        return noise.copy(), 0.0
    signal = cause.signal
    function = random_function(len(cause.inputs), cause.activations, design)
    explained = np.sqrt(signal) * function([read.values for read in cause.inputs])
    of_rows = _variance(explained[REFERENCE:]) if len(noise) > REFERENCE else signal
    total = of_rows + 1 - signal
    return explained + np.sqrt(1 - signal) * noise, of_rows / total if total else 0.0


def _variance(values: Floats) -> float:
    return float(np.square(values - values.sum() / len(values)).sum()) / len(values)


Option = TypeVar("Option")


def _some(
    options: Sequence[Option], wanted: Draw[int], generator: np.random.Generator
) -> list[Option]:
    """As many different options as are drawn, or all there are."""
    count = min(max(wanted.sample(generator), 0), len(options))
    return [options[place] for place in generator.permutation(len(options))[:count].tolist()]


def _check(blueprint: Blueprint, interventions: Mapping[Place, float]) -> None:
    kinds = {(t.name, column.name): column.kind for t in blueprint.tables for column in t.columns}
    for place, added in interventions.items():
        name = f"intervention on table {place[0]!r}, column {place[1]!r}"
        if place not in kinds:
            there = [column for table, column in kinds if table == place[0]]
            found = (
                f"its columns: {there}"
                if there
                else f"tables: {[t.name for t in blueprint.tables]}"
            )
            raise ValueError(f"{name}: there is no such column ({found})")
        if kinds[place] not in NUMERIC:
            raise ValueError(
                f"{name}: it is {kinds[place]}; only numerical and integer columns can be moved"
            )
        if not np.isfinite(added):
            raise ValueError(f"{name}: give a finite number of standard deviations (got {added})")
