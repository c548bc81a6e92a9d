"""Computes features of seeds from Parquet files: units of work, sessions and threads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from models.aggregation.combining import Plan
from models.aggregation.compilation import (
    SEEDS,
    Explanation,
    check_features,
    compile_query,
    explain,
)
from models.aggregation.evaluation import kind_of
from models.aggregation.features import Feature
from models.aggregation.primitives import TRANSFORMS
from models.aggregation.reading import component_column
from models.aggregation.session import Database
from models.aggregation.sql import render
from models.aggregation.text_components import ngram_components
from models.database.schema import RelationalSchema, SemanticType

__all__ = ["Explanation", "Plan", "compute_features", "explain"]

SEED_COLUMNS = ("row_id", "entity", "cutoff_time", "visible_until")
SEEDS_PER_QUERY = 5_000_000

_POLARS_TYPES = {SemanticType.NUMERICAL: pl.Float64, SemanticType.BOOLEAN: pl.Boolean}

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Job:
    """Features that are computed together, for a slice of the seeds in a table."""

    features: dict[str, Feature]
    seeds: str


def compute_features(
    schema: RelationalSchema,
    features: Sequence[Feature],
    tables: Mapping[str, Path],
    seeds: pl.DataFrame,
    *,
    entity_table: str,
    threads: int = 2,
    memory_limit: str | None = None,
    progress: Progress | None = None,
    plan: Plan | None = None,
    allow_future: bool = False,
) -> pl.DataFrame:
    """The features of every seed, from rows that its `visible_until` lets it see.

    A row of a table with event times is visible if its time is at or before `visible_until`, never
    if it has none; rows of other tables are always visible. That holds for the entity's own row and
    for every row on a path. The result depends on the visible rows only, to the last bit: not on
    later rows, on `threads`, nor on the plan.

    Args:
        schema: The database.
        features: What to compute, from `enumerate_features` for this entity table.
        tables: A Parquet file of staged rows for each table of the schema that features touch.
        seeds: `row_id` (unique integer), `entity` (primary key of the entity table),
            `cutoff_time` and `visible_until` (timestamps, visible_until <= cutoff_time).
        entity_table: The table that `entity` refers to; its primary key is one column.
        threads: Queries to run at a time.
        memory_limit: For all queries together, such as "4GB"; past it they spill to disk.
        progress: Called with (finished, total) units of work.
        plan: Forces a plan where it is possible (for tests and measurements).
        allow_future: Whether windows may reach past the cutoff, for targets. In such a window the
            rows on the path are seen up to the window's end.

    Returns:
        One row per seed in the order of `row_id`: `row_id` (Int64) and a column per feature:
        Float64 (times in seconds before the cutoff, AGE in years), String or nullable Boolean.

    Raises:
        ValueError: The seeds are malformed, or see `check_features`.
        KeyError: A table's file is missing.
    """
    seeds = _checked_seeds(seeds)
    check_features(schema, features, entity_table, allow_future)
    aliases = {f"f{position}": feature for position, feature in enumerate(features)}
    with tempfile.TemporaryDirectory(prefix="features-") as scratch:
        database = Database(_settings(memory_limit, scratch))
        try:
            _attach(database, tables, _touched(entity_table, features), features, Path(scratch))
            jobs = []
            for position, piece in enumerate(_seed_slices(seeds)):
                name = f"{SEEDS}_{position}"
                # Through a file: DuckDB reads Parquet without importing Arrow's Python packages.
                piece.write_parquet(Path(scratch) / name, compression="uncompressed")
                database.load(name, Path(scratch) / name)
                jobs += [_Job(unit, name) for unit in _units(aliases)]
            # Rolling seeds see up to their own cutoff: as many views as seeds.
            rolling = bool((seeds["visible_until"] == seeds["cutoff_time"]).all())
            run = _Runner(schema, database, entity_table, plan, distinct=not rolling)
            parts = _run_all(run, jobs, threads, progress)
        finally:
            database.close()
    return _assembled(seeds, jobs, parts, aliases)


def _touched(entity_table: str, features: Sequence[Feature]) -> list[str]:
    """The tables on the features' paths."""
    hops = {hop.target for feature in features for hop in feature.path}
    return sorted({entity_table} | hops)


