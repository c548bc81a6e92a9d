"""One hand-written feature: a path in words, and the checks that it makes sense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from models.aggregation.features import Condition, Feature, feature_name, output_type
from models.aggregation.paths import Hop, Path, describe, end_of, hop_label, hops_from
from models.aggregation.primitives import AGGREGATES, SEED_FEATURES, TRANSFORMS
from models.aggregation.types import is_supported
from models.aggregation.windows import PAST, Window
from models.database.schema import RelationalSchema, SemanticType
from models.dfs.config import check_names
from models.dfs.reading import component_count

_ARROWS = {"->": True, "<-": False}


def walk(schema: RelationalSchema, table: str, *steps: str) -> Path:
    """The schema path with these steps, written as in feature names.

    A step is the table it leads to (`orders`), with the key's columns where several keys join the
    two tables (`flights[origin_id]`). An arrow in front says the direction where both are possible:
    `-> staff[boss_id]` to the parent, `<- staff[boss_id]` to the children.

    Raises:
        KeyError: The table isn't in the schema.
        ValueError: No step, or more than one, is meant by the text; lists the possible ones.
    """
    schema.table(table)
    path: Path = ()
    for step in steps:
        here = end_of(table, path)
        arrow, _, label = step.rpartition(" ") if step[:2] in _ARROWS else ("", "", step)
        possible = list(hops_from(schema, here, path[-1] if path else None))
        meant = [
            hop
            for hop in possible
            if _meant(schema, hop, label.strip())
            and (not arrow or hop.forward == _ARROWS[arrow.strip()])
        ]
        if len(meant) != 1:
            said = [("-> " if hop.forward else "<- ") + hop_label(schema, hop) for hop in possible]
            found = "no step" if not meant else f"{len(meant)} steps"
            raise ValueError(
                f"{found} {step!r} from {describe(table, path)!r}; steps there: {', '.join(said)}"
            )
        path = (*path, meant[0])
    return path


def _meant(schema: RelationalSchema, hop: Hop, label: str) -> bool:
    full = f"{hop.target}[{','.join(hop.foreign_key.columns)}]"
    return label in (hop_label(schema, hop), full)


def define(
    schema: RelationalSchema,
    table: str,
    path: Path,
    column: str | None,
    primitives: Sequence[str] = (),
    *,
    transform: str | None = None,
    window: Window = PAST,
    where: Condition | None = None,
    component: int | None = None,
    lookback: timedelta | None = None,
    name: str | None = None,
) -> Feature:
    """A feature of a table's rows, checked against the schema.

    Args:
        schema: Tables with semantic types.
        table: The table whose rows the feature describes.
        path: Steps from it; `walk` makes one.
        column: The column of the path's last table that is read. None for COUNT; aggregates of the
            event time (TIME_SINCE_LAST) find it by themselves. `cutoff_time` with an empty path is
            the cutoff itself, for MONTH and WEEKDAY.
        primitives: One aggregate per step towards children, the outermost first.
        transform: A function of the column's value, applied first.
        window: Of the outermost aggregate's rows.
        where: Condition on the rows of one step towards children.
        component: Which of several values is meant, of a primitive that gives several.
        lookback: Makes the feature a flat aggregate of sibling rows; see `Feature`.
        name: Its name; made from its parts where None.

    Raises:
        KeyError: A table or column isn't in the schema.
        ValueError: What is asked for makes no sense; names the table, the column, its semantic type
            and the types that the primitive reads.
    """
    primitives = tuple(primitives)
    check_names(primitives, tuple(AGGREGATES))
    check_names([transform] if transform else [], tuple(TRANSFORMS))
    _check_path(schema, table, path)
    children = [hop.target for hop in path if not hop.forward]
    _check_levels(table, path, primitives, children, lookback)
    rows = children[-1] if children else ""
    end = schema.table(end_of(table, path))
    kind = SemanticType.NUMERICAL
    if primitives and not AGGREGATES[primitives[-1]].inputs:
        column = _rows_column(schema, path, rows, primitives[-1], column, transform)
    elif column is None:
        what = primitives[-1].upper() if primitives else "a value of the row"
        raise ValueError(f"{what} at {describe(table, path)!r} needs a column of {end.name!r}")
    else:
        kind = _read_type(schema, end.name, column, primitives, transform, not path)
    if "trend" in primitives and schema.table(rows).time_column is None:
        raise ValueError(f"TREND needs an event time, which table {rows!r} does not have")
    _check_nesting(primitives, kind, transform)
    _check_rows(schema, children, window, where)
    _check_component(primitives, transform, component)
    kind = output_type(primitives, transform, kind)
    feature = Feature(
        "", table, path, column, primitives, kind, transform, window, where, component, lookback
    )
    return replace(feature, name=name or feature_name(schema, feature))


def _check_path(schema: RelationalSchema, table: str, path: Path) -> None:
    here = schema.table(table).name
    for hop in path:
        key = hop.foreign_key
        starts = key.table if hop.forward else key.parent
        if key not in schema.foreign_keys or starts != here:
            raise ValueError(f"no step {str(hop)!r} leads from table {here!r}")
        here = hop.target


def _check_levels(
    table: str,
    path: Path,
    primitives: tuple[str, ...],
    children: list[str],
    lookback: timedelta | None,
) -> None:
    where = f"the path {describe(table, path)!r}"
    if lookback is not None:
        if len(children) != 2 or len(primitives) != 1 or lookback <= timedelta(0):
            raise ValueError(
                f"a lookback must be positive and needs two steps towards children and one "
                f"aggregate; {where} has {len(children)}, and there are {len(primitives)}"
            )
    elif len(children) != len(primitives):
        raise ValueError(
            f"{where} has {len(children)} steps towards children, each of which needs one "
            f"aggregate; there are {len(primitives)}: {list(primitives)}"
        )


def _rows_column(
    schema: RelationalSchema,
    path: Path,
    rows: str,
    primitive: str,
    column: str | None,
    transform: str | None,
) -> str | None:
    """What an aggregate of rows reads: nothing, or the event time."""
    name = primitive.upper()
    time = schema.table(rows).time_column if AGGREGATES[primitive].of_time else None
    if path[-1].forward:
        raise ValueError(f"{name} reads rows: its path must end with a step towards children")
    if AGGREGATES[primitive].of_time and time is None:
        raise ValueError(f"{name} needs an event time, which table {rows!r} does not have")
    if transform is not None or column not in (None, time):
        reads = f"the event time {time!r}" if time else "rows, not a column"
        read = f"{transform.upper()}({column})" if transform else repr(column)
        raise ValueError(f"{name} of table {rows!r} reads {reads} (got {read})")
    return time


def _read_type(
    schema: RelationalSchema,
    table: str,
    column: str,
    primitives: tuple[str, ...],
    transform: str | None,
    is_entity: bool,
) -> SemanticType:
    """The column's semantic type, if the transform or else the innermost aggregate reads it."""
    if (column, transform) in SEED_FEATURES and is_entity:
        return SemanticType.TIMESTAMP
    found = schema.table(table).column(column)
    is_time = column == schema.table(table).time_column
    kind = SemanticType.TIMESTAMP if is_time else found.semantic_type
    if transform:
        reader, accepted = transform, TRANSFORMS[transform].inputs
    elif primitives:
        reader, accepted = primitives[-1], AGGREGATES[primitives[-1]].inputs
    else:
        reader, accepted = "a feature without primitives", AGGREGATES["last"].inputs
    references = [key.columns for key in schema.parents(table) if len(key.columns) == 1]
    is_key = primitives[-1:] == ("num_unique",) and (column,) in references
    typed = kind in accepted and (is_time or is_supported(found))
    if not typed and not (is_key and transform is None):
        is_a = f"{kind} ({found.sql_type or 'SQL type unknown'})" if kind else "of no semantic type"
        reader = reader.upper() if transform or primitives else reader
        raise ValueError(
            f"{reader} cannot read column {column!r} of table {table!r}: it is {is_a}; "
            f"{reader} reads {' or '.join(accepted)}"
        )
    return kind or SemanticType.IDENTIFIER


