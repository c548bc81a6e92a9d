"""Synthetic databases of this project's generators, one after the other."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.made_databases import MadeTable, Wanted, make_and_write


def make(preset: str, seed: int) -> dict[str, MadeTable]:
    """One database of a preset."""
    from models.synthetic.generator import generate
    from models.synthetic.presets import preset as generator_of

    database = generate(generator_of(preset), seed)
    return {
        table.name: MadeTable(
            database.tables[table.name],
            {key.column: key.parent for key in table.keys},
            table.primary_key,
            table.time_column,
        )
        for table in database.blueprint.tables
    }


if __name__ == "__main__":
    wanted = Wanted.read(Path(sys.argv[1]))
    make_and_write(wanted, lambda seed: make(wanted.preset, seed), Path(sys.argv[2]))
