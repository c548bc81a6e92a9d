"""Stage 1, the default: schemas in layers, as people build them.

Dimensions stand above entities, activities below them; an activity has an owner whose clock it
follows, may belong to an earlier activity (the items of an order), and links to other entities, now
and then twice to the same table or to its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from models.synthetic.blueprint import (
    Blueprint,
    ColumnKind,
    ColumnPlan,
    KeyPlan,
    TableKind,
    TablePlan,
    check_split,
)
from models.synthetic.draws import (
    Choice,
    Draw,
    Integer,
    LogUniformInteger,
    PowerLawInteger,
    Uniform,
)
from models.synthetic.streams import Streams

DEEPEST = 4
"""Entity tables never stand more than so many keys below the highest one."""

LEAST_FAN_OUT = 5
"""An entity table has so many rows for one of its parents, at the least."""


@dataclass(frozen=True, slots=True)
class LayeredLayout:
    """Settings of the default schemas; every field is drawn once a database, table or key.

    Attributes:
        tables: Tables of the database.
        activity_share: The share of them that are activities; at least one is.
        entity_rows: Rows of an entity table; the higher tables get the smaller numbers.
        activity_rows: Rows of an activity table; what belongs to an activity is no smaller than it.
        columns: Columns of a table besides keys and time.
        kinds: What a column holds.
        categories: Values of a categorical column.
        entity_parents: Foreign keys of an entity table.
        links: Foreign keys of an activity table besides its owner.
        child_activity: The probability that an activity belongs to an earlier activity.
        second_role: The probability that a link points where another key of the table points.
        self_reference: The probability that an entity table points at itself.
        nullable: The probability that a key other than the owner may be missing.
        null_share: The share of rows where it is.
        timed_entities: The probability that an entity table shows when its rows came to be.
        days: Length of the database's span.
        last_day: Its latest possible end.
        validation: Where validation begins, as a share of the span.
        test: Where the test begins.
    """

    tables: Draw[int] = LogUniformInteger(4, 20)
    activity_share: Draw[float] = Uniform(0.2, 0.5)
    entity_rows: Draw[int] = LogUniformInteger(6, 600)
    activity_rows: Draw[int] = LogUniformInteger(1200, 7500)
    columns: Draw[int] = PowerLawInteger(3, 40)
    kinds: Draw[ColumnKind] = Choice(
        (
            ColumnKind.NUMERICAL,
            ColumnKind.INTEGER,
            ColumnKind.BOOLEAN,
            ColumnKind.CATEGORICAL,
            ColumnKind.TIMESTAMP,
            ColumnKind.TEXT,
        ),
        (0.3, 0.25, 0.1, 0.25, 0.05, 0.05),
    )
    categories: Draw[int] = LogUniformInteger(3, 100)
    entity_parents: Draw[int] = Choice((0, 1, 2), (0.3, 0.5, 0.2))
    links: Draw[int] = Choice((0, 1, 2), (0.25, 0.5, 0.25))
    child_activity: Draw[float] = Uniform(0.1, 0.4)
    second_role: Draw[float] = Uniform(0.0, 0.2)
    self_reference: Draw[float] = Uniform(0.0, 0.2)
    nullable: Draw[float] = Uniform(0.1, 0.5)
    null_share: Draw[float] = Uniform(0.0, 0.4)
    timed_entities: Draw[float] = Uniform(0.3, 0.8)
    days: Draw[int] = LogUniformInteger(365, 3650)
    last_day: Draw[int] = Integer(0, 3650)
    validation: float = 0.8
    test: float = 0.9

    def __post_init__(self) -> None:
        check_split(self.validation, self.test)

    def __call__(self, streams: Streams) -> Blueprint:
        """A blueprint: `entity_<n>` tables first, `activity_<n>` tables after them."""
        generator = streams.generator("database")
        count = max(2, self.tables.sample(generator))
        activities = round(count * self.activity_share.sample(generator))
        activities = min(max(activities, 1), count - 1)
        entities = self._entities(count - activities, streams)
        tables = entities + self._activities(activities, entities, streams)
        end = datetime(2025, 1, 1) - timedelta(days=self.last_day.sample(generator))
        span = timedelta(days=self.days.sample(generator))
        start = end - span
        return Blueprint(
            f"synthetic_{streams.seed}",
            tuple(tables),
            start,
            end,
            _midnight(start + self.validation * span),
            _midnight(start + self.test * span),
        )

    def _entities(self, count: int, streams: Streams) -> list[TablePlan]:
        tables: list[TablePlan] = []
        depths: list[int] = []
        rows = self._sizes(count, self.entity_rows, streams.generator("entity sizes"))
        for number in range(1, count + 1):
            name = f"entity_{number}"
            generator = streams.generator(name)
            higher = [
                table
                for table, depth in zip(tables, depths, strict=True)
                if depth < DEEPEST and LEAST_FAN_OUT * table.rows <= rows[number - 1]
            ]
            wanted = min(self.entity_parents.sample(generator), len(higher))
            parents = [higher[i] for i in generator.permutation(len(higher))[:wanted]]
            keys = [self._key(f"{parent.name}_id", parent.name, generator) for parent in parents]
            if generator.random() < self.self_reference.sample(generator):
                # Somebody is always the first one.
                keys.append(
                    KeyPlan("parent_id", name, max(0.05, self.null_share.sample(generator)))
                )
            of_parents = [d for t, d in zip(tables, depths, strict=True) if t in parents]
            depths.append(1 + max(of_parents, default=-1))
            timed = generator.random() < self.timed_entities.sample(generator)
            tables.append(
                TablePlan(
                    name,
                    TableKind.ENTITY,
                    rows[number - 1],
                    f"{name}_id",
                    tuple(keys),
                    self._columns(generator),
                    "created_at" if timed else None,
                )
            )
        return tables

    def _activities(
        self, count: int, entities: Sequence[TablePlan], streams: Streams
    ) -> list[TablePlan]:
        tables: list[TablePlan] = []
        # Tables that nothing points at yet come first, so that none is left alone.
        pointed = {
            key.parent for table in entities for key in table.keys if key.parent != table.name
        }
        alone = [table.name for table in entities if table.name not in pointed]
        names = [table.name for table in entities]
        rows = self._sizes(count, self.activity_rows, streams.generator("activity sizes"))
        for number in range(1, count + 1):
            name = f"activity_{number}"
            generator = streams.generator(name)
            if tables and generator.random() < self.child_activity.sample(generator):
                owner = tables[int(generator.integers(len(tables)))].name
            else:
                owner = _take(alone, names, generator)
            keys = [KeyPlan(f"{owner}_id", owner)]
            for _ in range(self.links.sample(generator)):
                again = generator.random() < self.second_role.sample(generator)
                taken = [key.parent for key in keys]
                choice = taken if again else [n for n in names if n not in taken]
                if not choice:
                    break
                parent = _take(alone, choice, generator)
                role = "" if parent not in taken else f"_{1 + taken.count(parent)}"
                keys.append(self._key(f"{parent}{role}_id", parent, generator))
            tables.append(
                TablePlan(
                    name,
                    TableKind.ACTIVITY,
                    rows[number - 1],
                    f"{name}_id",
                    tuple(keys),
                    self._columns(generator),
                    "happened_at",
                )
            )
        return [*tables[:-1], self._connected(tables[-1], [*entities, *tables], generator)]

    def _connected(
        self, last: TablePlan, tables: Sequence[TablePlan], generator: np.random.Generator
    ) -> TablePlan:
        """The last activity with a key to every part of the database that is not connected yet."""
        component = {table.name: table.name for table in tables}
        for table in tables:
            for key in table.keys:
                old, new = component[key.parent], component[table.name]
                component = {name: new if c == old else c for name, c in component.items()}
        keys = list(last.keys)
        for part in dict.fromkeys(component.values()):
            if part != component[last.name]:
                # The part's lowest entities: what is above them is reached through them.
                parent = [
                    table.name
                    for table in tables
                    if component[table.name] == part and table.kind == TableKind.ENTITY
                ][-1]
                keys.append(self._key(f"{parent}_id", parent, generator))
        return replace(last, keys=tuple(keys))

    def _sizes(self, count: int, rows: Draw[int], generator: np.random.Generator) -> list[int]:
        """Rows of so many tables, ascending: a child has more rows than its parent, as a rule."""
        return sorted(rows.sample(generator) for _ in range(count))

    def _key(self, column: str, parent: str, generator: np.random.Generator) -> KeyPlan:
        nullable = generator.random() < self.nullable.sample(generator)
        return KeyPlan(column, parent, self.null_share.sample(generator) if nullable else 0.0)

    def _columns(self, generator: np.random.Generator) -> tuple[ColumnPlan, ...]:
        found = []
        for number in range(1, self.columns.sample(generator) + 1):
            kind = self.kinds.sample(generator)
            values = self.categories.sample(generator) if kind == ColumnKind.CATEGORICAL else 0
            categories = tuple(f"value_{value + 1}" for value in range(values))
            found.append(ColumnPlan(f"{kind}_{number}", kind, categories))
        return tuple(found)


def _take(alone: list[str], names: Sequence[str], generator: np.random.Generator) -> str:
    """A name that nothing points at yet, or any; it is no longer alone."""
    choice = [name for name in alone if name in names] or list(names)
    found = choice[int(generator.integers(len(choice)))]
    if found in alone:
        alone.remove(found)
    return found


def _midnight(moment: datetime) -> datetime:
    return datetime(moment.year, moment.month, moment.day)
