"""A whole corpus: its databases side by side, each finished one a file of the bank."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from models.artifacts.recipe import canonical_json, code_version, digest
from models.artifacts.store import write_atomically
from models.bank.store import append_to_bank
from models.corpus.config import CorpusConfig
from models.corpus.unit import CODE, Unit, run_unit, units

DONE = "done"


def make_corpus(
    config: CorpusConfig,
    folder: Path,
    workers: int,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Makes and tries what is not there yet, and returns a summary.

    `folder` receives `bank/*.parquet` (`models.bank.store.BANK_SCHEMA`) and a note a database under
    `done/`; a call that was killed goes on with the databases that have none. Another seed or preset
    adds to the same bank, other settings of the candidates make the databases be tried again.

    Args:
        config: What to make.
        folder: Where the bank is.
        workers: Databases at a time, each in a process of its own with one thread.
        progress: Receives a line a database.

    Returns:
        databases, tasks, rows, failed (databases that raised, with the reason), skipped (there
        already).
    """
    planned = units(config)
    notes = folder / DONE / _identity(config)
    notes.mkdir(parents=True, exist_ok=True)
    left = [unit for unit in planned if not (notes / f"{unit.name}.json").exists()]
    progress(f"{len(planned)} databases, {len(planned) - len(left)} of them done before")
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        futures = {pool.submit(_run, config, unit, folder, notes): unit for unit in left}
        for number, future in enumerate(as_completed(futures), start=1):
            note = future.result()
            progress(f"{number} of {len(left)}: {futures[future].name}: {_in_words(note)}")
    found = [_note(notes, unit) for unit in planned]
    return {
        "databases": len(planned),
        "skipped": len(planned) - len(left),
        "tasks": sum(note["tasks"] for note in found),
        "rows": sum(note["rows"] for note in found),
        "failed": {note["unit"]: note["error"] for note in found if note["error"]},
    }


def _run(config: CorpusConfig, unit: Unit, folder: Path, notes: Path) -> dict[str, Any]:
    """One database in a worker; whatever goes wrong with it leaves the others alone."""
    import torch

    torch.set_num_threads(1)
    note: dict[str, Any] = {"unit": unit.name, "tasks": 0, "rows": 0, "error": ""}
    try:
        rows = run_unit(config, unit)
        if rows:
            append_to_bank(folder / "bank", rows)
        note |= {"tasks": len({row["task"] for row in rows}), "rows": len(rows)}
    except Exception as error:
        note["error"] = f"{type(error).__name__}: {error}"
    write_atomically(notes / f"{unit.name}.json", json.dumps(note))
    return note


def _identity(config: CorpusConfig) -> str:
    """Settings that decide what a database's rows are, and the code: not how many there are."""
    decisive = {k: v for k, v in asdict(config).items() if k not in ("databases", "planted")}
    return digest(canonical_json([decisive, code_version(*CODE)]))[:16]


def _note(notes: Path, unit: Unit) -> dict[str, Any]:
    return dict(json.loads((notes / f"{unit.name}.json").read_text()))


def _in_words(note: dict[str, Any]) -> str:
    return note["error"] or f"{note['tasks']} tasks, {note['rows']} rows"
