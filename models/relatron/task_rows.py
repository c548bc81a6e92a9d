"""From the bank to one row a task: how far the branches are apart there, and its signals.

A *gap* is signed so that a positive one favours the branch over dfs, and it is relative:
gap_b = ±(score_b - score_dfs) / max over branches of |score|, the sign being that of the metric.
So a task's regret, the best gap minus the chosen branch's (dfs has gap 0), is what choosing it
loses, as a share of the scores; with two branches this is the advantage in the study published with
Relatron (ICLR 2026). R² is a share already and isn't divided again. `models.corpus.study.gaps`
measures in shares of the room above the trivial predictor instead, which blows up where that
predictor is nearly perfect; gap / room converts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from models.database.schema import Metric, TaskType
from models.search.space import Branch, branch_of

TASK = ("database", "task", "as_of", "protocol")
OTHERS = (Branch.RDL, Branch.HYBRID)
DRAWS = 400
RACE_TRIALS = 3
DUELS = tuple(combinations(Branch, 2))
_COLUMNS: Mapping[str, Any] = {
    "database": pl.String,
    "task": pl.String,
    "as_of": pl.Datetime("us"),
    "protocol": pl.String,
    "origin": pl.String,
    "task_type": pl.String,
    "metric": pl.String,
    "train_rows": pl.Int64,
    "validation_rows": pl.Int64,
    "trials": pl.Int64,
    "room": pl.Float64,
    **{f"gap_{branch}": pl.Float64 for branch in OTHERS},
    **{f"error_{branch}": pl.Float64 for branch in OTHERS},
    **{f"validation_gap_{branch}": pl.Float64 for branch in OTHERS},
    **{f"race_{branch}": pl.Float64 for branch in Branch},
    **{f"duel_{first}_{second}": pl.Float64 for first, second in DUELS},
}


def task_rows(bank: pl.DataFrame) -> pl.DataFrame:
    """One row a (database, task, as_of, protocol) of the bank in which some branch has test scores.

    A branch's score is what a search of it finds: the test score of the trial that is best on
    validation (mean over its seeds), in expectation over draws of as many trials as the branch with
    the fewest has, so that a branch isn't better for having been searched longer.

    Returns:
        `database` … `validation_rows` as in the bank; trials (of each branch that were compared);
        room (what the trivial predictor leaves to gain, in units of the gaps); gap_<branch> and its
        standard error error_<branch> for rdl and hybrid: row bootstrap, spread over seeds, and
        which trial validation prefers (bootstrap over trials and validation noise). Both branches
        are scored on the same test rows, which the bank can't pair: the error is on the safe side.
        validation_gap_<branch>: the gap on validation; race_<branch>: the probability that the
        branch has the best validation score of a few trials each; duel_<first>_<second>: that the
        first of two has. Then a Float64 column a signal.
        What is unknown is null, a signal NaN.
    """
    trials = _trials(bank)
    found = []
    signals = []
    for own in trials.partition_by(*TASK, maintain_order=True):
        found.append(_task(own))
        signals.append(_signals(own["signals"][0]))
    if not found:
        return pl.DataFrame(schema=dict(_COLUMNS))
    names = sorted({name for one in signals for name in one} - set(_COLUMNS))
    measured = pl.DataFrame(
        {name: [one.get(name, math.nan) for one in signals] for name in names},
        schema=dict.fromkeys(names, pl.Float64),
    )
    return pl.DataFrame(found, schema=dict(_COLUMNS)).hstack(measured)


def signal_names(rows: pl.DataFrame) -> list[str]:
    """The columns that are signals, without their errors and costs."""
    return [
        name
        for name in rows.columns
        if name not in _COLUMNS
        and not name.endswith("_error")
        and name != "seconds"
        and rows.schema[name].is_numeric()
    ]


def features_of(rows: pl.DataFrame) -> pl.DataFrame:
    """What a selector may read: the signals, log_rows (training and validation) and regression.

    Returns:
        Float64 columns, NaN where unknown.
    """
    size = (pl.col("train_rows") + pl.col("validation_rows") + 1).log()
    return rows.select(
        size.cast(pl.Float64).fill_null(math.nan).alias("log_rows"),
        (pl.col("task_type") == str(TaskType.REGRESSION)).cast(pl.Float64).alias("regression"),
        *[
            pl.col(name).cast(pl.Float64).fill_null(math.nan)
            for name in signal_names(rows)
            if name not in ("log_rows", "regression")
        ],
    )


def task_row(
    signals: Mapping[str, float | None], task_type: str, train_rows: int, validation_rows: int
) -> pl.DataFrame:
    """The row of a task that is to be routed: signals, and nothing of any trial."""
    known = {"task_type": task_type, "train_rows": train_rows, "validation_rows": validation_rows}
    return pl.DataFrame([_numbers(signals) | known])


def _trials(bank: pl.DataFrame) -> pl.DataFrame:
    """One row a trial, its scores signed so that more is better."""
    known = bank.filter(
        pl.col("failure").is_null()
        & pl.col("validation").is_not_null()
        & pl.col("test").is_not_null()
    )
    configurations = known.select("family", "settings").unique(maintain_order=True)
    branches = configurations.with_columns(
        pl.Series(
            "branch",
            [str(branch_of(family, json.loads(text))) for family, text in configurations.rows()],
            dtype=pl.String,
        )
    )
    higher = [str(metric) for metric in Metric if metric.higher_is_better]
    sign = pl.when(pl.col("metric").is_in(higher)).then(1.0).otherwise(-1.0)
    spread = pl.col("test").std().fill_null(0.0).pow(2) / pl.len()
    return (
        known.join(branches, on=["family", "settings"])
        .with_columns(pl.col("validation", "test") * sign)
        .sort(*TASK, "branch", "family", "settings", "seed")
        .group_by(*TASK, "branch", "family", "settings", maintain_order=True)
        .agg(
            pl.col("validation", "test").mean(),
            pl.col("validation_error").mean().fill_null(0.0),
            (pl.col("test_error").mean().fill_null(0.0).pow(2) + spread).alias("variance"),
            pl.col("origin", "task_type", "metric", "trivial_test", "signals").last(),
            pl.col("train_rows", "validation_rows").max(),
        )
    )


def _task(trials: pl.DataFrame) -> dict[str, Any]:
    """The row of a task, of its trials."""
    generator = np.random.default_rng(0)
    branches = {Branch(str(key)): own for (key,), own in trials.group_by("branch")}
    present = [branch for branch in Branch if branch in branches]
    budget = min(own.height for own in branches.values())
    first = trials.row(0, named=True)
    found = {name: first[name] for name in _COLUMNS if name in first} | {"trials": budget}

    searched = {branch: _searched(branches[branch], budget, generator) for branch in present}
    scale = 1.0
    if first["metric"] != str(Metric.R2):
        scale = max(1e-9, *(abs(score) for score, _, _ in searched.values()))
    if first["trivial_test"] is not None:
        best = 1.0 if Metric(first["metric"]).higher_is_better else 0.0
        trivial = 0.5 if first["metric"] == str(Metric.ROC_AUC) else first["trivial_test"]
        found["room"] = abs(best - trivial) / scale
    if Branch.DFS in searched:
        score, variance, validation = searched[Branch.DFS]
        for branch in present:
            if branch != Branch.DFS:
                own_score, own_variance, own_validation = searched[branch]
                found[f"gap_{branch}"] = (own_score - score) / scale
                found[f"error_{branch}"] = math.sqrt(variance + own_variance) / scale
                found[f"validation_gap_{branch}"] = (own_validation - validation) / scale
    few = {branch: _best_of_few(branches[branch], generator) for branch in present}
    races = np.stack(list(few.values()))
    wins = np.bincount(races.argmax(axis=0), minlength=len(present)) / DRAWS
    found |= {f"race_{branch}": float(won) for branch, won in zip(present, wins, strict=True)}
    return found | {
        f"duel_{first}_{second}": float((few[first] >= few[second]).mean())
        for first, second in DUELS
        if first in few and second in few
    }


def _searched(
    trials: pl.DataFrame, budget: int, generator: np.random.Generator
) -> tuple[float, float, float]:
    """Test score of the trial that is best on validation, its variance, and its validation score.

    Of n trials in order of validation, the i-th (from 0) is the best of `budget` drawn ones with
    probability C(n - 1 - i, budget - 1) / C(n, budget).
    """
    ordered = trials.sort("validation", descending=True, maintain_order=True)
    validation, test, noise = (
        ordered[name].to_numpy() for name in ("validation", "test", "validation_error")
    )
    count = ordered.height
    draws = math.comb(count, budget)
    chances = np.array([math.comb(count - 1 - i, budget - 1) / draws for i in range(count)])
    drawn = generator.integers(count, size=(DRAWS, budget))
    perceived = validation[drawn] + noise[drawn] * generator.standard_normal(drawn.shape)
    chosen = np.take_along_axis(drawn, perceived.argmax(axis=1)[:, None], axis=1)
    variance = float(test[chosen].var() + chances @ ordered["variance"].to_numpy())
    return float(chances @ test), variance, float(chances @ validation)


def _best_of_few(trials: pl.DataFrame, generator: np.random.Generator) -> np.ndarray:
    """The best validation scores of draws of a few trials."""
    scores = np.tile(trials["validation"].to_numpy(), (DRAWS, 1))
    return np.asarray(generator.permuted(scores, axis=1)[:, :RACE_TRIALS].max(axis=1))


def _signals(text: str | None) -> dict[str, float]:
    known = _numbers(json.loads(text or "{}"))
    # A corpus notes label rates of the test rows too; a task that is to be routed has none. Names
    # with a space are of one path of one database, and mean nothing elsewhere.
    return {
        name: value
        for name, value in known.items()
        if not name.endswith("_test") and " " not in name
    }


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: math.nan if value is None else float(value)
        for name, value in found.items()
        if value is None or isinstance(value, int | float)
    }
