"""From features and seeds to one query of values, and the explanation of that for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from models.aggregation.combining import Plan
from models.aggregation.evaluation import Evaluator, kind_of
from models.aggregation.features import Feature
from models.aggregation.flat import check_flat
from models.aggregation.primitives import AGGREGATES, SEED_FEATURES, TRANSFORMS, VISIBLE_COLUMN
from models.aggregation.reading import TRANSFORM_SQL
from models.aggregation.relations import Contexts
from models.aggregation.session import Recorder, Session
from models.aggregation.sql import (
    all_of,
    call,
    cast,
    col,
    epoch,
    named,
    number,
    render,
    row_number,
    table,
)
from models.aggregation.value_counts import BY_VALUE
from models.aggregation.windows import PAST
from models.database.schema import RelationalSchema, SemanticType

SEEDS = "seeds"
_SQL_TYPES = {SemanticType.NUMERICAL: "DOUBLE", SemanticType.BOOLEAN: "BOOLEAN"}
_ELAPSED = ("time_since", "age", "time_since_last", "time_since_first")
_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a feature is computed: the walked path, what it costs, the SQL statements in order."""

    name: str
    path: str
    cost: str
    sql: str


def explain(
    schema: RelationalSchema,
    features: Sequence[Feature],
    entity_table: str,
    dialect: str = "duckdb",
) -> list[Explanation]:
    """How each feature would be computed, without data: the general plan, as SQL of a dialect.

    With data the compiler may take a cheaper plan that gives the same result.

    Args:
        schema: The database.
        features: Features of the entity table.
        entity_table: The table that seeds refer to.
        dialect: Any that sqlglot knows.
    """
    explanations = []
    for feature in features:
        recorder = Recorder(schema)
        statement = compile_query(recorder, schema, entity_table, {"f0": feature}, None)
        statements = [*recorder.statements, statement]
        sql = ";\n\n".join(render(part, dialect, pretty=True) for part in statements)
        explanations.append(Explanation(feature.name, feature.description, cost_of(feature), sql))
    return explanations


def cost_of(feature: Feature) -> str:
    """The cost class of a feature, in words; n events and m contexts of one entity."""
    backward = [hop for hop in feature.path if not hop.forward]
    if not backward:
        return "look-up: one row a seed"
    if kind_of(feature) == "flat":
        return "near-linear: states per sibling group, then of each window"
    kinds = []
    if kind_of(feature) == "nested" or len(feature.primitives) > 1:
        kinds.append("children's features once each, and again at cutoffs before they are final")
    if feature.primitives[0] in BY_VALUE and (
        feature.window != PAST or feature.primitives[0] == "n_most_common"
    ):
        kinds.append("counts by value: range join, n x m")
    else:
        kinds.append("near-linear: (n + m) log, or a range join where n x m is less")
    return "; ".join(kinds)


def compile_query(
    session: Session,
    schema: RelationalSchema,
    entity_table: str,
    features: Mapping[str, Feature],
    plan: Plan | None,
    seeds: str = SEEDS,
    distinct: bool = True,
) -> exp.Select:
    """Create the tables that the features need; the query of their values per seed.

    `seeds` has the columns row_id, entity, cutoff_time and visible_until; where several of
    one entity see the same rows (`distinct`), these are evaluated once.
    """
    until = epoch(cast(col("visible_until"), "TIMESTAMP"))
    pairs = exp.select(named(col("entity"), "k0"), named(until, "visible"))
    if distinct:
        number_of_row: exp.Expression = row_number()
        pairs = pairs.distinct()
    else:
        number_of_row = col("row_id")
        pairs = pairs.select(col("row_id"), copy=False)
    pairs = pairs.from_(table(seeds), copy=False)
    rows = exp.select(named(number_of_row, "ctx"), col("k0"), col("visible"))
    rows = rows.from_(pairs.subquery("pairs", copy=False), copy=False)
    contexts = Contexts(session.create(rows, "contexts"), 1)
    stored = {alias: feature for alias, feature in features.items() if not is_of_seed(feature)}
    query = exp.select(col("row_id", "s"))
    query = query.select(
        *(_output(alias, feature) for alias, feature in features.items()), copy=False
    )
    query = query.from_(table(seeds, "s"), copy=False)
    if stored:
        found = Evaluator(session, schema, plan).evaluate(entity_table, stored, contexts)
        of_seed = col("row_id", "s")
        if distinct:
            of_seed = col("ctx", "c")
            query = _with_contexts(query, contexts)
        on = of_seed.eq(col("ctx", "f"))
        query = query.join(table(found, "f"), on=on, join_type="left", copy=False)
    return query.order_by(col("row_id", "s"), copy=False)


