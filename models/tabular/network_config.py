"""Settings of the networks over feature tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.learning.config import LoopConfig, check_staleness

ARCHITECTURES = ("linear", "resnet", "ft_transformer")
# An epoch has at least so many steps, as long as its batches are no smaller than the least.
STEPS, SMALLEST_BATCH = 20, 32
# Every column is a token of a transformer, and attention grows with the square of the tokens.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    # Hundreds of inputs that are alike move the sum together: at 0.003 its level wandered from step to
    # step, and the best epoch was the lucky one.
    "linear": {"learning_rate": 3e-4, "weight_decay": 1.0, "dropout": 0.5},
    "resnet": {},
    "ft_transformer": {
        "channels": 32,
        "layers": 2,
        "dropout": 0.2,
        "max_columns": 32,
        "epochs": 40,
        "patience": 8,
    },
}


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Settings of a network over a feature table; the defaults are those of `resnet`.

    `architecture` is `resnet` or `ft_transformer` (Gorishniy et al., "Revisiting deep learning
    models for tabular data", NeurIPS 2021), with `layers` blocks of `channels` and `dropout` in
    them, or `linear`, a weight for each number and each value of a category, with `dropout` of the
    inputs. `seeds` is the number of models, `patience` the epochs without a better validation score
    under either protocol after which one stops.

    A transformer has `heads` attention heads; there is no dropout of its attention, whose random
    numbers would take a CPU as long as all else.

    A batch has `batch_size` rows, or a twentieth of the training rows where these are few (but no
    less than 32): an epoch of a handful of steps would make `patience` a matter of luck.

    `averaging` is the decay per step of the average of the weights that is validated and kept
    (`LoopConfig`), so that the state of an epoch is not one of the last few batches' making: a refit
    takes an epoch unseen.

    `depth` is the longest path of the features that are read (None: all that there are), `windows`
    whether those of trailing windows are.
    `max_columns` keeps the columns with the most mutual information with the training labels (None:
    all); flags of missing values come on top. `max_categories` is how many values of a category are
    told apart. `max_seconds` and `max_gigabytes` are budgets for each seed; with the first, results
    depend on the machine's speed. `kept_epochs` fixes by protocol the epoch, from 1, whose state it
    takes (None: the best on validation). `staleness` is the share of training rows that an epoch shows
    as earlier moments saw them, as the frozen protocol will. `device` is `auto`, `cpu` or `cuda`.
    """

    architecture: str = "resnet"
    seeds: int = 5
    channels: int = 32
    layers: int = 3
    heads: int = 4
    dropout: float = 0.3
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    batch_size: int = 256
    epochs: int = 60
    patience: int = 10
    schedule: str = "constant"
    warm_up_steps: int = 20
    averaging: float = 0.98
    depth: int | None = None
    windows: bool = True
    max_columns: int | None = None
    max_categories: int = 30
    max_seconds: float | None = None
    max_gigabytes: float | None = None
    precision: str = "auto"
    kept_epochs: Mapping[str, int] | None = None
    staleness: float = 0.5
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ValueError(
                f"architecture must be one of {', '.join(ARCHITECTURES)} (got {self.architecture!r})"
            )
        for what in ("seeds", "channels", "layers", "heads", "batch_size", "max_columns"):
            value = getattr(self, what)
            if value is not None and value < 1:
                raise ValueError(f"{what} must be at least 1 (got {value})")
        check_staleness(self.staleness)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1 (got {self.dropout})")
        if self.architecture == "ft_transformer" and self.channels % self.heads:
            raise ValueError(
                "channels of an ft_transformer must be a multiple of its heads "
                f"(got {self.channels}, {self.heads})"
            )
        self.loop(0)

    def rows_per_batch(self, rows: int) -> int:
        """The number of rows of a batch, given that of the training rows."""
        return min(self.batch_size, max(rows // STEPS, SMALLEST_BATCH))

    @classmethod
    def of(cls, architecture: str, **settings: Any) -> NetworkConfig:
        """The settings given, and the architecture's own defaults for the others."""
        return cls(**({"architecture": architecture, **DEFAULTS.get(architecture, {})} | settings))

    def loop(self, seed: int) -> LoopConfig:
        """How one seed's model is trained."""
        return LoopConfig(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            warm_up_steps=self.warm_up_steps,
            averaging=self.averaging,
            patience=self.patience,
            precision=self.precision,
            kept_epochs=self.kept_epochs,
            max_seconds=self.max_seconds,
            max_gigabytes=self.max_gigabytes,
            seed=seed,
        )
