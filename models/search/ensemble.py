"""Weights of ensembles of a search's trials, chosen on validation predictions.

Which trials, and how often each, is found by greedy forward selection with replacement (Caruana et
al., "Ensemble selection from libraries of models", ICML 2004); the plain average of the best few is
the other way. `models.families.ensemble` makes a model of trials and weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.families.ensemble import Combination, quantiles_of, ranks_of
from models.search.validation import ValidationRows, standard_error

NEAR = 1.0
"""Models whose scores differ by so many standard errors or less are taken for equals."""
MANY = 20
"""Of so many models or more each bag has a part."""
TAIL = 0.1
"""Models that weigh so little, all of them together, are left out: each would cost a training, a
prediction of every row and its place in the bundle."""


@dataclass(frozen=True, slots=True)
class SelectionConfig:
    """How an ensemble is selected.

    Attributes:
        rounds: Members that are added, one at a time.
        start: The selection starts from so many of the best single models (Section 2.2), or where
            rows are few the luckiest model would take all.
        bags: Selections whose weights are averaged (Section 2.3), each on the rows of entities drawn
            with replacement: with few entities validation favours whoever suits these. One bag is of
            the rows as they are.
        share: Of many models, drawn for each bag; of few, each bag has all.
        combination: What is averaged: predictions, or their ranks (binary tasks only).
        seed: Of the parts of the models.
    """

    rounds: int = 25
    start: int = 3
    bags: int = 10
    share: float = 0.5
    combination: Combination = Combination.MEAN
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.rounds, self.start, self.bags) < 1 or not 0 < self.share <= 1:
            raise ValueError(
                "rounds, start and bags must be at least 1 and share a number above 0 up to 1 "
                f"(got {self.rounds}, {self.start}, {self.bags}, {self.share})"
            )


def top_average(rows: ValidationRows, predictions: Sequence[np.ndarray], top: int) -> np.ndarray:
    """Equal weights of the best few models by validation score, float64 [models], of sum 1.

    Args:
        rows: The validation rows.
        predictions: Of each model, shape (rows,) or (rows, classes).
        top: How many; all where there are fewer.

    Raises:
        ValueError: No model has a validation score.
    """
    best = _best_first(rows, _stacked(predictions))[:top]
    weights = np.zeros(len(predictions))
    weights[best] = 1 / len(best)
    return weights


def greedy_selection(
    rows: ValidationRows, predictions: Sequence[np.ndarray], config: SelectionConfig | None = None
) -> np.ndarray:
    """How much each model counts in the ensemble, float64 [models], of sum 1.

    In each bag the model whose addition gives the best score is added, again and again, with
    replacement; the bag's weights are those of its best round.

    Args:
        rows: The validation rows.
        predictions: Of each model, shape (rows,) or (rows, classes).
        config: How.

    Raises:
        ValueError: No model has a validation score.
    """
    config = config or SelectionConfig()
    stacked = combined_form(_stacked(predictions), config.combination)
    usable = _best_first(rows, stacked)
    generator = np.random.default_rng(config.seed)
    # A part of a few models leaves out the best one as often as not.
    size = max(1, round(config.share * len(usable))) if len(usable) >= MANY else len(usable)
    as_they_are = np.arange(rows.labels.size)
    weights = np.zeros(len(stacked))
    for positions in rows.drawn(config.bags) if config.bags > 1 else [as_they_are]:
        # In the order of their scores, so that equals are taken alike in every bag.
        part = usable[np.sort(generator.permutation(len(usable))[:size])]
        own, predicted = rows.take(positions), stacked[part][:, positions]
        order = _usable(own, predicted)
        if not order.size:
            # Such as rows of one class alone.
            own, predicted, order = rows, stacked[part], np.arange(part.size)
        weights[part[order]] += _selected(own, predicted[order], config) / config.bags
    return weights


def steadied_selection(
    rows: ValidationRows,
    predictions: Sequence[np.ndarray],
    config: SelectionConfig | None = None,
    resampled: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """Half the weights of greedy selection, half a plain mean, without their tail.

    The mean is of all models within a standard error of the best (of the difference of the two, by
    paired bootstrap over entities): where these are few, validation cannot tell the models apart and
    the selection is luck.

    Args:
        rows: The validation rows.
        predictions: Of each model, shape (rows,) or (rows, classes).
        config: How the selection goes.
        resampled: Of each model `rows.resampled(...)`, where it is known already.

    Returns:
        float64 [models], of sum 1.

    Raises:
        ValueError: No model has a validation score.
    """
    greedy = greedy_selection(rows, predictions, config)
    stacked = _stacked(predictions)
    losses = _losses(rows, stacked)
    drawn = resampled if resampled is not None else [rows.resampled(one) for one in stacked]
    best = int(losses.argmin())
    errors = np.array([standard_error(own - drawn[best]) for own in drawn])
    near = losses - losses[best] <= NEAR * np.nan_to_num(errors)
    return without_tail(greedy / 2 + near / near.sum() / 2)


def shared_weights(rows: ValidationRows, by_protocol: Sequence[np.ndarray]) -> np.ndarray:
    """The weights of `steadied_selection` under several protocols together, float64 [models].

    What a model is worth under one protocol also shows under the other, and validation rows are few:
    under the frozen one all of an entity's are predicted from the same old news.

    Args:
        rows: The validation rows.
        by_protocol: Of each protocol the models' predictions, (models, rows[, classes]).

    Raises:
        ValueError: No model has a validation score.
    """
    first, *others = by_protocol
    # A single validation cutoff, at which there is nothing that one protocol sees and another does not.
    if all(np.array_equal(first, one) for one in others):
        return steadied_selection(rows, list(first))
    together = list(np.concatenate(by_protocol, axis=1))
    return steadied_selection(rows.under_each(len(by_protocol)), together)


def without_tail(weights: np.ndarray, tail: float = TAIL) -> np.ndarray:
    """The weights, of sum 1, without the smallest ones that come to no more than `tail` together."""
    order = np.argsort(weights, kind="stable")
    kept = weights.copy()
    # A sum of halves may miss the limit by its last bit.
    kept[order[np.cumsum(weights[order]) <= tail + 1e-12]] = 0
    return np.asarray(kept / kept.sum())


def combined_form(predictions: np.ndarray, combination: Combination) -> np.ndarray:
    """What an ensemble averages: the predictions (models, rows[, classes]), or their ranks."""
    if combination == Combination.MEAN:
        return predictions
    return np.stack([ranks_of(one, quantiles_of(one)) for one in predictions])


def _selected(rows: ValidationRows, predictions: np.ndarray, config: SelectionConfig) -> np.ndarray:
    """The weights of models that come best first."""
    counts = np.zeros(len(predictions))
    counts[: config.start] = 1
    total = predictions[: config.start].sum(axis=0)
    best, kept = _losses(rows, total[None] / counts.sum())[0], counts.copy()
    for _ in range(config.rounds):
        losses = _losses(rows, (total + predictions) / (counts.sum() + 1))
        chosen = int(losses.argmin())
        counts[chosen] += 1
        total = total + predictions[chosen]
        if losses[chosen] < best:
            best, kept = losses[chosen], counts.copy()
    return kept / kept.sum()


def _best_first(rows: ValidationRows, predictions: np.ndarray) -> np.ndarray:
    usable = _usable(rows, predictions)
    if not usable.size:
        raise ValueError(
            f"none of {len(predictions)} models has a validation {rows.metric} on the "
            f"{rows.labels.size} rows, so no ensemble can be chosen"
        )
    return usable


def _usable(rows: ValidationRows, predictions: np.ndarray) -> np.ndarray:
    """The models that have a score, best first."""
    losses = _losses(rows, predictions)
    order = np.argsort(losses, kind="stable")
    return order[np.isfinite(losses[order])]


def _losses(rows: ValidationRows, predictions: np.ndarray) -> np.ndarray:
    scores = rows.scores(predictions)
    return np.nan_to_num(-scores if rows.metric.higher_is_better else scores, nan=np.inf)


def _stacked(predictions: Sequence[np.ndarray]) -> np.ndarray:
    if not len(predictions):
        raise ValueError("an ensemble needs at least one model (got none)")
    return np.stack(predictions)
