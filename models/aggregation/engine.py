"""Computes features of seeds from Parquet files: units of work, connections and threads."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from sqlglot import exp

from models.aggregation.aggregation import Plan
from models.aggregation.evaluation import Evaluator
from models.aggregation.features import Feature
from models.aggregation.primitives import CUTOFF_COLUMN
from models.aggregation.relations import Contexts
from models.aggregation.session import Connection, Recorder, Session
from models.aggregation.sql import all_of, call, cast, col, named, number, row_number, table
from models.database.schema import RelationalSchema, SemanticType

SEEDS = "seeds"
SEED_COLUMNS = ("row_id", "entity", "cutoff_time", "visible_until")
SEEDS_PER_QUERY = 200_000

_SQL_TYPES = {SemanticType.NUMERICAL: "DOUBLE", SemanticType.BOOLEAN: "BOOLEAN"}
_POLARS_TYPES = {SemanticType.NUMERICAL: pl.Float64, SemanticType.BOOLEAN: pl.Boolean}

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a feature is computed: the walked path and the SQL statements, in order."""

    name: str
    path: str
    sql: str


@dataclass(frozen=True, slots=True)
class _Job:
    """Features that are computed together, for a slice of the seeds."""

    features: dict[str, Feature]
    seeds: pl.DataFrame


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

    Returns:
        One row per seed in the order of `row_id`: `row_id` (Int64) and a column per feature:
        Float64 (times in seconds before the cutoff), String or nullable Boolean.

    Raises:
        ValueError: The seeds are malformed, the entity table's key isn't one column, a feature
            belongs to another table, or two features share a name.
        KeyError: A table's file is missing.
    """
    seeds = _checked_seeds(seeds)
    _check_features(schema, features, entity_table)
    aliases = {f"f{position}": feature for position, feature in enumerate(features)}
    jobs = [_Job(unit, piece) for piece in _seed_slices(seeds) for unit in _units(aliases)]
    with tempfile.TemporaryDirectory(prefix="features-") as spill:
        run = _Runner(schema, tables, entity_table, plan, _settings(threads, memory_limit, spill))
        parts = _run_all(run, jobs, threads, progress)
    return _assembled(seeds, jobs, parts, aliases)


def explain(
    schema: RelationalSchema,
    features: Sequence[Feature],
    entity_table: str,
    dialect: str = "duckdb",
) -> list[Explanation]:
    """How each feature would be computed, without data: the general plan, as SQL of a dialect.

    With data the compiler may take a cheaper plan that gives the same result.
    """
    explanations = []
    for feature in features:
        recorder = Recorder(schema)
        statement = _compile(recorder, schema, entity_table, {"f0": feature}, None)
        statements = [*recorder.statements, statement]
        sql = ";\n\n".join(part.sql(dialect, pretty=True) for part in statements)
        explanations.append(Explanation(feature.name, feature.description, sql))
    return explanations


def _compile(
    session: Session,
    schema: RelationalSchema,
    entity_table: str,
    features: Mapping[str, Feature],
    plan: Plan | None,
) -> exp.Select:
    """Create the tables that the features need; the query of their values per seed."""
    columns = [col("entity"), col("visible_until")]
    distinct = exp.select(*columns).distinct().from_(table(SEEDS)).subquery("d")
    rows = exp.select(
        named(row_number([column.copy() for column in columns]), "ctx"),
        named(columns[0].copy(), "k0"),
        named(columns[1].copy(), "visible"),
    )
    contexts = Contexts(session.create(rows.from_(distinct), "contexts"), 1)
    stored = {alias: feature for alias, feature in features.items() if not _is_calendar(feature)}
    query = exp.select(col("row_id", "s"))
    query = query.select(*(_output(alias, feature) for alias, feature in features.items()))
    query = query.from_(table(SEEDS, "s"))
    if stored:
        found = Evaluator(session, schema, plan).evaluate(entity_table, stored, contexts)
        same = [
            col("entity", "s").eq(col("k0", "c")),
            col("visible_until", "s").eq(col("visible", "c")),
        ]
        query = query.join(table(contexts.name, "c"), on=all_of(same), join_type="left")
        on = col("ctx", "c").eq(col("ctx", "f"))
        query = query.join(table(found, "f"), on=on, join_type="left")
    return query.order_by(col("row_id", "s"))


def _is_calendar(feature: Feature) -> bool:
    return feature.column == CUTOFF_COLUMN and not feature.path


def _output(alias: str, feature: Feature) -> exp.Expression:
    """A feature's column of the result."""
    cutoff = col("cutoff_time", "s")
    value: exp.Expression = col(alias, "f")
    if _is_calendar(feature) and feature.transform == "month":
        value = exp.Month(this=cutoff)
    elif _is_calendar(feature):
        value = exp.DayOfWeekIso(this=cutoff) - number(1)
    elif feature.is_elapsed:
        elapsed = call("EPOCH_US", cutoff) - call("EPOCH_US", value)
        value = exp.paren(elapsed) / number(1_000_000)
    return named(cast(value, _SQL_TYPES.get(feature.semantic_type, "VARCHAR")), alias)


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


