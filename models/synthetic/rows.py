"""What the second stage makes: rows with times, parents and latent states, but without columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table, in the order of their times.

    Attributes:
        times: When each row came to be, as a share of the database's span, ascending, float64
            [rows]; 0 or less for what was there at the start. None where the table has no time.
        parents: By key column the row number of the parent, int64 [rows]; -1 for none.
        states: Latent states, float64 [rows, knots, dimensions]: an activity has one knot; an
            entity's state moves in straight lines from knot to knot, which lie evenly from 0 to 1.
            Never emitted as a column.
        ends: When each row ceases to be, as a share of the span, float64 [rows], infinite for what
            outlives it; None for rows that do not end. Never emitted as a column.
    """

    times: Floats | None
    parents: Mapping[str, Indices]
    states: Floats
    ends: Floats | None = None

    def __len__(self) -> int:
        """The number of rows."""
        return int(self.states.shape[0])

    def states_at(self, rows: Indices, times: Floats) -> Floats:
        """The states of some rows, each at its time: float64 [len(rows), dimensions]."""
        knots = self.states.shape[1]
        if knots == 1:
            return self.states[rows, 0]
        place = np.clip(times, 0.0, 1.0) * (knots - 1)
        before = np.minimum(place.astype(np.int64), knots - 2)
        share = (place - before)[:, None]
        return self.states[rows, before] * (1 - share) + self.states[rows, before + 1] * share

    def times_or(self, value: float) -> Floats:
        """The times, or a constant where there are none."""
        return np.full(len(self), value) if self.times is None else self.times
