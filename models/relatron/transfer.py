"""What has worked on alike tasks: candidates to try first, and weights for the space's choices."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from models.database.schema import Metric
from models.families.candidate import Candidate, recorded_candidate
from models.relatron.nearness import distances
from models.relatron.task_rows import features_of, task_rows
from models.search.priors import Priors, priors_of
from models.search.space import Branch, Space, branch_of

TASKS = 5
GOOD_TRIALS = 5


@dataclass(frozen=True, slots=True)
class Transfer:
    """Taken over from other tasks.

    Attributes:
        candidates: Of the space, the most promising first; none is there twice.
        priors: By parameter of the space, the weight of each of its values; see
            `models.search.priors` for the floor under them.
        tasks: The tasks that they are from, as (database, task, distance).
    """

    candidates: tuple[Candidate, ...]
    priors: Priors
    tasks: tuple[tuple[str, str, float], ...]


def nearest_trials(
    bank: pl.DataFrame,
    task: pl.DataFrame,
    space: Space,
    protocol: str,
    without: str | None = None,
    most: int = 6,
) -> Transfer:
    """The good trials of the nearest tasks, each task and branch with equal weight at a distance.

    Nearness is that of the signals (root mean square, in spreads). A good trial is one of the best
    by test score of its task and branch: what generalised there. The weight of a task is
    1 / (1 + distance), of its trials 1, 1/2, 1/3, …

    Args:
        bank: Rows of the bank.
        task: One row, as of `models.relatron.task_rows.task_row`.
        space: The space to search; trials that are not in it are not taken over.
        protocol: The protocol of the scores.
        without: A database that must not be looked at: that of the task.
        most: The most candidates.
    """
    own = bank.filter(pl.col("protocol") == protocol)
    if without is not None:
        own = own.filter(pl.col("database") != without)
    found: list[tuple[float, int, Candidate]] = []
    tasks = []
    rows = task_rows(own)
    for row, distance in _nearest(rows, task):
        tasks.append((row["database"], row["task"], distance))
        trials = own.filter(
            *[pl.col(n).eq_missing(row[n]) for n in ("database", "task", "as_of")],
            pl.col("failure").is_null() & pl.col("test").is_not_null(),
        )
        for rank, candidate in _good(trials, space):
            found.append((1 / (1 + distance) / (1 + rank), rank, candidate))
    ordered = sorted(found, key=lambda one: (one[1], -one[0]))
    candidates: dict[str, Candidate] = {}
    for _, _, candidate in ordered:
        candidates.setdefault(str(space.parameters_of(candidate)), candidate)
    priors = priors_of(space, [(candidate, weight) for weight, _, candidate in found])
    tried = set(own["family"].unique())
    return Transfer(
        tuple(candidates.values())[:most], _with_untried(priors, space, tried), tuple(tasks)
    )


def _with_untried(priors: Priors, space: Space, tried: set[str]) -> Priors:
    """The priors, in which learners that the bank never tried weigh as much as the others' mean.

    A bank made before there was a learner says nothing against it.
    """
    found = dict(priors)
    for branch in space.branches:
        name = f"{branch}.learner"
        if weights := found.get(name):
            untried = [one for one in space.learners_of(branch) if one not in tried]
            mean = float(np.mean([*weights.values()]))
            found[name] = {**weights, **dict.fromkeys(untried, mean)}
    return found


def _nearest(rows: pl.DataFrame, task: pl.DataFrame) -> list[tuple[dict[str, Any], float]]:
    """The nearest tasks; where nothing is known of both, all are as near, with distance 1."""
    if rows.is_empty():
        return []
    features, own = features_of(rows), features_of(task)
    names = [name for name in features.columns if name in own.columns]
    away = distances(features.select(names).to_numpy(), own.select(names).to_numpy()[0])
    away = np.where(np.isfinite(away), away, 1.0)
    order = np.argsort(away, kind="stable")[:TASKS].tolist()
    return [
        (row, float(away[place])) for place, row in zip(order, rows[order].to_dicts(), strict=True)
    ]


def _good(trials: pl.DataFrame, space: Space) -> list[tuple[int, Candidate]]:
    """The best trials of each branch that are in the space, with their rank from 0."""
    descending = Metric(trials["metric"][0]).higher_is_better
    means = (
        trials.group_by("family", "settings", maintain_order=True)
        .agg(pl.col("test").mean())
        .sort("test", "family", "settings", descending=[descending, False, False])
    )
    ranks: dict[Branch, int] = {}
    found = []
    for family, text in means.select("family", "settings").rows():
        settings = json.loads(text)
        branch = branch_of(family, settings)
        candidate = _in_space(family, settings, space) if branch in space.branches else None
        if candidate is not None and ranks.get(branch, 0) < GOOD_TRIALS:
            found.append((ranks.get(branch, 0), candidate))
            ranks[branch] = ranks.get(branch, 0) + 1
    return found


def _in_space(family: str, settings: Mapping[str, Any], space: Space) -> Candidate | None:
    """The space's candidate with these settings; None where it has none.

    Settings of a trial by an older code may be unknown or impossible by now.
    """
    try:
        parameters = space.parameters_of(recorded_candidate(family, family, settings))
    except (ValueError, KeyError):
        return None
    return None if parameters is None else space.candidate(parameters)
