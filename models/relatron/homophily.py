"""Homophily: how alike the labels of entities are that are linked along a meta-path.

Relatron's task homophily (arXiv 2602.22552) with what a model could have known: a pair is a labelled
row of entity u at cutoff time t, and another entity v that rows visible at t link to it; v's label
is the newest one whose window had closed by t. No entity is its own neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.database.schema import Task
from models.rdl.graph import TemporalGraph
from models.rdl.subsets import last_of
from models.relatron.agreement import Estimate, Pairs, Resampling, agreement
from models.relatron.inputs import NAN, LabelledRows, Signal, SignalConfig, SignalInputs

GROUP = "homophily"


class Step(NamedTuple):
    """A foreign key, by its number in the graph, from child to parent (`up`) or back."""

    key: int
    up: bool


Link = tuple[Step, ...]
"""From one table to the next: a key, or two keys of a table that links their parents."""


@dataclass(frozen=True, slots=True)
class MetaPath:
    """A way from a table to itself: the way out to a table in the middle, and the way back.

    The way back is empty where a single link leads from the table to itself.
    """

    out: Link
    back: Link

    @property
    def steps(self) -> tuple[Step, ...]:
        """All keys on the way."""
        return (*self.out, *self.back)

    @property
    def is_trivial(self) -> bool:
        """Whether a child is left by the key that led to it, which leads nowhere."""
        pairs = zip(self.steps, self.steps[1:], strict=False)
        return any(not one.up and other == Step(one.key, True) for one, other in pairs)

    def name(self, graph: TemporalGraph) -> str:
        """The keys in words, such as `<-plays.player ->plays.match`."""
        words = []
        for step in self.steps:
            key = graph.foreign_keys[step.key]
            words.append(f"{'->' if step.up else '<-'}{key.table}.{'_'.join(key.columns)}")
        return " ".join(words)


def meta_paths(
    graph: TemporalGraph, task: Task, most: int, *, trivial: bool = False
) -> list[MetaPath]:
    """The meta-paths of at most two links from the entity table to itself, shorter ones first.

    Args:
        graph: The graph.
        task: The task; keys that it hides are not followed.
        most: No more than so many are returned.
        trivial: Also those that only lead back to where they began.
    """
    table = task.entity_table
    links = _links(graph, task)
    found: dict[tuple[Step, ...], MetaPath] = {}
    for start, middle, out in links:
        if start != table:
            continue
        ways = [MetaPath(out, ())] if middle == table else []
        ways += [
            MetaPath(out, back) for begin, end, back in links if (begin, end) == (middle, table)
        ]
        for path in ways:
            if trivial or not path.is_trivial:
                found.setdefault(path.steps, path)
    # Among paths of one length, those that go back as they came.
    ordered = sorted(found.values(), key=lambda p: (len(p.steps), p.steps != _reversed(p.steps)))
    return ordered[:most]


def _links(graph: TemporalGraph, task: Task) -> list[tuple[str, str, Link]]:
    """Every link as (from, to, keys): keys, then pairs of keys one of which is the entity's."""
    hidden = set(task.hidden_columns)
    keys = [
        (number, key)
        for number, key in enumerate(graph.foreign_keys)
        if hidden.isdisjoint((key.table, column) for column in key.columns)
    ]
    found: list[tuple[str, str, Link]] = []
    for number, key in keys:
        found.append((key.table, key.parent, (Step(number, True),)))
        found.append((key.parent, key.table, (Step(number, False),)))
    for number, key in keys:
        for other_number, other in keys:
            ends = (key.parent, other.parent)
            if number != other_number and key.table == other.table and task.entity_table in ends:
                found.append((*ends, (Step(number, False), Step(other_number, True))))
    return found


