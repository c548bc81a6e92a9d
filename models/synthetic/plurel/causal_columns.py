"""Stage 3 of PluRel: a structural causal model a table, and what becomes of its columns.

Kothapalli et al. 2026 (arXiv:2602.04029), and the `plurel` package. What stands in a row reaches
the rows that point at it, never the ones it points at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import polars as pl

from models.synthetic.blueprint import Blueprint, ColumnKind, TableKind, TablePlan
from models.synthetic.database import Columns, Mechanism, Place
from models.synthetic.draws import Choice, Draw
from models.synthetic.plurel.causal_graph import GraphSettings, draw_graph
from models.synthetic.plurel.causal_model import CausalModel, Computed, ModelSettings
from models.synthetic.plurel.encoders import Cells, cells_of
from models.synthetic.plurel.finishing import NUMBERS, Finishing, categories_of
from models.synthetic.plurel.parents import ParentMessages, Pointer
from models.synthetic.plurel.sources import Family
from models.synthetic.rows import Indices, Rows
from models.synthetic.streams import Streams

WITHOUT = (ColumnKind.TEXT, ColumnKind.TIMESTAMP)


class Mode(StrEnum):
    """Where categories come from.

    Eager: nodes are categorical inside the causal model. Lazy: all nodes are numerical, and a
    categorical column is cut at some of its own values in the end.
    """

    EAGER = "eager"
    LAZY = "lazy"


@dataclass(frozen=True, slots=True)
class CausalColumns:
    """Settings of PluRel's columns.

    Attributes:
        graphs: The graph of a table's causal model.
        models: Its functions.
        modes: Where a table's categories come from.
        finishing: What becomes of columns after it.
        keep_constant: Whether boolean columns stay that came out with one value only; they are
            dropped otherwise.
    """

    graphs: GraphSettings = field(default_factory=GraphSettings)
    models: ModelSettings = field(default_factory=ModelSettings)
    modes: Draw[Mode] = Choice(tuple(Mode))
    finishing: Finishing = field(default_factory=Finishing)
    keep_constant: bool = False

    def __call__(
        self,
        blueprint: Blueprint,
        rows: Mapping[str, Rows],
        streams: Streams,
        interventions: Mapping[Place, float],
    ) -> Columns:
        """The columns of every table.

        A boolean column is a category of several that is not the first one. An integer column is
        a number in tenths of its standard deviation. Self-references carry nothing.

        Raises:
            ValueError: The blueprint has columns of text or of timestamps, which PluRel does not
                make, or an intervention names no column of numbers.
        """
        _check_kinds(blueprint)
        _check_interventions(blueprint, interventions)
        made: dict[str, _Table] = {}
        for plan in blueprint.tables:
            pointers = [
                Pointer(key.column, rows[plan.name].parents[key.column], made[key.parent].cells())
                for key in plan.keys
                if key.parent != plan.name
            ]
            shifts = {
                number: interventions[plan.name, column.name]
                for number, column in enumerate(plan.columns)
                if (plan.name, column.name) in interventions
            }
            own = streams.child(plan.name)
            made[plan.name] = self._table(plan, len(rows[plan.name]), pointers, shifts, own)
        values = {name: self._series(table, streams.child(name)) for name, table in made.items()}
        dropped = [] if self.keep_constant else list(_constant(blueprint, values))
        mechanisms = [m for table in made.values() for m in table.mechanisms(made)]
        return Columns(
            {
                table: {c: s for c, s in columns.items() if (table, c) not in dropped}
                for table, columns in values.items()
            },
            tuple(m for m in mechanisms if (m.table, m.column) not in dropped),
            tuple(dropped),
        )

    def _table(
        self,
        plan: TablePlan,
        rows: int,
        pointers: Sequence[Pointer],
        shifts: Mapping[int, float],
        streams: Streams,
    ) -> _Table:
        if not plan.columns:
            return _Table(plan, None, [], [], {}, self.models.cells)
        generator = streams.generator("structure")
        eager = self.modes.sample(generator) == Mode.EAGER
        categories = np.array(
            [
                0
                if column.kind in NUMBERS
                else len(column.categories) or self.graphs.categories.sample(generator)
                for column in plan.columns
            ]
        )
        graph = draw_graph(categories, eager, self.graphs, generator)
        families = {
            node: self.models.sources.families.sample(generator)
            for node, causes in enumerate(graph.causes)
            if not len(causes)
        }
        messages = ParentMessages.draw(pointers, self.models.networks, streams)
        activity = plan.kind == TableKind.ACTIVITY
        model = CausalModel(graph, families, rows, activity, messages, self.models, streams)
        computed = model.columns(shifts)
        codes: dict[int, Indices] = {}
        for number in np.flatnonzero(categories).tolist():
            values = computed[number].values
            if eager:
                codes[number] = values.astype(np.int64)
            else:
                cutter = streams.generator("cut", plan.columns[number].name)
                numbers = values.astype(np.float64)
                codes[number] = self.finishing.cut(numbers, int(categories[number]), cutter)
        named = categories.tolist() if eager else [0] * len(categories)
        return _Table(plan, model, computed, named, codes, self.models.cells)

    def _series(self, table: _Table, streams: Streams) -> dict[str, pl.Series]:
        null_share = self.finishing.null_share.sample(streams.generator("missing"))
        found = {}
        for number, column in enumerate(table.plan.columns):
            if number in table.codes:
                found[column.name] = categories_of(column, table.codes[number])
            else:
                node = table.computed[number]
                generator = streams.generator("finishing", column.name)
                shown, before = (v.astype(np.float64) for v in (node.values, node.before))
                found[column.name] = self.finishing.numbers(
                    column, shown, before, null_share, generator
                )
        return found


@dataclass(frozen=True, slots=True)
class _Table:
    """A table whose causal model has been computed; `categories` are 0 where a child reads numbers."""

    plan: TablePlan
    model: CausalModel | None
    computed: Sequence[Computed]
    categories: Sequence[int]
    codes: Mapping[int, Indices]
    most_cells: int

    def cells(self) -> list[Cells]:
        """The columns as a child's encoders read them, before transforms and gaps."""
        found = []
        for number, node in enumerate(self.computed):
            if self.categories[number]:
                found.append(Cells(self.codes[number], None, self.categories[number]))
            else:
                values = self.codes.get(number, node.values).astype(np.float64)
                found.append(cells_of(values, self.most_cells))
        return found

    def mechanisms(self, tables: Mapping[str, _Table]) -> list[Mechanism]:
        """How the columns came to be."""
        if self.model is None:
            return []
        parents = [
            f"parent:{key.column}.{column.name}"
            for key in self.plan.keys
            if key.parent != self.plan.name
            for column in tables[key.parent].plan.columns
        ]
        graph, families = self.model.graph, self.model.families
        series = np.zeros(len(graph.causes), dtype=bool)
        if self.model.activity:
            series[[node for node, family in families.items() if family == Family.SERIES]] = True
        names, found = self.plan.column_names, []
        for number, name in enumerate(names):
            columns, timed = graph.observed_causes(number, series)
            inputs = [f"own:{names[column]}" for column in columns]
            # Every node that is not a source reads all parents.
            inputs += parents if int(graph.columns[number]) not in families else []
            inputs += ["time"] if timed else []
            signal = self.computed[number].signal
            found.append(Mechanism(self.plan.name, name, tuple(inputs), signal))
        return found


