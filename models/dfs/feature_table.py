"""Feature tables: the past-window aggregates of every row of a training table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.aggregation.engine import compute_features
from models.aggregation.features import Feature, feature_from_plain
from models.aggregation.windows import PAST, trailing
from models.database.schema import Protocol, RelationalSchema, Task, to_plain
from models.database.schema_json import schema_from_plain
from models.database.semantic_types import complete_schema
from models.database.source import first_event
from models.dfs.conditions import frequent_values
from models.dfs.config import FeatureConfig
from models.dfs.enumeration import offer_features

FEATURES = "features.parquet"
FROZEN_FEATURES = "features_frozen.parquet"
STALE_FEATURES = "features_stale.parquet"
DEFINITIONS = "definitions.json"


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """A published feature table.

    `features` has one row per row of the training table, by `row_id`, as the row's cutoff sees the
    database. `frozen` has the rows that the frozen protocol sees otherwise: those after `as_of`, as
    seen from `as_of`, and the validation rows, as seen from the first validation cutoff. `stale` has
    the training and validation rows as an earlier moment saw them (`stale_seeds_of`), so that models
    can learn what the frozen protocol will ask; it is empty where validation asks at one moment.
    `schema` is the schema with the semantic types that were known at `as_of`.
    """

    schema: RelationalSchema
    definitions: tuple[Feature, ...]
    features: pl.DataFrame
    frozen: pl.DataFrame
    stale: pl.DataFrame

    @property
    def has_windows(self) -> bool:
        """Whether some features are of trailing windows."""
        return any(one.window != PAST for one in self.definitions)

    def within(self, depth: int | None, windows: bool = True) -> FeatureTable:
        """The table with the features alone whose path has at most so many keys; None for all.

        Without `windows` those of trailing windows are left out too.

        Raises:
            ValueError: There is no such feature.
        """
        if depth is None and windows:
            return self
        kept = tuple(
            one
            for one in self.definitions
            if (depth is None or len(one.path) <= depth) and (windows or one.window == PAST)
        )
        if not kept:
            raise ValueError(
                f"none of the {len(self.definitions)} features has "
                + (f"depth {depth} or less" if depth is not None else "no window")
            )
        return replace(self, definitions=kept)

    def under(self, protocol: Protocol) -> pl.DataFrame:
        """The features of all rows under a protocol, in row_id order."""
        if protocol == Protocol.ROLLING or self.frozen.is_empty():
            return self.features
        seen = self.features.join(self.frozen.select("row_id"), on="row_id", how="anti")
        return pl.concat([seen, self.frozen]).sort("row_id")


def build_feature_table(
    declared: RelationalSchema,
    task: Task,
    training_table: pl.DataFrame,
    as_of: datetime,
    tables: Mapping[str, Path],
    config: FeatureConfig,
    folder: Path,
    threads: int,
    memory_limit: str | None = None,
    progress: Callable[[str], None] = lambda line: None,
    conditions: bool = False,
) -> dict[str, Any]:
    """Computes the features of a training table and writes them into a folder.

    Args:
        declared: The schema as declared; semantic types that are not declared are inferred from
            rows up to `as_of`.
        task: The task; its hidden columns are not used.
        training_table: row_id, entity, cutoff_time, label, split.
        as_of: The date of the run.
        tables: Parquet of each staged table.
        config: Which features to make.
        folder: Where the files are written.
        threads: Worker threads; the result does not depend on it.
        memory_limit: For all queries together, such as "4GB"; past it they spill to disk.
        progress: Receives a line per finished part.
        conditions: Whether aggregates are also taken over the rows with one frequent value of a
            category. What is frequent is counted before the first validation cutoff, so that the
            choice of features knows nothing of the rows that they are judged on.

    Returns:
        Metadata: rows, frozen_rows, stale_rows, features (kept), offered (before the budget), paths.

    Raises:
        ValueError: There are more schema paths than `config.max_paths`.
    """
    schema = complete_schema(declared, tables, as_of=as_of)
    trained_until = as_of - task.validation_span
    config = _within_history(config, schema, tables, trained_until, progress)
    values = frequent_values(schema, tables, trained_until) if conditions else None
    offer = offer_features(schema, task.entity_table, config, task.hidden_columns, values)
    definitions = offer.features
    progress(
        f"kept {len(definitions):,} of {offer.offered:,} features "
        f"along {offer.paths:,} schema paths"
    )

    def compute(seeds: pl.DataFrame, seen: str) -> pl.DataFrame:
        def report(done: int, total: int) -> None:
            if done == total or done % max(total // 4, 1) == 0:
                progress(f"{seen}: {done} of {total} path queries over {seeds.height:,} rows")

        return compute_features(
            schema,
            definitions,
            tables,
            seeds,
            entity_table=task.entity_table,
            threads=threads,
            memory_limit=memory_limit,
            progress=report,
        )

    features = compute(seeds_of(training_table, task, as_of, Protocol.ROLLING), "rolling")
    features.write_parquet(folder / FEATURES)
    seeds = {
        "frozen": seeds_of(training_table, task, as_of, Protocol.FROZEN).filter(
            pl.col("visible_until") < pl.col("cutoff_time")
        ),
        "stale": stale_seeds_of(training_table, task, as_of),
    }
    others = {
        name: features.clear() if part.is_empty() else compute(part, name)
        for name, part in seeds.items()
    }
    others["frozen"].write_parquet(folder / FROZEN_FEATURES)
    others["stale"].write_parquet(folder / STALE_FEATURES)
    counts = {"offered": offer.offered, "paths": offer.paths}
    content = {
        "schema": to_plain(schema),
        **counts,
        "features": [feature.to_plain() for feature in definitions],
    }
    (folder / DEFINITIONS).write_text(json.dumps(content, indent=1))
    rows = {f"{name}_rows": part.height for name, part in others.items()}
    return {"rows": features.height, **rows, "features": len(definitions), **counts}


def _within_history(
    config: FeatureConfig,
    schema: RelationalSchema,
    tables: Mapping[str, Path],
    until: datetime,
    progress: Callable[[str], None],
) -> FeatureConfig:
    """The configuration without the windows in which training rows see all that there ever was."""
    first = first_event(tables, schema) or until
    kept = tuple(window for window in config.windows if window < until - first)
    if kept != config.windows:
        left_out = [str(trailing(window)) for window in config.windows if window not in kept]
        progress(
            f"no windows of {', '.join(left_out)}: the past that training rows see begins {first}"
        )
    return replace(config, windows=kept)


def seeds_of(rows: pl.DataFrame, task: Task, as_of: datetime, protocol: Protocol) -> pl.DataFrame:
    """The rows as seeds: row_id, entity, cutoff_time, visible_until under the protocol.

    Frozen rows from `as_of` on see up to `as_of`. Validation rows see up to the first validation
    cutoff, so that validation under the frozen protocol asks what the test will ask. Training rows
    see up to their own cutoff under both.
    """
    until = pl.col("cutoff_time")
    if protocol == Protocol.FROZEN:
        limit = pl.when(pl.col("split") == "val").then(as_of - task.validation_span)
        until = pl.min_horizontal(until, limit.otherwise(as_of).cast(pl.Datetime("us")))
    return rows.select("row_id", "entity", "cutoff_time", until.alias("visible_until"))


def stale_seeds_of(rows: pl.DataFrame, task: Task, as_of: datetime) -> pl.DataFrame:
    """Training and validation rows as seeds that see the database as of a moment before their cutoff.

    How long before is one of the times for which frozen validation rows see nothing, those above
    zero, spread evenly over the rows; a row's follows from its `row_id`, whatever other rows there
    are. So trained models have seen what the frozen protocol asks: old news of the entity, or none.

    Returns:
        row_id (each once), entity, cutoff_time, visible_until; no row where validation has a single
        cutoff.
    """
    cutoffs = rows.filter(pl.col("split") == "val")["cutoff_time"].unique().sort()
    ages = (cutoffs - (as_of - task.validation_span)).cast(pl.Duration("us"))
    ages = ages.filter(ages > timedelta(0))
    if ages.is_empty():
        return seeds_of(rows.clear(), task, as_of, Protocol.ROLLING)
    known = rows.filter(pl.col("split").is_in(["train", "val"]))
    known = known.unique("row_id", keep="first", maintain_order=True)
    age = ages.gather(_scattered(known["row_id"].to_numpy()) % np.uint64(len(ages)))
    return seeds_of(known, task, as_of, Protocol.ROLLING).with_columns(
        visible_until=pl.col("visible_until") - age
    )


def _scattered(numbers: np.ndarray) -> np.ndarray:
    """Each number's own random one, uint64 (Steele, Lea & Flood, "SplitMix", OOPSLA 2014)."""
    bits = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return bits ^ (bits >> np.uint64(31))


def read_feature_table(folder: Path) -> FeatureTable:
    """The feature table that `build_feature_table` wrote into a folder."""
    content = json.loads((folder / DEFINITIONS).read_text())
    return FeatureTable(
        schema=schema_from_plain(content["schema"]),
        definitions=tuple(feature_from_plain(feature) for feature in content["features"]),
        features=pl.read_parquet(folder / FEATURES),
        frozen=pl.read_parquet(folder / FROZEN_FEATURES),
        stale=pl.read_parquet(folder / STALE_FEATURES),
    )
