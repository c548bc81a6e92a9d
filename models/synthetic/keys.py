"""Foreign keys: who is popular, who is linked to whom, and who has no parent.

A row's parent is one of those born by then. It is drawn by weight from clusters of states, or copied
from an earlier row (preferential attachment: Barabási and Albert, "Emergence of scaling in random
networks", Science 1999). Everything is whole columns and binary search; no array has a place for
every pair of parent and child.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.synthetic.draws import Draw, Integer, LogUniform, Uniform, sample_within
from models.synthetic.rows import Floats, Indices, Rows
from models.synthetic.streams import Streams

PROPOSALS = 4
"""Parents that are drawn for a row, of which one is kept by what holds at the row's time."""

ROUNDS = 4
"""So often are they drawn while all of them are dead by then."""


@dataclass(frozen=True, slots=True)
class Character:
    """What makes the rows of one table popular, whichever key points at them.

    Attributes:
        luck: What the states do not explain, standard exponential, float64 [rows].
        direction: Along which states popularity grows, of length 1, float64 [dimensions].
    """

    luck: Floats
    direction: Floats


def character(rows: int, dimensions: int, streams: Streams) -> Character:
    """The character of a table; `streams` are the table's."""
    generator = streams.generator("popularity")
    return Character(generator.standard_exponential(rows), _direction(dimensions, generator))


@dataclass(frozen=True, slots=True)
class Targets:
    """The rows that one key may point at.

    Attributes:
        times: When they come to be, float64 [rows], ascending.
        ends: When they cease to be, float64 [rows].
        clusters: The clusters of their first states, int64 [rows].
        count: How many clusters there are.
        weights: How popular they are when they come to be, float64 [rows].
        pull: What their states add to the logarithm of that, float64 [rows, knots].
    """

    times: Floats
    ends: Floats
    clusters: Indices
    count: int
    weights: Floats
    pull: Floats

    def born(self, times: Floats) -> Indices:
        """How many rows there are at some times; they are the first ones."""
        return np.searchsorted(self.times, times, side="right")

    def pace(self, rows: Indices, times: Floats) -> Floats:
        """By what factor the weights of rows have changed until some times; 0 after their ends."""
        if self.pull.shape[1] == 1:
            return np.where(times <= self.ends[rows], 1.0, 0.0)
        at_birth = _along(self.pull, np.arange(len(self.times)), self.times)
        change = _along(self.pull, rows, times) - at_birth[rows]
        return np.where(times <= self.ends[rows], np.exp(change), 0.0)


def _along(pull: Floats, rows: Indices, times: Floats) -> Floats:
    """Values of straight lines between knots, each row's at its time."""
    place = np.clip(times, 0.0, 1.0) * (pull.shape[1] - 1)
    before = np.minimum(place.astype(np.int64), pull.shape[1] - 2)
    share = place - before
    return pull[rows, before] * (1 - share) + pull[rows, before + 1] * share


@dataclass(frozen=True, slots=True)
class Link:
    """Whom rows may be linked to by one key, and what it depends on.

    Attributes:
        times: When the rows are, float64 [rows], ascending.
        born: So many targets there are by then, int64 [rows].
        clusters: The clusters of the rows' own company, which homophily looks for among the
            targets, int64 [rows]; None for rows that have none.
        taken: Parents by other keys of the row, which it must not have twice.
    """

    times: Floats
    born: Indices
    clusters: Indices | None = None
    taken: Sequence[Indices] = ()


