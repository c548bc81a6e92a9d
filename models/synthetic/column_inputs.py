"""What a column can be computed from, as numbers that are about standard normal.

Nothing here lies after the row: its state at its own time, earlier columns of it, columns of its
parents, and what happened to its owner strictly before. Every array begins with REFERENCE imaginary
rows, whose states, parents and histories are drawn independently of the database's rows; functions
of the inputs are standardised on them, so that no later row moves an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from models.synthetic.blueprint import Blueprint, TableKind, TablePlan
from models.synthetic.history import Aggregate, EarlierRows, earlier_rows
from models.synthetic.random_functions import REFERENCE
from models.synthetic.rows import Floats, Indices, Rows
from models.synthetic.streams import Streams


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a column.

    Attributes:
        label: What it is, as in `Mechanism.inputs`.
        values: float64 [REFERENCE + rows].
    """

    label: str
    values: Floats


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody whose past a row can know: its owner, or its parent along a key.

    Attributes:
        key: The key column; None for the owner.
        table: The party's table.
        planned: How many rows that table was planned to have.
        rows: Who it is, int64 [rows] (no imaginary ones); -1 for nobody.
    """

    key: str | None
    table: str
    planned: int
    rows: Indices


@dataclass(slots=True)
class Sheet:
    """A table as far as it is computed.

    Attributes:
        plan: The table.
        times: When each row came to be, float64 [REFERENCE + rows]; 0 where no column shows it.
        states: The rows' states at these times, float64 [REFERENCE + rows, dimensions].
        parents: By key column the parents' places in the parent table's arrays, int64
            [REFERENCE + rows]; -1 for none.
        parties: Whose past a row can know; none for entities, which hardly have any.
        carried: By column what other columns read of it, float64 [REFERENCE + rows].
    """

    plan: TablePlan
    times: Floats
    states: Floats
    parents: Mapping[str, Indices]
    parties: tuple[Party, ...]
    carried: dict[str, Floats] = field(default_factory=dict)
    _earlier: dict[tuple[str | None, str], EarlierRows] = field(default_factory=dict)

    def state(self, dimension: int) -> Input:
        """A dimension of the row's own state."""
        return Input("state", self.states[:, dimension])

    def own(self, column: str) -> Input:
        """A column of the row itself."""
        return Input(f"own:{column}", self.carried[column])

    def parent(self, key: str, parent: Sheet, column: str, absent: float) -> Input:
        """A column of the row's parent; a constant where there is none."""
        places = self.parents[key]
        values = np.where(places >= 0, parent.carried[column][places], absent)
        return Input(f"parent:{key}.{column}", values)

    def trend(self) -> Input:
        """The row's time, standard for uniform times."""
        return Input("time", (self.times - 0.5) * np.sqrt(12.0))

    def season(self, period: float, phase: float) -> Input:
        """A wave of the row's time, its period a share of the span, its phase a share of that."""
        turns = self.times / period + phase
        return Input("time", np.sqrt(2.0) * np.sin(2 * np.pi * turns))

    def past(self, table: str) -> Party | None:
        """The party of a table by which its rows' past is found here: the first one, if any."""
        return next((party for party in self.parties if party.table == table), None)

    def history(
        self,
        party: Party,
        events: Sheet,
        column: str | None,
        aggregate: Aggregate,
        half_life: float,
        generator: np.random.Generator,
    ) -> Input:
        """An aggregate of what happened to a party before the row.

        Args:
            party: One of `parties`.
            events: The table of what happened.
            column: Its column; None counts the rows.
            aggregate: What is computed of the rows before.
            half_life: Of a decayed mean, as a share of the span.
            generator: Draws the imaginary rows' values, and the constant that stands where nothing
                happened yet and the aggregate has no value.
        """
        earlier = self._earlier_rows(party, events)
        values = np.zeros(0) if column is None else events.carried[column][REFERENCE:]
        found = earlier.aggregate(aggregate, values, half_life)
        found = scaled(aggregate, found, events.plan.rows / party.planned)
        drawn = generator.standard_normal(1 + REFERENCE)
        found = np.where(np.isnan(found), drawn[0], found)
        place = f"{events.plan.name}.{column or events.plan.primary_key}.{aggregate}"
        along = "" if party.key is None else f"@{party.key}"
        return Input(f"history:{place}{along}", np.concatenate([drawn[1:], found]))

    def _earlier_rows(self, party: Party, events: Sheet) -> EarlierRows:
        place = (party.key, events.plan.name)
        if place not in self._earlier:
            theirs = events.past(party.table)
            if theirs is None:
                raise ValueError(f"table {events.plan.name!r} has no key to {party.table!r}")
            self._earlier[place] = earlier_rows(
                theirs.rows, events.times[REFERENCE:], party.rows, self.times[REFERENCE:]
            )
        return self._earlier[place]


