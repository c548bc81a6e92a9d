"""Our features against featuretools' own values of them, and where the two differ on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import featuretools as ft
import pandas as pd
import polars as pl

from models.aggregation.compilation import is_of_seed
from models.aggregation.engine import compute_features
from models.aggregation.features import Feature
from models.aggregation.primitives import AGGREGATES, TRANSFORMS
from models.database.schema import RelationalSchema, SemanticType
from models.dfs.featuretools_entity_set import entity_set
from models.dfs.featuretools_exchange import to_featuretools

# featuretools has no n-grams, and no calendar of the cutoff itself.
PRIMITIVES = tuple(name for name in (*AGGREGATES, *TRANSFORMS) if name != "ngram_hash")
RELATIVE, ABSOLUTE = 1e-7, 1e-9
# How many of featuretools' units of a slope there are in a day.
UNITS = (1, 24, 24 * 60, 24 * 3600)


@dataclass(frozen=True)
class Difference:
    """A deliberate difference: which features it is about, and whether a pair of values shows it."""

    reason: str
    concerns: Callable[[Feature], bool]
    explains: Callable[[Any, Any], bool]


def _outermost(*names: str) -> Callable[[Feature], bool]:
    return lambda feature: bool(feature.primitives) and feature.primitives[0] in names


def _of_a_parent(feature: Feature) -> bool:
    return len(feature.path) > 1 and feature.path[0].forward


def _is_close(ours: Any, theirs: Any) -> bool:
    return math.isclose(ours, theirs, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _other_unit(ours: Any, theirs: Any) -> bool:
    both = ours is not None and theirs is not None
    # Times are doubles there, which costs digits.
    return both and any(
        math.isclose(ours, theirs * unit, rel_tol=1e-4, abs_tol=1e-4) for unit in UNITS
    )


# All of them; docs/features.md tells users the same.
DIFFERENCES = (
    Difference(
        "COUNT, SUM and NUM_TRUE of a missing or invisible parent are 0 there, NULL here",
        lambda feature: _of_a_parent(feature) and _outermost("count", "sum", "num_true")(feature),
        lambda ours, theirs: ours is None and theirs == 0,
    ),
    Difference(
        "TREND is per day, hour, minute or second there, as the first time suggests; per day here",
        lambda feature: "trend" in feature.primitives,
        _other_unit,
    ),
    Difference(
        "N_MOST_COMMON takes values that are equally frequent as they come there, sorted here",
        _outermost("n_most_common"),
        lambda ours, theirs: ours is not None and theirs is not None,
    ),
    Difference(
        "IS_WEEKEND of a missing time is False there, NULL here, so that ALL, LAST, FIRST differ too",
        lambda feature: feature.transform == "is_weekend",
        lambda ours, theirs: ours is not False and theirs is False,
    ),
)


def assert_parity(
    schema: RelationalSchema,
    features: Sequence[Feature],
    frames: dict[str, pl.DataFrame],
    files: dict[str, Path],
    seeds: pl.DataFrame,
    entity_table: str,
) -> set[str]:
    """Every value is featuretools', or differs on purpose; the names of features with some value."""
    features = [feature for feature in features if not is_of_seed(feature)]
    ours = compute_features(schema, features, files, seeds, entity_table=entity_table)
    entities = entity_set(schema, frames)
    ids = pl.col("entity").cast(pl.String)
    times = seeds.select(instance_id=ids, time="cutoff_time").to_pandas()
    theirs = ft.calculate_feature_matrix(
        to_featuretools(features, schema, entities),
        entities,
        cutoff_time=times,
        cutoff_time_in_index=True,
    ).loc[list(times.itertuples(index=False, name=None))]
    spoken = set()
    for feature in features:
        found = ours[feature.name].to_list()
        expected = [_plain(feature, value) for value in theirs[feature.name].astype(object)]
        if any(found):
            spoken.add(feature.name)
        for seed, (mine, other) in enumerate(zip(found, expected, strict=True)):
            assert agree(feature, mine, other), (
                f"{feature.name} at {seeds.row(seed)}: {mine!r}, there {other!r}"
            )
    _assert_same_choices(features, ours, theirs)
    return spoken


def _assert_same_choices(
    features: Sequence[Feature], ours: pl.DataFrame, theirs: pd.DataFrame
) -> None:
    """Of up to three different values N_MOST_COMMON gives all, in whatever order."""
    wholes: dict[Feature, list[Feature]] = {}
    for feature in features:
        if feature.primitives[:1] == ("n_most_common",):
            wholes.setdefault(replace(feature, name="", component=None), []).append(feature)
    for parts in wholes.values():
        names = [part.name for part in parts]
        rows = theirs[names].astype(object).itertuples(index=False, name=None)
        for found, row in zip(ours.select(names).rows(), rows, strict=True):
            if None in found:
                expected = [_plain(part, value) for part, value in zip(parts, row, strict=True)]
                assert set(found) == set(expected), names[0]


def agree(feature: Feature, ours: Any, theirs: Any) -> bool:
    """Whether two values are the same, or differ on purpose."""
    if isinstance(ours, float) and isinstance(theirs, float) and _is_close(ours, theirs):
        return True
    return (type(ours) is type(theirs) and ours == theirs) or any(
        difference.concerns(feature) and difference.explains(ours, theirs)
        for difference in DIFFERENCES
    )


def _plain(feature: Feature, value: Any) -> Any:
    """featuretools' value as we give it."""
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    if feature.semantic_type is SemanticType.NUMERICAL:
        return float(value)
    if feature.semantic_type is SemanticType.BOOLEAN:
        return bool(value)
    return str(int(value)) if isinstance(value, (int, float)) else str(value)
