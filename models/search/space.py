"""The design space: branch, then learner, then the learner's settings, all of them categorical.

Relatron (ICLR 2026, Section 3) joins DFS with tabular learners and relational networks in one space;
here hybrids that read both are a branch of their own, and an axis that a choice makes meaningless is
not part of it: attention heads belong to attention, an aggregation to the convolutions that have one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from models.artifacts.recipe import canonical_json, digest
from models.families.candidate import Candidate

if TYPE_CHECKING:
    # Not at start-up, which asks the space for its branches alone.
    import optuna

Axes = Mapping[str, tuple[Any, ...]]
Choose = Callable[[str, tuple[Any, ...]], Any]


class Branch(StrEnum):
    """What a model reads: DFS features, the graph of rows, or both."""

    DFS = "dfs"
    RDL = "rdl"
    HYBRID = "hybrid"


LIGHTGBM: Axes = {
    "depth": (1, 2, 3),
    "windows": (True, False),
    "learning_rate": (0.01, 0.03, 0.1),
    "num_leaves": (7, 15, 31, 63),
    "min_data_in_leaf": (20, 50, 100, 300),
    "feature_fraction": (0.3, 0.5, 0.8),
    "lambda_l2": (0.5, 5.0, 50.0),
    "max_categories": (10, 30),
    "staleness": (0.25, 0.5),
}
LINEAR: Axes = {
    "depth": (1, 2, 3),
    "windows": (True, False),
    "dropout": (0.2, 0.5, 0.7),
    "learning_rate": (1e-4, 3e-4, 1e-3),
    "weight_decay": (1e-1, 1.0),
    "max_columns": (100, None),
    "staleness": (0.0, 0.5, 1.0),
}
RESNET: Axes = {
    "depth": (1, 2, 3),
    "windows": (True, False),
    "channels": (16, 32, 64, 128),
    "layers": (1, 2, 3, 4),
    "dropout": (0.0, 0.2, 0.3, 0.5),
    "learning_rate": (3e-4, 1e-3, 3e-3),
    "weight_decay": (1e-4, 1e-2, 1e-1),
    "max_columns": (32, 100, None),
    "staleness": (0.0, 0.5, 1.0),
}
FT_TRANSFORMER: Axes = {
    "depth": (1, 2, 3),
    "windows": (True, False),
    "channels": (16, 32, 64),
    "layers": (1, 2, 3),
    "dropout": (0.0, 0.2, 0.4),
    "learning_rate": (3e-4, 1e-3, 3e-3),
    "weight_decay": (1e-4, 1e-2),
    "max_columns": (16, 32),
    "staleness": (0.0, 0.5, 1.0),
}
NETWORK: Axes = {
    "convolution": ("sage", "hgt", "pna", "relgnn"),
    "layers": (1, 2, 3),
    "channels": (32, 64, 128),
    "aggregation": ("mean", "sum"),
    "heads": (1, 4),
    "normalization": ("layer", "batch", "none"),
    "skip": (False, True),
    "seed_label": (False, True),
    "dropout": (0.0, 0.3, 0.5),
    "fan_out": (8, 16, 32, 64),
    "strategy": ("last", "uniform"),
    "past_labels": (False, True),
    "staleness": (0.0, 0.5, 1.0),
    "learning_rate": (5e-4, 1e-3, 2e-3, 5e-3),
    "weight_decay": (1e-4, 1e-2),
    "initialisation": ("scratch", "tve"),
}
EMBEDDINGS: Axes = {name: values for name, values in LIGHTGBM.items() if name != "depth"}

SPACE: Mapping[Branch, Mapping[str, Axes]] = {
    Branch.DFS: {
        "lightgbm": LIGHTGBM,
        "linear": LINEAR,
        "resnet": RESNET,
        "ft_transformer": FT_TRANSFORMER,
    },
    Branch.RDL: {"rdl": NETWORK},
    Branch.HYBRID: {"rdl": NETWORK, "lightgbm_on_embeddings": EMBEDDINGS},
}
# Which convolutions an axis means anything to; a pretrained start fixes the architecture.
ONLY_FOR: Mapping[str, tuple[str, ...]] = {
    "aggregation": ("sage", "relgnn"),
    "heads": ("hgt", "relgnn", "pna"),
}
ARCHITECTURE = ("convolution", "layers", "channels", "aggregation", "heads", "normalization",
                "skip", "seed_label")  # fmt: skip
SCRATCH = "scratch"
WIDE_HOPS = 2
DEEP_FAN_OUTS = (8, 16)
"""With more hops than two, a wide fan-out reaches more rows than a trial has time for."""


def branch_of(family: str, settings: Mapping[str, Any]) -> Branch:
    """The branch that a candidate belongs to; its settings are complete or the family's defaults."""
    if family == "lightgbm_on_embeddings":
        return Branch.HYBRID if settings.get("features", True) else Branch.RDL
    if family == "rdl":
        return Branch.HYBRID if settings.get("features", True) else Branch.RDL
    return Branch.DFS


