"""How the rows of a child table are shared out among parents, and how they lie in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.database.schema import ForeignKey
from models.fidelity.databases import Database, times_of

FEWEST_GAPS = 5
"""Owners with fewer gaps between their rows say little about bursts."""
FEWEST_PARENTS = 10
TAIL_SHARE = 0.1
LATE = 0.9
QUANTILES = np.linspace(0, 1, 41)


@dataclass(frozen=True, slots=True)
class Degrees:
    """Figures of one foreign key. A parent's degree is the number of its children.

    Attributes:
        key: The key in words.
        children: Rows of the child table.
        parents: Rows of the parent table.
        null_share: The share of children without a parent.
        mean: The mean degree over all parents.
        max_over_mean: The greatest degree over the mean; None without children.
        top_decile_share: The share of children that belongs to the tenth of the parents with the
            most; None without children.
        childless_share: The share of parents without children.
        tail_index: The exponent a of a tail P(degree > x) ∝ x^-a, from the top tenth of the parents
            with children: the discrete maximum likelihood estimate of Clauset, Shalizi and Newman,
            "Power-law distributions in empirical data", SIAM Review 2009, equation 3.7, less one.
            None for fewer than ten parents with children.
        span: The share of the child table's timeline between the first and the last child of a
            parent, mean over parents with at least two; None without times.
        burstiness: The coefficient of variation of the gaps between consecutive children of a
            parent, each over the parent's mean gap, pooled over parents with at least five gaps; 0
            for a metronome, about 1 for a Poisson process. None without such parents.
        still_active: Of the parents with children in the first nine tenths of the timeline, the
            share with children in the last tenth.
        quantiles: Quantiles of degree over mean degree at `QUANTILES`.
    """

    key: str
    children: int
    parents: int
    null_share: float
    mean: float
    max_over_mean: float | None
    top_decile_share: float | None
    childless_share: float
    tail_index: float | None
    span: float | None
    burstiness: float | None
    still_active: float | None
    quantiles: tuple[float, ...]


def degrees(database: Database) -> list[Degrees]:
    """The figures of every foreign key whose child and parent tables have rows, in their order."""
    found = (_of_key(database, key) for key in database.schema.foreign_keys)
    return [one for one in found if one is not None]


def _of_key(database: Database, key: ForeignKey) -> Degrees | None:
    child = database.schema.table(key.table)
    wanted = [*key.columns, *([child.time_column] if child.time_column else [])]
    rows = pl.read_parquet(database.tables[key.table], columns=list(dict.fromkeys(wanted)))
    parents = pl.read_parquet(database.tables[key.parent], columns=list(key.parent_columns))
    if rows.is_empty() or parents.is_empty():
        return None
    times = times_of(rows, child)
    rows = rows.select(pl.struct(key.columns).alias("parent"), *map(pl.col, key.columns))
    if times is not None:
        rows = rows.with_columns(times.alias("time"))
    owned = rows.drop_nulls(key.columns)
    owned = owned.join(
        parents, left_on=list(key.columns), right_on=list(key.parent_columns), how="semi"
    )
    counts = (
        owned.group_by(key.columns, maintain_order=True).len()["len"].to_numpy().astype(np.float64)
    )
    per_parent = np.zeros(parents.height)
    per_parent[: counts.size] = counts
    mean = float(per_parent.mean())
    timed = owned.drop_nulls("time") if times is not None else owned.clear()
    span, burstiness, still_active = _in_time(timed) if not timed.is_empty() else (None,) * 3
    return Degrees(
        key=str(key),
        children=rows.height,
        parents=parents.height,
        null_share=1 - rows.drop_nulls(key.columns).height / rows.height,
        mean=mean,
        max_over_mean=float(per_parent.max()) / mean if mean else None,
        top_decile_share=_top_decile_share(per_parent) if mean else None,
        childless_share=float((per_parent == 0).mean()),
        tail_index=tail_index(counts),
        span=span,
        burstiness=burstiness,
        still_active=still_active,
        quantiles=tuple(np.quantile(per_parent, QUANTILES) / mean) if mean else (),
    )


def tail_index(counts: NDArray[np.float64]) -> float | None:
    """The tail exponent of positive degrees; see `Degrees.tail_index`."""
    if counts.size < FEWEST_PARENTS:
        return None
    ordered = np.sort(counts)[::-1]
    least = ordered[max(int(counts.size * TAIL_SHARE), FEWEST_PARENTS) - 1]
    tail = ordered[ordered >= least]
    return float(tail.size / np.log(tail / (least - 0.5)).sum())


def _top_decile_share(per_parent: NDArray[np.float64]) -> float:
    top = -(-per_parent.size // 10)
    return float(np.sort(per_parent)[-top:].sum() / per_parent.sum())


def _in_time(rows: pl.DataFrame) -> tuple[float | None, float | None, float | None]:
    """Span, burstiness and continued activity of rows with `parent` and `time`."""
    seconds = rows.select("parent", at=pl.col("time").cast(pl.Int64).cast(pl.Float64) / 1e6)
    first, last = seconds["at"].min(), seconds["at"].max()
    assert isinstance(first, float)
    assert isinstance(last, float)
    if last == first:
        return None, None, None
    of_parents = seconds.group_by("parent", maintain_order=True).agg(
        rows=pl.len(), first=pl.col("at").min(), last=pl.col("at").max()
    )
    several = of_parents.filter(pl.col("rows") >= 2)
    spans = (several["last"] - several["first"]) / (last - first)
    late = first + LATE * (last - first)
    before = of_parents.filter(pl.col("first") < late)
    active = (before["last"] >= late).mean()
    return _number(spans.mean()), _burstiness(seconds), _number(active)


def _burstiness(seconds: pl.DataFrame) -> float | None:
    gaps = (
        seconds.sort("parent", "at")
        .select("parent", gap=pl.col("at").diff().over("parent"))
        .drop_nulls()
        .with_columns(mean=pl.col("gap").mean().over("parent"), gaps=pl.len().over("parent"))
        .filter((pl.col("gaps") >= FEWEST_GAPS) & (pl.col("mean") > 0))
    )
    deviations = (gaps["gap"] / gaps["mean"] - 1).pow(2).mean()
    return None if deviations is None else float(np.sqrt(_number(deviations) or 0.0))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
