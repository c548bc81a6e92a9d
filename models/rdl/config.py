"""Settings of relational deep learning: architecture, sampling, inputs, training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from models.learning.config import LoopConfig, check_staleness

STEPS, SMALLEST_BATCH = 20, 32
NORMALIZATIONS = ("layer", "batch", "none")


class Convolution(StrEnum):
    """The kinds of message passing."""

    SAGE = "sage"
    PNA = "pna"
    HGT = "hgt"
    RELGNN = "relgnn"

    @property
    def hops(self) -> int:
        """How many hops of the graph one layer reads."""
        return 2 if self is Convolution.RELGNN else 1


class Strategy(StrEnum):
    """Which of too many children are taken. UNIFORM: any, without replacement. LAST: the newest."""

    UNIFORM = "uniform"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """The architecture.

    `aggregation` is for GraphSAGE (mean or sum), `heads` for HGT and RelGNN. `skip` adds a layer's
    input to its result. `seed_label` marks the seed's own row wherever it appears in its
    neighbourhood (the labelling trick: Zhang et al., "Labeling trick", NeurIPS 2021). `ages` says
    how long before the cutoff each row lies.
    """

    convolution: Convolution = Convolution.SAGE
    layers: int = 2
    channels: int = 64
    aggregation: str = "mean"
    heads: int = 4
    normalization: str = "layer"
    skip: bool = False
    seed_label: bool = True
    ages: bool = True
    encoder_layers: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization must be one of {', '.join(NORMALIZATIONS)} "
                f"(got {self.normalization!r})"
            )
        if self.aggregation not in ("mean", "sum"):
            raise ValueError(f"aggregation must be mean or sum (got {self.aggregation!r})")
        if self.layers < 1 or self.channels < 1 or self.channels % self.heads:
            raise ValueError(
                "layers and channels must be at least 1 and channels a multiple of heads "
                f"(got {self.layers}, {self.channels}, {self.heads})"
            )

    @property
    def hops(self) -> int:
        """Hops that the network reads."""
        return self.layers * self.convolution.hops


@dataclass(frozen=True, slots=True)
class RDLConfig:
    """A point of the RDL family's design space; Relatron's axes (ICLR 2026, Section 3) and more.

    Architecture: see `NetworkShape`. Sampling: hop i (from 0) takes `fan_out / 2^i` children, at
    least 2, chosen by `strategy`. Inputs: `past_labels` adds the entities' earlier labels as a table
    of the graph, each from the moment its window closed; `features` gives the seed its DFS features.
    `staleness` is the share of training examples that see the database as of an earlier moment, by
    as much as the frozen protocol's validation rows do, so that one model serves both protocols.
    `initialisation` is "scratch" or the name of a pretraining objective. `seeds` networks are
    trained, numbered from `first_seed`. A batch has `batch_size` examples, or a twentieth of them
    where there are few (but no less than 32): `patience` counts epochs, and an epoch of one step is
    none. `max_seconds` and `max_gigabytes` are budgets of each seed's training.
    `kept_epochs` fixes by protocol the epoch, from 1, whose state it takes (None: the best on
    validation).
    """

    convolution: str = "sage"
    layers: int = 2
    channels: int = 64
    aggregation: str = "mean"
    heads: int = 4
    normalization: str = "layer"
    skip: bool = False
    seed_label: bool = True
    ages: bool = True
    encoder_layers: int = 1
    dropout: float = 0.3
    fan_out: int = 32
    strategy: str = "last"
    past_labels: bool = True
    features: bool = True
    staleness: float = 0.5
    initialisation: str = "scratch"
    seeds: int = 5
    first_seed: int = 0
    epochs: int = 20
    steps_per_epoch: int | None = None
    batch_size: int = 512
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    schedule: str = "constant"
    gamma: float = 0.9
    warm_up_steps: int = 0
    averaging: float = 0.98
    patience: int | None = 5
    precision: str = "auto"
    compile: str = "never"
    kept_epochs: Mapping[str, int] | None = None
    max_seconds: float | None = None
    max_gigabytes: float | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        check_staleness(self.staleness)
        if self.fan_out < 1 or self.batch_size < 1 or self.seeds < 1:
            raise ValueError(
                "fan_out, batch_size and seeds must be at least 1 "
                f"(got {self.fan_out}, {self.batch_size}, {self.seeds})"
            )
        Strategy(self.strategy)
        self.shape.hops  # noqa: B018  (checks the architecture's values)
        self.loop(0)

    @property
    def shape(self) -> NetworkShape:
        """The architecture."""
        return NetworkShape(
            convolution=Convolution(self.convolution),
            layers=self.layers,
            channels=self.channels,
            aggregation=self.aggregation,
            heads=self.heads,
            normalization=self.normalization,
            skip=self.skip,
            seed_label=self.seed_label,
            ages=self.ages,
            encoder_layers=self.encoder_layers,
            dropout=self.dropout,
        )

    @property
    def fan_outs(self) -> tuple[int, ...]:
        """The fan-out of each hop."""
        return tuple(max(self.fan_out // 2**hop, 2) for hop in range(self.shape.hops))

    def batch_of(self, examples: int) -> int:
        """The size of a batch for so many training examples."""
        return min(self.batch_size, max(examples // STEPS, SMALLEST_BATCH))

    def loop(self, seed: int) -> LoopConfig:
        """The settings of the training loop."""
        return LoopConfig(
            epochs=self.epochs,
            steps_per_epoch=self.steps_per_epoch,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            gamma=self.gamma,
            warm_up_steps=self.warm_up_steps,
            averaging=self.averaging,
            patience=self.patience,
            precision=self.precision,
            compile=self.compile,
            kept_epochs=self.kept_epochs,
            max_seconds=self.max_seconds,
            max_gigabytes=self.max_gigabytes,
            seed=seed,
        )
