"""From dials to a database with one forecast task and its oracle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from models.database.schema import TaskType
from models.synthetic.blueprint import Blueprint, TablePlan
from models.synthetic.database import Columns, Mechanism, SyntheticDatabase
from models.synthetic.dials.dials import ACTIVITY, ENTITY, GRANDPARTNER, PARTNER, Aggregate, Dials
from models.synthetic.dials.label import Label, draw_label
from models.synthetic.dials.layout import (
    OUTCOME,
    PERIOD,
    PLAIN,
    TRAITS,
    VALUES,
    cutoff,
    label_periods,
    planted_blueprint,
)
from models.synthetic.dials.realised import realised_dials
from models.synthetic.dials.visible import Visible, draw_distractor, draw_visible
from models.synthetic.dials.world import World, draw_world
from models.synthetic.generator import assemble
from models.synthetic.rows import Floats, Rows
from models.synthetic.streams import Streams
from models.synthetic.tasks.task import SyntheticTask, TaskKind

SQL = """\
SELECT t.timestamp,
       o.entity_id,
       CAST(o.happened AS BIGINT) AS label
FROM timestamps t
JOIN outcome o ON o.happened_at > t.timestamp
AND o.happened_at <= t.timestamp + INTERVAL '{timedelta}'
WHERE o.counted"""


@dataclass(frozen=True, slots=True)
class PlantedTask:
    """A database, its task, and what nobody but its maker knows.

    Attributes:
        dials: What was asked for.
        database: The database.
        task: The forecast task.
        oracle: One row an entity and cutoff, sorted by cutoff and entity: cutoff_time, entity
            (Int64), split, label (Int64), counted (whether the row is in the training table),
            probability (of the label given all its components), and by name of a component what it
            adds to the latent sum (Float64). Rows that are not counted are training examples
            without a label in the task.
        realised: The measured value of each dial by name; `realised_dials` says which.
    """

    dials: Dials
    database: SyntheticDatabase
    task: SyntheticTask
    oracle: pl.DataFrame
    realised: dict[str, float]


def plant(dials: Dials, seed: int) -> PlantedTask:
    """Makes a planted task; equal dials and seeds give equal tables.

    Dials that are moved under one seed move nothing but what they say: rows, links, times and
    columns stay where a share, the drift or the positive rate changes.

    Args:
        dials: The settings.
        seed: Of everything random.
    """
    streams = Streams(seed).child("dials")
    world = draw_world(dials, streams)
    blueprint = planted_blueprint(dials, seed, len(world.activity_time))
    visible = draw_visible(dials, blueprint, world, streams)
    label = draw_label(dials, world, visible, streams)
    order = np.argsort(world.activity_time, kind="stable")
    outcomes = np.argsort(world.outcome_time.ravel(), kind="stable")
    rows = _rows(dials, blueprint, world, label, order, outcomes)
    columns = _columns(dials, blueprint, visible, label, order, outcomes, streams)
    database = assemble(blueprint, rows, columns, seed)
    oracle = _oracle(dials, label)
    used = slice(label_periods(dials)[0] - 1, label_periods(dials)[-1])
    found = realised_dials(dials, database, oracle, label.terms[:, used])
    return PlantedTask(dials, database, _task(dials, seed), oracle, found)


def _rows(
    dials: Dials,
    blueprint: Blueprint,
    world: World,
    label: Label,
    order: np.ndarray,
    outcomes: np.ndarray,
) -> dict[str, Rows]:
    entities = np.tile(np.arange(dials.entities), len(world.outcome_time))[outcomes]
    activity = {"entity_id": world.activity_entity[order]}
    outcome = {"entity_id": entities}
    found = {}
    if world.activity_partner is not None and world.outcome_partner is not None:
        activity["partner_id"] = world.activity_partner[order]
        outcome["partner_id"] = world.outcome_partner.ravel()[outcomes]
        above = blueprint.table(GRANDPARTNER).rows
        states = _knots(label.community)[world.partner_community]
        found[GRANDPARTNER] = Rows(None, {}, np.zeros((above, 1, 0)))
        found[PARTNER] = Rows(None, {"grandpartner_id": world.partner_parent}, states)
    found[ENTITY] = Rows(None, {}, _knots(label.own))
    found[ACTIVITY] = Rows(world.activity_time[order], activity, np.zeros((len(order), 1, 0)))
    amount = label.amount.ravel()[outcomes, None, None]
    found[OUTCOME] = Rows(world.outcome_time.ravel()[outcomes], outcome, amount)
    return found


def _knots(series: Floats) -> Floats:
    """A state a period, which the first one shares with the second: [rows, periods + 1, 1]."""
    return np.concatenate([series[:1], series, series[-1:]]).T[:, :, None]


def _columns(
    dials: Dials,
    blueprint: Blueprint,
    visible: Visible,
    label: Label,
    order: np.ndarray,
    outcomes: np.ndarray,
    streams: Streams,
) -> Columns:
    values: dict[str, dict[str, pl.Series]] = {}
    for table in blueprint.tables:
        values[table.name] = {}
        for column in table.columns:
            place = (table.name, column.name)
            if table.name == OUTCOME:
                series = pl.Series(getattr(label, column.name).ravel()[outcomes])
            elif place not in visible:
                series = draw_distractor(dials, table, column, streams)
            else:
                found = visible[place]
                series = pl.Series(found[order] if table.name == ACTIVITY else found)
            values[table.name][column.name] = series
    return Columns(values, _mechanisms(dials, blueprint.tables))


def _mechanisms(dials: Dials, tables: tuple[TablePlan, ...]) -> tuple[Mechanism, ...]:
    inputs = []
    numbers = (0, 1) if dials.drift else (0,)
    if dials.homophily or dials.autocorrelation:
        inputs.append("state")
    for number in numbers:
        for table in dials.factors if dials.interaction else ():
            column = (VALUES if table == ACTIVITY else TRAITS)[number]
            own = f"parent:entity_id.{column}"
            inputs.append(own if table == ENTITY else f"history:{table}.{column}.{dials.aggregate}")
        if dials.plain:
            inputs.append(f"history:{ACTIVITY}.{PLAIN[number]}.{Aggregate.MEAN}")
    drawn = [
        Mechanism(table.name, column.name, (), 0.0)
        for table in tables
        for column in table.columns
        if column.name not in ("amount", "happened")
    ]
    return (
        *drawn,
        Mechanism(OUTCOME, "amount", tuple(inputs), 1.0 - dials.noise),
        Mechanism(OUTCOME, "happened", ("own:amount",), 1.0),
    )


def _oracle(dials: Dials, label: Label) -> pl.DataFrame:
    used = label_periods(dials)
    kept = slice(used[0] - 1, used[-1])
    splits = ["train"] * dials.cutoffs + ["val", "test"]
    cutoffs = pl.DataFrame(
        {"cutoff_time": [cutoff(period) for period in used], "split": splits},
        schema={"cutoff_time": pl.Datetime("us"), "split": pl.String},
    )
    entities = pl.DataFrame({"entity": pl.Series(range(dials.entities), dtype=pl.Int64)})
    grid = cutoffs.join(entities, how="cross", maintain_order="left_right")
    return grid.select("cutoff_time", "entity", "split").with_columns(
        label=pl.Series(label.happened[kept].ravel()).cast(pl.Int64),
        counted=pl.Series(label.counted[kept].ravel()),
        probability=pl.Series(label.probability[kept].ravel()),
        **{name: pl.Series(part[kept].ravel()) for name, part in label.components.items()},
    )


def _task(dials: Dials, seed: int) -> SyntheticTask:
    return SyntheticTask(
        name=f"planted-{seed}",
        kind=TaskKind.FORECAST,
        task_type=TaskType.BINARY_CLASSIFICATION,
        entity_table=ENTITY,
        entity_column="entity_id",
        target_column="label",
        time_column="timestamp",
        timedelta=PERIOD,
        evaluation_cutoffs=1,
        sql=SQL,
        description=f"Whether an entity's outcome in the next {PERIOD.days} days happens.",
        terms={"dials": dials.as_data(), "seed": seed},
    )
