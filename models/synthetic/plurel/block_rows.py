"""Stage 2 of PluRel: keys by a hierarchical stochastic block model, times evenly spaced.

Kothapalli et al. 2026 (arXiv:2602.04029). Rows of parent and child stand in blocks of neighbouring
rows, nested in levels. A child row chooses a block of parents by the product, over the levels, of
how strongly its own blocks and the parents' are tied; inside a block every parent is as likely.
Because an activity's rows stand in the order of their times, its blocks are periods.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.synthetic.blueprint import Blueprint, KeyPlan, TableKind, TablePlan
from models.synthetic.draws import Draw, Integer, Uniform
from models.synthetic.plurel.batches import batch
from models.synthetic.rows import Floats, Indices, Rows
from models.synthetic.streams import Streams


@dataclass(frozen=True, slots=True)
class BlockRows:
    """Settings of PluRel's keys.

    Attributes:
        levels: Levels of a key's hierarchy of blocks.
        clusters: Blocks that a block is divided into, drawn once a level and side.
        tied: The weight of parents in a child's own block of a level.
        loose: The weight of any others, drawn once a pair of blocks.
    """

    levels: Draw[int] = Integer(1, 5)
    clusters: Draw[int] = Integer(1, 3)
    tied: float = 0.9
    loose: Draw[float] = Uniform(0.001, 0.002)

    def __call__(self, blueprint: Blueprint, streams: Streams) -> dict[str, Rows]:
        """Rows of every table: activities at even distances over the span, entities without times.

        A key's `null_share` of rows has no parent. A self-reference points at an earlier row, all
        of them equally likely, and the first row has none; an activity that points at another
        one points at a row that has happened. PluRel's own layouts have none of these.
        """
        rows: dict[str, Rows] = {}
        for table in blueprint.tables:
            activity = table.kind == TableKind.ACTIVITY
            times = np.linspace(0.0, 1.0, table.rows) if activity else None
            parents = {
                key.column: self._parents(table, key, times, rows, streams) for key in table.keys
            }
            rows[table.name] = Rows(times, parents, np.zeros((table.rows, 1, 1)))
        return rows

    def _parents(
        self,
        table: TablePlan,
        key: KeyPlan,
        times: Floats | None,
        rows: dict[str, Rows],
        streams: Streams,
    ) -> Indices:
        generator = streams.generator(table.name, key.column)
        missing = generator.random(table.rows) < key.null_share
        if key.parent == table.name:
            earlier = np.arange(table.rows)
            missing |= earlier == 0
            found = (generator.random(table.rows) * earlier).astype(np.int64)
        else:
            parent = rows[key.parent]
            found = self._by_blocks(len(parent), table.rows, generator)
            if parent.times is not None and times is not None:
                happened = np.searchsorted(parent.times, times, side="right")
                again = (generator.random(table.rows) * happened).astype(np.int64)
                found = np.where(found < happened, found, again)
        return np.where(missing, -1, found)

    def _by_blocks(self, parents: int, children: int, generator: np.random.Generator) -> Indices:
        levels = self.levels.sample(generator)
        above = batch(self.clusters, generator, levels).astype(np.int64)
        below = batch(self.clusters, generator, levels).astype(np.int64)
        weights: NDArray[np.floating] = np.ones((1, 1))
        for rows, columns in zip(above.tolist(), below.tolist(), strict=True):
            weights = np.kron(weights, self._ties(rows, columns, generator))
        starts, sizes = blocks(parents, len(weights))
        heights = np.cumsum(weights * sizes[:, None], axis=0).T
        heights /= heights[:, -1:]
        # One ascending line: the heights of the first block of children, those of the second, ...
        width = -(-children // len(heights))
        block = np.minimum(np.arange(children) // width, len(heights) - 1)
        line = (heights + np.arange(len(heights))[:, None]).ravel()
        chosen = np.searchsorted(line, block + generator.random(children), side="right")
        chosen = np.clip(chosen - block * len(starts), 0, len(starts) - 1)
        inside = (generator.random(children) * sizes[chosen]).astype(np.int64)
        return np.minimum(starts[chosen] + inside, parents - 1)

    def _ties(self, rows: int, columns: int, generator: np.random.Generator) -> Floats:
        found = batch(self.loose, generator, rows * columns).reshape(rows, columns)
        diagonal = np.arange(max(rows, columns))
        found[diagonal % rows, diagonal % columns] = self.tied
        return found


def blocks(rows: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row and number of rows of `count` blocks of neighbours, int64 [count] each.

    Blocks are equally large but for the last ones, which may be smaller or empty.
    """
    width = -(-rows // count)
    starts = np.minimum(np.arange(count) * width, rows)
    return starts, np.diff(starts, append=rows)
