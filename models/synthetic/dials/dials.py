"""The dials of a planted task: what its label is made of, and how much data there is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

ENTITY, ACTIVITY, PARTNER, GRANDPARTNER = "entity", "activity", "partner", "grandpartner"

FACTORS: Mapping[tuple[int, int], tuple[str, ...]] = {
    (0, 1): (ENTITY,),
    (1, 1): (ACTIVITY,),
    (1, 2): (ENTITY, ACTIVITY),
    (2, 1): (PARTNER,),
    (2, 2): (ACTIVITY, PARTNER),
    (2, 3): (ENTITY, ACTIVITY, PARTNER),
    (3, 1): (GRANDPARTNER,),
    (3, 2): (ACTIVITY, GRANDPARTNER),
    (3, 3): (ACTIVITY, PARTNER, GRANDPARTNER),
}
"""By depth and order, the tables whose columns are multiplied; the deepest one comes last."""


class Aggregate(StrEnum):
    """What becomes of the values of an entity's activities: THRESHOLD is the share of high ones."""

    MEAN = "mean"
    MAX = "max"
    LAST = "last"
    THRESHOLD = "threshold"


@dataclass(frozen=True, slots=True)
class Dials:
    """Settings of a planted task.

    The label says whether a latent sum exceeds a threshold. The shares divide the variance of this
    sum, which is 1; what `homophily`, `autocorrelation`, `interaction` and `noise` leave goes to a
    plain effect that every model finds, the mean of a column of the entity's activities. So one
    share can be moved while the others, and how much there is to be known, stay as they are.

    Attributes:
        homophily: The share of a component that entities with the same partners have in common
            and that no column of theirs, nor of the partners, shows: only the past outcomes of those
            who dealt with the same partners do.
        autocorrelation: The share of the entity's own AR(1) component, seen in nothing but its own
            past outcomes.
        interaction: The share of a function of visible columns.
        noise: The share that nothing explains; it bounds every model's score.
        depth: How many foreign keys away from the entity the interaction's deepest column lies: 0
            its own, 1 its activities', 2 their partners', 3 the partners' partners' (grandpartners').
        order: How many columns, each of another table on the way, are multiplied.
        aggregate: How the products of an entity's activities become one value.
        drift: How far the coefficients of visible columns turn from the first training cutoff to the
            test: 1 minus the cosine of the two, 0 (not at all) to 1 (other columns matter).
        rows: Training rows.
        degree: Activities an entity and period; their mean where `degree_exponent` is given.
        degree_exponent: Exponent of a Pareto distribution of the number of activities, drawn anew
            for each entity and period; None for a fixed number.
        distractors: Columns that nothing depends on, over all tables.
        positive_rate: The share of positive labels.
        entities: Entities; each is a row of the validation and of the test split.
        cutoffs: Training cutoffs, one period apart.
        communities: Groups of entities that deal with the same partners.
        partners: Partners a community; 0 for a database without partner tables.
        mobility: The probability that an entity joins another community for a period. Where
            entities stay (below 1) the communities' component shows in an entity's own history too.
    """

    homophily: float = 0.15
    autocorrelation: float = 0.1
    interaction: float = 0.25
    noise: float = 0.15
    depth: int = 2
    order: int = 2
    aggregate: Aggregate = Aggregate.MEAN
    drift: float = 0.0
    rows: int = 4000
    degree: int = 8
    degree_exponent: float | None = None
    distractors: int = 10
    positive_rate: float = 0.4
    entities: int = 1000
    cutoffs: int = 8
    communities: int = 20
    partners: int = 12
    mobility: float = 1.0

    def __post_init__(self) -> None:
        self._check_ranges()
        self._check_shares()
        self._check_interaction()
        self._check_sizes()

    @property
    def plain(self) -> float:
        """The share of the plain effect: what the other shares leave."""
        rest = self.homophily + self.autocorrelation + self.interaction + self.noise
        # Sums of floats miss 1 by a little.
        return 1.0 - rest if rest < 1.0 - 1e-9 else 0.0

    @property
    def factors(self) -> tuple[str, ...]:
        """The tables whose columns the interaction multiplies; the deepest one comes last."""
        return FACTORS[self.depth, self.order]

    def as_data(self) -> dict[str, Any]:
        """The dials as strings, numbers and None; `from_data` reads them."""
        return {**asdict(self), "aggregate": str(self.aggregate)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Dials:
        """The dials of `as_data`.

        Raises:
            ValueError: A name is no dial, or the settings contradict each other.
        """
        names = [dial.name for dial in fields(cls)]
        if unknown := sorted(set(data) - set(names)):
            raise ValueError(f"no such dial: {', '.join(unknown)} (there are: {', '.join(names)})")
        aggregate = {"aggregate": Aggregate(data["aggregate"])} if "aggregate" in data else {}
        return cls(**{**data, **aggregate})

    def _check_ranges(self) -> None:
        for name in ("homophily", "autocorrelation", "interaction", "noise", "drift", "mobility"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be from 0 to 1 (got {value})")
        if not 0 < self.positive_rate < 1:
            raise ValueError(
                f"positive_rate must lie between 0 and 1, both excluded (got {self.positive_rate})"
            )
        lowest = {"rows": 1, "degree": 1, "distractors": 0, "entities": 2, "cutoffs": 1}
        for name, low in {**lowest, "communities": 1, "partners": 0}.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low} (got {getattr(self, name)})")
        exponent = self.degree_exponent
        if exponent is not None and not (exponent > 1 and math.isfinite(exponent)):
            raise ValueError(
                f"degree_exponent must be a number above 1, or None for a fixed degree (got "
                f"{exponent}); at 1 and below the number of activities has no mean"
            )

    def _check_shares(self) -> None:
        total = self.homophily + self.autocorrelation + self.interaction + self.noise
        if total > 1 + 1e-9:
            raise ValueError(
                f"homophily ({self.homophily:g}), autocorrelation ({self.autocorrelation:g}), "
                f"interaction ({self.interaction:g}) and noise ({self.noise:g}) are shares of one "
                f"variance, but sum to {total:g}; lower one of them by {total - 1:g}"
            )
        if self.drift > 0 and self.interaction + self.plain < 1e-9:
            raise ValueError(
                f"drift ({self.drift:g}) turns the coefficients of visible columns, but homophily, "
                "autocorrelation and noise leave no share to these; lower one of them, or set drift "
                "to 0"
            )

    def _check_interaction(self) -> None:
        if self.depth not in range(4) or self.order not in range(1, 4):
            raise ValueError(
                "depth must be 0, 1, 2 or 3 and order 1, 2 or 3 "
                f"(got depth {self.depth} and order {self.order})"
            )
        if self.order > self.depth + 1:
            raise ValueError(
                f"order {self.order} multiplies columns of {self.order} tables along the path, but "
                f"a path of depth {self.depth} has only {self.depth + 1}; raise depth to "
                f"{self.order - 1} or lower order to {self.depth + 1}"
            )
        if self.depth == 0 and self.aggregate != Aggregate.MEAN:
            raise ValueError(
                f"aggregate {str(self.aggregate)!r} is of activities, but depth 0 uses the entity's "
                "own columns alone; raise depth to 1 or set aggregate to 'mean'"
            )

    def _check_sizes(self) -> None:
        if self.partners == 0 and (self.homophily > 0 or self.depth > 1):
            need = f"homophily ({self.homophily:g})" if self.homophily else f"depth {self.depth}"
            raise ValueError(
                f"{need} needs partners, but partners is 0; set partners to 2 or more, or "
                + ("homophily to 0" if self.homophily else "depth to 1")
            )
        if self.partners % 2:
            raise ValueError(
                "partners must be even, so that a community's grandpartners have two each "
                f"(got {self.partners})"
            )
        if self.depth == 3 and self.partners < 4:
            raise ValueError(
                f"depth 3 needs two grandpartners a community, which have two partners each; raise "
                f"partners to 4 (got {self.partners})"
            )
        if self.homophily > 0 and self.communities < 2:
            raise ValueError(
                f"homophily ({self.homophily:g}) needs communities that differ; raise communities "
                f"to 2 or more, or set homophily to 0 (got {self.communities})"
            )
        if self.entities < 2 * self.communities:
            raise ValueError(
                f"{self.communities} communities need at least {2 * self.communities} entities, two "
                f"each, but there are {self.entities}; raise entities or lower communities"
            )
        if self.rows < self.cutoffs:
            raise ValueError(
                f"{self.rows} rows cannot be spread over {self.cutoffs} training cutoffs; raise "
                "rows or lower cutoffs"
            )
        if self.rows > self.entities * self.cutoffs:
            raise ValueError(
                f"{self.entities} entities at {self.cutoffs} training cutoffs make "
                f"{self.entities * self.cutoffs} rows, fewer than the {self.rows} asked for; raise "
                "entities or cutoffs, or lower rows"
            )
