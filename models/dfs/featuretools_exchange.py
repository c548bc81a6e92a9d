"""Feature definitions from and for featuretools (https://featuretools.alteryx.com, 1.31).

What both know: columns, parents, one aggregate per step towards children, transforms of columns,
conditions that a column equals a value, trailing windows of the outermost aggregate. A window of
featuretools includes a row exactly at its beginning, one of ours does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.aggregation import paths
from models.aggregation.features import Condition, Feature
from models.aggregation.primitives import AGGREGATES, SEED_FEATURES, TRANSFORMS
from models.aggregation.windows import PAST, ZERO, Window, trailing
from models.database.schema import ForeignKey, RelationalSchema
from models.dfs.definition import define
from models.dfs.featuretools_entity_set import key_name

if TYPE_CHECKING:
    from featuretools import EntitySet
    from featuretools.feature_base import FeatureBase

_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds",
          "ms": "milliseconds"}  # fmt: skip


class _UnsupportedError(ValueError):
    """Why one feature has no counterpart."""


def from_featuretools(
    definitions: Sequence[FeatureBase] | str | Path, schema: RelationalSchema
) -> tuple[Feature, ...]:
    """The featuretools features as ours, under the names that they have there.

    Args:
        definitions: The features, or what `featuretools.load_features` reads: the JSON text or the
            file of `save_features`. A feature with several outputs gives one feature for each.
        schema: The database that they are about; tables, keys and columns are found by name.

    Raises:
        ValueError: Features have no counterpart; lists the name of each and the reason.
    """
    import featuretools

    if isinstance(definitions, (str, Path)):
        loaded = featuretools.load_features(str(definitions))
    else:
        loaded = list(definitions)
    found: list[Feature] = []
    refused = []
    for definition in loaded:
        try:
            found += _imported(definition, schema)
        except (ValueError, KeyError) as reason:
            refused.append(f"{definition.get_name()}: {reason.args[0]}")
    _raise(refused, len(loaded), "featuretools features have no counterpart here")
    return tuple(found)


def to_featuretools(
    features: Sequence[Feature], schema: RelationalSchema, entity_set: EntitySet
) -> list[FeatureBase]:
    """Our features as featuretools', under the same names.

    featuretools only computes all components of a feature at once: they come as one feature, in the
    place of the first that is asked for, with the names of those asked for.

    Args:
        features: The features.
        schema: The database that they are about.
        entity_set: The database there, as `featuretools_entity_set.entity_set` makes it.

    Raises:
        ValueError: Features have no counterpart; lists the name of each and the reason.
    """
    wholes: dict[Feature, dict[int | None, str]] = {}
    for feature in features:
        whole = replace(feature, name="", component=None) if _is_whole(feature) else feature
        wholes.setdefault(whole, {})[feature.component] = feature.name
    exporter = _Exporter(schema, entity_set)
    found, refused = [], []
    for whole, names in wholes.items():
        try:
            found.append(_named(exporter.build(whole), names))
        except ValueError as reason:
            refused += [f"{name}: {reason.args[0]}" for name in names.values()]
    _raise(refused, len(features), "features have no counterpart in featuretools")
    return found


def _raise(refused: Sequence[str], total: int, what: str) -> None:
    if refused:
        raise ValueError(f"{len(refused)} of {total} {what}:\n" + "\n".join(refused))


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a featuretools feature is made of, so far."""

    path: paths.Path = ()
    column: str | None = None
    primitives: tuple[str, ...] = ()
    transform: str | None = None
    window: Window = PAST
    where: Condition | None = None
    component: int | None = None


def _imported(definition: FeatureBase, schema: RelationalSchema) -> Iterator[Feature]:
    parts = _parts(definition, schema)
    names = definition.get_feature_names()
    for position, name in enumerate(names):
        yield define(
            schema,
            definition.dataframe_name,
            parts.path,
            parts.column,
            parts.primitives,
            transform=parts.transform,
            window=parts.window,
            where=parts.where,
            component=position if len(names) > 1 else parts.component,
            name=name,
        )


def _parts(definition: FeatureBase, schema: RelationalSchema) -> _Parts:
    from featuretools.feature_base import feature_base as kinds

    if isinstance(definition, kinds.FeatureOutputSlice):
        return replace(_parts(definition.base_feature, schema), component=definition.n)
    if isinstance(definition, kinds.IdentityFeature):
        return _Parts(column=definition.column_name)
    if isinstance(definition, kinds.DirectFeature):
        inner = _parts(definition.base_features[0], schema)
        return replace(inner, path=(_hop(definition, schema), *inner.path))
    if type(definition) is kinds.TransformFeature:
        return _of_transform(definition, schema)
    if type(definition) is kinds.AggregationFeature:
        return _of_aggregation(definition, schema)
    raise _UnsupportedError(f"{type(definition).__name__} is a kind of feature not known here")


