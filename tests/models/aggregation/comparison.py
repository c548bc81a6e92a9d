"""Computed features against brute force, and how exact each must be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from models.aggregation.engine import compute_features
from models.aggregation.features import Feature
from models.aggregation.paths import end_of
from tests.models.aggregation.brute_force import Database, Seed, feature_value
from tests.models.aggregation.random_databases import RandomDatabase, seed_frame

PRECISION = 1e-9
# Sums of powers of differences from a value of the history: where values (or times) of a window lie
# closer to each other than this share of the history, what is left of the digits is not compared.
RESOLUTION = 1e-4
OF_DIFFERENCES = ("std", "variance", "skew", "trend")
# Fractions are kept to 2^-60, and a microsecond is 1.2e-11 days.
SLOPE_UNIT = 1e-6


def compute(
    database: RandomDatabase,
    features: Sequence[Feature],
    folder: Path,
    seeds: Sequence[Seed] | None = None,
    **options: Any,
) -> pl.DataFrame:
    """The features at the database's seeds, from files in a new folder."""
    return compute_features(
        database.schema,
        features,
        database.store(folder),
        seed_frame(database.seeds if seeds is None else seeds),
        entity_table=database.entity_table,
        **options,
    )


def assert_equals_brute_force(
    database: RandomDatabase, features: Sequence[Feature], folder: Path, **options: Any
) -> None:
    """Every value is that of brute force."""
    found = compute(database, features, folder, **options)
    slow = Database(database.schema, database.rows)
    for feature in features:
        spread = _spread(database, feature)
        for seed, value in zip(database.seeds, found[feature.name].to_list(), strict=True):
            expected = feature_value(slow, feature, seed)
            same = is_close(feature, value, expected, spread)
            assert same, f"{feature.name} at {seed}: {value!r}, by brute force {expected!r}"


def is_close(feature: Feature, value: Any, expected: Any, spread: float) -> bool:
    """Whether two values are the same: to the bit, or to what is asked of numbers.

    `spread` is the distance between the least and the greatest value that the feature reads.
    """
    if not (isinstance(value, float) and isinstance(expected, float)):
        return type(value) is type(expected) and value == expected
    if math.isclose(value, expected, rel_tol=PRECISION, abs_tol=PRECISION):
        return True
    if not set(feature.primitives) & set(OF_DIFFERENCES):
        return False
    if "variance" in feature.primitives:
        value, expected = math.sqrt(value), math.sqrt(expected)
    if "trend" in feature.primitives and abs(value - expected) < SLOPE_UNIT:
        return True
    if "trend" in feature.primitives or "skew" in feature.primitives:
        return spread > 1 / RESOLUTION or max(abs(value), abs(expected)) > 1 / RESOLUTION
    return abs(value - expected) <= RESOLUTION**2 * spread


def _spread(database: RandomDatabase, feature: Feature) -> float:
    rows = database.rows[end_of(feature.table, feature.path)]
    values = [row[feature.column] for row in rows] if feature.column else []
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    usable = [number for number in numbers if abs(number) < 1e30]
    return max(usable) - min(usable) if usable else 0.0
