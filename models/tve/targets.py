"""Which targets a schema offers for an entity table: (path, horizon, kind, column) by rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from itertools import zip_longest
from typing import Any

from models.aggregation.features import Condition, Feature, feature_name, output_type
from models.aggregation.windows import Window, following, trailing
from models.database.schema import Column, RelationalSchema, SemanticType
from models.tve.paths import PathKind, TargetPath, readable
from models.tve.tables import Indicator
from models.tve.vocabulary import Vocabulary


class Kind(StrEnum):
    """What a target says of the rows of its window.

    ANY: whether there are any. COUNT: how many. SUM, MEAN, MIN, MAX, STD: of a number. SHARE: of
    rows where a truth value is true. CATEGORY: of rows with that category. DISTINCT: how many
    categories. NEXT: the time until the first row, at most the window's length.
    """

    ANY = "any"
    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    STD = "std"
    SHARE = "share"
    CATEGORY = "category"
    DISTINCT = "distinct"
    NEXT = "time_to_next"


_PRIMITIVES = {
    Kind.SUM: "sum",
    Kind.MEAN: "mean",
    Kind.MIN: "min",
    Kind.MAX: "max",
    Kind.STD: "std",
    Kind.SHARE: "percent_true",
}
_KINDS = {
    SemanticType.NUMERICAL: (Kind.SUM, Kind.MEAN, Kind.MIN, Kind.MAX, Kind.STD),
    SemanticType.BOOLEAN: (Kind.SHARE,),
}


@dataclass(frozen=True, slots=True)
class Target:
    """One component of a task vector: a function of features over the next window.

    `reads` are the names of the features: one, but for CATEGORY the count of rows and that of the
    category `value`, or where `value` is None, which stands for all other values and missing ones,
    those of every category that has a target. DISTINCT of siblings, which is how many of those
    categories occur, reads the same counts. Targets of one `group` (path, horizon and kind; for
    CATEGORY also column) share a term of the loss.
    """

    name: str
    group: str
    kind: Kind
    path: str
    column: str | None
    value: str | None
    horizon: int
    reads: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form; `target_from_plain` reads it."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def target_from_plain(plain: Mapping[str, Any]) -> Target:
    """The target whose `to_plain` this is; other entries are left aside."""
    values = {name: plain[name] for name in Target.__dataclass_fields__}
    return Target(**{**values, "kind": Kind(plain["kind"]), "reads": tuple(plain["reads"])})


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class Enumeration:
    """The targets and what they need: features by horizon, and indicator columns of parents."""

    targets: tuple[Target, ...]
    features: Mapping[int, tuple[Feature, ...]]
    indicators: tuple[Indicator, ...] = ()


@dataclass(slots=True)
class _Bundle:
    """Targets that come together or not at all: those of one path and column at all horizons."""

    targets: list[Target] = field(default_factory=list)
    features: list[tuple[int, Feature]] = field(default_factory=list)
    indicators: list[Indicator] = field(default_factory=list)


def enumerate_targets(
    schema: RelationalSchema,
    entity_table: str,
    paths: Sequence[TargetPath],
    horizons: Sequence[int],
    tile: timedelta,
    lookback: timedelta,
    vocabulary: Vocabulary,
    max_targets: int,
) -> Enumeration:
    """The targets of an entity table in a fixed order: by path, column, horizon and kind.

    Args:
        schema: The schema with semantic types and event times (`with_inherited`).
        entity_table: The table that the targets describe.
        paths: `target_paths` of the same schema.
        horizons: Lengths of the next windows, in tiles.
        tile: The length of a tile.
        lookback: How far siblings may lie before their event.
        vocabulary: The categories that are counted one by one (`frequent_values`).
        max_targets: The budget: the rows of every path come first, then the paths' columns take
            turns, paths to events before the others. A column's targets are never split.
    """
    builders = [
        _PathTargets(schema, entity_table, path, horizons, tile, lookback, vocabulary)
        for path in paths
    ]
    by_path = [[builder.of_rows(), *builder.of_columns()] for builder in builders]
    kept, left = set(), max_targets
    for bundle in (bundle for turn in zip_longest(*by_path) for bundle in turn if bundle):
        if len(bundle.targets) <= left:
            left -= len(bundle.targets)
            kept.add(id(bundle))
    chosen = [bundle for bundles in by_path for bundle in bundles if id(bundle) in kept]
    return _merged(chosen, horizons)


def _merged(bundles: Iterable[_Bundle], horizons: Sequence[int]) -> Enumeration:
    targets: list[Target] = []
    features: dict[int, dict[str, Feature]] = {horizon: {} for horizon in horizons}
    indicators: dict[Indicator, None] = {}
    for bundle in bundles:
        targets += bundle.targets
        indicators |= dict.fromkeys(bundle.indicators)
        for horizon, feature in bundle.features:
            features[horizon][feature.name] = feature
    by_horizon = {horizon: tuple(named.values()) for horizon, named in features.items()}
    return Enumeration(tuple(targets), by_horizon, tuple(indicators))


@dataclass(frozen=True, slots=True)
class _PathTargets:
    """Makes the targets of one path."""

    schema: RelationalSchema
    entity_table: str
    path: TargetPath
    horizons: Sequence[int]
    tile: timedelta
    lookback: timedelta
    vocabulary: Vocabulary

    def of_rows(self) -> _Bundle:
        """Any, count and time to the next of the rows themselves; parents have no rows of their own."""
        bundle = _Bundle()
        for horizon in self.horizons if self.path.kind is not PathKind.PARENT else ():
            count = self._feature(bundle, horizon, "count", None)
            if self.path.kind is PathKind.EVENT:
                time = self.schema.table(self.path.table).time_column
                first = self._feature(bundle, horizon, "time_since_first", time)
                self._add(bundle, horizon, Kind.ANY, None, (count,))
                self._add(bundle, horizon, Kind.COUNT, None, (count,))
                self._add(bundle, horizon, Kind.NEXT, None, (first,))
            else:
                self._add(bundle, horizon, Kind.COUNT, None, (count,))
        return bundle

    def of_columns(self) -> Iterator[_Bundle]:
        """A bundle for each readable column at the end of the path."""
        for column in readable(self.schema, self.path.table):
            bundle = _Bundle()
            for horizon in self.horizons:
                for kind in _KINDS.get(column.semantic_type or SemanticType.TEXT, ()):
                    name = self._feature(bundle, horizon, _PRIMITIVES[kind], column)
                    self._add(bundle, horizon, kind, column.name, (name,))
                if column.semantic_type is SemanticType.CATEGORICAL:
                    self._categories(bundle, horizon, column)
            yield bundle

    def _categories(self, bundle: _Bundle, horizon: int, column: Column) -> None:
        """How many categories, and the distribution over the vocabulary and the rest."""
        values = self.vocabulary.get((self.path.table, column.name), ())
        if not values:
            return
        # A parent has as many rows as there are events.
        events = replace(self, path=TargetPath(PathKind.EVENT, self.path.hops[:1]))
        rows = self if self.path.kind is not PathKind.PARENT else events
        total = rows._feature(bundle, horizon, "count", None)
        counts = [self._count_of(bundle, horizon, column, value) for value in values]
        # Distinct values do not add up over siblings; those of the vocabulary are told by its counts.
        distinct = (total, *counts)
        if self.path.kind is not PathKind.SIBLING:
            distinct = (self._feature(bundle, horizon, "num_unique", column),)
        self._add(bundle, horizon, Kind.DISTINCT, column.name, distinct)
        for value, count in zip(values, counts, strict=True):
            self._add(bundle, horizon, Kind.CATEGORY, column.name, (total, count), value)
        self._add(bundle, horizon, Kind.CATEGORY, column.name, (total, *counts))

    def _count_of(self, bundle: _Bundle, horizon: int, column: Column, value: str) -> str:
        """The feature that counts a category."""
        if self.path.kind is PathKind.PARENT:
            indicator = Indicator(self.path.table, column.name, value)
            bundle.indicators.append(indicator)
            read = Column(indicator.name, "BOOLEAN", SemanticType.BOOLEAN)
            return self._feature(bundle, horizon, "num_true", read)
        level = 1 if self.path.kind is PathKind.SIBLING else 0
        where = Condition(column.name, value, level)
        return self._feature(bundle, horizon, "count", None, where)

    def _feature(
        self,
        bundle: _Bundle,
        horizon: int,
        primitive: str,
        column: Column | str | None,
        where: Condition | None = None,
    ) -> str:
        """Adds a feature over the next window and returns its name."""
        feature = path_feature(
            self.schema,
            self.entity_table,
            self.path,
            primitive,
            column.name if isinstance(column, Column) else column,
            column.semantic_type if isinstance(column, Column) else None,
            following(horizon * self.tile),
            self.lookback,
            where,
        )
        bundle.features.append((horizon, feature))
        return feature.name

    def _add(
        self,
        bundle: _Bundle,
        horizon: int,
        kind: Kind,
        column: str | None,
        reads: tuple[str, ...],
        value: str | None = None,
    ) -> None:
        labels = self.path.labels(self.schema)
        of_column = labels if column is None else f"{labels}.{column}"
        what = of_column if value is None else f"{of_column} = {value}"
        if kind is Kind.CATEGORY and value is None:
            what = f"{of_column} OTHER"
        window = str(following(horizon * self.tile))
        if self.path.kind is PathKind.SIBLING:
            window += f", lookback {trailing(self.lookback)}"
        grouped = of_column if kind is Kind.CATEGORY else labels
        bundle.targets.append(
            Target(
                name=f"{kind}({what}, {window})",
                group=f"{kind}({grouped}, {window})",
                kind=kind,
                path=labels,
                column=column,
                value=value,
                horizon=horizon,
                reads=reads,
            )
        )


def path_feature(
    schema: RelationalSchema,
    entity_table: str,
    path: TargetPath,
    primitive: str,
    column: str | None,
    read: SemanticType | None,
    window: Window,
    lookback: timedelta,
    where: Condition | None = None,
) -> Feature:
    """One aggregate over the rows at the end of a path, named; siblings get the lookback.

    `read` is the semantic type of the column, None where rows are aggregated.
    """
    kind = output_type((primitive,), None, read or SemanticType.NUMERICAL)
    feature = Feature(
        name="",
        table=entity_table,
        path=path.hops,
        column=column,
        primitives=(primitive,),
        semantic_type=kind,
        window=window,
        where=where,
        lookback=lookback if path.kind is PathKind.SIBLING else None,
    )
    return replace(feature, name=feature_name(schema, feature))