def _hop(definition: FeatureBase, schema: RelationalSchema) -> paths.Hop:
    steps = list(definition.relationship_path)
    if len(steps) != 1:
        raise _UnsupportedError(
            f"it aggregates over {len(steps)} steps at once; here every step has its own aggregate"
        )
    forward, relationship = steps[0]
    ends = (
        relationship._child_dataframe_name,
        relationship._child_column_name,
        relationship._parent_dataframe_name,
    )
    for key in schema.foreign_keys:
        if (key.table, key_name(key.columns), key.parent) == ends:
            return paths.Hop(key, forward)
    raise _UnsupportedError("the schema has no foreign key {}.{} -> {}".format(*ends))


def _of_transform(definition: FeatureBase, schema: RelationalSchema) -> _Parts:
    name = _primitive_name(definition, TRANSFORMS)
    if len(definition.base_features) != 1:
        raise _UnsupportedError(f"{name.upper()} reads several values")
    inner = _parts(definition.base_features[0], schema)
    if inner.primitives or inner.transform:
        what = (inner.primitives or (inner.transform,))[0]
        raise _UnsupportedError(
            f"{name.upper()} of {str(what).upper()}: transforms read columns only"
        )
    return replace(inner, transform=name)


def _of_aggregation(definition: FeatureBase, schema: RelationalSchema) -> _Parts:
    name, hop = _primitive_name(definition, AGGREGATES), _hop(definition, schema)
    aggregate, time = AGGREGATES[name], schema.table(hop.target).time_column
    bases = [_parts(base, schema) for base in definition.base_features]
    if aggregate.of_time and bases[-1] != _Parts(column=time):
        raise _UnsupportedError(f"{name.upper()} reads another time than {hop.target}.{time}")
    inner = bases[0] if aggregate.inputs else _Parts()
    if inner.window != PAST:
        raise _UnsupportedError("an inner aggregate has a window; only the outermost may have one")
    where = inner.where and replace(inner.where, level=inner.where.level + 1)
    if definition.where is not None:
        if where is not None:
            raise _UnsupportedError("it has two conditions")
        where = _condition(definition.where, schema)
    return replace(
        inner,
        path=(hop, *inner.path),
        primitives=(name, *inner.primitives),
        window=_window(definition.use_previous),
        where=where,
    )


def _primitive_name(definition: FeatureBase, known: Iterable[str]) -> str:
    """The primitive's name, if it is featuretools' own with its default settings."""
    from featuretools.primitives import utils

    primitive = definition.primitive
    standard = {**utils.get_aggregation_primitives(), **utils.get_transform_primitives()}
    if type(primitive) is not standard.get(primitive.name) or primitive.name not in known:
        raise _UnsupportedError(f"primitive {primitive.name!r} is not known here")
    if primitive.get_arguments():
        said = ", ".join(f"{name}={value!r}" for name, value in primitive.get_arguments())
        raise _UnsupportedError(f"{primitive.name.upper()} has settings of its own: {said}")
    return str(primitive.name)


def _condition(where: FeatureBase, schema: RelationalSchema) -> Condition:
    if where.primitive.name != "equal_scalar":
        raise _UnsupportedError(
            f"its condition ({where.get_name()}) is not that a column equals a value"
        )
    inner = _parts(where.base_features[0], schema)
    if inner.path or inner.primitives or inner.transform or inner.column is None:
        raise _UnsupportedError(
            f"its condition ({where.get_name()}) is not on a column of the rows"
        )
    value = getattr(where.primitive.value, "item", lambda: where.primitive.value)()
    if isinstance(value, bool):
        return Condition(inner.column, str(value).lower())
    if not isinstance(value, (str, int, float)) or value != value:
        raise _UnsupportedError(f"its condition compares with {value!r}")
    return Condition(inner.column, str(value))


def _window(use_previous: Any) -> Window:
    if use_previous is None:
        return PAST
    wrong = set(use_previous.times) - set(_UNITS)
    if wrong:
        raise _UnsupportedError(f"its window ({use_previous.get_name()}) has no fixed length")
    lengths: Mapping[str, float] = use_previous.times
    return trailing(timedelta(**{_UNITS[unit]: value for unit, value in lengths.items()}))


def _is_whole(feature: Feature) -> bool:
    """Whether featuretools computes the feature together with its other components.

    Not so where an inner aggregate gives the components: an outer one reads one of them.
    """
    if feature.primitives:
        return AGGREGATES[feature.primitives[0]].components > 1
    return feature.transform is not None and TRANSFORMS[feature.transform].components > 1


