"""What the rows that a table's keys point at contribute to its causal model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.synthetic.plurel.aggregations import Aggregation, aggregator, combine, of_nothing
from models.synthetic.plurel.encoders import Cells, draw_encoders
from models.synthetic.plurel.networks import NetworkSettings
from models.synthetic.rows import Floats, Indices
from models.synthetic.streams import Streams


@dataclass(frozen=True, slots=True)
class Pointer:
    """A key of the table.

    Attributes:
        column: Its name.
        rows: The row of the parent that each row points at, int64 [rows]; -1 for none.
        cells: The parent's columns.
    """

    column: str
    rows: Indices
    cells: Sequence[Cells]


@dataclass(slots=True)
class ParentMessages:
    """Embeddings of the parents' columns: an encoder a column and key, shared by all nodes.

    Attributes:
        pointers: The keys; parents without columns contribute nothing.
        tables: Embeddings of each key's columns by cell.
    """

    pointers: Sequence[Pointer]
    tables: Sequence[Sequence[Floats]]
    _known: dict[Aggregation, list[Floats]] = field(default_factory=dict)

    @classmethod
    def draw(
        cls, pointers: Sequence[Pointer], settings: NetworkSettings, streams: Streams
    ) -> ParentMessages:
        """Encoders from the streams of a table."""
        pointers = [pointer for pointer in pointers if pointer.cells]
        tables = []
        for pointer in pointers:
            generator = streams.generator("parent", pointer.column)
            categories = [cells.categories for cells in pointer.cells]
            encoders = draw_encoders([categories], settings, generator)
            tables.append(encoders(0, pointer.cells, np.ones(len(categories))))
        return cls(pointers, tables)

    def under(self, how: Aggregation) -> list[Floats]:
        """All of them as one, float64 [rows, WIDTH], aggregated in that way; none without keys."""
        if how not in self._known:
            self._known[how] = self._aggregated(how)
        return self._known[how]

    def _aggregated(self, how: Aggregation) -> list[Floats]:
        found: list[Floats] = []
        for pointer, tables in zip(self.pointers, self.tables, strict=True):
            weight = 1 / len(tables) if how == Aggregation.SUM else 1.0
            weighted = [weight * table for table in tables]
            # At the parents' rows first, of which there are fewer.
            places = [cells.place for cells in pointer.cells]
            message = np.take(
                aggregator(how, weighted, places, [])(slice(None)), pointer.rows, axis=0
            )
            message[pointer.rows < 0] = of_nothing(how)
            found = [combine(how, found[0], message)] if found else [message]
        return found
