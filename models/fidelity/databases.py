"""Databases as the report reads them: a schema with all types, and a Parquet file a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from models.database.relbench_import import identifier, load_dataset, read_relbench
from models.database.schema import RelationalSchema, SemanticType, Table
from models.database.semantic_types import complete_schema
from models.synthetic.database import SyntheticDatabase
from models.synthetic.relational_schema import relational_schema, write_tables

LEARNED = (
    SemanticType.NUMERICAL,
    SemanticType.BOOLEAN,
    SemanticType.CATEGORICAL,
    SemanticType.TIMESTAMP,
)
"""Types of the columns that are compared and learned from; texts and names are not."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database to look at.

    Attributes:
        name: Its name in the report.
        schema: Its schema, every column with its semantic type.
        tables: A Parquet file by table.
    """

    name: str
    schema: RelationalSchema
    tables: Mapping[str, Path]


def real_database(folder: Path) -> Database:
    """The database in a RelBench v3 folder, with its tasks; types are inferred from all rows.

    Raises:
        DeclarationError: The folder holds no such database, or its manifests are faulty.
    """
    dataset = load_dataset(str(folder))
    tables = {identifier(raw): dataset.db_dir / f"{raw}.parquet" for raw in dataset.manifest.tables}
    schema = complete_schema(read_relbench(str(folder)).schema, tables, as_of=None)
    return Database(schema.title, schema, tables)


def synthetic_database(database: SyntheticDatabase, folder: Path) -> Database:
    """A synthetic database; its tables are written into the folder."""
    schema = relational_schema(database.blueprint)
    return Database(schema.title, schema, write_tables(database, folder))


def sample_rows(path: Path, most: int, generator: np.random.Generator) -> pl.DataFrame:
    """At most so many rows of a table, drawn without replacement, in the order of the file."""
    frame = pl.read_parquet(path)
    if frame.height <= most:
        return frame
    return frame[np.sort(generator.permutation(frame.height)[:most])]


def values_of(frame: pl.DataFrame, schema: RelationalSchema, table: Table) -> pl.DataFrame:
    """The learnable columns of a table's rows, keys aside.

    Returns:
        Numbers and booleans as Float64, times as Float64 days since 1970, categories as String.
    """
    keys = schema.key_columns(table.name)
    found = [
        _value(frame[column.name], column.semantic_type)
        for column in table.columns
        if column.semantic_type in LEARNED and column.name not in keys
    ]
    return pl.DataFrame(found)


def times_of(frame: pl.DataFrame, table: Table) -> pl.Series | None:
    """The event times of a table's rows, Datetime in microseconds; None where it has none."""
    return _times(frame[table.time_column]) if table.time_column else None


def span_of(database: Database) -> tuple[datetime, datetime] | None:
    """The first and the last event of a database; None where it has none."""
    found: list[datetime] = []
    for table in database.schema.tables:
        if table.time_column:
            frame = pl.read_parquet(database.tables[table.name], columns=[table.time_column])
            times = times_of(frame, table)
            assert times is not None
            found += [at for at in (times.min(), times.max()) if isinstance(at, datetime)]
    return (min(found), max(found)) if found else None


def _value(values: pl.Series, kind: SemanticType | None) -> pl.Series:
    if kind == SemanticType.CATEGORICAL:
        return values.cast(pl.String)
    if kind == SemanticType.TIMESTAMP:
        return _times(values).cast(pl.Int64).cast(pl.Float64) / 86_400e6
    return values.cast(pl.Float64, strict=False).fill_nan(None)


def _times(values: pl.Series) -> pl.Series:
    if values.dtype == pl.String:
        return values.str.to_datetime(time_unit="us", strict=False)
    return values.cast(pl.Datetime("us"))