def _with_contexts(query: exp.Select, contexts: Contexts) -> exp.Select:
    """The seeds' query with the context of each."""
    same = [
        col("entity", "s").eq(col("k0", "c")),
        epoch(cast(col("visible_until", "s"), "TIMESTAMP")).eq(col("visible", "c")),
    ]
    return query.join(table(contexts.name, "c"), on=all_of(same), join_type="left", copy=False)


def is_of_seed(feature: Feature) -> bool:
    """Whether the feature says something of the seed itself: no row has to be read for it."""
    return not feature.path and (feature.column, feature.transform) in SEED_FEATURES


def _output(alias: str, feature: Feature) -> exp.Expression:
    """A feature's column of the result."""
    cutoff = col("cutoff_time", "s")
    value: exp.Expression = col(alias, "f")
    if is_of_seed(feature) and not feature.is_elapsed:
        value = TRANSFORM_SQL[feature.transform](cutoff)
    elif feature.is_elapsed:
        if is_of_seed(feature):
            value = epoch(cast(col(VISIBLE_COLUMN, "s"), "TIMESTAMP"))
        elapsed = exp.paren(epoch(cutoff) - value)
        if feature.primitive == "age":
            days = call("FLOOR", cast(elapsed, "DOUBLE") / number(_DAY))
            value = cast(days, "DOUBLE") / number(365)
        else:
            value = cast(elapsed, "DOUBLE") / number(1_000_000)
    return named(cast(value, _SQL_TYPES.get(feature.semantic_type, "VARCHAR")), alias)


def check_features(
    schema: RelationalSchema,
    features: Sequence[Feature],
    entity_table: str,
    allow_future: bool,
) -> None:
    """Whether the features can be computed for an entity table.

    Raises:
        ValueError: The entity table's key isn't one column, a feature belongs to another table or
            sees the future without leave, names clash, or a combination isn't possible.
    """
    if len(schema.table(entity_table).primary_key) != 1:
        raise ValueError(f"entity table {entity_table!r} must have a primary key of one column")
    foreign = {feature.table for feature in features} - {entity_table}
    if foreign:
        raise ValueError(f"features of {sorted(foreign)} among those of {entity_table!r}")
    if len({feature.name for feature in features}) != len(features):
        raise ValueError("feature names must be unique")
    for feature in features:
        _check(feature, allow_future)


def _check(feature: Feature, allow_future: bool) -> None:
    name = feature.name or feature.description
    if not feature.window.is_past and not allow_future:
        raise ValueError(
            f"{name} reads rows after the cutoff ({feature.window}): that is a target, no feature"
        )
    unknown = set(feature.primitives) - set(AGGREGATES)
    if feature.transform is not None and feature.transform not in TRANSFORMS:
        unknown.add(feature.transform)
    if unknown:
        known = (*AGGREGATES, *TRANSFORMS)
        raise ValueError(f"{name}: unknown primitives {sorted(unknown)}; known: {known}")
    if feature.lookback is not None:
        check_flat(feature)
        return
    if len(feature.primitives) != sum(not hop.forward for hop in feature.path):
        raise ValueError(f"{name} needs one aggregate for each step towards children")
    if set(feature.primitives[1:]) & set(_ELAPSED) or (
        feature.primitives and feature.transform in ("time_since", "age")
    ):
        raise ValueError(
            f"{name}: times up to the cutoff can't be aggregated again; aggregate the time "
            "column's calendar parts, or take TIME_SINCE_LAST of the outermost rows"
        )
    if len(feature.primitives) > 1 and not feature.window.is_past:
        raise ValueError(f"{name}: nested aggregates have no future window; use a lookback")
