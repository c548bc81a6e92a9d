"""The bank's rows as an append-only set of Parquet files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from models.artifacts.recipe import canonical_json, digest

BANK_SCHEMA: Mapping[str, Any] = {
    "database": pl.String,
    "task": pl.String,
    "as_of": pl.Datetime("us"),
    "origin": pl.String,
    "task_type": pl.String,
    "metric": pl.String,
    "protocol": pl.String,
    "train_rows": pl.Int64,
    "validation_rows": pl.Int64,
    "test_rows": pl.Int64,
    "signals": pl.String,
    "family": pl.String,
    "candidate": pl.String,
    "settings": pl.String,
    "seed": pl.Int64,
    "validation": pl.Float64,
    "validation_error": pl.Float64,
    "test": pl.Float64,
    "test_error": pl.Float64,
    "trivial_test": pl.Float64,
    "epochs": pl.Int64,
    "seconds": pl.Float64,
    "peak_megabytes": pl.Float64,
    "device": pl.String,
    "code_version": pl.String,
    "failure": pl.String,
}
"""A row is one seed's model under one protocol.

origin: `real`, `synthetic` or `planted`. signals, settings: JSON. validation, test: the task's
metric; test is null where the future is not known, both are NaN-free (null where not defined).
*_error: their bootstrap standard errors over rows. trivial_test: of the labels' training mean or
median. epochs: epochs or trees at the best validation score. seconds: training of this seed, on
average over the trial's seeds. peak_megabytes: the process's high-water mark. failure: why a trial
has no scores; null for none.
"""

SHIPPED = Path(__file__).parent / "shipped"
"""The trials that relforge ships with; `python -m orchestration.bank` makes them anew."""
KEY = ("database", "task", "as_of", "protocol", "family", "settings", "seed", "code_version")


def append_to_bank(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Adds rows as one file, named by its content: the same rows twice are there once.

    Raises:
        ValueError: A row has a column that the bank does not know, or lacks one of its key.
    """
    for row in rows:
        unknown = sorted(row.keys() - BANK_SCHEMA.keys())
        lacking = [name for name in KEY if row.get(name) is None]
        if unknown or lacking:
            raise ValueError(f"a bank row has unknown columns {unknown} or lacks {lacking}: {row}")
    frame = pl.DataFrame(
        [{name: row.get(name) for name in BANK_SCHEMA} for row in rows], schema=dict(BANK_SCHEMA)
    ).with_columns(pl.col(pl.Float64).fill_nan(None))
    name = digest(canonical_json([dict(row) | {"as_of": str(row["as_of"])} for row in rows]))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.parquet"
    aside = folder / f".{name}.{os.getpid()}"
    frame.write_parquet(aside)
    os.replace(aside, path)
    return path


def write_bank(bank: pl.DataFrame, path: Path) -> None:
    """Writes a bank as one file, compressed: signals and settings repeat from row to row."""
    bank.sort(KEY).write_parquet(path, compression="zstd", compression_level=19)


def bank_files(folders: Iterable[Path]) -> list[Path]:
    """The files of a bank in some folders."""
    return [path for folder in folders for path in sorted(folder.glob("*.parquet"))]


def read_bank(folders: Iterable[Path]) -> pl.DataFrame:
    """All rows of some folders, each trial once (the last read wins), in order of their key."""
    paths = bank_files(folders)
    if not paths:
        return pl.DataFrame(schema=dict(BANK_SCHEMA))
    return merged([pl.read_parquet(path) for path in paths])


def merged(banks: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The rows of some banks, each trial once (the last one wins), in order of their key."""
    frame = pl.concat(banks, how="vertical")
    return frame.unique(subset=list(KEY), keep="last", maintain_order=True).sort(KEY)
