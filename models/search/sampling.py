"""Samplers and pruners by name, and the draw of one candidate that no other trial has."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from models.artifacts.recipe import canonical_json
from models.search.priors import Priors, PriorSampler
from models.search.space import Space

SAMPLERS = ("random", "tpe")
PRUNERS = ("none", "halving", "hyperband")
RESOURCE = 27
"""A training's budget as pruners count it: a third, a ninth and a twenty-seventh are rungs."""
REDUCTION = 3
ATTEMPTS = 20
UNIFORM_ATTEMPTS = 1000
Sampler = Callable[[int], optuna.samplers.BaseSampler]
"""Makes the sampler of an attempt (from 0) to draw a trial's candidate."""


def make_sampler(
    name: str, seed: int, startup: int, priors: Priors | None = None
) -> optuna.samplers.BaseSampler:
    """A sampler whose draws follow from its seed and the finished trials.

    `random` draws uniformly, whatever the priors. `tpe` is the tree-structured Parzen estimator
    (Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011) over groups of
    parameters that occur together, after `startup` trials of a group, which the priors draw.

    Raises:
        ValueError: There is no such sampler.
    """
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name != "tpe":
        raise ValueError(f"no sampler {name!r}; known: {', '.join(SAMPLERS)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        base = optuna.samplers.TPESampler(
            n_startup_trials=startup, multivariate=True, group=True, seed=seed
        )
    return PriorSampler(base, priors or {}, startup, seed)


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    """A pruner of trials that report scores at shares of their training's budget.

    `halving` is asynchronous successive halving (Li et al., "A system for massively parallel
    hyperparameter tuning", MLSys 2020): of the trials that came to a rung, a third goes on.
    `hyperband` (Li et al., "Hyperband", JMLR 2018) spreads trials over brackets that begin later.

    Raises:
        ValueError: There is no such pruner.
    """
    if name == "none":
        return optuna.pruners.NopPruner()
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(1, RESOURCE, REDUCTION)
    raise ValueError(f"no pruner {name!r}; known: {', '.join(PRUNERS)}")


def draw(
    study: optuna.Study,
    trial: FrozenTrial,
    space: Space,
    sampler: Sampler,
    taken: Collection[str],
    seed: int,
) -> dict[str, Any] | None:
    """Parameters of a candidate that is not taken; None where none was found.

    Nothing is stored: what a sampler draws twice is drawn again, at last uniformly.

    Args:
        study: The study, for its finished and running trials.
        trial: The trial that the draw is for.
        space: What to draw from.
        sampler: Of each attempt.
        taken: `signature` of the parameters that other trials have.
        seed: Of the uniform draws.
    """
    for attempt in range(ATTEMPTS):
        drawing = _Drawing(study, trial, sampler(attempt))
        space.suggest(cast(Any, drawing))
        if signature(drawing.parameters) not in taken:
            return drawing.parameters
    generator = np.random.default_rng(seed)
    for _ in range(UNIFORM_ATTEMPTS):
        parameters = space.parameters_of(space.draw(generator))
        if parameters is not None and signature(parameters) not in taken:
            return parameters
    return None


def signature(parameters: Mapping[str, Any]) -> str:
    """A text that is the same for equal parameters."""
    return canonical_json(dict(parameters))


class _Drawing:
    """Asks a sampler for parameters as a trial of Optuna would, without storing them."""

    def __init__(
        self, study: optuna.Study, trial: FrozenTrial, sampler: optuna.samplers.BaseSampler
    ) -> None:
        self._study, self._trial, self._sampler = study, trial, sampler
        space = sampler.infer_relative_search_space(study, trial)
        self._relative = sampler.sample_relative(study, trial, space)
        self.parameters: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: tuple[Any, ...]) -> Any:
        if len(choices) == 1:
            value = choices[0]
        elif self._relative.get(name, _NOTHING) in choices:
            value = self._relative[name]
        else:
            distribution = CategoricalDistribution(choices)
            value = self._sampler.sample_independent(self._study, self._trial, name, distribution)
        self.parameters[name] = value
        return value


_NOTHING = object()


class DrawnSampler(optuna.samplers.BaseSampler):
    """Gives a trial the parameters that were drawn for it."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing: every parameter is given on its own."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The parameter that was drawn."""
        return self._parameters[param_name]
