"""PluRel's synthetic databases (Kothapalli et al. 2026, arXiv:2602.04029), as a preset.

`PLUREL` has the defaults of the `plurel` package 1.1, `PLUREL_PAPER` the paper's narrower choices
(the package's 1.0): five families of graphs, six activations, networks of two full layers, series
as the only sources, sums, no transforms.
"""

from __future__ import annotations

from models.synthetic.database import Generator
from models.synthetic.draws import Choice, Fixed
from models.synthetic.plurel.aggregations import Aggregation
from models.synthetic.plurel.block_rows import BlockRows
from models.synthetic.plurel.causal_columns import CausalColumns, Mode
from models.synthetic.plurel.causal_graph import GraphSettings, WeightLaw
from models.synthetic.plurel.causal_model import ModelSettings
from models.synthetic.plurel.finishing import Finishing, Transform
from models.synthetic.plurel.graphs import (
    BarabasiAlbert,
    ErdosRenyi,
    Layered,
    RandomTree,
    ReverseRandomTree,
)
from models.synthetic.plurel.layout import PluRelLayout
from models.synthetic.plurel.networks import NetworkSettings
from models.synthetic.plurel.sources import Family, SourceSettings

PLUREL = Generator(PluRelLayout(), BlockRows(), CausalColumns())

PLUREL_PAPER = Generator(
    PluRelLayout(),
    BlockRows(),
    CausalColumns(
        GraphSettings(
            graphs=Choice(
                (ErdosRenyi(), BarabasiAlbert(), RandomTree(), ReverseRandomTree(), Layered())
            ),
            weights=Fixed(WeightLaw.NORMAL),
        ),
        ModelSettings(
            aggregations=Fixed(Aggregation.SUM),
            networks=NetworkSettings(
                layers=Fixed(2),
                density=Fixed(1.0),
                activations=Choice(("relu", "elu", "selu", "silu", "softsign", "tanh")),
            ),
            sources=SourceSettings(
                families=Fixed(Family.SERIES), scale=Fixed(1.0), persistence=Fixed(0.0)
            ),
        ),
        modes=Fixed(Mode.EAGER),
        finishing=Finishing(transforms=Fixed(Transform.IDENTITY)),
    ),
)

__all__ = ["PLUREL", "PLUREL_PAPER", "BlockRows", "CausalColumns", "PluRelLayout"]