@dataclass(frozen=True, slots=True)
class Links:
    """Settings of popularity and links; a `Draw` is drawn once a key.

    Attributes:
        clusters: Into so many clusters the states fall, drawn once a database.
        tail: The exponent of the Pareto law of popularity; lower is heavier.
        sway: The standard deviation of what the parent's state adds to log popularity.
        streak: The probability that a row repeats the parent of the row before it.
        attachment: The probability that another row copies the parent of any earlier row.
        served: The share of parents that surely get a row, early in their lives, as far as a quarter
            of the rows suffices.
        agreement: The probability that a row whose owner is an activity has that activity's own
            owner for a parent, where a key of it points at such.
        homophily: By what factor a parent of the row's own cluster is preferred, as a logarithm;
            at 0 clusters do not matter. An owner is drawn by popularity alone; other parents of an
            activity look for the owner's cluster at that time, further parents of an entity for
            that of its first parent, and self-references for the row's own.
    """

    clusters: Draw[int] = Integer(3, 8)
    tail: Draw[float] = LogUniform(1.6, 15.0)
    sway: Draw[float] = Uniform(0.0, 0.8)
    streak: Draw[float] = Uniform(0.2, 0.9)
    attachment: Draw[float] = Uniform(0.0, 0.5)
    served: Draw[float] = Uniform(0.6, 1.0)
    agreement: Draw[float] = Uniform(0.8, 1.0)
    homophily: Draw[float] = Uniform(0.0, 3.0)

    def projections(self, dimensions: int, streams: Streams) -> Floats:
        """Directions of the clusters, one for all tables: float64 [dimensions, clusters]."""
        generator = streams.generator("clusters")
        count = int(sample_within("clusters", self.clusters, generator, 1, 1000))
        found = generator.standard_normal((dimensions, count))
        return found / np.linalg.norm(found, axis=0)

    def targets(
        self, parents: Rows, character: Character, projections: Floats, streams: Streams
    ) -> Targets:
        """The rows that a key may point at; `streams` are the key's."""
        generator = streams.generator("weights")
        tail = sample_within("tail", self.tail, generator, 0.1, np.inf)
        sway = sample_within("sway", self.sway, generator, 0.0, 10.0)
        own = _direction(len(character.direction), generator)
        # Who is popular with one kind of child is mostly so with others.
        direction = sway * (0.8 * character.direction + 0.6 * own)
        times = parents.times_or(0.0)
        pull = parents.states @ direction
        knots = pull.shape[1]
        first = pull[:, 0] if knots == 1 else _along(pull, np.arange(len(parents)), times)
        ends = parents.ends if parents.ends is not None else np.full(len(parents), np.inf)
        return Targets(
            times,
            ends,
            cluster(parents.states_at(np.arange(len(parents)), times), projections),
            projections.shape[1],
            np.exp(first) * (np.exp(character.luck / tail) - 0.9),
            pull,
        )

    def parents(self, link: Link, targets: Targets, streams: Streams) -> Indices:
        """The parent of each row: int64 [rows], -1 where none is born yet."""
        generator = streams.generator("homophily")
        homophily = sample_within("homophily", self.homophily, generator, 0.0, 50.0)
        fresh = _drawn(link, targets, homophily, streams.generator("parents"))
        generator = streams.generator("attachment")
        attachment = sample_within("attachment", self.attachment, generator, 0.0, 1.0)
        streak = sample_within("streak", self.streak, generator, 0.0, 1.0)
        copied = fresh[earlier_rows(len(fresh), attachment, streak, generator)]
        # Where a copy would not do, the row's own parent stays.
        accepted = _suits(copied, link, targets) > 0
        if link.clusters is not None:
            other = targets.clusters[copied] != link.clusters
            accepted &= generator.random(len(fresh)) < np.exp(-homophily * other)
        found = self._serving(np.where(accepted, copied, fresh), link, targets, streams)
        return _apart(found, link, len(targets.times))

    def _serving(self, parents: Indices, link: Link, targets: Targets, streams: Streams) -> Indices:
        """The parents, some replaced so that a share of the targets has a row."""
        generator = streams.generator("served")
        share = sample_within("served", self.served, generator, 0.0, 1.0)
        rows = len(targets.times)
        first = np.searchsorted(link.born, np.arange(rows), side="right")
        last = np.searchsorted(link.times, targets.ends, side="right")
        chosen = generator.permutation(np.flatnonzero(last > first))
        chosen = chosen[: min(round(share * rows), len(parents) // 4)]
        early = generator.random(len(chosen)) ** 2
        found = parents.copy()
        found[first[chosen] + (early * (last - first)[chosen]).astype(np.int64)] = chosen
        return found

    def agreeing(
        self, parents: Indices, owners: Indices, link: Link, targets: Targets, streams: Streams
    ) -> Indices:
        """The parents, most of them replaced by the owners of the activities that rows belong to.

        A parent stays where there is no such owner, where it is gone by then, or where another key
        of the row has it.

        Args:
            parents: int64 [rows].
            owners: In the same table, int64 [rows]; -1 for none.
            link: The rows.
            targets: The table.
            streams: The key's.
        """
        generator = streams.generator("agreement")
        share = sample_within("agreement", self.agreement, generator, 0.0, 1.0)
        agree = (generator.random(len(parents)) < share) & (_suits(owners, link, targets) > 0)
        return np.where(agree, owners, parents)


def cluster(states: Floats, projections: Floats) -> Indices:
    """The clusters of states, the direction that each lies furthest along: int64 [rows]."""
    return np.argmax(states @ projections, axis=1)


def by_weight(weights: Floats, count: int, generator: np.random.Generator) -> Indices:
    """So many independent draws of rows with probabilities proportional to weights: int64 [count].

    Weights are not negative and one of them is positive.
    """
    heights = np.cumsum(weights)
    found = np.searchsorted(heights, generator.random(count) * heights[-1], side="right")
    return np.minimum(found, np.searchsorted(heights, heights[-1]))


def earlier_rows(rows: int, share: float, streak: float, generator: np.random.Generator) -> Indices:
    """Where rows copy from: some the row before, a share of the others any earlier one.

    What is copied is perhaps a copy itself.

    Args:
        rows: How many there are.
        share: The probability that a row that does not copy the row before copies any.
        streak: The probability that a row copies the row before.
        generator: Draws them.

    Returns:
        int64 [rows]: the original at the end of each row's chain of copies, itself for no copy.
    """
    numbers = np.arange(rows)
    place = generator.random(rows)
    earlier = (generator.random(rows) * numbers).astype(np.int64)
    source = np.where(place < streak + (1 - streak) * share, earlier, numbers)
    source = np.where(place < streak, np.maximum(numbers - 1, 0), source)
    # Every step halves the chains.
    while not np.array_equal(further := source[source], source):
        source = further
    return source


def without_parent(parents: Indices, share: float, generator: np.random.Generator) -> Indices:
    """The parents with a share of them, at random, replaced by -1."""
    return np.where(generator.random(len(parents)) < share, -1, parents)


def _direction(dimensions: int, generator: np.random.Generator) -> Floats:
    found = generator.standard_normal(dimensions)
    return found / np.linalg.norm(found)


def _drawn(
    link: Link, targets: Targets, homophily: float, generator: np.random.Generator
) -> Indices:
    """Parents drawn by weight and cluster, independently of each other.

    Weights hold at the targets' births. What has changed since (drift, deaths, other keys of the
    row) is made up for by drawing several and keeping one in proportion to the change, which comes
    close to drawing by today's weights (sampling, importance resampling: Rubin, "Using the SIR
    algorithm to simulate posterior distributions", Bayesian Statistics 3, 1988).
    """
    found = np.full(len(link.times), -1, dtype=np.int64)
    rows = np.flatnonzero(link.born > 0)
    for _ in range(ROUNDS):
        if not len(rows):
            break
        part = _some(link, rows)
        proposed = _proposed(part, targets, homophily, generator)
        factors = np.stack([_suits(row, part, targets) for row in proposed])
        with np.errstate(divide="ignore"):
            race = generator.standard_exponential(proposed.shape) / factors
        first = np.argmin(race, axis=0)
        found[rows] = proposed[first, np.arange(len(rows))]
        rows = rows[~np.isfinite(race.min(axis=0))]
    return found


def _some(link: Link, rows: Indices) -> Link:
    clusters = None if link.clusters is None else link.clusters[rows]
    return Link(link.times[rows], link.born[rows], clusters, [t[rows] for t in link.taken])


def _proposed(
    link: Link, targets: Targets, homophily: float, generator: np.random.Generator
) -> Indices:
    """PROPOSALS parents of each row among those born: int64 [PROPOSALS, rows]."""
    order = np.argsort(targets.clusters, kind="stable")
    heights = np.concatenate([[0.0], np.cumsum(targets.weights[order])])
    # Births ascend inside a cluster too, so those born by then are each cluster's first ones.
    member = targets.clusters[:, None] == np.arange(targets.count)
    members = np.concatenate([np.zeros((1, targets.count), np.int64), np.cumsum(member, axis=0)])
    begins = np.concatenate([[0], np.cumsum(members[-1])[:-1]])
    counts = members[link.born]
    low = heights[begins]
    masses = heights[begins + counts] - low
    if link.clusters is not None:
        masses[np.arange(len(masses)), link.clusters] *= np.exp(homophily)
    upper = np.cumsum(masses, axis=1)
    goal = generator.random((PROPOSALS, len(masses))) * upper[:, -1]
    chosen = (goal[:, :, None] >= upper[:, :-1]).sum(axis=2)
    rows = np.arange(len(masses))
    mass = masses[rows, chosen]
    inside = (goal - (upper[rows, chosen] - mass)) / np.maximum(mass, 1e-300)
    born = counts[rows, chosen]
    height = low[chosen] + inside * (heights[begins[chosen] + born] - low[chosen])
    place = np.searchsorted(heights, height, side="right") - 1
    # Rounding may leave the cluster by one place.
    last = begins[chosen] + np.maximum(born, 1) - 1
    return order[np.clip(place, begins[chosen], last)]


def _suits(parents: Indices, link: Link, targets: Targets) -> Floats:
    """How much more likely parents are at the rows' times than by weight; 0 for impossible ones."""
    factors = targets.pace(np.maximum(parents, 0), link.times)
    for taken in link.taken:
        factors = np.where(parents == taken, 0.0, factors)
    return np.where(parents < 0, 0.0, factors)


def _apart(parents: Indices, link: Link, rows: int) -> Indices:
    """The parents, moved to a neighbour where another key of the row has the same one.

    Where too few are born for that, a row has none, or one twice where there never are more.
    """
    for _ in range(len(link.taken)):
        move = _twice(parents, link) & (link.born > 1)
        parents = np.where(move, (parents + 1) % np.maximum(link.born, 1), parents)
    return parents if rows <= len(link.taken) else np.where(_twice(parents, link), -1, parents)


def _twice(parents: Indices, link: Link) -> np.ndarray:
    """Whether another key of the row has its parent, bool [rows]."""
    found = np.zeros(len(parents), dtype=bool)
    for taken in link.taken:
        found |= (parents == taken) & (parents >= 0)
    return found
