"""Small databases whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from models.database.schema import ForeignKey, RelationalSchema, Table
from models.database.semantic_types import complete_schema
from models.fidelity.databases import Database

START = datetime(2020, 1, 1)


def made_database(
    folder: Path,
    frames: Mapping[str, pl.DataFrame],
    keys: Sequence[tuple[str, str, str]] = (),
    times: Mapping[str, str] | None = None,
    name: str = "made",
) -> Database:
    """A database of frames; each has its primary key `<table>_id`. Keys are (child, column, parent)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {table: folder / f"{table}.parquet" for table in frames}
    for table, frame in frames.items():
        frame.write_parquet(paths[table])
    schema = RelationalSchema(
        database=name,
        title=name,
        tables=tuple(
            Table(table, primary_key=(f"{table}_id",), time_column=(times or {}).get(table))
            for table in frames
        ),
        foreign_keys=tuple(
            ForeignKey(child, (column,), parent, (f"{parent}_id",))
            for child, column, parent in keys
        ),
    )
    return Database(name, complete_schema(schema, paths, as_of=None), paths)


def moments(days: np.ndarray) -> pl.Series:
    """Days after the start as times."""
    microseconds = (np.asarray(days, float) * 86_400e6).astype(np.int64)
    start = int((START - datetime(1970, 1, 1)).total_seconds() * 1e6)
    return pl.Series((microseconds + start).tolist(), dtype=pl.Int64).cast(pl.Datetime("us"))
