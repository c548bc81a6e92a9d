"""Searchers by name, all of them studies: what they differ in is where candidates come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.families.candidate import Candidate
from models.search.priors import Priors
from models.search.records import StudyConfig, TrialRecord
from models.search.space import Space
from models.search.study import Evaluate, run_study

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Searcher:
    """A sampler, a pruner, and what of a task's advice is taken."""

    sampler: str
    pruner: str = "none"
    takes_space: bool = False
    takes_warm_starts: bool = False
    takes_priors: bool = False


@dataclass(frozen=True, slots=True)
class Advice:
    """What is known of a task before its search.

    `space` is the part of the space that is worth a search (None: all), `warm_starts` what to try
    first, `priors` how likely each choice is good.
    """

    space: Space | None = None
    warm_starts: Sequence[Candidate] = ()
    priors: Priors | None = None


SEARCHERS: Mapping[str, Searcher] = {
    "random": Searcher("random"),
    "tpe": Searcher("tpe"),
    "hyperband": Searcher("random", "hyperband"),
    "autotransfer": Searcher("tpe", takes_priors=True),
    "relatron": Searcher("tpe", takes_space=True, takes_warm_starts=True, takes_priors=True),
}
"""`autotransfer` takes priors from tasks that are near in Fisher space (`models.search.fisher`)."""


def search(
    searcher: str,
    config: StudyConfig,
    space: Space,
    evaluate: Evaluate,
    storage: str | Path,
    name: str,
    progress: Progress = lambda line: None,
    workers: int = 1,
    advice: Advice | None = None,
) -> list[TrialRecord]:
    """A study by a searcher's rules (see `run_study`); it reads of the advice what it takes.

    Raises:
        ValueError: There is no such searcher, or it needs advice that is not given.
    """
    if searcher not in SEARCHERS:
        raise ValueError(f"no searcher {searcher!r}; known: {', '.join(SEARCHERS)}")
    rules, advice = SEARCHERS[searcher], advice or Advice()
    if rules.takes_priors and not (advice.priors or advice.warm_starts or advice.space):
        raise ValueError(f"the searcher {searcher!r} is nothing but tpe without advice; give some")
    return run_study(
        replace(config, sampler=rules.sampler, pruner=rules.pruner),
        advice.space if rules.takes_space and advice.space else space,
        evaluate,
        storage,
        name,
        progress,
        workers,
        advice.warm_starts if rules.takes_warm_starts else (),
        advice.priors if rules.takes_priors else None,
    )
