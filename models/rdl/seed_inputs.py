"""A seed's DFS features as one vector: numbers on one scale, flags of gaps, categories one-hot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch.nn import functional

from models.tabular.encoding import FeatureEncoder
from models.tabular.network_encoding import NetworkEncoder

MAX_CATEGORIES = 10


@dataclass(frozen=True)
class SeedInputs:
    """Turns feature tables into float32 matrices; fitted on training rows.

    Attributes:
        encoder: Columns to codes and numbers.
        scaling: Numbers to normal scores, gaps to flags.
    """

    encoder: FeatureEncoder
    scaling: NetworkEncoder

    @classmethod
    def fit(cls, features: pl.DataFrame) -> SeedInputs:
        """The encoder of the training rows' features (without row_id).

        Raises:
            ValueError: No feature varies.
        """
        encoder = FeatureEncoder.fit(features, MAX_CATEGORIES)
        if not encoder.columns:
            raise ValueError(
                f"none of the {features.width} DFS features varies in the {features.height} "
                "training rows; leave them out of the network's inputs"
            )
        # Known values, and one code for all others.
        sizes = {
            encoder.columns.index(name): len(values) + 1
            for name, values in encoder.categories.items()
        }
        return cls(encoder, NetworkEncoder.fit(encoder.transform(features), sizes))

    @property
    def columns(self) -> tuple[str, ...]:
        """The features that are read."""
        return self.encoder.columns

    @property
    def width(self) -> int:
        """The length of a seed's vector."""
        return self.scaling.numbers + sum(self.scaling.sizes)

    def transform(self, features: pl.DataFrame) -> np.ndarray:
        """The vectors, float32 [rows, width]."""
        numbers, codes = self.scaling.transform(self.encoder.transform(features))
        # Code -1, a gap, becomes the zero vector.
        hot = [
            functional.one_hot(codes[:, i] + 1, size + 1)[:, 1:]
            for i, size in enumerate(self.scaling.sizes)
        ]
        return np.asarray(torch.cat([numbers, *hot], dim=1).float().numpy())

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        scaling = self.scaling.to_plain()
        return {
            "encoder": self.encoder.to_plain(),
            "scaling": scaling | {"quantiles": scaling["quantiles"].tolist()},
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> SeedInputs:
        """The encoder whose `to_plain` this is."""
        scaling = dict(plain["scaling"])
        quantiles = torch.tensor(scaling["quantiles"], dtype=torch.float64)
        return cls(
            FeatureEncoder.from_plain(plain["encoder"]),
            NetworkEncoder.from_plain(scaling | {"quantiles": quantiles}),
        )
