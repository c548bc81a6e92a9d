"""Task-vector tables: built from scratch or from those of an earlier date, and read."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.aggregation.features import Feature
from models.artifacts.recipe import canonical_json
from models.database.schema import RelationalSchema, SemanticType, Task, to_plain
from models.database.semantic_types import complete_schema
from models.tve.history import history_digests
from models.tve.inheritance import Inherited, inherited_columns, with_inherited
from models.tve.paths import TargetPath, event_hops, target_paths
from models.tve.raw import Computation, Known
from models.tve.reference import ReferenceVectors, reference_vectors
from models.tve.tables import (
    Indicator,
    prepare_tables,
    with_indicators,
)
from models.tve.targets import enumerate_targets
from models.tve.timeline import (
    TRAIN,
    Timeline,
    rounded_tile,
    tasks_on,
    timeline_from_plain,
    timeline_of,
)
from models.tve.typed import TypedVectors, censored_shares, default_horizons
from models.tve.universe import Events, Sampling
from models.tve.vocabulary import frequent_values

VECTORS = "task_vectors.parquet"
RAW = "raw.parquet"
MANIFEST = "manifest.json"
ROW_COLUMNS = ("cutoff_time", "entity", "split", "active", "weight")


class Mode(StrEnum):
    """TYPED: masked and censored targets of several kinds. REFERENCE: the paper's construction."""

    TYPED = "typed"
    REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class TaskVectorConfig:
    """How task vectors are made.

    `tile` is the step between cutoffs and the unit of `horizons` and `lookback` (tiles); None for
    the smallest window of the entity table's tasks, or the median gap between an entity's events,
    rounded, where there is no task. `horizons` None means 1, 4 and 12 as far as at most 30 % of the
    training rows are censored. `depth` is 1 for an entity's events alone, 2 for their parents and
    siblings too. `top_k` categories of a column are counted one by one. `dormant_per_active` rows
    without an event in the first tile are kept per row with one (None: all).
    """

    mode: Mode = Mode.TYPED
    tile: timedelta | None = None
    horizons: tuple[int, ...] | None = None
    lookback: int = 4
    depth: int = 2
    max_paths: int = 16
    max_targets: int = 500
    top_k: int = 32
    dormant_per_active: float | None = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.depth not in (1, 2):
            raise ValueError(f"depth must be 1 or 2 (got {self.depth})")
        if self.horizons is not None and (not self.horizons or min(self.horizons) < 1):
            raise ValueError(
                f"horizons must be whole numbers of tiles from 1 (got {self.horizons})"
            )
        numbers = (self.lookback, self.max_paths, self.max_targets, self.top_k)
        if min(numbers) < 1:
            raise ValueError(
                f"lookback, max_paths, max_targets and top_k must be at least 1 (got {numbers})"
            )


