"""What other tasks say of the space: how likely each choice is, as a prior of the first draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from models.families.candidate import Candidate
from models.search.space import Space

FLOOR = 0.01
"""The least probability of a choice that a prior does not favour."""
Priors = Mapping[str, Mapping[Any, float]]
"""By parameter (as `Space.parameters_of` names them), the weight of each of its values."""


def priors_of(space: Space, candidates: Iterable[tuple[Candidate, float]]) -> dict[str, dict]:
    """The weight of every choice that some candidates made, each with a weight of its own.

    Candidates that are not in the space say nothing; nor do those of no weight.
    """
    found: dict[str, dict[Any, float]] = {}
    for candidate, weight in candidates:
        parameters = space.parameters_of(candidate) if weight > 0 else None
        for name, value in (parameters or {}).items():
            weights = found.setdefault(name, {})
            weights[value] = weights.get(value, 0.0) + weight
    return found


def probabilities(
    values: Sequence[Any], prior: Mapping[Any, float], floor: float = FLOOR
) -> np.ndarray:
    """The probability of each value, float64 [values]: its share of the prior, at least the floor.

    Without weight on any of the values they are all equally likely.

    Raises:
        ValueError: A weight is negative or not finite, or the floor leaves nothing to share.
    """
    weights = np.array([float(prior.get(value, 0.0)) for value in values])
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"a prior has finite weights of 0 or more (got {dict(prior)})")
    if not 0 <= floor * len(values) <= 1:
        raise ValueError(f"a floor of {floor} is too high for {len(values)} values")
    if weights.sum() == 0:
        weights[:] = 1.0
    return floor + (1 - floor * len(values)) * weights / weights.sum()


class PriorSampler(optuna.samplers.BaseSampler):
    """Draws a parameter from its prior until enough trials have it; another sampler goes on.

    Args:
        base: The sampler that goes on.
        priors: The priors; a parameter without one is drawn uniformly at first.
        startup: Trials that have a parameter before `base` draws it.
        seed: Of the draws from priors.
    """

    def __init__(
        self, base: optuna.samplers.BaseSampler, priors: Priors, startup: int, seed: int
    ) -> None:
        self._base, self._priors, self._startup = base, priors, startup
        self._generator = np.random.default_rng(seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The base's."""
        return self._base.infer_relative_search_space(study, trial)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """The base's; it gives nothing for groups of parameters with too few trials."""
        return self._base.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A draw from the prior, or the base's once enough trials have the parameter.

        Raises:
            TypeError: The parameter is not a categorical one.
        """
        if not isinstance(param_distribution, CategoricalDistribution):
            raise TypeError(f"priors are for categorical parameters, which {param_name!r} is not")
        finished = study.get_trials(False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        if sum(param_name in one.params for one in finished) >= self._startup:
            return self._base.sample_independent(study, trial, param_name, param_distribution)
        values = param_distribution.choices
        chance = probabilities(values, self._priors.get(param_name, {}))
        return values[int(self._generator.choice(len(values), p=chance))]
