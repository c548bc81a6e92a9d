"""The rows of a task-vector table: which entities are looked at from which cutoffs.

An entity belongs to a cutoff from its first event on, or its own event time where its table has
one; nothing after the cutoff decides. Those without an event in the first tile are kept as a
sample with inverse-probability weights, so that they do not drown the others. That the sample
depends on what happens after the cutoff does no harm: the weights undo it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from models.aggregation.paths import Hop
from models.database.profile import parquet_relation
from models.database.quoting import literal, quote
from models.database.schema import RelationalSchema
from models.tve.timeline import Timeline

KEYS = ("cutoff_time", "entity")
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many dormant rows are kept per active row of the same cutoff; None keeps all."""

    dormant_per_active: float | None = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dormant_per_active is not None and self.dormant_per_active < 0:
            raise ValueError(
                f"dormant_per_active must not be negative (got {self.dormant_per_active})"
            )


class Events:
    """The events of an entity table's rows: entity and time, from all tables that have them.

    Args:
        schema: The schema with event times (`with_inherited`).
        entity_table: The table of the entities.
        hops: The steps to the event tables (`event_hops`).
        tables: Parquet of each table.
        as_of: Later events are not read.
        threads: DuckDB's threads.
        memory_limit: Such as "4GB"; past it DuckDB spills to disk.
    """

    def __init__(
        self,
        schema: RelationalSchema,
        entity_table: str,
        hops: Sequence[Hop],
        tables: Mapping[str, Path],
        as_of: datetime,
        threads: int = 1,
        memory_limit: str | None = None,
    ) -> None:
        memory = {} if memory_limit is None else {"memory_limit": memory_limit}
        self._connection = duckdb.connect(config={"threads": threads, **memory})
        self._newest = [
            _newest(tables[table.name], table.time_column)
            for table in schema.tables
            if table.time_column is not None
        ]
        own = schema.table(entity_table)
        relation = parquet_relation(tables[entity_table])
        born = f"CAST({quote(own.time_column)} AS TIMESTAMP)" if own.time_column else "NULL"
        self._has_own_time = own.time_column is not None
        self._connection.execute(
            f"CREATE TABLE entities AS SELECT {quote(own.primary_key[0])} AS entity, "
            f"CAST({born} AS TIMESTAMP) AS born FROM {relation}"
        )
        parts = [
            f"SELECT event.{quote(hop.foreign_key.columns[0])} AS entity, "
            f"CAST(event.{quote(schema.table(hop.target).time_column or '')} AS TIMESTAMP) AS time "
            f"FROM {parquet_relation(tables[hop.target])} AS event"
            for hop in hops
        ]
        self._connection.execute(
            f"CREATE TABLE events AS SELECT entity, time FROM ({' UNION ALL '.join(parts)}) "
            f"SEMI JOIN entities USING (entity) WHERE time <= {_timestamp(as_of)}"
        )

    @property
    def first(self) -> datetime | None:
        """The time of the first event, None where there is none up to as_of."""
        return self._value("SELECT min(time) FROM events")

    @property
    def newest(self) -> datetime | None:
        """The time of the newest row of the database, be it after as_of."""
        newest = [self._value(query) for query in self._newest]
        return max((time for time in newest if time is not None), default=None)

    @property
    def median_gap(self) -> timedelta | None:
        """The median time between successive events of an entity, None without any."""
        microseconds = self._value(
            "SELECT median(gap) FROM (SELECT epoch_us(time) - epoch_us(lag(time) OVER "
            "(PARTITION BY entity ORDER BY time)) AS gap FROM events) WHERE gap > 0"
        )
        return None if microseconds is None else int(microseconds) * MICROSECOND

    def universe(
        self, timeline: Timeline, sampling: Sampling, *, includes_newborn: bool = False
    ) -> pl.DataFrame:
        """The rows by cutoff and entity: cutoff_time, entity, split, active and weight.

        `active` says whether the entity has an event in the tile after the cutoff. `weight`
        (Float64) is 1 for active rows and (dormant rows / kept dormant rows) of the cutoff for the
        others. At least one dormant row of a cutoff is kept.

        Args:
            timeline: The grid of cutoffs.
            sampling: How dormant rows are sampled: those with the smallest digests of entity,
                cutoff and seed, per cutoff, so that a later as_of changes no earlier cutoff.
            includes_newborn: Take also entities whose first event lies in the tile after the
                cutoff, and let own event times count for nothing (as the paper's reference does).
        """
        grid = timeline.grid(self.first or timeline.known_until)
        self._connection.register("grid_frame", grid.to_arrow())
        per_active = sampling.dormant_per_active
        kept = "rows" if per_active is None else f"greatest(1, ceil({per_active} * active_rows))"
        query = _UNIVERSE.format(
            born=self._born(includes_newborn),
            slack=timeline.tile // MICROSECOND if includes_newborn else 0,
            tile=timeline.tile // MICROSECOND,
            anchor=_timestamp(timeline.anchor),
            seed=int(sampling.seed),
            kept=kept,
        )
        frame = self._connection.execute(query).pl()
        self._connection.unregister("grid_frame")
        return frame.with_columns(pl.col("cutoff_time").cast(pl.Datetime("us")))

    def close(self) -> None:
        """Release the connection."""
        self._connection.close()

    def _born(self, from_events: bool) -> str:
        if self._has_own_time and not from_events:
            return "SELECT entity, born FROM entities WHERE born IS NOT NULL"
        return "SELECT entity, min(time) AS born FROM events GROUP BY entity"

    def _value(self, query: str) -> Any:
        row = self._connection.execute(query).fetchone()
        return None if row is None else row[0]


# An event belongs to the one tile (cutoff, cutoff + tile] that it lies in, hence an equality join.
_UNIVERSE = """
WITH grid AS (
    SELECT CAST(cutoff_time AS TIMESTAMP) AS cutoff_time, split FROM grid_frame
),
born AS ({born}),
active AS (
    SELECT DISTINCT
        entity,
        CAST(floor((epoch_us(time) - epoch_us({anchor}) - 1) / {tile}.0) AS BIGINT) AS tile
    FROM events
),
dense AS (
    SELECT
        grid.cutoff_time,
        born.entity,
        grid.split,
        (epoch_us(grid.cutoff_time) - epoch_us({anchor})) // {tile} AS tile
    FROM grid JOIN born ON epoch_us(born.born) <= epoch_us(grid.cutoff_time) + {slack}
),
flagged AS (
    SELECT dense.*, active.entity IS NOT NULL AS active
    FROM dense LEFT JOIN active ON active.entity = dense.entity AND active.tile = dense.tile
),
ranked AS (
    SELECT
        *,
        count(*) FILTER (active) OVER (PARTITION BY cutoff_time) AS active_rows,
        count(*) OVER (PARTITION BY cutoff_time, active) AS rows,
        row_number() OVER (
            PARTITION BY cutoff_time, active
            ORDER BY
                md5_number_lower(concat_ws('|', entity, epoch_us(cutoff_time), {seed})), entity
        ) AS rank
    FROM flagged
)
SELECT
    cutoff_time,
    entity,
    split,
    active,
    CASE WHEN active THEN 1.0 ELSE rows / least(rows, {kept}) END AS weight
FROM ranked
WHERE active OR rank <= {kept}
ORDER BY cutoff_time, entity
"""


def _newest(path: Path, time_column: str) -> str:
    return f"SELECT max(CAST({quote(time_column)} AS TIMESTAMP)) FROM {parquet_relation(path)}"


def _timestamp(moment: datetime) -> str:
    return f"TIMESTAMP {literal(moment.isoformat(sep=' '))}"
