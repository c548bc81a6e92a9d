"""The command line: make synthetic databases as RelBench folders.

python -m orchestration.synthesise --databases 100 --seed 0 --out corpus --workers 2
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.artifacts.recipe import digest
from models.database.dbt import load_manifest
from models.database.dbt_folder import DeclarationError, identifier
from models.database.manifest import read_databases
from models.settings import Settings
from models.synthetic.folders import Folders, make_folders
from models.synthetic.options import DEFAULT_PRESET, left_out, rows_by_table
from models.synthetic.presets import preset
from models.synthetic.schema_layout import SchemaLayout


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parse(arguments)
    try:
        wanted = _wanted(options)
        seeds = range(options.seed, options.seed + options.databases)
        made = make_folders(
            wanted, seeds, options.workers, lambda line: print(f"  {line}", flush=True)
        )
    except (OSError, ValueError, BrokenExecutor) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"{made.made} databases made in {made.seconds:.1f} s, {made.kept} were there before: "
        f"{wanted.out}/{wanted.name}_*"
    )
    for seed, fault in made.failed.items():
        print(f"error: seed {seed}: {fault}", file=sys.stderr)
    return int(bool(made.failed))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make synthesise", description="Makes synthetic databases as RelBench folders."
    )
    parser.add_argument("--databases", type=_count, default=1, help="how many (default: 1)")
    parser.add_argument("--seed", type=_number, default=0, help="of the first one (default: 0)")
    parser.add_argument("--out", required=True, help="folder that receives a folder a database")
    parser.add_argument("--preset", default=DEFAULT_PRESET,
                        help="relforge (default), plurel or plurel_paper")  # fmt: skip
    parser.add_argument("--tasks", type=_number, default=0,
                        help="tasks to sample of each database (default: none)")  # fmt: skip
    schema = parser.add_mutually_exclusive_group()
    schema.add_argument("--schema", default="", help="SQL file whose CREATE TABLEs to fill")
    schema.add_argument("--like", default="", help="declared database whose tables to fill")
    parser.add_argument(
        "--dialect", default="postgres", help="of the SQL file, as sqlglot names it"
    )
    parser.add_argument("--rows", default="", help="rows by table: orders=5000,customers=800")
    parser.add_argument("--without", default="",
                        help="columns and keys not to make: orders.photo,staff.manager_id")  # fmt: skip
    parser.add_argument("--workers", type=_count, default=1, help="processes (default: 1)")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if _number(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1")
    return int(text)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0")
    return int(text)


def _wanted(options: argparse.Namespace) -> Folders:
    generator = preset(options.preset)
    name = "synthetic" if options.preset == DEFAULT_PRESET else options.preset
    made_from: dict[str, Any] = {"preset": options.preset}
    layout = _layout(options)
    if layout:
        generator, name = replace(generator, layout=layout), identifier(layout.name)
        # The schema itself, not its place: a file that was changed makes other databases.
        made_from |= {"schema": layout.name, "tables": digest(repr(layout.declared))}
        made_from |= {
            "rows": {table: choice.rows for table, choice in layout.tables.items()},
            "without": [".".join(place) for place in layout.columns],
        }
    return Folders(generator, name, Path(options.out).expanduser(), options.tasks, made_from)


def _layout(options: argparse.Namespace) -> SchemaLayout | None:
    """The layout of a given schema; None where the preset makes schemas up too."""
    rows, without = rows_by_table(options.rows), left_out(options.without)
    if options.schema:
        path = Path(options.schema).expanduser()
        return SchemaLayout.from_ddl(
            path.read_text(), path.stem, options.dialect, tables=rows, columns=without
        )
    if options.like:
        settings = Settings.from_environment()
        declared = read_databases(load_manifest(settings.dbt_project, settings.manifest_cache))
        if options.like not in declared:
            raise DeclarationError(
                f"database {options.like!r} is not declared; one of {', '.join(declared)}"
            )
        schema = declared[options.like].checked()
        return SchemaLayout.from_schema(schema, tables=rows, columns=without)
    if rows or without:
        raise ValueError(
            "--rows and --without need tables that are known: give --schema or --like with them"
        )
    return None


if __name__ == "__main__":
    sys.exit(main())
