"""Stage 1 of PluRel: tables on a random directed graph (Kothapalli et al. 2026, arXiv:2602.04029)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from models.synthetic.blueprint import (
    Blueprint,
    ColumnKind,
    ColumnPlan,
    KeyPlan,
    TableKind,
    TablePlan,
    check_split,
)
from models.synthetic.draws import Choice, Draw, Integer, PowerLawInteger
from models.synthetic.plurel.graphs import (
    BarabasiAlbert,
    Edges,
    Graph,
    ReverseRandomTree,
    WattsStrogatz,
)
from models.synthetic.streams import Streams

SHORTEST_DAYS = 10
"""A span has room for validation and test."""


@dataclass(frozen=True, slots=True)
class PluRelLayout:
    """Tables and keys as nodes and edges of a random graph: an edge leads from parent to child.

    Tables that nothing points at are activities, all others entities without a time. A table has
    one key a parent, never missing.

    Attributes:
        graphs: The family of the graph.
        tables: Tables of the database.
        entity_rows: Rows of an entity table.
        activity_rows: Rows of an activity table.
        columns: Columns of a table besides keys and time.
        kinds: What a column holds.
        categories: Values of a categorical column.
        first: The earliest day that a database may begin on.
        last: The latest one that it may end on. Two days in between, all pairs equally likely,
            bound a database's span; they are ten days apart or more.
        validation: Where validation begins, as a share of the span's days.
        test: Where the test begins.
    """

    graphs: Draw[Graph] = Choice((BarabasiAlbert(), ReverseRandomTree(), WattsStrogatz()))
    tables: Draw[int] = Integer(3, 20)
    entity_rows: Draw[int] = Integer(500, 1000)
    activity_rows: Draw[int] = Integer(2000, 5000)
    columns: Draw[int] = PowerLawInteger(3, 40)
    kinds: Draw[ColumnKind] = Choice((ColumnKind.BOOLEAN, ColumnKind.NUMERICAL))
    categories: Draw[int] = Integer(2, 10)
    first: datetime = datetime(1990, 1, 1)
    last: datetime = datetime(2025, 1, 1)
    validation: float = 0.8
    test: float = 0.9

    def __post_init__(self) -> None:
        check_split(self.validation, self.test)
        if (self.last - self.first).days < SHORTEST_DAYS:
            raise ValueError(
                f"from first to last there must be {SHORTEST_DAYS} days or more (got {self.first} "
                f"and {self.last})"
            )

    def __call__(self, streams: Streams) -> Blueprint:
        """A blueprint of tables `table_1`, `table_2` and so on, parents before children."""
        generator = streams.generator("database")
        count = max(2, self.tables.sample(generator))
        edges = self.graphs.sample(generator)(count, generator)
        start, end = self._span(generator)
        days = (end - start).days + 1
        return Blueprint(
            f"plurel_{streams.seed}",
            tuple(self._table(number, edges, streams) for number in range(count)),
            start,
            end,
            start + timedelta(days=int(days * self.validation)),
            start + timedelta(days=int(days * self.test)),
        )

    def _span(self, generator: np.random.Generator) -> tuple[datetime, datetime]:
        total = (self.last - self.first).days
        one, other = sorted(generator.choice(total, 2, replace=False).tolist())
        other = max(other, min(one + SHORTEST_DAYS, total))
        one = min(one, other - SHORTEST_DAYS)
        return self.first + timedelta(days=one), self.first + timedelta(days=other)

    def _table(self, number: int, edges: Edges, streams: Streams) -> TablePlan:
        name = _name(number)
        generator = streams.generator(name)
        activity = number not in edges[:, 0]
        parents = edges[edges[:, 1] == number, 0].tolist()
        return TablePlan(
            name,
            TableKind.ACTIVITY if activity else TableKind.ENTITY,
            (self.activity_rows if activity else self.entity_rows).sample(generator),
            f"{name}_id",
            tuple(KeyPlan(f"{_name(parent)}_id", _name(parent)) for parent in parents),
            self._columns(generator),
            "date" if activity else None,
        )

    def _columns(self, generator: np.random.Generator) -> tuple[ColumnPlan, ...]:
        found = []
        for number in range(1, self.columns.sample(generator) + 1):
            kind = self.kinds.sample(generator)
            values = self.categories.sample(generator) if kind == ColumnKind.CATEGORICAL else 0
            categories = tuple(f"value_{value + 1}" for value in range(values))
            # Only numbers are ever missing.
            nullable = kind == ColumnKind.NUMERICAL
            found.append(ColumnPlan(f"feature_{number}", kind, categories, nullable))
        return tuple(found)


def _name(number: int) -> str:
    return f"table_{number + 1}"