def _reversed(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple(Step(step.key, not step.up) for step in reversed(steps))


def walk(
    graph: TemporalGraph,
    path: MetaPath,
    rows: Tensor,
    limit: Tensor,
    middles: int,
    returns: int,
) -> tuple[Tensor, Tensor]:
    """The rows that a meta-path leads to, each once for each start, itself included.

    Args:
        graph: The graph.
        path: The way.
        rows: int64 [starts], row numbers in the entity table.
        limit: int64 [starts], the time rank up to which rows are visible to each.
        middles: The newest children of a row that are followed on the way out.
        returns: The same on the way back.

    Returns:
        The position of the start, and the row reached, both int64, by ascending start.
    """
    starts = torch.arange(len(rows))
    for link, most in ((path.out, middles), (path.back, returns)):
        for step in link:
            starts, rows = _follow(graph, step, starts, rows, limit, most)
        starts, rows = _distinct(starts, rows)
    return starts, rows


def _follow(
    graph: TemporalGraph, step: Step, starts: Tensor, rows: Tensor, limit: Tensor, most: int
) -> tuple[Tensor, Tensor]:
    adjacency = graph.adjacency[step.key]
    if step.up:
        parents = adjacency.parent[rows]
        rank = graph.tables[graph.foreign_keys[step.key].parent].time_rank
        # Row -1, no parent, reads some other row's time; the second condition drops it.
        seen = (rank[parents] <= limit[starts]) & (parents >= 0)
        return starts[seen], parents[seen]
    first = adjacency.first[rows]
    asked = rows * graph.ranks + limit[starts]
    counts = torch.searchsorted(adjacency.order, asked, right=True) - first
    places, children = last_of(counts, most)
    return starts[places], adjacency.children[first[places] + children]


def _distinct(starts: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    if len(rows) == 0:
        return starts, rows
    most = int(rows.max()) + 1
    distinct = torch.unique(starts * most + rows)
    return distinct // most, distinct % most


@dataclass(frozen=True, slots=True)
class PathHomophily:
    """A meta-path's pairs: how many, the share of rows that have some, how alike they are."""

    path: MetaPath
    pairs: int
    coverage: float
    homophily: Estimate


def homophily_signals(
    inputs: SignalInputs, rows: LabelledRows, config: SignalConfig
) -> list[Signal]:
    """Homophily along every meta-path, and over all of them.

    By meta-path: `homophily <path>` (`agreement`), with the number of pairs (`pairs <path>`) and the
    share of rows that have any (`coverage <path>`). Over the meta-paths for which it is defined:
    `homophily_mean` weighted by pairs, `homophily_by_coverage` weighted by coverage,
    `homophily_max`, `homophily_min`; and `homophily_paths`, how many there are.
    """
    resampling = Resampling.of(
        inputs.graph.tables[inputs.task.entity_table].rows,
        rows.entity.numpy(),
        config.draws,
        config.seed,
    )
    chosen = rows.some(config.rows, config.seed)
    found = [
        path_homophily(inputs.graph, path, rows, chosen, resampling, config)
        for path in meta_paths(inputs.graph, inputs.task, config.paths)
    ]
    signals = summaries([one for one in found if np.isfinite(one.homophily.value)])
    for one in found:
        name = one.path.name(inputs.graph)
        signals += [
            Signal(f"homophily {name}", GROUP, one.homophily.value, one.homophily.error),
            Signal(f"pairs {name}", GROUP, float(one.pairs)),
            Signal(f"coverage {name}", GROUP, one.coverage),
        ]
    return signals


def path_homophily(
    graph: TemporalGraph,
    path: MetaPath,
    rows: LabelledRows,
    chosen: Tensor,
    resampling: Resampling,
    config: SignalConfig,
) -> PathHomophily:
    """The homophily along one meta-path, of the rows at some positions."""
    entity, time = rows.entity[chosen], rows.cutoff_time[chosen]
    limit = graph.visible_rank(time)
    starts, reached = walk(graph, path, entity, limit, config.middles, config.returns)
    first, end = rows.known(reached, time[starts])
    kept = (reached != entity[starts]) & (end > first)
    start, newest = starts[kept].numpy(), end[kept].numpy() - 1
    pairs = Pairs(
        entity.numpy()[start],
        rows.label[chosen.numpy()[start]],
        rows.label[newest],
        np.ones(len(start)),
    )
    coverage = len(np.unique(start)) / len(chosen)
    return PathHomophily(path, len(pairs), coverage, agreement(pairs, rows.classes, resampling))


def summaries(found: Sequence[PathHomophily]) -> list[Signal]:
    """The signals over all meta-paths; their errors are those of the same bootstrap samples."""
    names = ("homophily_mean", "homophily_by_coverage", "homophily_max", "homophily_min")
    count = Signal("homophily_paths", GROUP, float(len(found)))
    if not found:
        return [*(Signal(name, GROUP, NAN) for name in names), count]
    samples = np.stack([one.homophily.samples for one in found])
    weights = [np.array([one.pairs for one in found]), np.array([one.coverage for one in found])]
    measures = [
        *(np.average(samples, axis=0, weights=one) for one in weights),
        samples.max(axis=0),
        samples.min(axis=0),
    ]
    estimates = zip(names, map(Estimate, measures), strict=True)
    return [*(Signal(name, GROUP, one.value, one.error) for name, one in estimates), count]
