"""The columns of a planted database that do not depend on the label, and what they add up to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy.special import ndtri
from scipy.stats import rankdata

from models.synthetic.blueprint import Blueprint, ColumnKind, ColumnPlan, TablePlan
from models.synthetic.database import Place
from models.synthetic.dials.dials import (
    ACTIVITY,
    ENTITY,
    GRANDPARTNER,
    PARTNER,
    Aggregate,
    Dials,
)
from models.synthetic.dials.layout import PLAIN, TRAITS, VALUES
from models.synthetic.dials.measures import residual
from models.synthetic.dials.world import World
from models.synthetic.rows import Floats
from models.synthetic.streams import Streams

Visible = Mapping[Place, Floats]
THRESHOLD = 0.7
"""A product counts as high above this value."""


def draw_visible(
    dials: Dials, blueprint: Blueprint, world: World, streams: Streams
) -> dict[Place, Floats]:
    """The columns that label effects are computed from, rounded as they are emitted.

    In every column the partners and grandpartners of one community are copies of those of another,
    so that columns cannot tell communities apart. Activities' columns are in the order of `World`'s
    activities.
    """
    found: dict[Place, Floats] = {}
    for table in blueprint.tables:
        if table.name in (ENTITY, ACTIVITY):
            for column in TRAITS if table.name == ENTITY else (*VALUES, *PLAIN):
                values = streams.generator(table.name, column).standard_normal(table.rows)
                found[table.name, column] = rounded(values)
    for column in TRAITS if dials.partners else ():
        parents = world.partner_parent[: dials.partners]
        above = streams.generator(GRANDPARTNER, column).standard_normal(dials.partners // 2)
        above = standardised(above)
        below = streams.generator(PARTNER, column).standard_normal(dials.partners)
        # Their product has the mean 0, or it would not be of a higher order than its other factor.
        below = standardised(residual(below, above[parents][:, None]))
        found[GRANDPARTNER, column] = rounded(np.tile(above, dials.communities))
        found[PARTNER, column] = rounded(np.tile(below, dials.communities))
    return found


def draw_distractor(
    dials: Dials, table: TablePlan, plan: ColumnPlan, streams: Streams
) -> pl.Series:
    """A column that nothing depends on; partners' have equal values in every community."""
    generator = streams.generator(table.name, plan.name)
    if table.name == PARTNER:
        one = _distractor(plan, dials.partners, generator)
        return one.gather(np.tile(np.arange(dials.partners), dials.communities))
    return _distractor(plan, table.rows, generator)


def _distractor(plan: ColumnPlan, rows: int, generator: np.random.Generator) -> pl.Series:
    if plan.kind == ColumnKind.CATEGORICAL:
        codes = generator.integers(len(plan.categories), size=rows)
        return pl.Series(plan.categories).gather(codes)
    if plan.kind == ColumnKind.BOOLEAN:
        return pl.Series(generator.random(rows) < generator.uniform(0.1, 0.9))
    return pl.Series(rounded(generator.standard_normal(rows)))


def interaction_terms(dials: Dials, world: World, visible: Visible) -> tuple[Floats, Floats]:
    """The interaction computed from the first and from the second of every table's columns.

    A product of the columns of `dials.factors` for every activity of a period, aggregated to one
    value an entity, as normal scores over all of them.

    Returns:
        Two arrays, float64 [periods - 1, entities]: what is visible when the period after begins.
    """
    first, second = (_interaction(dials, world, visible, number) for number in (0, 1))
    return first, second


def plain_terms(dials: Dials, world: World, visible: Visible) -> tuple[Floats, Floats]:
    """Means of two columns of a period's activities, as normal scores: [periods - 1, entities]."""
    first, second = (
        _scores(_aggregated(visible[ACTIVITY, column], world, Aggregate.MEAN), dials)
        for column in PLAIN
    )
    return first, second


def _interaction(dials: Dials, world: World, visible: Visible, number: int) -> Floats:
    product = np.ones(1)
    for table in dials.factors:
        if table == ACTIVITY:
            product = product * visible[ACTIVITY, VALUES[number]]
        elif table != ENTITY:
            assert world.activity_partner is not None
            trait = visible[table, TRAITS[number]]
            above = trait[world.partner_parent] if table == GRANDPARTNER else trait
            product = product * above[world.activity_partner]
    cells = len(world.counts)
    own = np.tile(visible[ENTITY, TRAITS[number]], cells // dials.entities)
    if dials.depth == 0:
        return _scores(own, dials)
    value = _aggregated(product, world, dials.aggregate)
    return _scores(own * value if ENTITY in dials.factors else value, dials)


def _aggregated(values: Floats, world: World, aggregate: Aggregate) -> Floats:
    """One value a cell."""
    if aggregate == Aggregate.MAX:
        return np.maximum.reduceat(values, world.starts)
    if aggregate == Aggregate.LAST:
        return values[world.starts + world.counts - 1]
    if aggregate == Aggregate.THRESHOLD:
        values = (values > THRESHOLD).astype(np.float64)
    return np.add.reduceat(values, world.starts) / world.counts


def _scores(values: Floats, dials: Dials) -> Floats:
    """Normal scores of all periods but the last, whose activities no label needs."""
    # Sums of the same numbers in another order are the same value.
    used = np.round(values[: -dials.entities], 9)
    ranks = rankdata(used)
    return standardised(ndtri((ranks - 0.5) / len(used))).reshape(-1, dials.entities)


def standardised(values: Floats) -> Floats:
    """Values with mean 0 and variance 1; zeros where they do not vary."""
    centred = values - values.mean()
    spread = float(centred.std())
    return centred / spread if spread > 1e-12 else np.zeros_like(centred)


def rounded(values: Floats) -> Floats:
    """Six significant digits, so that last bits do not matter."""
    size = np.floor(np.log10(np.maximum(np.abs(values), 1e-12)))
    scale = 10.0 ** (5.0 - size)
    return np.asarray(np.round(values * scale) / scale)
