"""Synthetic databases between the processes of a benchmark: what is wanted, and what was made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar, cast

import polars as pl

from benchmarks.metering import Meter

Whatever = TypeVar("Whatever")
WARM_UP_SEED = 1


@dataclass(frozen=True, slots=True)
class MadeTable:
    """A table as it was made.

    Attributes:
        rows: Its rows; parents are given by row number.
        keys: Foreign key columns and the tables they point at.
        primary_key: The column of the row's number.
        time_column: When a row came to be; None for tables without times.
    """

    rows: pl.DataFrame
    keys: Mapping[str, str]
    primary_key: str
    time_column: str | None

    @property
    def columns(self) -> list[str]:
        """Columns that are neither keys nor the time."""
        others = {self.primary_key, self.time_column, *self.keys}
        return [name for name in self.rows.columns if name not in others]


Made = Mapping[str, MadeTable]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which databases a worker is to make."""

    preset: str
    seeds: tuple[int, ...]

    def write(self, file: Path) -> None:
        """As JSON."""
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> Wanted:
        """What `write` wrote."""
        plain = json.loads(file.read_text())
        return cls(plain["preset"], tuple(plain["seeds"]))


@dataclass(frozen=True, slots=True)
class Spent:
    """What a worker needed.

    Attributes:
        cpu_s: CPU seconds of each database.
        peak_mb: The most memory that was resident, in MiB.
        before_mb: What was resident before the first database, libraries included.
    """

    cpu_s: tuple[float, ...]
    peak_mb: float
    before_mb: float


def make_and_write(
    wanted: Wanted,
    make: Callable[[int], Whatever],
    folder: Path,
    as_tables: Callable[[Whatever], Made] | None = None,
) -> None:
    """Make the databases, time each of them, and write them with what they cost.

    One database before those that are measured loads libraries and fills caches.
    """
    make(WARM_UP_SEED)
    with Meter() as start:
        pass
    seconds, peak = [], 0.0
    for seed in wanted.seeds:
        with Meter() as meter:
            began = time.process_time()
            made = make(seed)
            seconds.append(time.process_time() - began)
        peak = max(peak, meter.peak_mb)
        write(as_tables(made) if as_tables else cast(Made, made), folder / str(seed))
    spent = {"cpu_s": seconds, "peak_mb": peak, "before_mb": start.peak_mb}
    (folder / "spent.json").write_text(json.dumps(spent))


def read_spent(folder: Path) -> Spent:
    """What the databases of a folder cost."""
    plain = json.loads((folder / "spent.json").read_text())
    return Spent(tuple(plain["cpu_s"]), plain["peak_mb"], plain["before_mb"])


def write(made: Made, folder: Path) -> None:
    """A database as a Parquet file a table, and its keys."""
    folder.mkdir(parents=True)
    roles = {}
    for name, table in made.items():
        table.rows.write_parquet(folder / f"{name}.parquet")
        roles[name] = [dict(table.keys), table.primary_key, table.time_column]
    (folder / "roles.json").write_text(json.dumps(roles))


def read(folder: Path) -> Made:
    """The database that `write` wrote."""
    roles: dict[str, Sequence] = json.loads((folder / "roles.json").read_text())
    return {
        name: MadeTable(pl.read_parquet(folder / f"{name}.parquet"), *role)
        for name, role in roles.items()
    }
