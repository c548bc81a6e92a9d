"""A synthetic database as a source of raw tables: made in memory, from its declared options."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path

import polars as pl

from models.artifacts.recipe import code_version, digest
from models.database.dbt_folder import identifier
from models.database.schema import RelationalSchema, SourceDeclaration
from models.synthetic.generator import generate
from models.synthetic.options import SyntheticOptions


class SyntheticSource:
    """The tables that the generator makes of a declaration's options.

    Raises:
        DeclarationError: an option is unknown, or has a value that cannot be.
        ValueError: the SQL file of a given schema has faults.
    """

    def __init__(self, source: SourceDeclaration) -> None:
        self._options = SyntheticOptions.from_declared(dict(source.options))
        self._generator = self._options.generator()

    @cached_property
    def _tables(self) -> Mapping[str, pl.DataFrame]:
        return generate(self._generator, self._options.seed).tables

    def columns(self) -> dict[str, list[str]]:
        """Column names of every table."""
        return {name: frame.columns for name, frame in self._tables.items()}

    def fingerprints(self, tables: tuple[str, ...]) -> dict[str, str]:
        """The generator's code, its options and the given schema stand for the content."""
        layout = self._options.layout()
        # The tables, not the file's text: a comment in it makes no other rows.
        schema = repr(layout.declared) if layout else ""
        made_from = (code_version("models/synthetic"), self._options, schema)
        return dict.fromkeys(tables, digest(repr(made_from)))

    def write(self, table: str, path: Path) -> None:
        """Writes one table to Parquet."""
        self._tables[table].write_parquet(path)

    def newest_event(self, schema: RelationalSchema) -> datetime | None:
        """The time of the newest row."""
        raw = {identifier(name): frame for name, frame in self._tables.items()}
        timed = [(table.name, table.time_column) for table in schema.tables if table.time_column]
        newest = [raw[name][column].max() for name, column in timed]
        return max((event for event in newest if isinstance(event, datetime)), default=None)
