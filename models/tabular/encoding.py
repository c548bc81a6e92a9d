"""Feature matrices for tabular learners: categories as codes, everything fitted on training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

MAX_CATEGORIES = 30


@dataclass(frozen=True, slots=True)
class FeatureEncoder:
    """Turns a feature table into a float32 matrix of shape (rows, columns); missing values are NaN.

    `columns` are the kept features in order; `categories` holds the known values of the categorical
    ones, most frequent in the training rows first: a value's code is its position, and a value that
    is not among them (rare or unseen) gets the code `len(values)`. Columns that are constant or
    empty in the training rows are left out. Nothing here looks at validation or later rows.
    """

    columns: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]

    @classmethod
    def fit(cls, features: pl.DataFrame, max_categories: int = MAX_CATEGORIES) -> FeatureEncoder:
        """The encoder of the training rows' features (without row_id)."""
        kept: list[str] = []
        categories: dict[str, tuple[str, ...]] = {}
        for name, dtype in features.schema.items():
            values = features[name]
            if _is_constant(values):
                continue
            kept.append(name)
            if dtype == pl.String or dtype == pl.Categorical:
                categories[name] = _frequent_values(values, max_categories)
        return cls(tuple(kept), categories)

    def only(self, positions: Sequence[int]) -> FeatureEncoder:
        """The encoder of these of its columns, in their order."""
        columns = tuple(self.columns[i] for i in positions)
        return FeatureEncoder(
            columns, {name: self.categories[name] for name in columns if name in self.categories}
        )

    @property
    def categorical_columns(self) -> list[int]:
        """Positions of the categorical columns in the matrix."""
        return [i for i, name in enumerate(self.columns) if name in self.categories]

    def transform(self, features: pl.DataFrame) -> np.ndarray:
        """The matrix of these rows, float32, shape (rows, len(columns)).

        Raises:
            ValueError: a column that the encoder was fitted on is missing.
        """
        missing = [name for name in self.columns if name not in features.columns]
        if missing:
            raise ValueError(f"the feature table lacks {len(missing)} columns: {missing[:5]}")
        expressions = [self._expression(name) for name in self.columns]
        return features.select(expressions).to_numpy().astype(np.float32, copy=False)

    def _expression(self, name: str) -> pl.Expr:
        column = pl.col(name)
        values = self.categories.get(name)
        if values is None:
            return column.cast(pl.Float32, strict=False).fill_null(np.nan)
        codes = column.cast(pl.String).replace_strict(
            list(values),
            list(range(len(values))),
            default=pl.when(column.is_not_null()).then(len(values)),
            return_dtype=pl.Float32,
        )
        return codes.fill_null(np.nan).alias(name)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "columns": list(self.columns),
            "categories": {name: list(values) for name, values in self.categories.items()},
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> FeatureEncoder:
        """The encoder whose `to_plain` this is."""
        categories = {name: tuple(values) for name, values in plain["categories"].items()}
        return cls(tuple(plain["columns"]), categories)


def _is_constant(values: pl.Series) -> bool:
    known = values.drop_nulls()
    if values.dtype.is_float():
        known = known.drop_nans()
    if known.len() == 0:
        return True
    # A column with one value and gaps still tells who has it.
    return known.n_unique() == 1 and known.len() == values.len()


def _frequent_values(values: pl.Series, limit: int) -> tuple[str, ...]:
    counts = values.cast(pl.String).drop_nulls().value_counts(name="rows")
    name = counts.columns[0]
    ordered = counts.sort(["rows", name], descending=[True, False])
    return tuple(ordered[name].head(limit).to_list())
