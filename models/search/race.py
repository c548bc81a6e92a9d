"""A race of the branches, for where nothing says which one to search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.database.schema import Metric
from models.families.candidate import Candidate
from models.search.priors import Priors
from models.search.records import StudyConfig, TrialRecord, best_of
from models.search.space import Branch, Space
from models.search.study import Evaluate, run_study

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Race:
    """The branches that are left, best first, and the trials of every branch that ran."""

    survivors: tuple[Branch, ...]
    records: Mapping[Branch, Sequence[TrialRecord]]


def race(
    config: StudyConfig,
    space: Space,
    evaluate: Evaluate,
    storage: str | Path,
    name: str,
    progress: Progress = lambda line: None,
    workers: int = 1,
    warm_starts: Sequence[Candidate] = (),
    priors: Priors | None = None,
    rounds: int = 3,
) -> Race:
    """Successive halving over the space's branches, whose budgets in a round are equal.

    Each round spends an equal share of the budget (`config.trials`, `config.seconds`), divided
    evenly among the branches that are left. After it, the branch whose best validation score is
    worst drops out, unless it is within one standard error of the best one's: the larger of the two
    errors, because both are measured on the same rows (Jamieson and Talwalkar, "Non-stochastic best
    arm identification and hyperparameter optimization", AISTATS 2016, where half drop without such
    a test). A branch without a score drops out too.

    Every branch is a study of its own, `name/branch`, so that trials are pruned and learnt from
    among their like. A race that was killed goes on where it was when it is called again.

    Raises:
        ValueError: The budget is less than a trial per branch and round.
        RuntimeError: Too many trials of a branch failed in a row (see `run_study`).
    """
    left = list(space.branches)
    if config.trials < rounds * len(left):
        raise ValueError(
            f"a race of {len(left)} branches over {rounds} rounds needs {rounds * len(left)} "
            f"trials or more (got {config.trials})"
        )
    trials = dict.fromkeys(left, 0)
    seconds = dict.fromkeys(left, 0.0)
    records: dict[Branch, Sequence[TrialRecord]] = {}
    for number in range(rounds):
        # What earlier rounds could not divide evenly is for the later ones.
        share = (config.trials - sum(trials.values())) // (rounds - number) // len(left)
        for branch in left:
            trials[branch] += share
            seconds[branch] += (config.seconds or 0.0) / rounds / len(left)
            budget = replace(
                config,
                trials=trials[branch],
                seconds=seconds[branch] if config.seconds else None,
            )
            own = replace(space, branches=(branch,))
            records[branch] = run_study(
                budget,
                own,
                evaluate,
                storage,
                f"{name}/{branch}",
                progress,
                workers,
                [one for one in warm_starts if own.parameters_of(one) is not None],
                priors,
            )
        left = _without_the_worst(left, records, config.metric, progress)
    return Race(tuple(left), records)


def _without_the_worst(
    left: Sequence[Branch],
    records: Mapping[Branch, Sequence[TrialRecord]],
    metric: Metric,
    progress: Progress,
) -> list[Branch]:
    """The branches that go on, best first."""
    best = {branch: best_of(records[branch], metric) for branch in left}
    scores = {branch: one.score for branch, one in best.items() if one and one.score is not None}
    ordered = sorted(scores, key=lambda branch: scores[branch], reverse=metric.higher_is_better)
    for branch in set(left) - set(ordered):
        progress(f"the branch {branch} drops out: none of its trials has a score")
    if len(ordered) < 2:
        return ordered or list(left)
    first, last = ordered[0], ordered[-1]
    gap = abs(scores[first] - scores[last])
    error = max(_error(best[first]), _error(best[last]))
    if gap <= error:
        return ordered
    progress(
        f"the branch {last} drops out: its best {metric} is {scores[last]:.4f}, {gap:.4f} behind "
        f"{first}, more than the standard error {error:.4f}"
    )
    return ordered[:-1]


def _error(record: TrialRecord | None) -> float:
    return (record.error or 0.0) if record else 0.0
