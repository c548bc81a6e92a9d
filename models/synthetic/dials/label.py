"""What the label is made of: components with their shares, a latent sum, and its threshold.

The latent sum of logistic noise makes the label a logit model. The shares are those of McKelvey and
Zavoina (1975), "A statistical model for the analysis of ordinal level dependent variables": variance
of a component by the variance of the latent sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from models.synthetic.dials.dials import Dials
from models.synthetic.dials.layout import label_periods, periods
from models.synthetic.dials.visible import (
    Visible,
    interaction_terms,
    plain_terms,
    rounded,
    standardised,
)
from models.synthetic.dials.world import World
from models.synthetic.rows import Floats
from models.synthetic.streams import Streams

PERSISTENCE = 0.9
"""Correlation of the entity's own component, and of a community's, from period to period."""

Bools = np.ndarray


@dataclass(frozen=True, slots=True)
class Label:
    """Outcomes of every entity, one row a period but the first: arrays [periods - 1, entities].

    Attributes:
        components: By name ("homophily", "autocorrelation", "interaction", "plain") what it adds to
            the latent sum; its variance is about its share.
        terms: The visible columns' four functions of variance 1 whose coefficients drift: the
            interaction's two, then the plain effect's two, float64 [4, periods - 1, entities].
        own: The entity's AR(1) component with variance 1.
        community: The communities' component with variance 1 [periods - 1, communities].
        amount: The latent sum with noise, as emitted.
        happened: The label, bool.
        probability: Of the label given the components.
        counted: Whether the outcome is a row of the task, bool.
    """

    components: dict[str, Floats]
    terms: Floats
    own: Floats
    community: Floats
    amount: Floats
    happened: Bools
    probability: Floats
    counted: Bools


def draw_label(dials: Dials, world: World, visible: Visible, streams: Streams) -> Label:
    """The outcomes of a world."""
    steps = periods(dials) - 1
    own = _autoregressive(steps, dials.entities, streams.generator("entity", "state"))
    community = _community_component(dials, steps, streams)
    # An outcome belongs to the community of the partners of the period before.
    shared = standardised(np.take_along_axis(community, world.communities[:-1], axis=1))
    interaction = interaction_terms(dials, world, visible)
    plain = plain_terms(dials, world, visible)
    turn = drift_angles(dials)[:, None]
    components = {
        "homophily": np.sqrt(dials.homophily) * shared,
        "autocorrelation": np.sqrt(dials.autocorrelation) * own,
        "interaction": np.sqrt(dials.interaction)
        * (np.cos(turn) * interaction[0] + np.sin(turn) * interaction[1]),
        "plain": np.sqrt(dials.plain) * (np.cos(turn) * plain[0] + np.sin(turn) * plain[1]),
    }
    known = sum(components.values(), np.zeros_like(own))
    # A logistic variable of scale 1 has the variance pi^2 / 3.
    scale = np.sqrt(3.0 * dials.noise) / np.pi
    noise = scale * streams.generator("outcome", "noise").logistic(size=known.shape)
    amount = rounded(known + noise)
    used = np.asarray(label_periods(dials)) - 1
    threshold = float(np.quantile(amount[used], 1.0 - dials.positive_rate))
    probability = expit((known - threshold) / scale) if scale else (known > threshold).astype(float)
    return Label(
        components,
        np.stack([*interaction, *plain]),
        own,
        community,
        amount,
        amount > threshold,
        probability,
        _counted(dials, steps, streams.generator("outcome", "counted")),
    )


def drift_angles(dials: Dials) -> Floats:
    """How far the coefficients have turned in each period but the first, in radians, float64."""
    used = label_periods(dials)
    progress = (np.arange(1, periods(dials)) - used[0]) / (used[-1] - used[0])
    return np.arccos(1.0 - dials.drift) * np.clip(progress, 0.0, 1.0)


def _autoregressive(steps: int, count: int, generator: np.random.Generator) -> Floats:
    """Standard AR(1) series, float64 [steps, count]."""
    shocks = generator.standard_normal((steps, count))
    found = np.empty_like(shocks)
    found[0] = shocks[0]
    for step in range(1, steps):
        found[step] = PERSISTENCE * found[step - 1] + np.sqrt(1.0 - PERSISTENCE**2) * shocks[step]
    return standardised(found)


def _community_component(dials: Dials, steps: int, streams: Streams) -> Floats:
    found = _autoregressive(steps, dials.communities, streams.generator("community", "state"))
    # In every period their mean is 0, so that the share of positive labels does not wander.
    return found - found.mean(axis=1, keepdims=True)


def _counted(dials: Dials, steps: int, generator: np.random.Generator) -> Bools:
    """`rows` random training outcomes, every one of validation, test and the time after it."""
    used = label_periods(dials)
    found = np.zeros((steps, dials.entities), dtype=bool)
    found[used[-2] - 1 :] = True
    share, rest = divmod(dials.rows, dials.cutoffs)
    order = np.argsort(generator.random((dials.cutoffs, dials.entities)), axis=1)
    quota = share + (np.arange(dials.cutoffs) < rest)
    found[used[0] - 1 : used[-2] - 1] = np.argsort(order, axis=1) < quota[:, None]
    return found
