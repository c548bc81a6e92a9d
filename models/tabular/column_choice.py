"""Which columns of a feature matrix to keep where a learner cannot take them all."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

# The information is estimated from neighbours, of no more rows than this.
ROWS = 3000


def most_informative(
    matrix: np.ndarray,
    categorical: Collection[int],
    labels: np.ndarray,
    count: int,
    *,
    is_classification: bool,
) -> list[int]:
    """Positions, in ascending order, of the columns that tell most about the training labels.

    By mutual information, each column on its own (Kraskov, Stögbauer & Grassberger, "Estimating
    mutual information", Physical Review E, 2004), on at most 3,000 rows. Numbers are compared by
    rank, for which the information is the same and outliers are no neighbours of nothing; a gap is
    a value of its own.

    Args:
        matrix: Training rows, float32, shape (rows, columns); gaps are NaN.
        categorical: Positions of columns that hold codes.
        labels: Encoded labels, shape (rows,).
        count: How many columns to keep.
        is_classification: Whether the labels are classes.
    """
    columns = matrix.shape[1]
    if count >= columns:
        return list(range(columns))
    rows = np.random.default_rng(0).permutation(len(matrix))[:ROWS]
    values, is_discrete = matrix[rows].astype(np.float64), np.isin(range(columns), [*categorical])
    gaps = np.isnan(values)
    values = np.where(
        gaps, -1.0, _ranks(values) * ~is_discrete + np.nan_to_num(values) * is_discrete
    )
    measure = mutual_info_classif if is_classification else mutual_info_regression
    found = measure(values, labels[rows], discrete_features=is_discrete, random_state=0)
    return sorted(np.argsort(-found, kind="stable")[:count].tolist())


def _ranks(values: np.ndarray) -> np.ndarray:
    """Average ranks down each column, scaled to 0..1; gaps are ranked last."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(np.nan_to_num(values, nan=np.inf), axis=0) / len(values))
