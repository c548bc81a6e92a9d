"""Settings of a corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.families.candidate import Candidate

FEATURES_ONLY = "dfs"
NETWORK_ONLY = "rdl"


@dataclass(frozen=True, slots=True)
class CorpusConfig:
    """What to make and to try.

    Attributes:
        databases: Databases with tasks sampled from the grammar.
        tasks: Tasks of each of them.
        planted: Databases with one task whose signal is set by dials.
        seed: Of everything; database i has the seed `seed + i`.
        preset: The generator of the first kind of databases.
        depth: Of the DFS features.
        model_seeds: Models of each candidate.
        seconds: The training of one network stops after so many, with its best state so far; trees
            need no such limit.
    """

    databases: int = 20
    tasks: int = 3
    planted: int = 40
    seed: int = 0
    preset: str = "relforge"
    depth: int = 2
    model_seeds: int = 2
    seconds: float = 20.0

    def __post_init__(self) -> None:
        if self.databases < 0 or self.planted < 0 or self.databases + self.planted < 1:
            raise ValueError(
                "a corpus needs at least one database (got databases "
                f"{self.databases}, planted {self.planted})"
            )
        if min(self.tasks, self.model_seeds, self.depth) < 1 or self.seconds <= 0:
            raise ValueError("tasks, model_seeds, depth and seconds must be positive")

    def candidates(self) -> tuple[Candidate, ...]:
        """The cheap end of both families: each knows nothing of the other's inputs."""
        rdl: Mapping[str, Any] = {
            "features": False,
            "seeds": self.model_seeds,
            "channels": 32,
            "fan_out": 16,
            "epochs": 12,
            "patience": 3,
            "steps_per_epoch": 60,
            "max_seconds": self.seconds,
        }
        lightgbm = {"seeds": self.model_seeds, "rounds": 400}
        return (Candidate(FEATURES_ONLY, "lightgbm", lightgbm), Candidate(NETWORK_ONLY, "rdl", rdl))
