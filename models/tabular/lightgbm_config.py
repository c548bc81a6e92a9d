"""Settings of LightGBM on feature tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.database.schema import Protocol
from models.learning.config import check_limit, check_staleness


@dataclass(frozen=True, slots=True)
class LightGBMConfig:
    """Settings of the learner; everything not named here is LightGBM's default.

    `seeds` is the number of models, `early_stopping` the rounds without a better validation score
    under either protocol after which a model stops (0: none, all rounds are kept), `rounds` the most
    trees it may have. Categories are held back (`max_categories`, `cat_smooth`, `cat_l2`,
    `min_data_per_group`): in a relational database most of them name rows elsewhere, and LightGBM's
    defaults learn those by heart. A leaf
    has at least `min_data_in_leaf` rows, or a tenth of them where there are few. `depth` is the longest
    path of the features that are read (None: all that there are), `windows` whether those of trailing
    windows are. `max_seconds` is the budget of growing each model; one that it cuts short cannot be
    repeated to the bit. `staleness` is the weight of the
    training rows as earlier moments saw them, against one minus it of the same rows as their cutoffs
    see them, in a second model that only the frozen protocol may take; 0 for no such model. `trees`
    fixes by protocol how many trees there are, without early stopping or anything else to choose, and
    only for the protocols that it names.
    """

    seeds: int = 5
    rounds: int = 1500
    early_stopping: int = 100
    learning_rate: float = 0.03
    num_leaves: int = 15
    min_data_in_leaf: int = 100
    feature_fraction: float = 0.5
    bagging_fraction: float = 0.8
    lambda_l2: float = 5.0
    max_categories: int = 30
    cat_smooth: float = 50.0
    cat_l2: float = 50.0
    min_data_per_group: int = 200
    depth: int | None = None
    windows: bool = True
    max_seconds: float | None = None
    staleness: float = 0.25
    trees: Mapping[str, int] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_staleness(self.staleness)
        check_limit("max_seconds", self.max_seconds)
        trees = self.trees
        if trees is not None and not (
            trees and set(trees) <= set(Protocol) and min(trees.values()) > 0
        ):
            raise ValueError(
                f"trees has a number above 0 for each protocol asked, {' or '.join(Protocol)} "
                f"(got {dict(trees)})"
            )