@dataclass(frozen=True, slots=True)
class TaskVectors:
    """A published task-vector table.

    `frame` has cutoff_time, entity, split, active, weight, a flag `censored_<k>` per horizon of k
    tiles, and a Float32 column per target: NULL where it is masked or censored.
    `manifest` tells the targets, their groups and scaling, tile, horizons and lookback.
    """

    frame: pl.DataFrame
    manifest: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """The targets' names, in the order of the vector's components."""
        return [target["name"] for target in self.manifest["targets"]]

    def matrices(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """(values, mask): float32 and bool, [rows, targets]; values are 0 where the mask is False."""
        targets = self.frame.select(self.names)
        mask = targets.select(pl.all().is_not_null()).to_numpy()
        return targets.fill_null(0.0).to_numpy(), mask


@dataclass(frozen=True, slots=True)
class TaskVectorBuilder:
    """Builds the task vectors of an entity table.

    Args:
        declared: The schema as declared; other semantic types are inferred from rows up to the
            date. Tables inherit event times and keys to the entity (`models.tve.inheritance`).
        entity_table: Whose rows the vectors describe.
        tables: Parquet of each staged table.
        config: What to make.
        threads: Worker threads; the result does not depend on it.
        memory_limit: For all queries together, such as "4GB"; past it they spill to disk.
        progress: Receives a line per finished part.
    """

    declared: RelationalSchema
    entity_table: str
    tables: Mapping[str, Path]
    config: TaskVectorConfig = TaskVectorConfig()
    threads: int = 1
    memory_limit: str | None = None
    progress: Callable[[str], None] = lambda line: None

    def build(self, as_of: datetime, folder: Path, earlier: Path | None = None) -> dict[str, Any]:
        """Writes the task vectors as of a date into a folder.

        Args:
            as_of: The date of the run: no row after it is looked at. The windows of training rows
                end at the first validation cutoff.
            folder: Where `task_vectors.parquet`, `raw.parquet` and `manifest.json` are written.
            earlier: The folder of an earlier date of the same data. Only the cutoffs that are new
                and the windows that were still open then are computed; the result is the same. If
                it does not fit (other configuration, grid or rows), all is computed.

        Returns:
            Metadata: rows, targets, cells computed, shares of active and censored rows.

        Raises:
            ValueError: No table of events refers to the entity table.
        """
        schema = complete_schema(self.declared, self.tables, as_of=as_of)
        with tempfile.TemporaryDirectory(prefix="task-vectors-") as scratch:
            inherited = inherited_columns(
                schema, self.entity_table, keys=self.config.mode is Mode.TYPED
            )
            dated = with_inherited(schema, inherited)
            tables = _prepared(self.tables, inherited, Path(scratch) / "inherited")
            timeline, universe = self._rows(dated, tables, as_of)
            horizons = self.config.horizons or default_horizons(universe, timeline)
            if self.config.mode is Mode.REFERENCE:
                horizons = (1,)
            paths = target_paths(dated, self.entity_table, self.config.depth, self.config.max_paths)
            features, indicators, vectors = self._construction(
                dated, tables, paths, timeline, horizons
            )
            history = self._history(dated, tables, paths)
            known, why = self._known(earlier, timeline, history)
            self.progress(
                f"{universe.height:,} rows, {sum(map(len, features.values())):,} features over "
                f"{len(paths)} paths and horizons of {', '.join(map(str, horizons))} tiles of "
                f"{timeline.tile}; {why}"
            )
            computation = Computation(
                with_indicators(dated, indicators),
                self.entity_table,
                _prepared(tables, indicators, Path(scratch) / "indicators"),
                self.threads,
                self.memory_limit,
                self.progress,
            )
            raw, computed = computation.raw_values(universe, features, timeline, known)
            digests = history(timeline.known_until)
        raw.write_parquet(folder / RAW)
        values, targets, scaling = vectors.finish(raw, timeline)
        flags = universe.select(
            (~timeline.is_complete(horizon)).alias(f"censored_{horizon}") for horizon in horizons
        )
        frame = pl.concat([universe.select(ROW_COLUMNS), flags, values], how="horizontal")
        frame.write_parquet(folder / VECTORS)
        manifest = {
            "entity_table": self.entity_table,
            "config": _plain_config(self.config),
            "timeline": timeline.to_plain(),
            "horizons": list(horizons),
            "lookback_seconds": self.config.lookback * timeline.tile.total_seconds(),
            "paths": [path.labels(dated) for path in paths],
            "targets": targets,
            "scaling": scaling,
            "features": [feature.to_plain() for wanted in features.values() for feature in wanted],
            "history": digests,
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
        return _summary(frame, manifest, timeline, horizons, computed, why)

    def _rows(
        self, schema: RelationalSchema, tables: Mapping[str, Path], as_of: datetime
    ) -> tuple[Timeline, pl.DataFrame]:
        """The grid of cutoffs and the rows on it."""
        hops = event_hops(schema, self.entity_table)
        if not hops:
            raise ValueError(
                f"entity table {self.entity_table!r}: no table with an event time refers to it, so "
                "there are no events to foretell; declare config.event_time on one"
            )
        limits = (self.threads, self.memory_limit)
        with closing(Events(schema, self.entity_table, hops, tables, as_of, *limits)) as events:
            tasks = tasks_on(schema, self.entity_table)
            tile = self._tile(tasks, events)
            timeline = timeline_of(tasks, as_of, tile, events.newest)
            reference = self.config.mode is Mode.REFERENCE
            dormant = None if reference else self.config.dormant_per_active
            sampling = Sampling(dormant, self.config.seed)
            return timeline, events.universe(timeline, sampling, includes_newborn=reference)

    def _tile(self, tasks: list[Task], events: Events) -> timedelta:
        if self.config.tile is not None:
            return self.config.tile
        return tasks[0].window if tasks else rounded_tile(events.median_gap)

    def _construction(
        self,
        schema: RelationalSchema,
        tables: Mapping[str, Path],
        paths: list[TargetPath],
        timeline: Timeline,
        horizons: tuple[int, ...],
    ) -> tuple[
        Mapping[int, tuple[Feature, ...]], tuple[Indicator, ...], TypedVectors | ReferenceVectors
    ]:
        """The features to compute, the indicator columns they read, and how they are finished."""
        tile, lookback = timeline.tile, self.config.lookback * timeline.tile
        reference = self.config.mode is Mode.REFERENCE
        counted = (SemanticType.CATEGORICAL, *([SemanticType.BOOLEAN] if reference else []))
        vocabulary = frequent_values(
            schema, paths, tables, timeline.train_limit, self.config.top_k, counted
        )
        if reference:
            vectors = reference_vectors(
                schema, self.entity_table, paths, tile, lookback, vocabulary
            )
            return vectors.features, vectors.indicators, vectors
        found = enumerate_targets(
            schema,
            self.entity_table,
            paths,
            horizons,
            tile,
            lookback,
            vocabulary,
            self.config.max_targets,
        )
        return found.features, found.indicators, TypedVectors(found)

    def _history(
        self, schema: RelationalSchema, tables: Mapping[str, Path], paths: list[TargetPath]
    ) -> Callable[[datetime], dict[str, str]]:
        names = {self.entity_table, *(hop.target for path in paths for hop in path.hops)}
        return lambda until: history_digests(schema, names, tables, until)

    def _known(
        self,
        folder: Path | None,
        timeline: Timeline,
        history: Callable[[datetime], dict[str, str]],
    ) -> tuple[Known | None, str]:
        """What can be taken over from an earlier date, and a sentence about it."""
        if folder is None:
            return None, "from scratch"
        manifest = json.loads((folder / MANIFEST).read_text())
        earlier = timeline_from_plain(manifest["timeline"])
        if manifest["entity_table"] != self.entity_table or (
            manifest["config"] != _plain_config(self.config)
        ):
            return None, "from scratch, the earlier ones had another configuration"
        if not timeline.continues(earlier):
            return None, "from scratch, the earlier ones had other cutoffs"
        if manifest["history"] != history(earlier.known_until):
            return None, f"from scratch, rows up to {earlier.known_until} have changed"
        features = {feature["name"]: feature for feature in manifest["features"]}
        known = Known(pl.read_parquet(folder / RAW), features, earlier)
        return known, f"extended from {earlier.known_until}"


def extend(
    builder: TaskVectorBuilder, existing: Path, as_of: datetime, folder: Path
) -> dict[str, Any]:
    """The task vectors of a later date, from those of an existing folder (`build`)."""
    return builder.build(as_of, folder, existing)


def read_task_vectors(folder: Path) -> TaskVectors:
    """The task vectors that were written into a folder."""
    manifest = json.loads((folder / MANIFEST).read_text())
    return TaskVectors(pl.read_parquet(folder / VECTORS), manifest)


def _prepared(
    tables: Mapping[str, Path], added: Sequence[Inherited | Indicator], folder: Path
) -> dict[str, Path]:
    folder.mkdir()
    return prepare_tables(tables, added, folder)


def _plain_config(config: TaskVectorConfig) -> dict[str, Any]:
    return dict(json.loads(canonical_json(to_plain(config))))


def _summary(
    frame: pl.DataFrame,
    manifest: Mapping[str, Any],
    timeline: Timeline,
    horizons: tuple[int, ...],
    computed: int,
    how: str,
) -> dict[str, Any]:
    train = frame.filter(pl.col("split") == TRAIN)
    shares = censored_shares(train, timeline, horizons)
    active = frame.select((pl.col("active") * pl.col("weight")).sum() / pl.col("weight").sum())
    return {
        "rows": frame.height,
        "training_rows": train.height,
        "cutoffs": frame["cutoff_time"].n_unique(),
        "entities": frame["entity"].n_unique(),
        "targets": len(manifest["targets"]),
        "dropped_targets": len(manifest["scaling"]["dropped"]),
        "active_share": active.item(),
        "censored_share": {str(horizon): share for horizon, share in shares.items()},
        "tile_days": timeline.tile / timedelta(days=1),
        "known_until": str(timeline.known_until),
        "cells_computed": computed,
        "how": how,
    }
