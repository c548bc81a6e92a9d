"""Settings of pretraining: which objective, over how much of the database, in which shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from models.learning.config import LoopConfig
from models.rdl.config import NetworkShape, Strategy


class Term(StrEnum):
    """A part of a pretraining loss.

    TYPED: typed task vectors. REFERENCE: the paper's task vectors under its cosine error. MASKED:
    the rows' own columns. CONTRASTIVE: two views of the same node.
    """

    TYPED = "typed"
    REFERENCE = "reference"
    MASKED = "masked"
    CONTRASTIVE = "contrastive"


class Pretext(StrEnum):
    """What a network is pretrained on; `with` adds a small share of the second."""

    TVE = "tve"
    TVE_REFERENCE = "tve_reference"
    MASKED = "masked"
    CONTRASTIVE = "contrastive"
    TVE_MASKED = "tve_with_masked"
    TVE_CONTRASTIVE = "tve_with_contrastive"
    CONTRASTIVE_THEN_TVE = "contrastive_then_tve"


@dataclass(frozen=True, slots=True)
class Stage:
    """A training run of its own: its terms with their weights, and the share of altered cells."""

    name: str
    terms: Mapping[Term, float]
    corruption: float


# The shares of altered cells are those of Truong et al.'s published experiments, but for typed task
# vectors, for which more of them gave better probes.
_CORRUPTION = {
    Pretext.TVE: 0.25,
    Pretext.TVE_REFERENCE: 0.15,
    Pretext.MASKED: 0.25,
    Pretext.CONTRASTIVE: 0.25,
    Pretext.TVE_MASKED: 0.15,
    Pretext.TVE_CONTRASTIVE: 0.15,
}


@dataclass(frozen=True, slots=True)
class PretrainingConfig:
    """How to pretrain.

    `shape`, `fan_out` and `strategy` are as in `RDLConfig`; a network that starts from the result
    has the same shape. `corruption` is the share of altered cells (None: that of the objective),
    `beta` the weight of the second term of a hybrid, `temperature` that of the contrastive loss,
    `alpha` the power of the cosine error, `inactive_weight` the weight of inactive rows in it (None:
    the share of active training rows; active rows weigh one minus it). `staleness` is the share of
    training rows that see the database as of an earlier moment, by up to the time that validation
    spans, as rows under the frozen protocol do. `weighting` is the power to which the rows' weights
    are raised: at 1 losses are means over all rows, at 0 over the sampled ones, of which more are
    active.

    `most_nodes` bounds the nodes of a table that a batch reconstructs or contrasts, besides the
    seeds; `training_rows` and `validation_rows` the rows of an entity table that are read. An epoch
    has `steps` batches (None: every training row once).
    """

    pretext: Pretext = Pretext.TVE
    shape: NetworkShape = field(default_factory=NetworkShape)
    fan_out: int = 32
    strategy: Strategy = Strategy.LAST
    corruption: float | None = None
    beta: float = 0.1
    temperature: float = 0.1
    alpha: float = 2.0
    inactive_weight: float | None = None
    staleness: float = 0.5
    weighting: float = 1.0
    most_nodes: int = 512
    training_rows: int = 500_000
    validation_rows: int = 2048
    epochs: int = 10
    steps: int | None = 50
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    schedule: str = "cosine"
    warm_up_steps: int = 20
    patience: int | None = 5
    precision: str = "auto"
    max_seconds: float | None = None
    max_gigabytes: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("corruption", "inactive_weight", "staleness", "weighting"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{name} is a share from 0 to 1 (got {share})")
        for name in ("beta", "temperature", "alpha"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive (got {getattr(self, name)})")
        for name in ("fan_out", "batch_size", "training_rows", "validation_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        if self.most_nodes < 0:
            raise ValueError(f"most_nodes must not be negative (got {self.most_nodes})")
        Pretext(self.pretext)
        self.loop()

    @property
    def fan_outs(self) -> tuple[int, ...]:
        """The fan-out of each hop."""
        return tuple(max(self.fan_out // 2**hop, 2) for hop in range(self.shape.hops))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The training runs, in order."""
        if self.pretext == Pretext.CONTRASTIVE_THEN_TVE:
            return (
                self._stage(Pretext.CONTRASTIVE, {Term.CONTRASTIVE: 1.0}),
                self._stage(Pretext.TVE, {Term.TYPED: 1.0}),
            )
        terms: Mapping[Pretext, Mapping[Term, float]] = {
            Pretext.TVE: {Term.TYPED: 1.0},
            Pretext.TVE_REFERENCE: {Term.REFERENCE: 1.0},
            Pretext.MASKED: {Term.MASKED: 1.0},
            Pretext.CONTRASTIVE: {Term.CONTRASTIVE: 1.0},
            Pretext.TVE_MASKED: {Term.TYPED: 1.0, Term.MASKED: self.beta},
            Pretext.TVE_CONTRASTIVE: {Term.TYPED: 1.0, Term.CONTRASTIVE: self.beta},
        }
        return (self._stage(self.pretext, terms[self.pretext]),)

    def _stage(self, pretext: Pretext, terms: Mapping[Term, float]) -> Stage:
        rate = _CORRUPTION[pretext] if self.corruption is None else self.corruption
        return Stage(str(pretext), terms, rate)

    def loop(self) -> LoopConfig:
        """The settings of the training loop of every stage."""
        return LoopConfig(
            epochs=self.epochs,
            steps_per_epoch=self.steps,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            warm_up_steps=self.warm_up_steps,
            patience=self.patience,
            precision=self.precision,
            max_seconds=self.max_seconds,
            max_gigabytes=self.max_gigabytes,
            seed=self.seed,
        )
