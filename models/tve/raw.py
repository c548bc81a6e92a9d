"""The raw aggregates behind task vectors, per horizon, reusing those of an earlier date."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from models.aggregation.engine import compute_features
from models.aggregation.features import Feature
from models.database.schema import RelationalSchema, SemanticType
from models.tve.timeline import Timeline
from models.tve.universe import KEYS

ON = list(KEYS)
_TYPES = {SemanticType.CATEGORICAL: pl.String, SemanticType.BOOLEAN: pl.Boolean}


@dataclass(frozen=True, slots=True)
class Known:
    """The aggregates of an earlier date.

    `frame` has cutoff_time, entity, split and a column per feature, `features` their definitions
    by name (`Feature.to_plain`), `timeline` says which of its windows were closed.
    """

    frame: pl.DataFrame
    features: Mapping[str, Mapping[str, Any]]
    timeline: Timeline

    def has(self, feature: Feature) -> bool:
        """Whether the feature was computed, with the same definition."""
        return self.features.get(feature.name) == feature.to_plain()

    def of(self, features: Sequence[Feature], horizon: int) -> pl.DataFrame:
        """Their values at the rows whose windows were closed."""
        rows = self.frame.filter(self.timeline.is_complete(horizon))
        return rows.select(*ON, *(feature.name for feature in features))


@dataclass(frozen=True, slots=True)
class Computation:
    """Evaluates features at rows of a universe; `computed` counts the cells that were not reused."""

    schema: RelationalSchema
    entity_table: str
    tables: Mapping[str, Path]
    threads: int = 1
    memory_limit: str | None = None
    progress: Callable[[str], None] = lambda line: None

    def raw_values(
        self,
        universe: pl.DataFrame,
        features: Mapping[int, Sequence[Feature]],
        timeline: Timeline,
        known: Known | None = None,
    ) -> tuple[pl.DataFrame, int]:
        """The universe with a column per feature, and the number of cells computed anew.

        A cell is NULL where the feature is, and where its window is not closed within the row's
        split: such windows are not looked into.

        Args:
            universe: Rows by cutoff_time and entity with their split.
            features: By horizon in tiles, all over the window of that length.
            timeline: The tile, and what is known by when.
            known: Values of an earlier date, taken over where their windows were closed then.
        """
        frame, computed = universe, 0
        for horizon, wanted in features.items():
            rows = universe.filter(timeline.is_complete(horizon)).select(ON)
            old = [feature for feature in wanted if known is not None and known.has(feature)]
            new = [feature for feature in wanted if feature not in old]
            parts = []
            if old and known is not None:
                # A row may be gone from the windows closed now: it was for validation before.
                taken = rows.join(known.of(old, horizon), on=ON, how="inner")
                missing = rows.join(taken, on=ON, how="anti")
                parts.append(pl.concat([taken, self._values(missing, old, horizon)]))
                computed += missing.height * len(old)
            if new:
                parts.append(self._values(rows, new, horizon))
                computed += rows.height * len(new)
            for part in parts:
                frame = frame.join(part, on=ON, how="left", maintain_order="left")
        names = [feature.name for wanted in features.values() for feature in wanted]
        return frame.select(*universe.columns, *names), computed

    def _values(
        self, rows: pl.DataFrame, features: Sequence[Feature], horizon: int
    ) -> pl.DataFrame:
        """The features at rows (cutoff_time, entity)."""
        if rows.is_empty():
            return rows.with_columns(
                pl.lit(None, _TYPES.get(feature.semantic_type, pl.Float64)).alias(feature.name)
                for feature in features
            )
        names = [feature.name for feature in features]

        def report(done: int, total: int) -> None:
            if done == total or done % max(total // 4, 1) == 0:
                self.progress(
                    f"horizon of {horizon} tiles: {done} of {total} queries over "
                    f"{rows.height:,} rows"
                )

        seeds = (
            rows.sort(ON).with_row_index("row_id").with_columns(visible_until=pl.col("cutoff_time"))
        )
        found = compute_features(
            self.schema,
            features,
            self.tables,
            seeds,
            entity_table=self.entity_table,
            threads=self.threads,
            memory_limit=self.memory_limit,
            progress=report,
            allow_future=True,
        )
        return pl.concat([seeds.select(ON), found.select(names)], how="horizontal")
