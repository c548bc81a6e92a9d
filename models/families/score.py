"""Scores a cutoff with a saved bundle, in a process of its own.

    python -m models.families.score BUNDLE TABLES --cutoff 2012-06-01 --output predictions.parquet

TABLES is a folder with one Parquet file per staged table (a RelBench `db/` folder will do).
"""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

import polars as pl

from models.database.schema import RelationalSchema
from models.families.bundle import Bundle, load_bundle


def find_tables(folder: Path, schema: RelationalSchema) -> dict[str, Path]:
    """The Parquet file of each table.

    Raises:
        FileNotFoundError: names every table without a file.
    """
    tables = {name: folder / f"{name}.parquet" for name in schema.table_names}
    missing = [name for name, path in tables.items() if not path.exists()]
    if missing:
        raise FileNotFoundError(f"{folder} has no Parquet file for table {', '.join(missing)}")
    return tables


def visible_entities(bundle: Bundle, tables: dict[str, Path], cutoff: datetime) -> pl.Series:
    """Primary keys of the entity table's rows that exist at the cutoff, in ascending order."""
    table = bundle.schema.table(bundle.task.entity_table)
    rows = pl.scan_parquet(tables[table.name])
    if table.time_column:
        rows = rows.filter(pl.col(table.time_column).cast(pl.Datetime("us")) <= cutoff)
    key = table.primary_key[0]
    return rows.select(pl.col(key).alias("entity")).collect()["entity"].sort()


def main(arguments: list[str] | None = None) -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(description="Score a cutoff with a saved model bundle.")
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("tables", type=Path, help="folder with one Parquet file per table")
    parser.add_argument("--cutoff", type=datetime.fromisoformat, required=True)
    parser.add_argument("--visible-until", type=datetime.fromisoformat, help="frozen protocol")
    parser.add_argument("--entities", type=Path, help="Parquet with a column `entity`")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    bundle = load_bundle(options.bundle)
    tables = find_tables(options.tables, bundle.schema)
    if options.entities:
        entities = pl.read_parquet(options.entities)["entity"]
    else:
        entities = visible_entities(bundle, tables, options.cutoff)
    bundle.score(tables, entities, options.cutoff, options.visible_until).write_parquet(
        options.output
    )


if __name__ == "__main__":
    main()
