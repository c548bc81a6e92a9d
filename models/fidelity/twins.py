"""Synthetic databases with the tables, columns and proportions of a given one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from models.database.schema import SemanticType
from models.fidelity.databases import Database, span_of, synthetic_database
from models.synthetic.database import Generator
from models.synthetic.generator import generate
from models.synthetic.schema_layout import ColumnChoice, SchemaLayout, TableChoice

MOST_ROWS = 40_000
FEWEST_ROWS = 200
MOST_CATEGORIES = 50


def twin(database: Database, generator: Generator, seed: int, folder: Path) -> Database:
    """A synthetic database like a given one.

    It has its tables, keys, columns and categories, its span of time, the shares of its keys that
    are missing, and its rows: a table has at most `MOST_ROWS`, and where one of them has more, all
    that have more than `FEWEST_ROWS` are smaller by the same factor. Keys, times and values are the
    generator's.

    Args:
        database: The database to imitate.
        generator: Whose second and third stage make the rows and values.
        seed: What they are made from.
        folder: Receives the tables.

    Raises:
        SchemaError: No database can be made for the schema.
    """
    heights = {name: _height(path) for name, path in database.tables.items()}
    factor = min(1.0, MOST_ROWS / max(heights.values()))
    rows = {
        name: TableChoice(rows=max(round(height * factor), min(height, FEWEST_ROWS), 1))
        for name, height in heights.items()
    }
    layout = SchemaLayout.from_schema(
        database.schema,
        tables=rows,
        columns={**dict(_categories(database)), **dict(_missing_keys(database))},
        span=span_of(database),
    )
    return synthetic_database(generate(replace(generator, layout=layout), seed), folder)


def _height(path: Path) -> int:
    return int(pl.scan_parquet(path).select(pl.len()).collect().item())


def _categories(database: Database) -> Iterator[tuple[tuple[str, str], ColumnChoice]]:
    for table in database.schema.tables:
        keys = database.schema.key_columns(table.name)
        for column in table.columns:
            if column.semantic_type == SemanticType.CATEGORICAL and column.name not in keys:
                values = pl.read_parquet(database.tables[table.name], columns=[column.name])
                counts = values.cast(pl.String).drop_nulls().group_by(column.name).len("rows")
                ordered = counts.sort(["rows", column.name], descending=[True, False])
                names = ordered[column.name].head(MOST_CATEGORIES).to_list()
                if len(names) > 1:
                    yield (table.name, column.name), ColumnChoice(categories=tuple(names))


def _missing_keys(database: Database) -> Iterator[tuple[tuple[str, str], ColumnChoice]]:
    for key in database.schema.foreign_keys:
        values = pl.read_parquet(database.tables[key.table], columns=list(key.columns))
        share = values[key.columns[0]].null_count() / max(values.height, 1)
        if 0 < share < 1:
            yield (key.table, key.columns[0]), ColumnChoice(null_share=share)