def _named(built: FeatureBase, names: Mapping[int | None, str]) -> FeatureBase:
    """The feature under our name, or with our names of its outputs."""
    if built.number_output_features == 1:
        (name,) = names.values()
        return built if built.get_name() == name else built.rename(name)
    own = built.get_feature_names()
    built.set_feature_names([names.get(position, name) for position, name in enumerate(own)])
    return built


class _Exporter:
    """Builds featuretools features of an entity set."""

    def __init__(self, schema: RelationalSchema, entities: EntitySet) -> None:
        self._schema, self._entities = schema, entities

    def build(self, feature: Feature) -> FeatureBase:
        """The feature under featuretools' name."""
        if feature.transform == "ngram_hash":
            raise _UnsupportedError("featuretools has no NGRAM_HASH")
        if not feature.path and (feature.column, feature.transform) in SEED_FEATURES:
            raise _UnsupportedError("featuretools has no features of the cutoff time itself")
        if feature.lookback is not None:
            raise _UnsupportedError("featuretools has no lookback")
        if feature.window != PAST and (
            feature.window.after is None or feature.window.until != ZERO
        ):
            raise _UnsupportedError(f"featuretools has no window {str(feature.window)!r}")
        try:
            return self._at(feature, feature.table, feature.path, 0)
        except (AssertionError, KeyError) as fault:
            reason = fault.args[0] if fault.args else "a type does not fit"
            raise _UnsupportedError(f"the entity set does not allow it: {reason}") from fault

    def _at(self, feature: Feature, table: str, path: paths.Path, level: int) -> FeatureBase:
        """The feature after the path's steps up to a table, `level` of them towards children."""
        from featuretools.feature_base import feature_base as kinds

        if not path:
            return self._value(feature, table)
        hop = path[0]
        if hop.forward:
            base = self._at(feature, hop.target, path[1:], level)
            return kinds.DirectFeature(base, table, self._relationship(hop.foreign_key))
        return self._aggregated(feature, table, path, level)

    def _value(self, feature: Feature, table: str) -> FeatureBase:
        from featuretools.feature_base.feature_base import TransformFeature
        from featuretools.primitives import utils

        base = self._column(table, feature.column)
        if feature.transform is None:
            return base
        return TransformFeature(base, utils.get_transform_primitives()[feature.transform])

    def _aggregated(
        self, feature: Feature, table: str, path: paths.Path, level: int
    ) -> FeatureBase:
        from featuretools.entityset.relationship import RelationshipPath
        from featuretools.entityset.timedelta import Timedelta
        from featuretools.feature_base.feature_base import AggregationFeature
        from featuretools.primitives import utils

        hop, name = path[0], feature.primitives[level]
        rows = self._schema.table(hop.target)
        bases = []
        if AGGREGATES[name].inputs:
            base = self._at(feature, hop.target, path[1:], level + 1)
            several = base.number_output_features > 1
            bases.append(base[feature.component] if several else base)
        if AGGREGATES[name].of_time:
            bases.append(self._column(rows.name, rows.time_column))
        length = feature.window.length if level == 0 else None
        where = feature.where if feature.where and feature.where.level == level else None
        return AggregationFeature(
            bases or [self._column(rows.name, self._entities[rows.name].ww.index)],
            parent_dataframe_name=table,
            relationship_path=RelationshipPath([(False, self._relationship(hop.foreign_key))]),
            primitive=utils.get_aggregation_primitives()[name],
            use_previous=length and Timedelta(length / timedelta(seconds=1), "s"),
            where=where and self._condition(rows.name, where),
        )

    def _column(self, table: str, column: str | None) -> FeatureBase:
        from featuretools.feature_base.feature_base import IdentityFeature

        return IdentityFeature(self._entities[table].ww[column])

    def _relationship(self, key: ForeignKey) -> Any:
        ends = (key.table, key_name(key.columns), key.parent)
        for found in self._entities.relationships:
            names = (
                found._child_dataframe_name,
                found._child_column_name,
                found._parent_dataframe_name,
            )
            if names == ends:
                return found
        raise _UnsupportedError(f"the entity set has no relationship {key}")

    def _condition(self, table: str, where: Condition) -> FeatureBase:
        """That the column has the value, which featuretools compares in the column's own type."""
        from pandas.api import types

        series = self._entities[table].ww[where.column]
        kind = getattr(series.dtype, "categories", series).dtype
        value: Any = where.value
        if types.is_bool_dtype(kind):
            value = where.value == "true"
        elif types.is_numeric_dtype(kind):
            value = int(value) if types.is_integer_dtype(kind) else float(value)
        return self._column(table, where.column) == value
