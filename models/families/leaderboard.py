"""The leaderboard of a task's trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.database.schema import Protocol


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
