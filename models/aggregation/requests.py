"""From features to requests: which readings and conditions they need, and which they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from models.aggregation.accumulators import Request, Value
from models.aggregation.features import Feature
from models.aggregation.reading import Reading


def request_of(
    alias: str,
    feature: Feature,
    value: Value | None,
    conditions: Sequence[Reading],
    primitive: str,
    level: int = 0,
) -> Request:
    """The request for a feature's aggregate over rows with these values and conditions."""
    where = None
    if feature.where is not None and feature.where.level == level:
        where = f"w{conditions.index(_condition(feature))}"
    component = feature.component if primitive == "n_most_common" else None
    return Request(alias, primitive, value, where, component)


def distinct_readings(readings: Iterator[Reading | None]) -> list[Reading]:
    """The readings that there are, each once."""
    return list(dict.fromkeys(reading for reading in readings if reading is not None))


def conditions_of(features: Mapping[str, Feature], level: int) -> list[Reading]:
    """The conditions on the rows of a level, each once."""
    return list(
        dict.fromkeys(
            _condition(feature)
            for feature in features.values()
            if feature.where is not None and feature.where.level == level
        )
    )


def _condition(feature: Feature) -> Reading:
    assert feature.where is not None, feature
    return Reading((), feature.where.column, None, equals=feature.where.value)
