"""PluRel's structural causal models: the values of one table, node by node.

A table has a random directed graph of more nodes than it has columns; a random subset of the nodes
are its columns, the others stay latent. Nodes without causes are series. Any other node v of a row r
is computed from its causes u, and from every column k of the row's parents in other tables:

    h_v(r) = noise_v(r) / 32 + Agg_v({w_uv Enc_uv(x_u(r))} ∪ {w Enc_k(x_k(parent of r))}),
    x_v(r) = Dec_v(h_v(r))

with encoders and decoders that are random networks, beta noise, and w = 1 but for sums, where it is
one over the parent's number of columns (Kothapalli et al. 2026, arXiv:2602.04029). Nodes that no
column depends on are not computed. Numbers are rounded to six digits after every node, so that the
last bits of matrix products do not build up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from models.synthetic.draws import Choice, Draw, Uniform
from models.synthetic.plurel.aggregations import Aggregation, aggregator
from models.synthetic.plurel.batches import batch
from models.synthetic.plurel.causal_graph import CausalGraph
from models.synthetic.plurel.digits import significant
from models.synthetic.plurel.encoders import Cells, cells_of
from models.synthetic.plurel.functions import Functions, Values, draw_functions, portions
from models.synthetic.plurel.laws import beta_quantiles, picks
from models.synthetic.plurel.networks import WIDTH, NetworkSettings
from models.synthetic.plurel.parents import ParentMessages
from models.synthetic.plurel.sources import Family, SourceSettings
from models.synthetic.rows import Floats, Indices
from models.synthetic.streams import Streams

NOISE_STEPS = 256
BLOCK = 512
"""Rows to compute at a time: they fit into a processor's cache."""
COMPARED = 200
"""Rows that a node's noise is measured on."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What the functions of a causal model are drawn from.

    Attributes:
        aggregations: How a node puts the embeddings of its causes together.
        alpha: First parameter of a node's noise, a beta distribution.
        beta: Second one.
        networks: Encoders and decoders.
        sources: Nodes without causes.
        cells: Values of a numerical node that its encoders tell apart (see `encoders`).
    """

    aggregations: Draw[Aggregation] = Choice(tuple(Aggregation))
    alpha: Draw[float] = Uniform(0.5, 5.0)
    beta: Draw[float] = Uniform(0.5, 5.0)
    networks: NetworkSettings = field(default_factory=NetworkSettings)
    sources: SourceSettings = field(default_factory=SourceSettings)
    cells: int = 128


@dataclass(frozen=True, slots=True)
class Computed:
    """A node that was computed.

    Attributes:
        values: Its values.
        before: Its values before an intervention.
        signal: The share of their variance (of categories: of their Gini impurity) that another
            draw of the node's own noise would leave.
    """

    values: Values
    before: Values
    signal: float


