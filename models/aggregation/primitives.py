"""The aggregation and transform primitives: what they read, what they give, what they nest over.

Names and semantics are featuretools' (https://featuretools.alteryx.com, 1.31). An aggregate of no
rows is NULL, except COUNT, SUM and NUM_TRUE (0). COUNT counts rows, the others ignore NULLs, but:
PERCENT_TRUE divides by rows; ENTROPY takes NULL for a category; LAST and FIRST give the value of
the last and first row even when that is NULL. STD and VARIANCE are sample statistics, SKEW is the
bias-corrected one; MODE and N_MOST_COMMON break ties by the smaller value; ENTROPY is in nats,
times are in seconds, TREND is a slope per day. `docs/features.md` lists the differences.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.database.schema import SemanticType

NUMERICAL = SemanticType.NUMERICAL
CATEGORICAL = SemanticType.CATEGORICAL
BOOLEAN = SemanticType.BOOLEAN
TIMESTAMP = SemanticType.TIMESTAMP
TEXT = SemanticType.TEXT


@dataclass(frozen=True, slots=True)
class Primitive:
    """An aggregate over rows.

    `inputs` are the semantic types of columns it reads (empty: it reads rows, not a column).
    `output` is the type of the result, None when it is that of the input. `nests_under` are the
    aggregates that the enumeration takes over its results at the next level up. `components` is
    the number of values it gives, one feature each. `of_time` says that it reads the event time.
    """

    name: str
    inputs: tuple[SemanticType, ...]
    output: SemanticType | None
    nests_under: tuple[str, ...] = ()
    components: int = 1
    of_time: bool = False


# What is nested is kept small: extremes of extremes, spread and centre of centres, totals of totals.
_AGGREGATES = (
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
    Primitive("time_since_last", (), NUMERICAL, of_time=True),
    Primitive("skew", (NUMERICAL,), NUMERICAL),
    Primitive("variance", (NUMERICAL,), NUMERICAL),
    Primitive("trend", (NUMERICAL,), NUMERICAL, of_time=True),
    Primitive("first", (NUMERICAL, CATEGORICAL, BOOLEAN), None),
    Primitive("time_since_first", (), NUMERICAL, of_time=True),
    Primitive("avg_time_between", (), NUMERICAL, of_time=True),
    Primitive("entropy", (CATEGORICAL,), NUMERICAL),
    Primitive("n_most_common", (CATEGORICAL,), CATEGORICAL, components=3),
    Primitive("num_true", (BOOLEAN,), NUMERICAL),
    Primitive("any", (BOOLEAN,), BOOLEAN),
    Primitive("all", (BOOLEAN,), BOOLEAN),
)
AGGREGATES = {primitive.name: primitive for primitive in _AGGREGATES}


@dataclass(frozen=True, slots=True)
class Transform:
    """A function of one value of a row.

    `inputs` are the semantic types it reads, `output` what a feature of the row itself is, `read_as`
    the types as which aggregates may read it. `at_cutoff` says that it depends on the cutoff time
    too, so that no aggregate may read it. `components` is the number of values it gives.
    """

    name: str
    inputs: tuple[SemanticType, ...]
    output: SemanticType
    read_as: tuple[SemanticType, ...] = ()
    at_cutoff: bool = False
    components: int = 1


_TRANSFORMS = (
    Transform("time_since", (TIMESTAMP,), NUMERICAL, at_cutoff=True),
    Transform("age", (TIMESTAMP,), NUMERICAL, at_cutoff=True),
    Transform("weekday", (TIMESTAMP,), NUMERICAL, (CATEGORICAL,)),
    Transform("month", (TIMESTAMP,), NUMERICAL, (CATEGORICAL,)),
    Transform("hour", (TIMESTAMP,), NUMERICAL, (CATEGORICAL,)),
    Transform("day", (TIMESTAMP,), NUMERICAL, (CATEGORICAL,)),
    Transform("year", (TIMESTAMP,), NUMERICAL, (CATEGORICAL,)),
    Transform("is_weekend", (TIMESTAMP,), BOOLEAN, (BOOLEAN,)),
    Transform("num_characters", (TEXT,), NUMERICAL, (NUMERICAL,)),
    Transform("num_words", (TEXT,), NUMERICAL, (NUMERICAL,)),
    Transform("ngram_hash", (TEXT,), NUMERICAL, (NUMERICAL,), components=8),
)
TRANSFORMS = {transform.name: transform for transform in _TRANSFORMS}

# What a seed itself says: its date, and for how long before it nothing is seen (frozen protocol).
CUTOFF_COLUMN, VISIBLE_COLUMN = "cutoff_time", "visible_until"
SEED_FEATURES = (
    (CUTOFF_COLUMN, "month"),
    (CUTOFF_COLUMN, "weekday"),
    (VISIBLE_COLUMN, "time_since"),
)

DEFAULT_PRIMITIVES = (
    "count", "mean", "sum", "max", "min", "std", "mode", "percent_true", "num_unique", "last",
    "time_since_last", "time_since", "month", "weekday", "num_characters", "num_words",
)  # fmt: skip
