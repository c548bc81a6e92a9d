"""Stage 2, the default: a population of entities that come, change, act on each other and go.

Entities are born, drift and die; activities happen to their owners while these live, more often to
the popular and to those who fared well, and link them to others of their kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from models.synthetic.blueprint import Blueprint, KeyPlan, TableKind, TablePlan
from models.synthetic.clocks import Clocks, Lives, Pace
from models.synthetic.draws import Draw, Uniform, sample_within
from models.synthetic.keys import (
    Link,
    Links,
    Targets,
    character,
    cluster,
    without_parent,
)
from models.synthetic.rows import Floats, Indices, Rows
from models.synthetic.states import Influence, States, earlier_mean
from models.synthetic.streams import Streams


@dataclass(frozen=True, slots=True)
class Population:
    """Settings of the default rows.

    Attributes:
        lives: Births and deaths of entities.
        clocks: Times of activities.
        links: Popularity, preferential attachment, homophily.
        states: Latent states.
        feedback: How strongly an owner's rate depends on how it fared: by the logistic function of
            so many times the mean of its earlier rows of another activity table (one that is made
            before, drawn once a table), along a direction of their states.
    """

    lives: Lives = field(default_factory=Lives)
    clocks: Clocks = field(default_factory=Clocks)
    links: Links = field(default_factory=Links)
    states: States = field(default_factory=States)
    feedback: Draw[float] = Uniform(0.0, 3.0)

    def __call__(self, blueprint: Blueprint, streams: Streams) -> dict[str, Rows]:
        """The rows of every table, by name.

        A table depends on its parents and, by feedback, on activity tables before it; never on
        tables after it.

        Raises:
            ValueError: A setting was drawn that makes no sense; the message names it.
        """
        projections = self.links.projections(self.states.dimensions, streams)
        made: dict[str, Rows] = {}
        for table in blueprint.tables:
            making = _Making(self, table, blueprint, made, projections, streams)
            made[table.name] = making.rows()
        return made


@dataclass(frozen=True, slots=True)
class _Making:
    """One table in the making."""

    settings: Population
    table: TablePlan
    blueprint: Blueprint
    made: Mapping[str, Rows]
    projections: Floats
    all_streams: Streams

    def rows(self) -> Rows:
        if self.table.kind == TableKind.ENTITY:
            times = self.settings.lives.births(self.table.rows, self._earliest(), self.streams)
            return self._with_parents(times, None)
        owner = self._clock_owner()
        if owner is None:
            return self._with_parents(self._of_nobody(), None)
        owners, times = self._owned(owner)
        return self._with_parents(times, owners)

    # Times and owners of activities.

    def _clock_owner(self) -> KeyPlan | None:
        owner = self.table.owner
        return None if owner is None or owner.parent == self.table.name else owner

    def _of_nobody(self) -> Floats:
        start, end = self.settings.clocks.span(self._earliest(), self.streams)
        _, times = self.settings.clocks.events(
            self.table.rows,
            np.ones(1),
            np.array([start]),
            np.array([end]),
            lambda owners, times: np.ones(len(times)),
            self.streams,
        )
        return np.maximum(times, self._earliest())

    def _owned(self, owner: KeyPlan) -> tuple[Indices, Floats]:
        clocks, earliest = self.settings.clocks, self._earliest()
        targets = self._targets(owner)
        start, end = clocks.span(earliest, self.streams)
        if self.blueprint.table(owner.parent).kind == TableKind.ACTIVITY:
            inside = (targets.times >= start) & (targets.times <= end)
            weights = targets.weights * inside if inside.any() else targets.weights
            return clocks.after(self.table.rows, weights, targets.times, earliest, self.streams)
        return clocks.events(
            self.table.rows,
            targets.weights,
            np.maximum(targets.times, start),
            np.minimum(targets.ends, end),
            self._pace(owner, targets),
            self.streams,
        )

    def _pace(self, owner: KeyPlan, targets: Targets) -> Pace:
        """The drift of popularity, and feedback."""
        generator = self.streams.generator("feedback")
        strength = sample_within("feedback", self.settings.feedback, generator, -100.0, 100.0)
        direction = generator.standard_normal(self.settings.states.dimensions)
        direction /= np.linalg.norm(direction)
        sources = list(self._sources(owner))
        if not sources:
            return targets.pace
        rows, owners = sources[int(generator.integers(len(sources)))]
        times, values = rows.times_or(0.0), rows.states[:, 0] @ direction

        def pace(whose: Indices, when: Floats) -> Floats:
            fared = strength * earlier_mean(owners, times, values, whose, when)
            return targets.pace(whose, when) / (1.0 + np.exp(-fared))

        return pace

    def _sources(self, owner: KeyPlan) -> Iterator[tuple[Rows, Indices]]:
        """Activity tables made before that point at the owner's table, and by whom they are."""
        for table in self.blueprint.tables:
            if table.name in self.made and table.kind == TableKind.ACTIVITY:
                for key in table.keys:
                    if key.parent == owner.parent:
                        yield self.made[table.name], self.made[table.name].parents[key.column]
                        break

    def _earliest(self) -> float:
        """From when on there are enough rows in every parent table for keys that differ."""
        parents = [key.parent for key in self.table.keys if key.parent != self.table.name]
        found = [0.0]
        for name in parents:
            times = self.made[name].times_or(0.0)
            found.append(float(times[min(parents.count(name), len(times)) - 1]))
        return max(found)

    # Parents and states.

    def _with_parents(self, times: Floats, owners: Indices | None) -> Rows:
        """The rows of given times and owners."""
        parents: dict[str, Indices] = {}
        company: Indices | None = None
        for key in self._keys(to_itself=False):
            if owners is not None and key == self.table.owner:
                found = owners
            else:
                targets = self._targets(key)
                taken = self._taken(key, parents)
                link = Link(times, targets.born(times), company, taken)
                found = self.settings.links.parents(link, targets, self._key_streams(key))
                above = self._above(key, owners)
                if above is not None:
                    streams = self._key_streams(key)
                    found = self.settings.links.agreeing(found, above, link, targets, streams)
            if company is None:
                states = self.made[key.parent].states_at(found, times)
                company = cluster(states, self.projections)
            parents[key.column] = self._with_nulls(key, found)
        rows = self._with_states(times, owners, parents)
        return self._with_self_references(rows)

    def _above(self, key: KeyPlan, owners: Indices | None) -> Indices | None:
        """Whose the rows' owners are, where these are activities of the table that a key points at."""
        owner = self.table.owner
        if owner is None or owners is None:
            return None
        above = self.blueprint.table(owner.parent).owner
        if above is None or above.parent != key.parent:
            return None
        return self.made[owner.parent].parents[above.column][owners]

    def _with_states(
        self, times: Floats, owners: Indices | None, parents: dict[str, Indices]
    ) -> Rows:
        settings, streams = self.settings, self.streams
        influences = [
            self._influence(key, times, parents[key.column]) for key in self._keys(to_itself=False)
        ]
        if self.table.kind == TableKind.ACTIVITY:
            whose = np.zeros(len(times), np.int64) if owners is None else owners
            states = settings.states.of_activities(len(times), whose, influences, streams)
            return Rows(times, parents, states)
        states = settings.states.of_entities(len(times), influences, streams)
        at_birth = Rows(times, {}, states).states_at(np.arange(len(times)), times)
        ends = settings.lives.deaths(times, at_birth, streams)
        return Rows(times, parents, states, ends)

    def _with_self_references(self, rows: Rows) -> Rows:
        """The rows with keys to earlier rows of the same table, which look for a row's own like."""
        parents = dict(rows.parents)
        numbers = np.arange(len(rows))
        times = rows.times_or(0.0)
        for key in self._keys(to_itself=True):
            targets = self._targets(key, rows)
            link = Link(times, numbers, targets.clusters, self._taken(key, parents))
            found = self.settings.links.parents(link, targets, self._key_streams(key))
            parents[key.column] = self._with_nulls(key, found)
        return replace(rows, parents={key.column: parents[key.column] for key in self.table.keys})

    def _keys(self, *, to_itself: bool) -> list[KeyPlan]:
        return [key for key in self.table.keys if (key.parent == self.table.name) == to_itself]

    def _taken(self, key: KeyPlan, parents: Mapping[str, Indices]) -> list[Indices]:
        """Parents in the same table by keys before."""
        return [
            parents[other.column]
            for other in self.table.keys
            if other.parent == key.parent and other.column in parents
        ]

    def _targets(self, key: KeyPlan, rows: Rows | None = None) -> Targets:
        rows = self.made[key.parent] if rows is None else rows
        own = character(len(rows), rows.states.shape[2], self._table_streams(key.parent))
        return self.settings.links.targets(rows, own, self.projections, self._key_streams(key))

    def _influence(self, key: KeyPlan, times: Floats, parents: Indices) -> Influence:
        rows, present = self.made[key.parent], parents >= 0
        if self.table.kind == TableKind.ENTITY:
            return Influence(rows.states[parents], present, key.column)
        return Influence(rows.states_at(parents, times), present, key.column)

    def _with_nulls(self, key: KeyPlan, parents: Indices) -> Indices:
        if not key.null_share:
            return parents
        generator = self._key_streams(key).generator("nulls")
        return without_parent(parents, key.null_share, generator)

    @property
    def streams(self) -> Streams:
        return self._table_streams(self.table.name)

    def _table_streams(self, table: str) -> Streams:
        return self.all_streams.child("tables", table)

    def _key_streams(self, key: KeyPlan) -> Streams:
        return self.streams.child("keys", key.column)
