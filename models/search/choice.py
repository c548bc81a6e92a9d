"""Which of a search's trials becomes the model.

Validation scores are noisy and the best of many is the luckiest as much as the best, so the rules
here look further: at flatness where validation cannot tell, or at the last slice of validation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from models.database.schema import Metric
from models.search.validation import standard_error

if TYPE_CHECKING:
    from models.search.landscape import Landscape

TOP = 3
VALIDATION_WEIGHT, FLATNESS_WEIGHT = 0.4, 0.2


class Choice(StrEnum):
    """The rules.

    BEST_VALIDATION: the best validation score.
    ONE_STANDARD_ERROR_FLATTEST: of the trials within one standard error of the best score (Breiman
    et al., "Classification and regression trees", 1984, Section 3.4.3), the flattest of the best
    one's family; where there is no flatness to compare, the best score.
    VOTE: Relatron's (ICLR 2026): of the top trials the largest sum of 0.4 x validation and 0.2 x
    each of slope, curvature and barrier, scaled from 0 (worst) to 1 (best) among them.
    LATE_VALIDATION: of the top trials the best on the last slice of validation.
    """

    BEST_VALIDATION = "best_validation"
    ONE_STANDARD_ERROR_FLATTEST = "one_standard_error_flattest"
    VOTE = "vote"
    LATE_VALIDATION = "late_validation"


@dataclass(frozen=True, eq=False)
class Contender:
    """A trial that can be chosen; all scores are of one protocol and of the task's metric.

    Attributes:
        name: Of the trial.
        family: The learner; flatness is compared within it only.
        validation: Validation score, NaN where it is not defined.
        error: Its standard error, None where not known.
        resampled: Validation scores on bootstrap draws that all contenders share
            (`ValidationRows.resampled`); with them the error of a difference is that of the pair.
        landscape: Of its network; None for trees and where it was not measured.
        late: Score of the last slice of validation.
    """

    name: str
    family: str
    validation: float
    error: float | None = None
    resampled: np.ndarray | None = None
    landscape: Landscape | None = None
    late: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The chosen trial, those that it was chosen from by the rule, and why, in words."""

    name: str
    rule: Choice
    considered: tuple[str, ...]
    reason: str


def choose(
    contenders: Sequence[Contender],
    metric: Metric,
    rule: Choice = Choice.ONE_STANDARD_ERROR_FLATTEST,
    top: int = TOP,
) -> Decision:
    """The trial that the rule takes; of equals the one with the better validation score.

    Args:
        contenders: The trials.
        metric: Says which score is better.
        rule: The rule.
        top: How many of the best by validation `VOTE` and `LATE_VALIDATION` look at.

    Raises:
        ValueError: There is no trial with a validation score, two share a name, or one lacks what
            the rule asks for.
    """
    ranked = by_validation(contenders, metric)
    best = ranked[0]
    if rule == Choice.BEST_VALIDATION:
        return Decision(best.name, rule, (best.name,), f"best validation {_score(best, metric)}")
    if rule == Choice.VOTE:
        return _vote(ranked[:top], metric)
    if rule == Choice.LATE_VALIDATION:
        return _latest(ranked[:top], metric)
    return _flattest(ranked, metric)


def by_validation(contenders: Sequence[Contender], metric: Metric) -> list[Contender]:
    """The trials that have a validation score, best first.

    Raises:
        ValueError: None has one, or two share a name.
    """
    names = [one.name for one in contenders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"trials share a name: {', '.join(twice)}; give each one of its own")
    scored = [one for one in contenders if not math.isnan(one.validation)]
    if not scored:
        raise ValueError(
            f"none of {len(contenders)} trials has a validation {metric}, so none can be chosen; "
            "look at why they failed, or at whether validation has labels of both kinds"
        )
    return sorted(scored, key=lambda one: _loss(one.validation, metric))


def within_one_error(contenders: Sequence[Contender], metric: Metric) -> list[Contender]:
    """The trials whose distance from the best score is at most its standard error, best first.

    The error is that of the difference where both have resampled scores, else the best score's own;
    where neither is known only equals count. These are the ones whose landscapes are worth measuring.
    """
    ranked = by_validation(contenders, metric)
    best = ranked[0]
    return [one for one in ranked if _gap(best, one, metric) <= error_of_difference(best, one)]


