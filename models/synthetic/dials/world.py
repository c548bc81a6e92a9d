"""Who deals with whom, and when: the rows of a planted database, without columns."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from models.synthetic.dials.dials import Dials
from models.synthetic.dials.layout import PERIOD, periods
from models.synthetic.rows import Floats, Indices
from models.synthetic.streams import Streams

# Times are drawn away from the cutoffs by more than a second.
MARGIN = 0.01
MOST = 20
"""A Pareto degree never exceeds its mean so many times."""


@dataclass(frozen=True, slots=True)
class World:
    """Links and times.

    A cell is an entity in a period: number period * entities + entity. Activities are sorted by cell
    and, inside one, by time; every cell has at least one. Outcomes have one row a period but the
    first.

    Attributes:
        communities: The community of an entity in a period, int64 [periods, entities].
        starts: Where each cell's activities begin, int64 [cells].
        counts: How many activities each cell has, int64 [cells].
        activity_entity: The entity of an activity, int64 [activities].
        activity_partner: Its partner, or None without partners.
        activity_time: Its time as a share of the database's span, float64 [activities].
        outcome_partner: The partner of an outcome, one that the entity dealt with in the period
            before, int64 [periods - 1, entities], or None.
        outcome_time: The time of an outcome as a share of the span, float64.
        partner_community: The community of a partner, int64 [partners].
        partner_parent: The grandpartner of a partner, int64 [partners].
    """

    communities: Indices
    starts: Indices
    counts: Indices
    activity_entity: Indices
    activity_partner: Indices | None
    activity_time: Floats
    outcome_partner: Indices | None
    outcome_time: Floats
    partner_community: Indices
    partner_parent: Indices


def draw_world(dials: Dials, streams: Streams) -> World:
    """The world of some dials; the shares of the label do not move it."""
    count = periods(dials)
    communities = _communities(dials, count, streams)
    counts = _degrees(dials, count * dials.entities, streams.generator("activity", "degree"))
    starts = np.cumsum(counts) - counts
    cells = np.repeat(np.arange(len(counts)), counts)
    inside = np.sort(cells + _inside(streams.generator("activity", "time"), len(cells))) - cells
    _close_periods(inside, starts[:: dials.entities])
    period, entity = np.divmod(cells, dials.entities)
    partner = _activity_partners(dials, communities.ravel()[cells], streams)
    shape = (count - 1, dials.entities)
    outcome_inside = _inside(streams.generator("outcome", "time"), shape)
    return World(
        communities,
        starts,
        counts,
        entity,
        partner,
        (period + inside) / count,
        None if partner is None else _outcome_partners(partner, starts, counts, shape, streams),
        (np.arange(1, count)[:, None] + outcome_inside) / count,
        np.repeat(np.arange(dials.communities), dials.partners),
        _grandpartners(dials, streams.generator("partner", "grandpartner")),
    )


def _communities(dials: Dials, count: int, streams: Streams) -> Indices:
    generator = streams.generator("entity", "community")
    found = np.empty((count, dials.entities), dtype=np.int64)
    found[0] = generator.permutation(dials.entities) % dials.communities
    for period in range(1, count):
        moves = generator.random(dials.entities) < dials.mobility
        new = generator.permutation(dials.entities) % dials.communities
        found[period] = np.where(moves, new, found[period - 1])
    return found


def _degrees(dials: Dials, cells: int, generator: np.random.Generator) -> Indices:
    if dials.degree_exponent is None:
        return np.full(cells, dials.degree, dtype=np.int64)
    exponent = dials.degree_exponent
    lowest = dials.degree * (exponent - 1) / exponent
    drawn = lowest * (1.0 - generator.random(cells)) ** (-1.0 / exponent)
    return np.clip(np.rint(drawn), 1, MOST * dials.degree).astype(np.int64)


def _inside(generator: np.random.Generator, shape: int | tuple[int, int]) -> Floats:
    return generator.uniform(MARGIN, 1.0 - MARGIN, shape)


def _close_periods(inside: Floats, starts: Indices) -> None:
    """Moves the last activity of every period but the last to the very moment of the cutoff.

    It still counts as before it; and RelBench makes labels of validation only if a row tells that
    the data reach to the end of its window.
    """
    for start, end in pairwise(starts.tolist()):
        inside[start + int(inside[start:end].argmax())] = 1.0 + 0.5 / PERIOD.total_seconds()


def _activity_partners(dials: Dials, community: Indices, streams: Streams) -> Indices | None:
    if not dials.partners:
        return None
    slot = streams.generator("activity", "partner").integers(dials.partners, size=len(community))
    return community * dials.partners + slot


def _outcome_partners(
    partner: Indices, starts: Indices, counts: Indices, shape: tuple[int, int], streams: Streams
) -> Indices:
    cells = shape[0] * shape[1]
    chosen = streams.generator("outcome", "partner").random(cells) * counts[:cells]
    return partner[starts[:cells] + chosen.astype(np.int64)].reshape(shape)


def _grandpartners(dials: Dials, generator: np.random.Generator) -> Indices:
    """Two partners each, of one community, and alike in every community."""
    inside = generator.permutation(dials.partners) // 2
    return (np.arange(dials.communities)[:, None] * (dials.partners // 2) + inside).ravel()
