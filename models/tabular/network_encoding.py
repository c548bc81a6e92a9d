"""Feature matrices for networks: numbers on one scale, flags of gaps, categories as codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import QuantileTransformer
from torch import Tensor

QUANTILES = 256
# Years after training, values beyond all that was seen are common; sklearn puts them at 5.2.
FARTHEST = 3.5


@dataclass(frozen=True, slots=True)
class NetworkEncoder:
    """Turns the matrix of a `FeatureEncoder` into a network's inputs; fitted on training rows.

    Attributes:
        numerical: Positions of the numerical columns in the matrix.
        flagged: Positions of the columns whose gaps are told by a flag: of the columns that have
            their gaps in the same training rows, the first.
        categorical: Positions of the categorical columns.
        sizes: The number of codes of each categorical column.
        quantiles: Quantiles of the numerical columns, float64, shape (quantiles, columns).
    """

    numerical: tuple[int, ...]
    flagged: tuple[int, ...]
    categorical: tuple[int, ...]
    sizes: tuple[int, ...]
    quantiles: np.ndarray

    @classmethod
    def fit(cls, matrix: np.ndarray, categories: Mapping[int, int]) -> NetworkEncoder:
        """The encoder of the training rows.

        Args:
            matrix: Float32, shape (rows, columns); gaps are NaN.
            categories: The number of codes of each categorical column, by position.
        """
        columns = range(matrix.shape[1])
        numerical = tuple(i for i in columns if i not in categories)
        categorical = tuple(i for i in columns if i in categories)
        transformer = QuantileTransformer(
            n_quantiles=min(QUANTILES, len(matrix)), subsample=100_000, random_state=0
        )
        quantiles = np.empty((0, 0))
        if numerical:
            quantiles = transformer.fit(matrix[:, list(numerical)].astype(np.float64)).quantiles_
        return cls(
            numerical=numerical,
            flagged=_first_of_each_pattern(matrix, numerical),
            categorical=categorical,
            sizes=tuple(categories[i] for i in categorical),
            quantiles=quantiles,
        )

    @property
    def numbers(self) -> int:
        """The number of numerical inputs: columns, then flags."""
        return len(self.numerical) + len(self.flagged)

    def transform(self, matrix: np.ndarray) -> tuple[Tensor, Tensor]:
        """A network's inputs.

        Returns:
            Numbers, float32 of shape (rows, numbers): the normal scores of the columns' training
            quantiles, 0 for a gap; then the flags, 1 for a gap. Codes, int64 of shape (rows,
            categorical columns): -1 for a gap.
        """
        parts = [np.empty((len(matrix), 0), dtype=np.float32)]
        if self.numerical:
            columns = matrix[:, list(self.numerical)].astype(np.float64)
            scores = np.clip(self._transformer().transform(columns), -FARTHEST, FARTHEST)
            parts.append(np.nan_to_num(scores, nan=0.0).astype(np.float32))
        if self.flagged:
            parts.append(np.isnan(matrix[:, list(self.flagged)]).astype(np.float32))
        codes = np.nan_to_num(matrix[:, list(self.categorical)], nan=-1.0).astype(np.int64)
        return torch.from_numpy(np.concatenate(parts, axis=1)), torch.from_numpy(codes)

    def _transformer(self) -> QuantileTransformer:
        # sklearn keeps what it has fitted in these attributes; a bundle keeps arrays, not pickles.
        transformer = QuantileTransformer(output_distribution="normal")
        transformer.quantiles_ = self.quantiles
        transformer.n_quantiles_ = len(self.quantiles)
        transformer.references_ = np.linspace(0, 1, len(self.quantiles))
        transformer.n_features_in_ = len(self.numerical)
        return transformer

    def to_plain(self) -> dict[str, Any]:
        """Lists and a tensor, for `torch.save`."""
        return {
            "numerical": list(self.numerical),
            "flagged": list(self.flagged),
            "categorical": list(self.categorical),
            "sizes": list(self.sizes),
            "quantiles": torch.from_numpy(self.quantiles),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> NetworkEncoder:
        """The encoder whose `to_plain` this is."""
        lists = {name: tuple(value) for name, value in plain.items() if name != "quantiles"}
        return cls(**lists, quantiles=plain["quantiles"].numpy())


def _first_of_each_pattern(matrix: np.ndarray, columns: tuple[int, ...]) -> tuple[int, ...]:
    """Of the columns with gaps in the same rows, the first; none for columns without gaps."""
    if not columns:
        return ()
    gaps = np.isnan(matrix[:, list(columns)])
    _, first = np.unique(np.packbits(gaps, axis=0), axis=1, return_index=True)
    return tuple(columns[i] for i in sorted(first.tolist()) if gaps[:, i].any())