def _check_nesting(primitives: tuple[str, ...], kind: SemanticType, transform: str | None) -> None:
    """That every aggregate accepts what the next inner one, or the transform, gives."""
    if transform and primitives:
        inner, wanted = TRANSFORMS[transform], AGGREGATES[primitives[-1]].inputs
        if inner.at_cutoff:
            raise ValueError(
                f"{transform.upper()} changes with the cutoff time, so no aggregate reads it: use "
                "it without aggregates, or TIME_SINCE_LAST and TIME_SINCE_FIRST of the event time"
            )
        if not set(inner.read_as) & set(wanted):
            raise ValueError(
                f"{primitives[-1].upper()} cannot read {transform.upper()}, which is "
                f"{' or '.join(inner.read_as)}; it reads {' or '.join(wanted)}"
            )
    for level in range(len(primitives) - 1, 0, -1):
        outer, inside = primitives[level - 1], primitives[level]
        given = output_type(primitives[level:], transform, kind)
        wanted = AGGREGATES[outer].inputs
        if inside.startswith("time_since"):
            raise ValueError(
                f"{outer.upper()} of {inside.upper()}: no aggregate reads a time since"
            )
        if outer == "trend" or given not in wanted:
            reads = " or ".join(wanted) or "rows, not values"
            reads = "values of the rows themselves" if outer == "trend" else reads
            raise ValueError(
                f"{outer.upper()} cannot read {inside.upper()}, which is {given}; it reads {reads}"
            )


def _check_rows(
    schema: RelationalSchema, children: list[str], window: Window, where: Condition | None
) -> None:
    if window != PAST:
        if not children:
            raise ValueError(f"a window ({window}) needs a step towards children")
        if schema.table(children[0]).time_column is None:
            raise ValueError(
                f"a window ({window}) needs an event time, which table {children[0]!r} lacks"
            )
    if where is not None:
        if not 0 <= where.level < len(children):
            raise ValueError(
                f"a condition at level {where.level} needs more than the {len(children)} steps "
                "towards children that the path has"
            )
        schema.table(children[where.level]).column(where.column)


def _check_component(
    primitives: tuple[str, ...], transform: str | None, component: int | None
) -> None:
    several = [name for name in primitives if AGGREGATES[name].components > 1]
    several += [transform] if transform and TRANSFORMS[transform].components > 1 else []
    count = component_count(primitives, transform)
    if len(several) > 1:
        raise ValueError(f"{' and '.join(map(str.upper, several))} both give several values")
    if several and (component is None or not 0 <= component < count):
        raise ValueError(f"{several[0].upper()} needs a component from 0 to {count - 1}")
    if not several and component is not None:
        raise ValueError(f"there is one value only, no component {component}")
