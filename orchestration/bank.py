"""The command line of the performance bank: fill it with trials of databases, merge it, ship it.

python -m orchestration.bank --source ../rel-f1 --source shop --trials 60
python -m orchestration.bank --merge /mnt/other/.relforge/bank --ship models/bank/shipped --renew
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import yaml

from assets.bank import trials_folder
from assets.corpus import corpus_folder
from models.bank.store import SHIPPED, append_to_bank, bank_files, merged, read_bank, write_bank
from models.database.dbt_folder import DeclarationError
from models.database.schema import RelationalSchema
from models.database.staging import StageError
from models.settings import Settings
from orchestration.run import find_or_import, run


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parse(arguments)
    settings = Settings.from_environment()
    code = 0
    try:
        for source in options.source:
            code |= _explore(settings, source, options)
    except (DeclarationError, StageError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for folder in options.merge:
        if not (rows := read_bank([folder]).to_dicts()):
            print(f"error: {folder} holds no file of a bank (*.parquet)", file=sys.stderr)
            return 2
        append_to_bank(trials_folder(settings), rows)
        print(f"{len(rows):,} rows of {folder} merged into {trials_folder(settings)}")
    if options.ship:
        code |= _ship(settings, options)
    return code


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m orchestration.bank")
    parser.add_argument("--source", action="append", default=[],
                        help="a database, as for `make run`; may be given several times")  # fmt: skip
    parser.add_argument("--task", default="", help="one task (default: every task)")
    parser.add_argument("--trials", type=int, default=60, help="random trials a task, all branches")
    parser.add_argument("--trial-seconds", type=float, default=60.0,
                        help="budget of training one model")  # fmt: skip
    parser.add_argument("--merge", action="append", type=Path, default=[],
                        help="folder of another machine's bank")  # fmt: skip
    parser.add_argument("--ship", type=Path,
                        help="write one edition of everything into this folder")  # fmt: skip
    parser.add_argument("--anew", action="store_true",
                        help="ship without the trials that relforge ships with now")  # fmt: skip
    parser.add_argument("--renew", action="store_true",
                        help="ship without those of the tasks that were tried here")  # fmt: skip
    options = parser.parse_args(arguments)
    if not (options.source or options.merge or options.ship):
        parser.error("give a --source to try, a --merge or a --ship")
    return options


def _explore(settings: Settings, source: str, options: argparse.Namespace) -> int:
    """Random trials of a database's tasks; they are noted in the installation's bank."""
    schema, _ = find_or_import(settings, source)
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "config.yaml"
        config.write_text(yaml.safe_dump(_config(schema, options)))
        return run(settings, source, options.task, "", Path(scratch), "retrain", str(config))


def _config(schema: RelationalSchema, options: argparse.Namespace) -> dict[str, object]:
    tasks = [one for one in schema.tasks if options.task in ("", one.name, one.title)]
    settings = {
        "explore": True,
        "trials": options.trials,
        "trial_seeds": 1,
        "trial_seconds": options.trial_seconds,
        # Trials are what a bank is for, not the model.
        "refit": False,
    }
    return {"ops": {f"{schema.database}__{t.name}__model": {"config": settings} for t in tasks}}


def _ship(settings: Settings, options: argparse.Namespace) -> int:
    before = read_bank([] if options.anew else [SHIPPED])
    own = read_bank([trials_folder(settings), corpus_folder(settings) / "bank"])
    if options.renew:
        before = before.join(own, on=["database", "task"], how="anti")
    if before.is_empty() and own.is_empty():
        print(f"error: no trials in {settings.home}; give a --source or a --merge", file=sys.stderr)
        return 2
    bank = merged([before, own])
    folder = options.ship
    folder.mkdir(parents=True, exist_ok=True)
    old = bank_files([folder])
    write_bank(bank, folder / ".bank")
    for path in old:
        path.unlink()
    (folder / ".bank").rename(folder / "bank.parquet")
    print(f"{bank.height:,} rows in {folder / 'bank.parquet'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
