"""Feature definitions by the dozen: all that a path allows, whatever the enumeration would keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from models.aggregation.features import Condition, Feature, output_type
from models.aggregation.paths import Hop, Path, end_of, enumerate_paths
from models.aggregation.primitives import AGGREGATES, TRANSFORMS
from models.aggregation.windows import PAST, Window, following, trailing
from models.database.schema import Column, RelationalSchema, SemanticType, Table
from tests.models.aggregation.brute_force import as_text
from tests.models.aggregation.random_databases import MICROSECOND, WINDOW, RandomDatabase, databases

S = SemanticType
VALUES = (S.NUMERICAL, S.CATEGORICAL, S.BOOLEAN)
# Those whose states merge.
OVER_SIBLINGS = (
    "count", "sum", "mean", "min", "max", "std", "variance", "skew", "percent_true", "num_true",
    "any", "all", "time_since_last", "time_since_first", "avg_time_between",
)  # fmt: skip
LOOKBACKS = (WINDOW, 4 * WINDOW, MICROSECOND)
# A column, the transform of its values, what that is read as, and the component.
Input = tuple[str | None, str | None, SemanticType | None, int | None]


def features_along(schema: RelationalSchema, table: str, path: Path) -> Iterator[Feature]:
    """Every feature of a path whose primitives go together by the types they read and give."""
    end = schema.table(end_of(table, path))
    backward = [hop.target for hop in path if not hop.forward]
    if not backward:
        yield from _direct(table, path, end)
        return
    timed = [schema.table(name).time_column is not None for name in backward]
    for primitives in _stacks(timed):
        for read in _inputs_of(primitives[-1], end, path):
            yield _feature(table, path, read, primitives)
        if primitives[-1] == "num_unique":
            for key in schema.parents(end.name):
                yield _feature(table, path, (key.columns[0], None, None, None), primitives)


def _direct(table: str, path: Path, end: Table) -> Iterator[Feature]:
    for column in _columns(end):
        if column.semantic_type in VALUES:
            assert column.semantic_type is not None
            yield Feature("", table, path, column.name, (), column.semantic_type)
        for transform in TRANSFORMS.values():
            if column.semantic_type in transform.inputs:
                for component in _components(transform.components):
                    feature = Feature("", table, path, column.name, (), transform.output)
                    yield replace(feature, transform=transform.name, component=component)


def _columns(table: Table) -> list[Column]:
    """The columns with values: not those of keys."""
    return [column for column in table.columns if column.semantic_type is not None]


def _inputs_of(primitive: str, end: Table, path: Path) -> Iterator[Input]:
    """What an aggregate may read at the end of a path."""
    kinds = AGGREGATES[primitive].inputs
    if kinds:
        yield from (read for read in _inputs(end) if read[2] in kinds)
    elif not path[-1].forward:
        of_time = AGGREGATES[primitive].of_time
        yield end.time_column if of_time else None, None, None, None


def _inputs(table: Table) -> Iterator[Input]:
    """What aggregates may read, and as which type."""
    for column in _columns(table):
        yield column.name, None, column.semantic_type, None
        for transform in TRANSFORMS.values():
            if column.semantic_type in transform.inputs:
                for kind in transform.read_as:
                    for component in _components(transform.components)[:2]:
                        yield column.name, transform.name, kind, component


def _components(count: int) -> list[int | None]:
    return [None] if count == 1 else list(range(count))


def _feature(table: str, path: Path, read: Input, primitives: tuple[str, ...]) -> Feature:
    column, transform, kind, component = read
    if AGGREGATES[primitives[-1]].components > 1 or AGGREGATES[primitives[0]].components > 1:
        component = len(column or "") % 3
    output = output_type(primitives, transform, kind or S.NUMERICAL)
    return Feature(
        "", table, path, column, primitives, output, transform=transform, component=component
    )


def _stacks(timed: Sequence[bool]) -> list[tuple[str, ...]]:
    """Stacks of aggregates, outermost first: what is inside gives what is outside can read."""
    stacks: list[tuple[str, ...]] = [(name,) for name in AGGREGATES if _allowed(name, timed[-1])]
    for level in reversed(timed[:-1]):
        stacks = [
            (outer, *stack)
            for stack in stacks
            for outer in AGGREGATES
            if outer in AGGREGATES[stack[0]].nests_under and _allowed(outer, level)
        ]
    return stacks


def _allowed(name: str, timed: bool) -> bool:
    return timed or not AGGREGATES[name].of_time


def numbered(features: Sequence[Feature]) -> tuple[Feature, ...]:
    """The features with names that tell which they are, each once."""
    unique = list(dict.fromkeys(features))
    return tuple(replace(feature, name=f"{n} {label(feature)}") for n, feature in enumerate(unique))


def label(feature: Feature) -> str:
    """A feature in short, for messages."""
    where = feature.where
    parts = [
        "/".join(feature.primitives),
        f"{feature.transform or ''}({feature.column})",
        feature.description,
        str(feature.window) or "past",
        f"where [{where.level}] {where.column}={where.value}" if where else "",
        f"[{feature.component}]" if feature.component is not None else "",
        f"lookback {feature.lookback}" if feature.lookback else "",
    ]
    return " ".join(filter(None, parts))


@st.composite
def random_paths(
    draw: st.DrawFn, database: RandomDatabase, depth: int, at_most: int = 2
) -> list[Path]:
    """Some paths of the database of at most that depth, mostly as long as that."""
    paths = enumerate_paths(database.schema, database.entity_table, depth)
    long = [path for path in paths if len(path) == depth]
    chosen = draw(
        st.lists(st.sampled_from(long or paths), min_size=1, max_size=at_most, unique=True)
    )
    return list(dict.fromkeys([*chosen, draw(st.sampled_from(paths))]))


@st.composite
def some(draw: st.DrawFn, features: Sequence[Feature], at_most: int) -> list[Feature]:
    """Up to so many of the features: a random stretch, so that it shrinks to the first ones."""
    start = draw(st.integers(0, max(len(features) - at_most, 0)))
    # Primitives come in blocks; a stride gives some of each.
    stride = max(len(features) // at_most, 1)
    return [
        features[(start + n * stride) % len(features)] for n in range(min(at_most, len(features)))
    ]


def windowed(
    schema: RelationalSchema, features: Sequence[Feature], window: Window
) -> list[Feature]:
    """The features over a window, where their outermost rows have times."""
    found = []
    for feature in features:
        first = next((hop for hop in feature.path if not hop.forward), None)
        if first is not None and schema.table(first.target).time_column is not None:
            found.append(replace(feature, window=window))
    return found


@dataclass(frozen=True)
class Case:
    """A database and features of it; its text is short enough to be read."""

    database: RandomDatabase
    features: list[Feature]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What hypothesis prints of a failure; the assertion names the feature."""
        entity = self.database.entity_table
        printer.text(f"{len(self.features)} features of {entity!r} of\n{self.database}")