def _constant(blueprint: Blueprint, values: Mapping[str, Mapping[str, pl.Series]]) -> list[Place]:
    return [
        (table.name, column.name)
        for table in blueprint.tables
        for column in table.columns
        if column.kind == ColumnKind.BOOLEAN and values[table.name][column.name].n_unique() < 2
    ]


def _check_kinds(blueprint: Blueprint) -> None:
    if found := [
        f"{table.name}.{column.name} ({column.kind})"
        for table in blueprint.tables
        for column in table.columns
        if column.kind in WITHOUT
    ]:
        raise ValueError(
            f"PluRel makes numbers, booleans and categories only, not {', '.join(found[:5])}"
            f"{' and others' if len(found) > 5 else ''}: leave these columns out of the layout, or "
            "take another third stage"
        )


def _check_interventions(blueprint: Blueprint, interventions: Mapping[Place, float]) -> None:
    numbers = {
        (table.name, column.name)
        for table in blueprint.tables
        for column in table.columns
        if column.kind in NUMBERS
    }
    if unknown := [place for place in interventions if place not in numbers]:
        raise ValueError(
            f"interventions move columns of numbers, which {'.'.join(unknown[0])} is not; "
            f"there are: {sorted('.'.join(place) for place in numbers)[:10]}"
        )