def scaled(aggregate: Aggregate, found: Floats, expected: float) -> Floats:
    """Aggregates of about standard normal values, brought to about mean 0 and deviation 1.

    Constants of the plan do it, not the values themselves, which later rows would move.

    Args:
        aggregate: What they are.
        found: float64 [rows].
        expected: How many rows an owner was planned to have.
    """
    match aggregate:
        case Aggregate.COUNT:
            return (np.log1p(found) - np.log1p(expected)) / 1.25
        case Aggregate.SUM:
            return np.arcsinh(found / np.sqrt(1 + expected))
        case Aggregate.MAX:
            # The maximum of n normal numbers grows about as √(2·ln n).
            return (found - 0.6 * np.sqrt(2 * np.log1p(expected))) / 0.9
        case Aggregate.LAST:
            return found
        case _:
            return 1.5 * found


def sheet(
    blueprint: Blueprint, plan: TablePlan, rows: Mapping[str, Rows], streams: Streams
) -> Sheet:
    """A table without columns yet.

    Args:
        blueprint: The database.
        plan: One of its tables.
        rows: The rows of all tables.
        streams: Of this table.
    """
    mine = rows[plan.name]
    generator = streams.generator("reference")
    imaginary = np.zeros(REFERENCE)
    real = np.zeros(len(mine))
    if plan.time_column:
        # Some of the entities have been there from the start.
        first = 0.0 if plan.kind == TableKind.ACTIVITY else -0.5
        imaginary = np.clip(generator.uniform(first, 1.0, REFERENCE), 0.0, 1.0)
        real = np.clip(mine.times_or(0.0), 0.0, 1.0)
    states = mine.states_at(np.arange(len(mine)), real)
    imaginary_states = generator.standard_normal((REFERENCE, states.shape[1]))
    parents = {}
    for key in plan.keys:
        generator = streams.generator(key.column, "reference")
        places = generator.integers(0, REFERENCE, REFERENCE)
        places[generator.random(REFERENCE) < key.null_share] = -1
        found = mine.parents[key.column]
        parents[key.column] = np.concatenate([places, np.where(found >= 0, found + REFERENCE, -1)])
    return Sheet(
        plan,
        np.concatenate([imaginary, real]),
        np.concatenate([imaginary_states, states]),
        parents,
        tuple(_parties(blueprint, plan, rows)),
    )


def _parties(blueprint: Blueprint, plan: TablePlan, rows: Mapping[str, Rows]) -> list[Party]:
    """The owner and the entities that the other keys of an activity table point at."""
    parties = []
    for key in plan.keys if plan.kind == TableKind.ACTIVITY else ():
        found, parent = rows[plan.name].parents[key.column], blueprint.table(key.parent)
        if key == plan.owner and parent != plan:
            # An item's owner is an order: what happened before happened to the order's customer.
            while parent.owner is not None and parent.owner.parent != parent.name:
                above = rows[parent.name].parents[parent.owner.column]
                # The -1 of nobody reads the -1 at the end.
                found = np.append(above, -1)[found]
                parent = blueprint.table(parent.owner.parent)
            parties.append(Party(None, parent.name, parent.rows, found))
        elif parent.kind == TableKind.ENTITY:
            parties.append(Party(key.column, parent.name, parent.rows, found))
    return parties
