"""The tables of a planted database; only distractors and partners change them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from models.synthetic.blueprint import (
    Blueprint,
    ColumnKind,
    ColumnPlan,
    KeyPlan,
    TableKind,
    TablePlan,
)
from models.synthetic.dials.dials import ACTIVITY, ENTITY, GRANDPARTNER, PARTNER, Dials

OUTCOME = "outcome"
START = datetime(2020, 1, 1)
PERIOD = timedelta(days=30)
WARM_UP = 2
"""Periods before the first training cutoff, so that it has a history."""

TRAITS = ("trait_1", "trait_2")
"""Columns of entities, partners and grandpartners that the interaction may use."""
VALUES = ("value_1", "value_2")
"""Columns of activities that the interaction may use."""
PLAIN = ("value_3", "value_4")
"""Columns of activities whose means are the plain effect."""

# The kinds of distractors, and the tables that hold them, in turn.
KINDS = (
    ColumnKind.NUMERICAL,
    ColumnKind.NUMERICAL,
    ColumnKind.CATEGORICAL,
    ColumnKind.NUMERICAL,
    ColumnKind.BOOLEAN,
)
CATEGORIES = tuple(f"value_{number}" for number in range(1, 6))


def periods(dials: Dials) -> int:
    """How many periods the database spans: warm-up, training, validation, test, and one after it."""
    return WARM_UP + dials.cutoffs + 3


def label_periods(dials: Dials) -> range:
    """The periods whose outcomes are labels; the cutoff is a period's first moment."""
    return range(WARM_UP, WARM_UP + dials.cutoffs + 2)


def cutoff(period: int) -> datetime:
    """The moment at which a period begins."""
    return START + period * PERIOD


def planted_blueprint(dials: Dials, seed: int, activities: int) -> Blueprint:
    """The tables, keys and columns of a planted database with so many activities."""
    count = periods(dials)
    linked = dials.partners > 0
    extra = _distractors(dials)
    owner = (KeyPlan("entity_id", ENTITY),)
    links = (*owner, KeyPlan("partner_id", PARTNER)) if linked else owner
    tables = []
    if linked:
        partners = dials.communities * dials.partners
        above = (KeyPlan("grandpartner_id", GRANDPARTNER),)
        tables += [
            _entities(GRANDPARTNER, partners // 2, (), TRAITS, extra),
            _entities(PARTNER, partners, above, TRAITS, extra),
        ]
    outcome = (
        ColumnPlan("happened", ColumnKind.BOOLEAN, nullable=False),
        ColumnPlan("amount", ColumnKind.NUMERICAL, nullable=False),
        ColumnPlan("counted", ColumnKind.BOOLEAN, nullable=False),
    )
    values = (*map(_numerical, (*VALUES, *PLAIN)), *extra.get(ACTIVITY, ()))
    tables += [
        _entities(ENTITY, dials.entities, (), TRAITS, extra),
        _events(ACTIVITY, activities, links, values),
        _events(OUTCOME, dials.entities * (count - 1), links, outcome),
    ]
    return Blueprint(
        f"planted_{seed}",
        tuple(tables),
        START,
        cutoff(count),
        cutoff(label_periods(dials)[-2]),
        cutoff(label_periods(dials)[-1]),
    )


def _entities(
    name: str,
    rows: int,
    keys: tuple[KeyPlan, ...],
    columns: tuple[str, ...],
    extra: Mapping[str, tuple[ColumnPlan, ...]],
) -> TablePlan:
    plans = (*map(_numerical, columns), *extra.get(name, ()))
    return TablePlan(name, TableKind.ENTITY, rows, f"{name}_id", keys, plans)


def _events(
    name: str, rows: int, keys: tuple[KeyPlan, ...], columns: tuple[ColumnPlan, ...]
) -> TablePlan:
    return TablePlan(name, TableKind.ACTIVITY, rows, f"{name}_id", keys, columns, "happened_at")


def _distractors(dials: Dials) -> dict[str, tuple[ColumnPlan, ...]]:
    tables = (ACTIVITY, ENTITY, PARTNER) if dials.partners else (ACTIVITY, ENTITY)
    found: dict[str, tuple[ColumnPlan, ...]] = {}
    for number in range(dials.distractors):
        kind = KINDS[number % len(KINDS)]
        categories = CATEGORIES if kind == ColumnKind.CATEGORICAL else ()
        plan = ColumnPlan(f"extra_{number + 1}", kind, categories, nullable=False)
        table = tables[number % len(tables)]
        found[table] = (*found.get(table, ()), plan)
    return found


def _numerical(name: str) -> ColumnPlan:
    return ColumnPlan(name, ColumnKind.NUMERICAL, nullable=False)