def _check_features(
    schema: RelationalSchema, features: Sequence[Feature], entity_table: str
) -> None:
    if len(schema.table(entity_table).primary_key) != 1:
        raise ValueError(f"entity table {entity_table!r} must have a primary key of one column")
    foreign = {feature.table for feature in features} - {entity_table}
    if foreign:
        raise ValueError(f"features of {sorted(foreign)} among those of {entity_table!r}")
    if len({feature.name for feature in features}) != len(features):
        raise ValueError("feature names must be unique")


def _seed_slices(seeds: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The seeds in parts of bounded size; an entity's seeds lie next to each other."""
    if seeds.height <= SEEDS_PER_QUERY:
        yield seeds
        return
    yield from seeds.sort("entity", "visible_until", "row_id").iter_slices(SEEDS_PER_QUERY)


def _units(features: Mapping[str, Feature]) -> list[dict[str, Feature]]:
    """Features that share their work: those with the same path up to the first step to children.

    Nested features go by their whole path, and windows apart.
    """
    units: dict[object, dict[str, Feature]] = {}
    for alias, feature in features.items():
        backward = [at for at, hop in enumerate(feature.path) if not hop.forward]
        nested = len(backward) > 1
        shared = feature.path if nested else feature.path[: backward[0] + 1 if backward else 0]
        units.setdefault((shared, feature.window, nested), {})[alias] = feature
    return list(units.values())


def _settings(threads: int, memory_limit: str | None, spill: str) -> dict[str, str | int]:
    settings: dict[str, str | int] = {"temp_directory": spill}
    if memory_limit is not None:
        settings["memory_limit"] = _share(memory_limit, threads)
    return settings


def _share(memory_limit: str, parts: int) -> str:
    """One of `parts` equal shares of a limit such as "4GB"."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*([KMGT]i?B)\s*", memory_limit, re.IGNORECASE)
    if match is None:
        raise ValueError(f"memory limit {memory_limit!r} isn't of the form '4GB'")
    return f"{float(match[1]) / max(parts, 1):g}{match[2]}"


@dataclass(frozen=True, slots=True)
class _Runner:
    """Runs a job on a connection of its own."""

    schema: RelationalSchema
    tables: Mapping[str, Path]
    entity_table: str
    plan: Plan | None
    settings: Mapping[str, str | int]

    def __call__(self, job: _Job) -> pl.DataFrame:
        session = Connection(self.settings)
        try:
            session.attach(self.tables, sorted(self._touched(job)))
            session.connection.register("seed_frame", job.seeds.to_arrow())
            session.connection.execute(f'CREATE TABLE "{SEEDS}" AS SELECT * FROM seed_frame')
            query = _compile(session, self.schema, self.entity_table, job.features, self.plan)
            return session.connection.execute(query.sql("duckdb")).pl()
        finally:
            session.close()

    def _touched(self, job: _Job) -> set[str]:
        names = {self.entity_table}
        for feature in job.features.values():
            names |= {hop.target for hop in feature.path}
        missing = names - set(self.tables)
        if missing:
            raise KeyError(f"no file for the tables {sorted(missing)}")
        return names


def _run_all(
    run: _Runner, jobs: Sequence[_Job], threads: int, progress: Progress | None
) -> list[pl.DataFrame]:
    """The jobs' results in the order of the jobs."""
    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        futures = [pool.submit(run, job) for job in jobs]
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
