"""What an engine is asked to compute, and what it answers; JSON between the processes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CaseTable:
    """A Parquet file with the roles of its columns.

    `foreign_keys` maps columns to the table they refer to. Keys are integers, `numerical` columns
    doubles, `categorical` ones strings and the time column a timestamp in microseconds.
    """

    name: str
    file: str
    primary_key: str
    time_column: str | None = None
    foreign_keys: tuple[tuple[str, str], ...] = ()
    numerical: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A database and the rows to compute features for.

    `seeds` is a Parquet file with `row_id`, `entity` (key of `entity_table`) and `cutoff_time`.
    """

    name: str
    entity_table: str
    tables: tuple[CaseTable, ...]
    seeds: str

    def table(self, name: str) -> CaseTable:
        """The table of that name."""
        return next(table for table in self.tables if table.name == name)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Case:
        """The case whose `to_plain` this is."""
        tables = tuple(
            CaseTable(
                **{
                    **table,
                    "foreign_keys": tuple((key, parent) for key, parent in table["foreign_keys"]),
                    "numerical": tuple(table["numerical"]),
                    "categorical": tuple(table["categorical"]),
                }
            )
            for table in plain["tables"]
        )
        return cls(**{**plain, "tables": tables})


@dataclass(frozen=True)
class Step:
    """A step of a schema path along the foreign key `column` of `table` to `parent`."""

    table: str
    column: str
    parent: str
    forward: bool


@dataclass(frozen=True)
class Request:
    """What one worker does: all features of a case to a depth, written to `result`.

    `primitives` are aggregates by this project's names, None for an engine's default set. `paths`
    are the schema paths, shallow first, for engines that want them spelled out. `home` is an empty
    folder for the engine's own files.

    For this project's own measurements: `select` "windowed" keeps the features over the trailing
    window of `window_days` only, "nested" those that aggregate aggregates. For task vectors
    `window_days` is the length of the next window, and `lookback_days` that of siblings.
    """

    case: Case
    depth: int
    primitives: tuple[str, ...] | None
    paths: tuple[tuple[Step, ...], ...]
    result: str
    home: str = ""
    select: str = "all"
    window_days: float | None = None
    lookback_days: float | None = None

    def write(self, file: Path, home: Path) -> None:
        """Write the request to a JSON file, with the folder for the engine's files."""
        file.write_text(json.dumps({**asdict(self), "home": str(home)}))

    @classmethod
    def read(cls, file: Path) -> Request:
        """The request in a JSON file."""
        plain = json.loads(file.read_text())
        primitives = plain["primitives"]
        return cls(
            **{
                **plain,
                "case": Case.from_plain(plain["case"]),
                "primitives": None if primitives is None else tuple(primitives),
                "paths": tuple(tuple(Step(**step) for step in path) for path in plain["paths"]),
            }
        )


@dataclass(frozen=True)
class Measurement:
    """One row of the table.

    Seconds are those of computing the features, from the tables as the engine wants to have them;
    `setup_cpu_s` is what bringing them there took. `peak_mb` is the most resident memory, in MiB,
    of all processes of the engine together while it computed. `note` qualifies the row; a row with
    `skipped` has no figures.
    """

    engine: str
    rows: int = 0
    cutoffs: int = 0
    features: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    setup_cpu_s: float = 0.0
    peak_mb: float = 0.0
    note: str = ""
    skipped: str = ""

    def with_note(self, note: str) -> Measurement:
        """This measurement with one more note."""
        return replace(self, note="; ".join(part for part in (self.note, note) if part))


def write_measurements(file: Path, measurements: list[Measurement]) -> None:
    """Write a worker's answer."""
    file.write_text(json.dumps([asdict(measurement) for measurement in measurements]))


def read_measurements(file: Path) -> list[Measurement]:
    """A worker's answer."""
    return [Measurement(**plain) for plain in json.loads(file.read_text())]