def _attach(
    database: Database,
    tables: Mapping[str, Path],
    names: Sequence[str],
    features: Sequence[Feature],
    scratch: Path,
) -> None:
    """Make the tables available, with the components of text columns that features read."""
    missing = set(names) - set(tables)
    if missing:
        raise KeyError(f"no file for the tables {sorted(missing)}")
    texts = {
        (feature.path[-1].target if feature.path else feature.table, feature.column)
        for feature in features
        if feature.transform == "ngram_hash" and feature.column is not None
    }
    for name in names:
        beside = []
        for position, column in enumerate(sorted(text for owner, text in texts if owner == name)):
            beside.append(scratch / f"{names.index(name)}_{position}.parquet")
            _write_components(tables[name], column, beside[-1])
        database.attach(name, tables[name], beside)


def _write_components(table: Path, column: str, file: Path) -> None:
    """The n-gram components of a text column, row by row as in its table."""
    texts = pl.read_parquet(table, columns=[column])[column].cast(pl.String)
    components = ngram_components(texts, TRANSFORMS["ngram_hash"].components)
    names = {str(at): component_column(column, at) for at in range(components.width)}
    components.rename(names).write_parquet(file)


def _checked_seeds(seeds: pl.DataFrame) -> pl.DataFrame:
    missing = set(SEED_COLUMNS) - set(seeds.columns)
    if missing:
        raise ValueError(f"seeds lack the columns {sorted(missing)}")
    times = pl.col("cutoff_time", "visible_until").cast(pl.Datetime("us"))
    seeds = seeds.select(pl.col("row_id").cast(pl.Int64), "entity", times).sort("row_id")
    if seeds["row_id"].n_unique() != seeds.height:
        raise ValueError("seeds' row_id must be unique")
    if any(seeds[name].null_count() for name in SEED_COLUMNS):
        raise ValueError("seeds must not contain nulls")
    if (seeds["visible_until"] > seeds["cutoff_time"]).any():
        raise ValueError("seeds' visible_until must not lie after their cutoff_time")
    return seeds


def _seed_slices(seeds: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The seeds in parts of bounded size; an entity's seeds lie next to each other."""
    if seeds.height <= SEEDS_PER_QUERY:
        yield seeds
        return
    yield from seeds.sort("entity", "visible_until", "row_id").iter_slices(SEEDS_PER_QUERY)


def _units(features: Mapping[str, Feature]) -> list[dict[str, Feature]]:
    """Features that share their work: those with the same path up to the first step to children."""
    units: dict[object, dict[str, Feature]] = {}
    for alias, feature in features.items():
        backward = [at for at, hop in enumerate(feature.path) if not hop.forward]
        shared = feature.path[: backward[0] + 1 if backward else 0]
        kind = kind_of(feature) if backward else "rows"
        units.setdefault((shared, kind), {})[alias] = feature
    return list(units.values())


def _settings(memory_limit: str | None, spill: str) -> dict[str, str | int]:
    settings: dict[str, str | int] = {"temp_directory": spill}
    return settings if memory_limit is None else {**settings, "memory_limit": memory_limit}


@dataclass(frozen=True, slots=True)
class _Runner:
    """Runs a job in a session of its own."""

    schema: RelationalSchema
    database: Database
    entity_table: str
    plan: Plan | None
    distinct: bool

    def __call__(self, position: int, job: _Job) -> pl.DataFrame:
        session = self.database.session(f"j{position}_")
        try:
            query = compile_query(
                session,
                self.schema,
                self.entity_table,
                job.features,
                self.plan,
                job.seeds,
                self.distinct,
            )
            return session.connection.execute(render(query)).pl()
        finally:
            session.close()


def _run_all(
    run: _Runner, jobs: Sequence[_Job], threads: int, progress: Progress | None
) -> list[pl.DataFrame]:
    """The jobs' results in the order of the jobs."""
    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        futures = [pool.submit(run, position, job) for position, job in enumerate(jobs)]
        try:
            for finished, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress is not None:
                    progress(finished, len(jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _assembled(
    seeds: pl.DataFrame,
    jobs: Sequence[_Job],
    parts: Sequence[pl.DataFrame],
    features: Mapping[str, Feature],
) -> pl.DataFrame:
    """The parts side by side, in the order of the seeds and of the features."""
    result = seeds.select("row_id")
    by_unit: dict[tuple[str, ...], list[pl.DataFrame]] = {}
    for job, part in zip(jobs, parts, strict=True):
        by_unit.setdefault(tuple(job.features), []).append(part)
    columns: dict[str, pl.Series] = {}
    for pieces in by_unit.values():
        whole = pieces[0] if len(pieces) == 1 else pl.concat(pieces).sort("row_id")
        columns |= {name: whole[name] for name in whole.columns if name != "row_id"}
    return result.with_columns(
        columns[alias].cast(_POLARS_TYPES.get(feature.semantic_type, pl.String)).alias(feature.name)
        for alias, feature in features.items()
    )
