"""The leaderboard of a task's trials, and the choice of the best by validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.database.schema import Metric, Protocol


@dataclass(frozen=True, slots=True)
class LeaderboardRow:
    """One candidate's validation score under one protocol.

    `mean` and `std` (sample) are over its `seeds`; `seconds` is what training it took, all seeds
    and both protocols together.
    """

    candidate: str
    family: str
    protocol: Protocol
    mean: float
    std: float
    seeds: int
    seconds: float


def leaderboard(trials: Sequence[Mapping[str, Any]]) -> list[LeaderboardRow]:
    """A row per trial and protocol, in the order of the trials.

    Args:
        trials: What `train_candidate` returned: candidate, family, validation_scores, seconds.
    """
    return [_row(trial, protocol) for trial in trials for protocol in Protocol]


def _row(trial: Mapping[str, Any], protocol: Protocol) -> LeaderboardRow:
    scores = np.array([scores[protocol.value] for scores in trial["validation_scores"]])
    return LeaderboardRow(
        candidate=str(trial["candidate"]),
        family=str(trial["family"]),
        protocol=protocol,
        mean=float(scores.mean()),
        std=float(scores.std(ddof=1)) if scores.size > 1 else 0.0,
        seeds=int(scores.size),
        seconds=float(trial["seconds"]),
    )


def best_candidate(rows: Sequence[LeaderboardRow], protocol: Protocol, metric: Metric) -> str:
    """The name of the candidate with the best mean validation score under the protocol.

    Of equals, the first listed. A score that is not defined is worse than any other.

    Raises:
        ValueError: There is no row of that protocol.
    """
    listed = [row for row in rows if row.protocol == protocol]
    if not listed:
        raise ValueError(f"the leaderboard has no row of the protocol {protocol} to choose from")

    def loss(row: LeaderboardRow) -> float:
        if math.isnan(row.mean):
            return math.inf
        return -row.mean if metric.higher_is_better else row.mean

    return min(listed, key=loss).candidate
