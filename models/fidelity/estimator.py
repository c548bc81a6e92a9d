"""How much of a target some columns explain: one small model for all columns of all databases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from models.database.schema import SemanticType
from models.tabular.encoding import FeatureEncoder

ROUNDS = 40
PARAMETERS: dict[str, Any] = {
    "learning_rate": 0.1,
    "num_leaves": 8,
    "max_bin": 63,
    "lambda_l2": 1.0,
    "cat_smooth": 10.0,
    "cat_l2": 10.0,
    "min_data_per_group": 20,
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}
LEAST_IN_LEAF = 20
FEWEST_ROWS = 100
FEWEST_OF_A_CLASS = 10
CLIPPED = 0.01
"""So much of a number's values is clipped on either side: one wild value would be all of an R²."""


@dataclass(frozen=True, slots=True)
class Target:
    """A column to explain.

    Attributes:
        values: Numbers, clipped at their first and last percentile, or 0 and 1; float64 [rows].
        binary: Whether they are 0 and 1.
        halves: The half that each row belongs to, 0 or 1; int64 [rows].
    """

    values: NDArray[np.float64]
    binary: bool
    halves: NDArray[np.int64]


def make_target(
    values: pl.Series, kind: SemanticType, generator: np.random.Generator
) -> Target | None:
    """A column's known values as a target; None where they are too few or too much the same.

    Booleans are 0 and 1, of categories the most frequent is told from all others. Rows are drawn
    into two halves, with as many of each class in both.

    Args:
        values: Without missing ones.
        kind: Numerical, boolean or categorical.
        generator: Draws the halves.
    """
    if values.len() < FEWEST_ROWS:
        return None
    if kind == SemanticType.CATEGORICAL:
        values = values == by_frequency(values)[0]
    found = values.cast(pl.Float64).to_numpy()
    if kind == SemanticType.NUMERICAL:
        found = np.clip(found, *np.quantile(found, [CLIPPED, 1 - CLIPPED]))
        if found.max() == found.min():
            return None
        return Target(found, False, halves_of(np.zeros(found.size), generator))
    if min(found.sum(), (1 - found).sum()) < FEWEST_OF_A_CLASS:
        return None
    return Target(found, True, halves_of(found, generator))


def by_frequency(categories: pl.Series) -> pl.Series:
    """The different values, the most frequent first, equally frequent ones sorted."""
    counts = categories.alias("value").value_counts(name="rows")
    return counts.sort(["rows", "value"], descending=[True, False])["value"]


def halves_of(classes: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Rows in two random halves, 0 and 1, each with as many rows of every class: int64 [rows]."""
    order = np.lexsort((generator.random(classes.size), classes))
    halves = np.empty(classes.size, np.int64)
    halves[order] = np.arange(classes.size) % 2
    return halves


def explained_share(target: Target, columns: pl.DataFrame) -> float:
    """The share of a target that boosted trees over some columns explain, from 0 to 1.

    The model is fitted on one half of the rows and judged on the other, then the other way round;
    the two scores are averaged. A number's score is the squared correlation of value and
    prediction (R² after linear calibration, 0 where the correlation is negative), a boolean's or
    category's the Gini coefficient, 2 AUC - 1, at least 0. Columns that are constant explain 0.

    Args:
        target: What to explain.
        columns: The same rows: Float64 and String, missing values allowed.
    """
    if not columns.width:
        return 0.0
    scores = []
    for held in (0, 1):
        predicted = _predictions(target, columns, held)
        truth = target.values[target.halves == held]
        scores.append(_score(truth, predicted, target.binary))
    return float(np.mean(scores))


def telling_columns(target: Target, columns: pl.DataFrame, most: int) -> tuple[str, ...]:
    """The columns whose splits gain the most, over the models of both halves, the best first."""
    gains = dict.fromkeys(columns.columns, 0.0)
    for held in (0, 1):
        training = target.halves != held
        fitted = fit(columns.filter(training), target.values[training], target.binary)
        if fitted is not None:
            found = fitted[1].feature_importance("gain")
            for name, gain in zip(fitted[0].columns, found, strict=True):
                gains[name] += float(gain)
    best = sorted(gains, key=lambda name: -gains[name])[:most]
    return tuple(name for name in best if gains[name] > 0)


def fit(
    columns: pl.DataFrame, values: NDArray[np.float64], binary: bool, rounds: int = ROUNDS
) -> tuple[FeatureEncoder, lightgbm.Booster] | None:
    """The trees over some columns with their encoder; None where every column is constant."""
    encoder = FeatureEncoder.fit(columns)
    if not encoder.columns:
        return None
    parameters = PARAMETERS | {
        "objective": "binary" if binary else "regression",
        "min_data_in_leaf": max(5, min(LEAST_IN_LEAF, values.size // 20)),
    }
    data = lightgbm.Dataset(
        encoder.transform(columns),
        values,
        categorical_feature=encoder.categorical_columns,
        params=parameters,
    )
    return encoder, lightgbm.train(parameters, data, num_boost_round=rounds)


def _predictions(target: Target, columns: pl.DataFrame, held: int) -> NDArray[np.float64]:
    training = target.halves != held
    fitted = fit(columns.filter(training), target.values[training], target.binary)
    if fitted is None:
        return np.zeros(int((~training).sum()))
    encoder, booster = fitted
    return np.asarray(booster.predict(encoder.transform(columns.filter(~training)), num_threads=1))


def _score(truth: NDArray[np.float64], predicted: NDArray[np.float64], binary: bool) -> float:
    if predicted.max() == predicted.min() or truth.max() == truth.min():
        return 0.0
    if binary:
        return max(0.0, 2 * float(roc_auc_score(truth, predicted)) - 1)
    return max(0.0, float(np.corrcoef(truth, predicted)[0, 1])) ** 2