def error_of_difference(best: Contender, other: Contender) -> float:
    """The standard error of the difference of two trials' validation scores, 0 if nothing is known.

    Raises:
        ValueError: The two were resampled differently often.
    """
    if best.resampled is not None and other.resampled is not None:
        if best.resampled.shape != other.resampled.shape:
            raise ValueError(
                f"trials {best.name} and {other.name} were resampled {best.resampled.size} and "
                f"{other.resampled.size} times; their draws must be the same"
            )
        error = standard_error(best.resampled - other.resampled)
        if not math.isnan(error):
            return error
    return best.error if best.error is not None and not math.isnan(best.error) else 0.0


def _flattest(ranked: Sequence[Contender], metric: Metric) -> Decision:
    best, near = ranked[0], within_one_error(ranked, metric)
    comparable = [one for one in near if one.family == best.family and _flatness(one) is not None]
    rule, found = Choice.ONE_STANDARD_ERROR_FLATTEST, f"best validation {_score(best, metric)}"
    if best not in comparable or len(comparable) < 2:
        alone = f"{found}; no other of the {len(near)} within one standard error is a measured one"
        why = f"{alone} of its family {best.family}"
        return Decision(best.name, rule, tuple(one.name for one in near), why)
    # The scale of each metric is that of all trials of the family that were measured.
    peers = [f for one in ranked if one.family == best.family if (f := _flatness(one)) is not None]
    spread = np.std(peers, axis=0)
    scaled = (np.array([_flatness(one) for one in comparable]) - np.mean(peers, axis=0)) / np.where(
        spread > 0, spread, 1.0
    )
    chosen = comparable[int(scaled.mean(axis=1).argmin())]
    why = (
        f"the flattest of {len(comparable)} {best.family} trials within one standard error of the "
        f"{found} ({best.name}); its own is {_score(chosen, metric)}"
    )
    return Decision(chosen.name, rule, tuple(one.name for one in comparable), why)


def _vote(top: Sequence[Contender], metric: Metric) -> Decision:
    losses = np.array(
        [[_loss(one.validation, metric), *(_flatness(one) or [np.nan] * 3)] for one in top]
    )
    lowest, highest = _of_known(np.nanmin, losses), _of_known(np.nanmax, losses)
    width = highest - lowest
    shares = (highest - losses) / np.where(width > 0, width, 1.0)
    # As in the reference: what all share decides nothing, what is missing counts as the worst.
    shares = np.nan_to_num(np.where(width > 0, shares, np.where(np.isnan(losses), np.nan, 0.5)))
    votes = shares @ np.array([VALIDATION_WEIGHT, *[FLATNESS_WEIGHT] * 3])
    chosen = top[int(votes.argmax())]
    listed = ", ".join(f"{one.name} {vote:.2f}" for one, vote in zip(top, votes, strict=True))
    names = tuple(one.name for one in top)
    return Decision(chosen.name, Choice.VOTE, names, f"most votes of the top {len(top)}: {listed}")


def _latest(top: Sequence[Contender], metric: Metric) -> Decision:
    if lacking := [one.name for one in top if one.late is None or math.isnan(one.late)]:
        raise ValueError(
            f"trials {', '.join(lacking)} have no score of the last slice of validation; measure it "
            "(ValidationRows.late), or choose by another rule"
        )
    chosen = min(top, key=lambda one: _loss(float(one.late or 0.0), metric))
    listed = ", ".join(f"{one.name} {one.late:.4f}" for one in top)
    names = tuple(one.name for one in top)
    why = f"best {metric} on the last slice of validation of the top {len(top)}: {listed}"
    return Decision(chosen.name, Choice.LATE_VALIDATION, names, why)


def _flatness(one: Contender) -> list[float] | None:
    """Slope, curvature and barrier; None where there are none or the loss has no bounds."""
    if one.landscape is None:
        return None
    found = [one.landscape.slope, one.landscape.curvature, one.landscape.barrier]
    return found if np.isfinite(found).all() else None


def _of_known(function: Callable[..., np.ndarray], values: np.ndarray) -> np.ndarray:
    """A NaN-ignoring minimum or maximum per column; 0 for a column without any number."""
    known = ~np.isnan(values).all(axis=0)
    return np.asarray(function(np.where(known, values, 0.0), axis=0))


def _gap(best: Contender, other: Contender, metric: Metric) -> float:
    return _loss(other.validation, metric) - _loss(best.validation, metric)


def _loss(score: float, metric: Metric) -> float:
    return -score if metric.higher_is_better else score


def _score(one: Contender, metric: Metric) -> str:
    return f"{metric} {one.validation:.4f}"