@dataclass(frozen=True, slots=True)
class CausalModel:
    """A table's causal model.

    Attributes:
        graph: Its nodes.
        families: The family of each source by node.
        rows: Rows of the table.
        activity: Whether these happen; entities exist.
        messages: What the rows' parents contribute.
        settings: What functions are drawn from.
        streams: Streams of the table.
    """

    graph: CausalGraph
    families: Mapping[int, Family]
    rows: int
    activity: bool
    messages: ParentMessages
    settings: ModelSettings
    streams: Streams

    def columns(self, shifts: Mapping[int, float]) -> list[Computed]:
        """Computes all nodes that columns depend on.

        Args:
            shifts: What to add to numerical columns, by their number, in standard deviations.

        Returns:
            What was computed for every column.
        """
        of_nodes = {int(self.graph.columns[column]): shift for column, shift in shifts.items()}
        needed = np.flatnonzero(self.graph.needed).tolist()
        read = {cause for node in needed for cause in self.graph.causes[node].tolist()}
        computed: dict[int, Computed] = {}
        cells: dict[int, Cells] = {}
        with np.errstate(all="ignore"):
            for node in (node for node in needed if node in self.families):
                computed[node] = _shifted(self._source(node), of_nodes.get(node, 0.0))
                cells[node] = self._cells(node, computed[node].values)
            noises = self._noises()
            for portion in portions(self.graph, [n for n in needed if n not in self.families]):
                generator = self.streams.generator("functions", str(portion[0]))
                networks = self.settings.networks
                functions = draw_functions(self.graph, portion, networks, generator)
                for node in portion:
                    found = self._function(node, functions, cells, noises[node], generator)
                    computed[node] = _shifted(found, of_nodes.get(node, 0.0))
                    if node in read:
                        cells[node] = self._cells(node, computed[node].values)
        return [computed[node] for node in self.graph.columns.tolist()]

    def _cells(self, node: int, values: Values) -> Cells:
        if categories := int(self.graph.categories[node]):
            return Cells(values.astype(np.int64), None, categories)
        return cells_of(values.astype(np.float64), self.settings.cells)

    def _noises(self) -> Floats:
        """The values of each node's noise, all equally likely, float64 [nodes, NOISE_STEPS]."""
        generator, nodes = self.streams.generator("noise"), len(self.graph.causes)
        alphas = batch(self.settings.alpha, generator, nodes)
        betas = batch(self.settings.beta, generator, nodes)
        return beta_quantiles(alphas, betas, NOISE_STEPS) / WIDTH

    def _source(self, node: int) -> Computed:
        generator = self.streams.generator("node", str(node))
        family, sources = self.families[node], self.settings.sources
        categories = int(self.graph.categories[node])
        if categories:
            drawn = (categories, self.rows, self.activity, generator)
            values: Values = sources.categories(family, *drawn)
        else:
            values = significant(sources.numbers(family, self.rows, self.activity, generator))
        timed = self.activity and family == Family.SERIES
        return Computed(values, values, _between_periods(values) if timed else 0.0)

    def _function(
        self,
        node: int,
        functions: Functions,
        cells: Mapping[int, Cells],
        noise: Floats,
        generator: np.random.Generator,
    ) -> Computed:
        causes = [cells[cause] for cause in self.graph.causes[node].tolist()]
        embeddings = functions.encode(node, causes, self.graph.weights[node])
        how = self.settings.aggregations.sample(generator)
        places = [cause.place for cause in causes]
        embed = aggregator(how, embeddings, places, self.messages.under(how))

        def compute(rows: slice | Indices) -> Values:
            embedded = embed(rows)
            embedded += picks(noise, embedded.shape, generator)
            return functions.decode(node, embedded)

        starts = range(0, self.rows, BLOCK)
        values = np.concatenate([compute(slice(start, start + BLOCK)) for start in starts])
        if not self.graph.categories[node]:
            values = significant(np.nan_to_num(values))
        if node not in self.graph.columns:
            return Computed(values, values, 0.0)
        some = np.linspace(0, self.rows - 1, min(COMPARED, self.rows)).astype(np.int64)
        return Computed(values, values, _agreement(values[some], compute(some)))


def _shifted(found: Computed, shift: float) -> Computed:
    if shift == 0:
        return found
    values = significant(found.before + shift * np.std(found.before))
    return Computed(values, found.before, found.signal)


def _agreement(values: Values, again: Values) -> float:
    """The share of the variance, or impurity, that two draws of the same rows have in common."""
    if values.dtype.kind == "i":
        shares = np.bincount(values) / len(values)
        alone, apart = float(1 - (shares**2).sum()), float(np.mean(values != again))
    else:
        alone, apart = float(np.var(values)), float(np.mean((values - again) ** 2) / 2)
    return float(np.clip(1 - apart / alone, 0, 1)) if alone > 0 else 0.0


def _between_periods(values: Values) -> float:
    """The share of the variance that lies between twenty periods of rows."""
    total = float(np.var(values))
    means = [part.mean() for part in np.array_split(values, 20) if len(part)]
    return float(np.clip(np.var(means) / total, 0, 1)) if total > 0 else 0.0
