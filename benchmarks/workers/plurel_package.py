"""Synthetic databases of the `plurel` package, one after the other, in one thread."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"

import polars as pl
import torch
from plurel import Config, SyntheticDataset
from relbench.base import Database

from benchmarks.made_databases import MadeTable, Wanted, make_and_write


def make(seed: int) -> Database:
    """One database with the package's defaults."""
    return SyntheticDataset(seed=seed, config=Config()).make_db()


def as_tables(database: Database) -> dict[str, MadeTable]:
    """Its tables as this benchmark compares them."""
    return {
        name: MadeTable(
            pl.from_pandas(table.df), table.fkey_col_to_pkey_table, table.pkey_col, table.time_col
        )
        for name, table in database.table_dict.items()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    make_and_write(Wanted.read(Path(sys.argv[1])), make, Path(sys.argv[2]), as_tables)
