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
from models.synthetic.column_inputs import Input, Sheet, sheet
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
        signal: The share of a column's variance that its inputs explain.
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

    signal: Draw[float] = Uniform(0.3, 0.97)
    state_inputs: Draw[int] = Choice((0, 1, 2), (0.1, 0.6, 0.3))
    own_inputs: Draw[int] = Choice((0, 1, 2), (0.3, 0.5, 0.2))
    parent_inputs: Draw[int] = Choice((0, 1, 2, 3), (0.2, 0.35, 0.3, 0.15))
    history_inputs: Draw[int] = Choice((0, 1, 2), (0.35, 0.4, 0.25))
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


@dataclass(slots=True)
class _Writer:
    """Computes the columns of one table, one after the other."""

    settings: Mechanisms
    blueprint: Blueprint
    sheets: Mapping[str, Sheet]
    here: Sheet
    streams: Streams

    def table(
        self, interventions: Mapping[Place, float]
    ) -> tuple[dict[str, pl.Series], list[Mechanism]]:
        """The columns by name, and how each came to be."""
        table = self.here.plan
        at = moments(self.blueprint, self.here.times[REFERENCE:])
        generator = self.streams.generator("missing")
        share = sample_within("columns", self.settings.missing.columns, generator, 0.0, 1.0)
        shown: dict[str, pl.Series] = {}
        made: list[Mechanism] = []
        for plan in table.columns:
            added = interventions.get((table.name, plan.name), 0.0)
            values, mechanism = self._column(plan, added, at)
            lacking, cause = self._gaps(plan, share)
            shown[plan.name] = values if lacking is None else values.set(pl.Series(lacking), None)
            made.append(replace(mechanism, missing=cause))
        return shown, made

    def _column(self, plan: ColumnPlan, added: float, at: Indices) -> tuple[pl.Series, Mechanism]:
        """A column without gaps, and how it came to be; what others read of it is kept.

        Args:
            plan: The column.
            added: What an intervention adds to its latent number.
            at: The rows' times, int64 microseconds [rows].
        """
        streams = self.streams.child(plan.name)
        design, looks = streams.generator("design"), streams.generator("look")
        inputs = self._inputs(design)
        look = self.settings.values.look(plan, self.here.plan.time_column is not None, looks)
        signal = sample_within("signal", self.settings.signal, design, 0.0, 1.0)
        noises = streams.generator("noise").standard_normal((REFERENCE + len(at), look.latents))
        latents, shares = [], []
        for noise in noises.T:
            latent, share = self._latent(inputs, signal, noise, design)
            latent[REFERENCE:] += added
            latents.append(latent)
            shares.append(share)
        shown = look(latents, at, looks)
        self.here.carried[plan.name] = shown.carried
        labels = tuple(dict.fromkeys(read.label for read in inputs))
        mechanism = Mechanism(self.here.plan.name, plan.name, labels, float(np.mean(shares)))
        return shown.values, mechanism

    def _gaps(self, plan: ColumnPlan, share: float) -> tuple[np.ndarray | None, str | None]:
        """Which rows lack a value (None for no row), and what decides it.

        Args:
            plan: The column.
            share: The probability that it lacks any.
        """
        generator = self.streams.child(plan.name).generator("missing")
        if not plan.nullable or generator.random() >= share:
            return None, None
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

    def _latent(
        self, inputs: Sequence[Input], signal: float, noise: Floats, design: np.random.Generator
    ) -> tuple[Floats, float]:
        """A latent number of every row, and the share that the inputs explain of these rows'."""
        if not inputs:
            return noise.copy(), 0.0
        function = random_function(len(inputs), self.settings.activations, design)
        explained = np.sqrt(signal) * function([read.values for read in inputs])
        of_rows = float(explained[REFERENCE:].var()) if len(noise) > REFERENCE else signal
        total = of_rows + 1 - signal
        return explained + np.sqrt(1 - signal) * noise, of_rows / total if total else 0.0

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
        choice = [
            (party, events)
            for party in self.here.parties
            for events in self.sheets.values()
            if events.past(party.table)
        ]
        for party, events in _some(choice, self.settings.history_inputs, generator):
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