def candidate_name(learner: str, settings: Mapping[str, Any]) -> str:
    """A name that follows from the settings: equal candidates have equal names."""
    return f"{learner}_{digest(canonical_json(dict(settings)))[:6]}"


@dataclass(frozen=True, slots=True)
class Space:
    """A part of the design space.

    Attributes:
        branches: Branches to search.
        learners: Learners to search; others of a branch are left out.
        initialisations: What networks may start from.
        depth: The deepest DFS features that there are.
        windows: Whether there are features of trailing windows.
        fixed: Settings of every candidate of a learner, by learner, such as budgets.
    """

    branches: tuple[Branch, ...] = tuple(Branch)
    learners: tuple[str, ...] = ("lightgbm", "linear", "resnet", "rdl", "lightgbm_on_embeddings")
    initialisations: tuple[str, ...] = (SCRATCH,)
    depth: int = 2
    windows: bool = True
    fixed: Mapping[str, Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        known = {learner for learners in SPACE.values() for learner in learners}
        if unknown := sorted(set(self.learners) - known):
            raise ValueError(
                f"no search over the learners {', '.join(unknown)}; known: {', '.join(sorted(known))}"
            )
        if empty := [str(branch) for branch in self.branches if not self.learners_of(branch)]:
            raise ValueError(
                f"the branches {', '.join(empty)} have none of the learners "
                f"{', '.join(self.learners)}"
            )
        if not self.branches or self.depth < 1:
            raise ValueError(f"a space needs a branch and depth 1 or more (got depth {self.depth})")

    def learners_of(self, branch: Branch) -> tuple[str, ...]:
        """The learners of a branch that are searched."""
        return tuple(name for name in SPACE[branch] if name in self.learners)

    def axes(self, branch: Branch, learner: str) -> Axes:
        """The values of each setting of a learner, in the order in which they are chosen."""
        found = dict(SPACE[branch][learner])
        if "depth" in found:
            found["depth"] = tuple(depth for depth in found["depth"] if depth <= self.depth)
        if not self.windows:
            found.pop("windows", None)
        if "initialisation" in found:
            # First, because a pretrained encoder brings its architecture along.
            known = found.pop("initialisation")
            own = tuple(start for start in self.initialisations if start in known)
            found = {"initialisation": own or (SCRATCH,)} | found
        return found

    def suggest(self, trial: optuna.trial.BaseTrial) -> Candidate:
        """The candidate of a trial; every parameter is a categorical one of Optuna."""
        return self._candidate(trial.suggest_categorical)

    def candidate(self, parameters: Mapping[str, Any]) -> Candidate:
        """The candidate of parameters, as `parameters_of` names them.

        Raises:
            KeyError: A parameter is missing.
        """
        return self._candidate(lambda name, values: parameters[name])

    def draw(self, generator: np.random.Generator) -> Candidate:
        """A candidate drawn uniformly: branch, learner and each setting."""
        return self._candidate(lambda name, values: values[int(generator.integers(len(values)))])

    def _candidate(self, choose: Choose) -> Candidate:
        branch = Branch(choose("branch", tuple(str(branch) for branch in self.branches)))
        learner = choose(f"{branch}.learner", self.learners_of(branch))
        settings: dict[str, Any] = {}
        for axis, values in self.axes(branch, learner).items():
            if _matters(axis, settings):
                name, open_to_it = _choice(axis, values, settings)
                settings[axis] = choose(f"{branch}.{learner}.{name}", open_to_it)
        if learner == "rdl":
            settings["features"] = branch == Branch.HYBRID
        settings |= dict((self.fixed or {}).get(learner, {}))
        return Candidate(candidate_name(learner, settings), learner, settings)

    def parameters_of(self, candidate: Candidate) -> dict[str, Any] | None:
        """The parameters that lead to a candidate; None where it is not in this space.

        Settings that the candidate does not give are its family's defaults.
        """
        complete = _settings(candidate)
        branch = branch_of(candidate.family, complete)
        if branch not in self.branches or candidate.family not in self.learners_of(branch):
            return None
        found: dict[str, Any] = {"branch": str(branch), f"{branch}.learner": candidate.family}
        chosen: dict[str, Any] = {}
        for axis, values in self.axes(branch, candidate.family).items():
            if not _matters(axis, chosen):
                continue
            value = complete[axis]
            if axis == "depth" and value is None:
                value = self.depth
            name, open_to_it = _choice(axis, values, chosen)
            if value not in open_to_it:
                return None
            chosen[axis] = found[f"{branch}.{candidate.family}.{name}"] = value
        return found

    def configurations(self) -> dict[str, int]:
        """How many candidates a branch has, by branch and learner."""
        return {
            f"{branch}/{learner}": _count(self.axes(branch, learner))
            for branch in self.branches
            for learner in self.learners_of(branch)
        }


def _matters(axis: str, chosen: Mapping[str, Any]) -> bool:
    if chosen.get("initialisation", SCRATCH) != SCRATCH and axis in ARCHITECTURE:
        return False
    return axis not in ONLY_FOR or chosen.get("convolution") in ONLY_FOR[axis]


def _choice(
    axis: str, values: tuple[Any, ...], chosen: Mapping[str, Any]
) -> tuple[str, tuple[Any, ...]]:
    """The parameter's name and the values that are left, after what was chosen before."""
    if axis == "fan_out":
        # A layer of RelGNN reads two hops.
        hops = chosen.get("layers", 1) * (2 if chosen.get("convolution") == "relgnn" else 1)
        if hops > WIDE_HOPS:
            # Optuna wants one set of values for a name.
            return "fan_out_of_many_hops", DEEP_FAN_OUTS
    return axis, values


def _settings(candidate: Candidate) -> dict[str, Any]:
    config = candidate.config()
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


def _count(axes: Axes, chosen: Mapping[str, Any] | None = None) -> int:
    """The number of combinations, of which those that differ in nothing that matters count once."""
    names = [*axes]
    decisive = [name for name in ("initialisation", "convolution", "layers") if name in names]
    total = 0
    for start in _combinations([(name, axes[name]) for name in decisive]):
        kept = dict(start)
        is_fixed = kept.get("initialisation", SCRATCH) != SCRATCH
        if is_fixed and any(kept.pop(a) != axes[a][0] for a in ("convolution", "layers")):
            continue
        free = [n for n in names if n not in decisive and _matters(n, kept)]
        total += math.prod(len(_choice(name, axes[name], kept)[1]) for name in free)
    return total


def _combinations(
    axes: Sequence[tuple[str, tuple[Any, ...]]],
) -> Iterator[list[tuple[str, Any]]]:
    if not axes:
        yield []
        return
    (name, values), *rest = axes
    for value in values:
        for following in _combinations(rest):
            yield [(name, value), *following]