@st.composite
def cases(draw: st.DrawFn, depth: int, at_most: int = 40) -> Case:
    """A random database and features of some of its paths."""
    database = draw(databases())
    features: list[Feature] = []
    for path in draw(random_paths(database, depth)):
        along = list(features_along(database.schema, database.entity_table, path))
        features += draw(some(along, at_most))
    return Case(database, features)


def targets(case: Case, window: Window) -> list[Feature]:
    """The features that may have a window into the future: those with one aggregate."""
    simple = [feature for feature in case.features if len(feature.primitives) == 1]
    return windowed(case.database.schema, simple, window)


@st.composite
def conditioned_cases(draw: st.DrawFn, depth: int, at_most: int = 20) -> Case:
    """A random database and features under conditions."""
    case = draw(cases(depth, at_most))
    found = []
    for feature in case.features:
        choices = _conditions(case.database, feature.path)
        if choices:
            found.append(replace(feature, where=draw(st.sampled_from(choices))))
    return replace(case, features=found)


def _conditions(database: RandomDatabase, path: Path) -> list[Condition]:
    """Conditions on the rows of each step to children: some that rows fulfil, and one that none does."""
    found = []
    levels = [hop.target for hop in path if not hop.forward]
    for level, name in enumerate(levels):
        for column in database.schema.table(name).columns:
            if column.semantic_type in (S.CATEGORICAL, S.BOOLEAN):
                values = [row[column.name] for row in database.rows[name]]
                texts = dict.fromkeys(as_text(value) for value in values if value is not None)
                found += [Condition(column.name, text, level) for text in [*texts][:2]]
                found.append(Condition(column.name, "none such", level))
    return found


@st.composite
def sibling_cases(draw: st.DrawFn, at_most: int = 40) -> Case:
    """Aggregates over sibling rows, in the past and in the next window, some under conditions."""
    database = draw(databases())
    paths = _sibling_paths(database.schema, database.entity_table)
    found: list[Feature] = []
    assume(paths)
    for path in draw(st.lists(st.sampled_from(paths), min_size=1, max_size=2, unique=True)):
        end = database.schema.table(path[-1].target)
        features = [
            _feature(database.entity_table, path, read, (name,))
            for name in OVER_SIBLINGS
            for read in _inputs_of(name, end, path)
        ]
        choices = [condition for condition in _conditions(database, path) if condition.level == 1]
        for feature in draw(some(features, at_most)):
            found.append(
                replace(
                    feature,
                    lookback=draw(st.sampled_from(LOOKBACKS)),
                    window=draw(st.sampled_from([following(WINDOW), trailing(WINDOW), PAST])),
                    where=draw(st.sampled_from([None, *choices])),
                )
            )
    return Case(database, found)


def _sibling_paths(schema: RelationalSchema, table: str) -> list[Path]:
    """Paths to children, to a parent of theirs (even back), to its children, to their parents."""
    siblings = [
        (Hop(down, False), Hop(up, True), Hop(back, False))
        for down in schema.children(table)
        for up in schema.parents(down.table)
        for back in schema.children(up.parent)
        if schema.table(down.table).time_column and schema.table(back.table).time_column
    ]
    further = [
        (*path, Hop(key, True))
        for path in siblings
        for key in schema.parents(path[-1].target)
        if key != path[-1].foreign_key
    ]
    return [*siblings, *further]
