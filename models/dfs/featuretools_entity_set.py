"""A database as a featuretools EntitySet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from models.database.schema import RelationalSchema, SemanticType, Table

if TYPE_CHECKING:
    import pandas as pd
    from featuretools import EntitySet

Frames = Mapping[str, Path | pl.DataFrame]

# No key contains it, so that joined keys differ where the keys do.
_SEPARATOR = "\x1f"
_LOGICAL = {
    SemanticType.NUMERICAL: "Double",
    SemanticType.CATEGORICAL: "Categorical",
    SemanticType.BOOLEAN: "BooleanNullable",
    SemanticType.TIMESTAMP: "Datetime",
    SemanticType.TEXT: "NaturalLanguage",
    SemanticType.IDENTIFIER: "Unknown",
}


def key_name(columns: tuple[str, ...]) -> str:
    """The entity set's column of a key; the columns of a composite key are joined into one."""
    return ",".join(columns)


def entity_set(schema: RelationalSchema, frames: Frames) -> EntitySet:
    """The database as featuretools sees it.

    Every table with its keys, its event time as time index, and its columns with a semantic type.
    Keys become text, because keys with missing values pass no other way; so the ids of a cutoff
    frame must be text too. Composite keys are joined into one column. All times carry the tag that
    AGE asks for. Rows are sorted by primary key, so that LAST and FIRST of rows with the same time
    mean the same rows as here.

    A table that refers to itself is related to itself: features along that key can be computed, but
    `featuretools.dfs` does not end on such an entity set. A foreign key that is its table's primary
    key too is left out, because featuretools refuses it.

    Args:
        schema: Tables with semantic types.
        frames: The rows of every table, or the Parquet file with them.

    Raises:
        KeyError: A table's rows are missing.
    """
    import featuretools

    found = featuretools.EntitySet(schema.database)
    for table in schema.tables:
        _add_table(found, schema, table, frames[table.name])
    for key in schema.foreign_keys:
        parent = schema.table(key.parent)
        own = schema.table(key.table).primary_key
        if set(key.parent_columns) == set(parent.primary_key) and set(key.columns) != set(own):
            found.add_relationship(
                parent.name, key_name(parent.primary_key), key.table, key_name(key.columns)
            )
    return found


def _add_table(
    found: EntitySet, schema: RelationalSchema, table: Table, rows: Path | pl.DataFrame
) -> None:
    from woodwork import logical_types

    frame = rows if isinstance(rows, pl.DataFrame) else pl.read_parquet(rows)
    keys = _key_expressions(schema, table)
    columns = {
        column.name: column.semantic_type
        for column in table.columns
        if column.semantic_type is not None and column.name not in keys
    }
    if table.time_column is not None:
        columns.setdefault(table.time_column, SemanticType.TIMESTAMP)
        columns[table.time_column] = SemanticType.TIMESTAMP
    frame = frame.sort(table.primary_key) if table.primary_key else frame
    values = [_value(frame, name, kind) for name, kind in columns.items()]
    frame = frame.select(*(key.alias(name) for name, key in keys.items()), *values)
    logical: dict[str, Any] = {
        name: getattr(logical_types, _LOGICAL[kind]) for name, kind in columns.items()
    }
    logical |= dict.fromkeys(keys, logical_types.Categorical)
    times = [name for name, kind in columns.items() if kind is SemanticType.TIMESTAMP]
    found.add_dataframe(
        _to_pandas(frame),
        table.name,
        index=key_name(table.primary_key) if table.primary_key else f"row of {table.name}",
        make_index=not table.primary_key,
        time_index=table.time_column,
        logical_types=logical,
        semantic_tags=dict.fromkeys(times, "date_of_birth"),
    )


def _key_expressions(schema: RelationalSchema, table: Table) -> dict[str, pl.Expr]:
    """The table's keys as text, by the entity set's column; a key with a missing part is missing.

    The parts of a foreign key stand in the order of the parent's primary key.
    """
    ordered = {key_name(table.primary_key): table.primary_key} if table.primary_key else {}
    for key in schema.parents(table.name):
        own = dict(zip(key.parent_columns, key.columns, strict=True))
        parent = schema.table(key.parent).primary_key
        if set(own) == set(parent):
            ordered.setdefault(key_name(key.columns), tuple(own[column] for column in parent))
    return {
        name: pl.concat_str(
            [pl.col(column).cast(pl.String) for column in columns], separator=_SEPARATOR
        )
        for name, columns in ordered.items()
    }


def _value(frame: pl.DataFrame, name: str, kind: SemanticType) -> pl.Expr:
    """The column in the type that featuretools wants for the semantic type."""
    if kind is SemanticType.NUMERICAL:
        return pl.col(name).cast(pl.Float64)
    if kind is SemanticType.TIMESTAMP:
        return pl.col(name).cast(pl.Datetime("us"))
    if kind is SemanticType.BOOLEAN and frame.schema[name].is_numeric():
        return pl.col(name).cast(pl.Boolean)
    if kind is SemanticType.BOOLEAN or _is_code(frame, name, kind):
        return pl.col(name)
    return pl.col(name).cast(pl.String)


def _is_code(frame: pl.DataFrame, name: str, kind: SemanticType) -> bool:
    """Whether categories are integers, which keep their order: of equals MODE takes the smallest."""
    return kind is SemanticType.CATEGORICAL and frame.schema[name].is_integer()


def _to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """The frame; integers with missing values stay integers."""
    found = frame.to_pandas()
    integers = [name for name, kind in frame.schema.items() if kind.is_integer()]
    return found.assign(**{name: _nullable(frame[name]) for name in integers})


def _nullable(values: pl.Series) -> pd.Series[Any]:
    import pandas as pd

    missing = values.is_null().to_numpy()
    plain = values.fill_null(0).cast(pl.Int64).to_numpy()
    return pd.Series(pd.arrays.IntegerArray(plain.copy(), missing.copy()))
