"""The fidelity report of one database as plain numbers, and several of them side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.database.schema import RelationalSchema, Task
from models.fidelity.databases import Database
from models.fidelity.degrees import Degrees, degrees
from models.fidelity.dependence import dependence, summary
from models.fidelity.marginals import marginals, size
from models.fidelity.signals import SIGNALS, Signals, task_signals
from models.fidelity.spectrum import KINDS, TOPS, Spectrum, gain_spectrum

Report = dict[str, Any]
LISTS = ("degrees", "columns", "spectra", "signals")
SPECTRA = 3
"""Features are made for at most so many tasks of a database."""

OF_KEYS = {
    "mean": "mean",
    "max_over_mean": "max over mean",
    "top_decile_share": "share of the top tenth of parents",
    "childless_share": "childless parents",
    "tail_index": "tail index",
    "null_share": "missing parents",
    "span": "span of a parent's children",
    "burstiness": "burstiness",
    "still_active": "still active in the last tenth",
}


def fidelity_report(
    name: str,
    schema: RelationalSchema,
    tables: Mapping[str, Path],
    tasks: Sequence[tuple[Task, pl.DataFrame]] = (),
    as_of: datetime | None = None,
    seed: int = 0,
) -> Report:
    """Everything that is measured of a database.

    Args:
        name: What the database is called in the report.
        schema: Its schema, every column with its semantic type (`complete_schema`).
        tables: A Parquet file by table.
        tasks: Tasks with their training tables (entity, cutoff_time, label, split, row_id).
        as_of: For the tasks' features; the schema's `default_as_of` where None.
        seed: Draws rows and columns; equal seeds give equal reports.

    Returns:
        JSON-ready: `name`, `seed`, `figures` (numbers or None by name: a group, a colon, what is
        measured), and lists of records: `degrees` a foreign key, `columns` an explained column,
        `spectra` and `signals` a task.

    Raises:
        ValueError: There are tasks, but no date for their features.
    """
    database = Database(name, schema, tables)
    moment = as_of or schema.default_as_of
    if tasks and moment is None:
        raise ValueError(f"database {name!r} has no default_as_of: give as_of for its tasks")
    of_keys, of_columns = degrees(database), dependence(database, seed)
    spectra = [
        gain_spectrum(database, task, table, moment, seed)
        for task, table in tasks[:SPECTRA]
        if moment is not None
    ]
    signals = [task_signals(database, task, table) for task, table in tasks]
    known = [spectrum for spectrum in spectra if spectrum is not None]
    figures = {
        **_grouped("size", size(database)),
        **_grouped("columns", marginals(database, seed)),
        **_grouped("degrees", _of_keys(of_keys)),
        **_grouped("explained", summary(of_columns)),
        **_grouped("DFS features", _of_spectra(known)),
        **_grouped("tasks", _of_signals(signals)),
    }
    return {
        "name": name,
        "seed": seed,
        "figures": figures,
        "degrees": [asdict(one) for one in of_keys],
        "columns": [asdict(one) | {"kind": str(one.kind)} for one in of_columns],
        "spectra": [asdict(one) for one in known],
        "signals": [
            {"task": task.name, **found} for (task, _), found in zip(tasks, signals, strict=True)
        ],
    }


def pool(reports: Sequence[Report], name: str, quantile: float = 0.5) -> Report:
    """Several reports as one: a quantile of each figure over them, and all their lists.

    Raises:
        ValueError: There is no report.
    """
    if not reports:
        raise ValueError(f"no reports to pool as {name!r}")
    pooled: dict[str, float | None] = {}
    for figure in dict.fromkeys(figure for report in reports for figure in report["figures"]):
        values = _known(report["figures"].get(figure) for report in reports)
        pooled[figure] = float(np.quantile(values, quantile)) if values else None
    lists = {key: [one for report in reports for one in report[key]] for key in LISTS}
    return {"name": name, "seed": reports[0]["seed"], "figures": pooled, **lists}


def compare(reports: Sequence[Report]) -> pl.DataFrame:
    """A row a figure, a column a database: `figure` (String) and Float64s, null for undefined.

    Raises:
        ValueError: Two reports have the same name.
    """
    names = [report["name"] for report in reports]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"several reports are called {', '.join(twice)}: give each its own name")
    figures = list(dict.fromkeys(figure for report in reports for figure in report["figures"]))
    columns = {
        report["name"]: pl.Series(
            [report["figures"].get(figure) for figure in figures], dtype=pl.Float64
        )
        for report in reports
    }
    return pl.DataFrame({"figure": pl.Series(figures, dtype=pl.String), **columns})


def _grouped(group: str, figures: Mapping[str, float | None]) -> dict[str, float | None]:
    return {f"{group}: {name}": value for name, value in figures.items()}


def _of_keys(found: Sequence[Degrees]) -> dict[str, float | None]:
    """Medians over foreign keys."""
    return {words: _median(getattr(one, name) for one in found) for name, words in OF_KEYS.items()}


def _of_spectra(found: Sequence[Spectrum]) -> dict[str, float | None]:
    """Medians over tasks of the tops, means of the kinds."""
    if not found:
        return {}
    tops = {
        f"share of the gain in the top {top}": _median(one.top[place] for one in found)
        for place, top in enumerate(TOPS)
    }
    kinds = np.mean([one.kinds for one in found], axis=0)
    shares = {f"share of {kind}": float(kinds[place]) for place, kind in enumerate(KINDS)}
    return {**tops, "effective number": _median(one.effective for one in found), **shares}


def _of_signals(found: Sequence[Signals]) -> dict[str, float | None]:
    """Medians over tasks."""
    return {name: _median(one[name] for one in found) for name in SIGNALS} if found else {}


def _median(values: Iterable[float | None]) -> float | None:
    known = _known(values)
    return float(np.median(known)) if known else None


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
