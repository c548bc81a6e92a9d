"""Typed task vectors: targets of several kinds and horizons, masked, censored and scaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from models.tve.derived import derived_targets
from models.tve.scaling import fit_scaling, scaled
from models.tve.targets import Enumeration
from models.tve.timeline import TRAIN, Timeline

# Tried where no horizons are given; the longest must leave most of the training rows uncensored.
HORIZONS = (1, 4, 12)
CENSORED_SHARE = 0.3


def default_horizons(universe: pl.DataFrame, timeline: Timeline) -> tuple[int, ...]:
    """Of 1, 4 and 12 tiles those whose windows are closed for 70 % of the training rows; always 1."""
    train = universe.filter(pl.col("split") == TRAIN)
    shares = censored_shares(train, timeline, HORIZONS)
    return (1, *(horizon for horizon in HORIZONS[1:] if shares[horizon] <= CENSORED_SHARE))


def censored_shares(
    rows: pl.DataFrame, timeline: Timeline, horizons: tuple[int, ...]
) -> dict[int, float]:
    """The share of rows whose window of a horizon is not closed; 1 where there are no rows."""
    shares = rows.select(
        (~timeline.is_complete(horizon)).mean().fill_null(1.0).alias(str(horizon))
        for horizon in horizons
    )
    return {horizon: float(shares[str(horizon)][0]) for horizon in horizons}


@dataclass(frozen=True, slots=True)
class TypedVectors:
    """Finishes raw aggregates into typed task vectors."""

    enumeration: Enumeration

    def finish(
        self, raw: pl.DataFrame, timeline: Timeline
    ) -> tuple[pl.DataFrame, list[dict[str, Any]], Mapping[str, Any]]:
        """The vectors' columns (Float32, NULL where masked or censored), their definitions, scaling."""
        targets = self.enumeration.targets
        values = derived_targets(raw, targets, timeline)
        scaling = fit_scaling(raw, values, targets)
        scales = {scale.target: scale for scale in scaling.scales}
        definitions = [
            target.to_plain()
            | {"center": scales[target.name].center, "scale": scales[target.name].scale}
            for target in targets
            if target.name in scales
        ]
        plain = scaling.to_plain()
        return scaled(values, scaling), definitions, {k: plain[k] for k in ("dropped", "digest")}
