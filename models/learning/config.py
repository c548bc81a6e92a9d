"""Settings of the training loop, and the learning rate that follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

SCHEDULES = ("constant", "cosine", "exponential")
PRECISIONS = ("float32", "bfloat16", "auto")
COMPILATIONS = ("never", "auto")


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How to train.

    An epoch has `steps_per_epoch` batches, or all of them. AdamW (Loshchilov & Hutter, "Decoupled
    weight decay regularization", ICLR 2019) with `learning_rate` and `weight_decay`. The rate rises
    linearly over the first `warm_up_steps` and follows `schedule` from epoch to epoch: `cosine`
    falls to zero at the end of `epochs`, `exponential` by the factor `gamma` an epoch. `clip_norm`
    bounds the norm of all gradients together (None: unbounded). `averaging` is the decay per step of
    an exponential moving average of the weights: with one, the average is what is validated and
    kept, and training goes on from the weights themselves (0: no average; Polyak & Juditsky,
    "Acceleration of stochastic approximation by averaging", 1992). Training stops after `patience`
    epochs without a better value of any watched metric (None: never), or when `max_seconds` are spent
    or more than `max_gigabytes` are held (None: never), checked at every step.

    `precision` of the training steps: `auto` is bfloat16 on an accelerator that has it, float32
    elsewhere; validation is in float32 always, as predictions are. `compile`: `auto` compiles the
    module on an accelerator. `kept_epochs` is by watched metric the epoch, from 1, whose state it
    keeps, for where nothing was held back to choose by; the last one's if it isn't named (None: each
    keeps its best). `seed` decides, with the epoch, every random number of a step.
    """

    epochs: int = 100
    steps_per_epoch: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "constant"
    gamma: float = 0.95
    warm_up_steps: int = 0
    clip_norm: float | None = 1.0
    averaging: float = 0.0
    patience: int | None = 20
    precision: str = "auto"
    compile: str = "never"
    max_seconds: float | None = None
    max_gigabytes: float | None = None
    kept_epochs: Mapping[str, int] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for what, value, known in (
            ("schedule", self.schedule, SCHEDULES),
            ("precision", self.precision, PRECISIONS),
            ("compile", self.compile, COMPILATIONS),
        ):
            if value not in known:
                raise ValueError(f"{what} must be one of {', '.join(known)} (got {value!r})")
        if self.epochs < 1 or (self.steps_per_epoch is not None and self.steps_per_epoch < 1):
            raise ValueError(
                "epochs and steps_per_epoch must be at least 1 "
                f"(got {self.epochs}, {self.steps_per_epoch})"
            )
        if self.learning_rate <= 0 or self.weight_decay < 0 or self.warm_up_steps < 0:
            raise ValueError(
                "learning_rate must be positive, weight_decay and warm_up_steps not negative "
                f"(got {self.learning_rate}, {self.weight_decay}, {self.warm_up_steps})"
            )
        if not 0 <= self.averaging < 1:
            raise ValueError(f"averaging must be at least 0 and below 1 (got {self.averaging})")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must be above 0 and at most 1 (got {self.gamma})")
        kept = dict(self.kept_epochs or {})
        if not all(1 <= epoch <= self.epochs for epoch in kept.values()):
            raise ValueError(f"kept_epochs are from 1 to {self.epochs} (got {kept})")
        for what in ("clip_norm", "patience", "max_seconds", "max_gigabytes"):
            check_limit(what, getattr(self, what))


def known_settings(config: type[Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings that a dataclass of settings has.

    What older code recorded, in a bundle or the bank, may have settings that are no more.
    """
    names = {one.name for one in fields(config)}
    return {name: value for name, value in settings.items() if name in names}


def check_limit(what: str, limit: float | None) -> None:
    """Whether a setting can be a limit; None is no limit.

    Raises:
        ValueError: It is not above 0.
    """
    if limit is not None and limit <= 0:
        raise ValueError(f"{what} must be positive or None (got {limit})")


def check_staleness(share: float) -> None:
    """Whether it can be the share of training rows that are seen as an earlier moment saw them.

    Raises:
        ValueError: It is below 0 or above 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"staleness is a share from 0 to 1 (got {share})")


def learning_rate_at(config: LoopConfig, epoch: int, step: int) -> float:
    """The learning rate of a step, counted from 0 over all epochs; both count from 0."""
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * epoch / config.epochs))
    elif config.schedule == "exponential":
        rate *= config.gamma**epoch
    if step < config.warm_up_steps:
        rate *= (step + 1) / config.warm_up_steps
    return rate


def epoch_seed(seed: int, epoch: int, purpose: int = 0) -> int:
    """A random seed (63 bits) for one epoch; unlike `seed + epoch`, no two pairs share a stream.

    Args:
        seed: The run's seed.
        epoch: The epoch, from 0.
        purpose: Tells apart generators that are used in the same epoch.
    """
    state = np.random.SeedSequence([seed, epoch, purpose]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
