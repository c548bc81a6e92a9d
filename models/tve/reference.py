"""The task vectors of the paper, for comparison: one window, dense, unmasked, min-max scaled.

Truong et al. (arXiv 2507.09837), as their published experiments build them: for every path the
mean, minimum, maximum, sum, count and standard deviation of each number, mode, count and number of
distinct values of each category, and one component that says that nothing happens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from models.aggregation.features import Condition, Feature
from models.aggregation.paths import hop_label
from models.aggregation.windows import Window, following
from models.artifacts.recipe import canonical_json, digest
from models.database.schema import Column, RelationalSchema, SemanticType
from models.tve.paths import PathKind, TargetPath, readable
from models.tve.tables import Indicator
from models.tve.targets import path_feature
from models.tve.timeline import TRAIN, Timeline
from models.tve.vocabulary import Vocabulary

LABEL = "label"
# More mode indicators than this are replaced by as many coordinates of a correspondence analysis.
COMPONENTS = 64

_OF_NUMBERS = ("mean", "min", "max", "sum", "count", "std")
_OF_CATEGORIES = ("count", "num_unique", "mode")


@dataclass(frozen=True, slots=True)
class _Aggregate:
    """A column of the vector before scaling.

    It is a feature, or where `values` are given what the counts of these categories tell: the most
    frequent one (of equals the smallest), or how many occur.
    """

    name: str
    path: str
    column: str
    features: tuple[Feature, ...]
    values: tuple[str, ...] = ()

    def number(self, raw: pl.DataFrame) -> np.ndarray[Any, Any]:
        """The number of every row, NaN where there is none."""
        names = [feature.name for feature in self.features]
        if self.values:
            return (raw.select(names).to_numpy() > 0).sum(axis=1).astype(float)
        return raw[names[0]].to_numpy().astype(float)

    def mode(self, raw: pl.DataFrame) -> pl.Series:
        """The category of every row as text, `nan` where there is none."""
        names = [feature.name for feature in self.features]
        if not self.values:
            return raw[names[0]].cast(pl.String).fill_null("nan")
        highest = pl.max_horizontal(names)
        first = pl.coalesce(
            pl.when((pl.col(name) == highest) & (highest > 0)).then(pl.lit(value))
            for value, name in sorted(zip(self.values, names, strict=True))
        )
        return raw.select(first.fill_null("nan").alias(self.name)).to_series()


@dataclass(frozen=True, slots=True)
class ReferenceVectors:
    """Finishes raw aggregates into the vectors of the paper."""

    numbers: tuple[_Aggregate, ...]
    modes: tuple[_Aggregate, ...]
    indicators: tuple[Indicator, ...]

    @property
    def features(self) -> dict[int, tuple[Feature, ...]]:
        """The features, by horizon: that of one tile alone."""
        named = {
            feature.name: feature
            for one in (*self.numbers, *self.modes)
            for feature in one.features
        }
        return {1: tuple(named.values())}

    def finish(
        self, raw: pl.DataFrame, timeline: Timeline
    ) -> tuple[pl.DataFrame, list[dict[str, Any]], Mapping[str, Any]]:
        """The vectors' columns (Float32, none NULL), their definitions, and what they were fitted to.

        Numbers are scaled to [0, 1] by their minimum and maximum over the active training rows,
        modes are one-hot over the values seen there (the missing one among them), and `label` is 1
        for inactive rows, whose other components are all 0. Missing numbers are 0 too.
        """
        active = raw["active"].to_numpy()
        fitted = active & (raw["split"] == TRAIN).to_numpy()
        parts: dict[str, np.ndarray[Any, Any]] = {}
        definitions = []
        for one in self.numbers:
            parts[one.name], low, width = _min_max(one.number(raw), fitted)
            definitions.append(_definition(one, "number", center=low, scale=width))
        shares, kinds = self._mode_columns(raw, fitted)
        parts |= shares
        definitions += kinds
        columns = {
            name: np.where(active, np.nan_to_num(values), 0.0).astype(np.float32)
            for name, values in parts.items()
        }
        columns[LABEL] = (~active).astype(np.float32)
        definitions.append({"name": LABEL, "group": LABEL, "kind": LABEL, "horizon": 1})
        rows = raw.filter(pl.Series(fitted)).select("cutoff_time", "entity").write_csv()
        found = digest(canonical_json([definitions, digest(rows)]))
        return pl.DataFrame(columns), definitions, {"dropped": [], "digest": found}

    def _mode_columns(
        self, raw: pl.DataFrame, fitted: np.ndarray[Any, Any]
    ) -> tuple[dict[str, np.ndarray[Any, Any]], list[dict[str, Any]]]:
        """One-hot modes, or their coordinates where there are more than `COMPONENTS` values."""
        columns: dict[str, np.ndarray[Any, Any]] = {}
        definitions: list[dict[str, Any]] = []
        for one in self.modes:
            modes = one.mode(raw)
            for value in modes.filter(pl.Series(fitted)).unique().sort().to_list():
                name = f"{one.name}_{value}"
                columns[name] = (modes == value).to_numpy().astype(float)
                definitions.append(_definition(one, "mode", name=name, value=value))
        if len(columns) <= COMPONENTS or fitted.sum() < 2:
            return columns, definitions
        coordinates = _correspondence(np.column_stack(list(columns.values())), fitted)
        names = [f"mode_component_{at}" for at in range(coordinates.shape[1])]
        return (
            {name: coordinates[:, at] for at, name in enumerate(names)},
            [{"name": name, "group": "mode", "kind": "component", "horizon": 1} for name in names],
        )


def reference_vectors(
    schema: RelationalSchema,
    entity_table: str,
    paths: Sequence[TargetPath],
    tile: timedelta,
    lookback: timedelta,
    vocabulary: Vocabulary,
) -> ReferenceVectors:
    """The construction for these paths: numbers in path order, then modes, then the label.

    Args:
        schema: The schema with semantic types and event times (`with_inherited`).
        entity_table: The table that the vectors describe.
        paths: `target_paths` of the same schema.
        tile: The length of the one window.
        lookback: How far siblings may lie before their event.
        vocabulary: The categories that modes and distinct values of siblings are taken from.
    """
    numbers: list[_Aggregate] = []
    modes: list[_Aggregate] = []
    indicators: list[Indicator] = []
    for path, label in zip(paths, _path_names(schema, entity_table, paths), strict=True):
        maker = _PathAggregates(schema, entity_table, path, following(tile), lookback)
        again = [hop.target for hop in path.hops if not hop.forward].count(path.table) - 1
        for column in readable(schema, path.table):
            indicators.append(Indicator(path.table, column.name))
            numeric = column.semantic_type is SemanticType.NUMERICAL
            for aggregate in _OF_NUMBERS if numeric else _OF_CATEGORIES:
                name = f"{label}__{aggregate}__{path.table}__{max(again, 0)}__{column.name}"
                values = vocabulary.get((path.table, column.name), ())
                found = maker.aggregate(name, label, column, aggregate, values)
                (modes if aggregate == "mode" else numbers).append(found)
    return ReferenceVectors(tuple(numbers), tuple(modes), tuple(dict.fromkeys(indicators)))


@dataclass(frozen=True, slots=True)
class _PathAggregates:
    """Makes the aggregates of one path."""

    schema: RelationalSchema
    entity_table: str
    path: TargetPath
    window: Window
    lookback: timedelta

    def aggregate(
        self, name: str, label: str, column: Column, aggregate: str, values: tuple[str, ...]
    ) -> _Aggregate:
        """One column of the vector; counts are those of known values."""
        by_category = aggregate in ("mode", "num_unique")
        if by_category and self.path.kind is PathKind.SIBLING:
            # Over siblings only what adds up is computed, such as the count of each category.
            features = tuple(self._count_of(column, value) for value in values)
            return _Aggregate(name, label, column.name, features, values)
        if aggregate == "count":
            known = Indicator(self.path.table, column.name).name
            feature = self._feature("num_true", known, SemanticType.BOOLEAN)
        else:
            # A truth value is a category here.
            read = SemanticType.CATEGORICAL if by_category else column.semantic_type
            feature = self._feature(aggregate, column.name, read)
        return _Aggregate(name, label, column.name, (feature,))

    def _count_of(self, column: Column, value: str) -> Feature:
        return self._feature("count", None, None, Condition(column.name, value, level=1))

    def _feature(
        self,
        primitive: str,
        column: str | None,
        read: SemanticType | None,
        where: Condition | None = None,
    ) -> Feature:
        return path_feature(
            self.schema,
            self.entity_table,
            self.path,
            primitive,
            column,
            read,
            self.window,
            self.lookback,
            where,
        )


def _path_names(
    schema: RelationalSchema, entity_table: str, paths: Sequence[TargetPath]
) -> list[str]:
    """`customers_orders`, `customers_orders_stores`, `customers_orders_orders_0` for siblings."""
    names, siblings = [], dict[str, int]()
    for path in paths:
        labels = [hop_label(schema, hop) for hop in path.hops]
        if path.kind is PathKind.SIBLING:
            stem = "_".join([entity_table, labels[0], path.table])
            siblings[stem] = siblings.get(stem, -1) + 1
            names.append(f"{stem}_{siblings[stem]}")
        else:
            names.append("_".join([entity_table, *labels]))
    return names


def _definition(one: _Aggregate, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "name": one.name,
        "group": f"{kind}({one.path})",
        "kind": kind,
        "path": one.path,
        "column": one.column,
        "value": None,
        "horizon": 1,
        "reads": [feature.name for feature in one.features],
    } | more


def _min_max(
    values: np.ndarray[Any, Any], fitted: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], float, float]:
    """The values scaled to [0, 1] over the known fitted ones, the minimum and the width."""
    known = values[fitted & ~np.isnan(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    width = high - low or 1.0
    return (values - low) / width, low, width


def _correspondence(
    shares: np.ndarray[Any, Any], fitted: np.ndarray[Any, Any], seed: int = 42
) -> np.ndarray[Any, Any]:
    """Row coordinates of a multiple correspondence analysis of one-hot columns.

    Columns are divided by the root of their share and centred, rows divided by their number of
    variables; the singular vectors are found on the fitted rows.
    """
    from sklearn.decomposition import TruncatedSVD

    rows = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1.0)
    mass = rows[fitted].mean(axis=0)
    residuals = (rows - mass) / np.sqrt(np.maximum(mass, 1e-12))
    components = min(COMPONENTS, int(fitted.sum()) - 1, residuals.shape[1] - 1)
    decomposition = TruncatedSVD(components, algorithm="arpack", random_state=seed)
    decomposition.fit(residuals[fitted])
    return np.asarray(decomposition.transform(residuals))
