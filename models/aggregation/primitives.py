"""The aggregation and transform primitives: what they read, what they give, what they nest over.

Names and semantics are featuretools' (https://featuretools.alteryx.com, 1.31), as measured in the
project's notes: an aggregate of no rows is NULL except COUNT and SUM (0); COUNT counts rows, the
others ignore NULLs; PERCENT_TRUE divides by rows, NULLs included; STD is the sample statistic;
MODE takes the smallest of tied values; LAST is the last row's value even when that is NULL.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.database.schema import SemanticType

NUMERICAL = SemanticType.NUMERICAL
CATEGORICAL = SemanticType.CATEGORICAL
BOOLEAN = SemanticType.BOOLEAN
TIMESTAMP = SemanticType.TIMESTAMP


@dataclass(frozen=True, slots=True)
class Primitive:
    """An aggregate over rows.

    `inputs` are the semantic types of columns it reads (empty: it reads rows, not a column).
    `output` is the type of the result, None when it is that of the input. `nests_under` are the
    aggregates that may be taken over its results at the next level up.
    """

    name: str
    inputs: tuple[SemanticType, ...]
    output: SemanticType | None
    nests_under: tuple[str, ...] = ()


# What is nested is kept small: extremes of extremes, spread and centre of centres, totals of totals.
_PRIMITIVES = (
    Primitive("count", (), NUMERICAL, ("mean", "sum", "max", "std")),
    Primitive("mean", (NUMERICAL,), NUMERICAL, ("mean", "max", "std")),
    Primitive("sum", (NUMERICAL,), NUMERICAL, ("mean", "sum", "max", "std")),
    Primitive("max", (NUMERICAL,), NUMERICAL, ("mean", "max")),
    Primitive("min", (NUMERICAL,), NUMERICAL, ("mean", "min")),
    Primitive("std", (NUMERICAL,), NUMERICAL, ("mean", "max")),
    Primitive("mode", (CATEGORICAL,), CATEGORICAL, ("mode",)),
    Primitive("percent_true", (BOOLEAN,), NUMERICAL, ("mean", "max")),
    Primitive("num_unique", (CATEGORICAL,), NUMERICAL, ("mean", "max")),
    Primitive("last", (NUMERICAL, CATEGORICAL, BOOLEAN), None),
    Primitive("time_since_last", (), NUMERICAL),
)
AGGREGATES = {primitive.name: primitive for primitive in _PRIMITIVES}

# Transforms: seconds from a timestamp to the cutoff; calendar parts of the cutoff itself.
TRANSFORMS = ("age", "month", "weekday")

DEFAULT_PRIMITIVES = (*AGGREGATES, *TRANSFORMS)
