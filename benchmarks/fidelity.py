"""Is a synthetic database realistic? Fidelity reports of real and synthetic databases side by side.

    python -m benchmarks.fidelity --real ../databases --synthetic 20 --preset relforge --out fidelity

`--real` is a RelBench folder or a folder of them, and may be given several times. Prints the table of
all figures; writes `fidelity.md`, `fidelity.png`, and `fidelity.json` with every report. Each real
database is also imitated (its schema, categories and proportions; the preset's rows and values) and
a classifier tells the two apart. Single-threaded; databases that were reported are kept in the output
folder, so that a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.tables import machine
from models.fidelity.coverage import coverage, share_inside
from models.fidelity.databases import real_database, synthetic_database
from models.fidelity.detection import Detection, detection
from models.fidelity.report import Report, compare, fidelity_report, pool
from models.fidelity.signals import Signals, shipped_tasks
from models.fidelity.twins import twin
from models.fidelity.writing import fidelity_figure, fidelity_page
from models.synthetic.database import Generator
from models.synthetic.declared import SchemaError
from models.synthetic.generator import generate
from models.synthetic.presets import preset
from models.synthetic.relational_schema import declared_task
from models.synthetic.streams import Streams
from models.synthetic.tasks.sample import sample_tasks
from models.synthetic.tasks.task import TaskKind

QUANTILES = {"10 %": 0.1, "median": 0.5, "90 %": 0.9}
ENOUGH = 0.8
"""A real task is covered if so many of its signals lie inside the synthetic range."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parse(arguments)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    folders = [folder for place in options.real for folder in _databases(Path(place))]
    generator = preset(options.preset)
    real = [_kept(out / "reports" / f"{f.name}.json", partial(_real, f)) for f in folders]
    seeds = range(options.seed, options.seed + options.synthetic)
    synthetic = [
        _kept(
            out / "reports" / f"{options.preset}_{seed}_{options.tasks}.json",
            partial(_synthetic, generator, seed, options.tasks),
        )
        for seed in seeds
    ]
    detected = {
        folder.name: _kept(
            out / "reports" / f"{options.preset}_like_{folder.name}_{options.seed}.json",
            partial(_told, folder, generator, options.seed),
        )
        for folder in folders
        if options.detection
    }
    _write(out, options.preset, real, synthetic, detected)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity")
    parser.add_argument("--real", action="append", default=[], help="RelBench folder, or of such")
    parser.add_argument("--synthetic", type=int, default=0, help="databases to make (default: 0)")
    parser.add_argument("--tasks", type=int, default=4, help="tasks of each (default: 4)")
    parser.add_argument("--preset", default="relforge", help="relforge, plurel or plurel_paper")
    parser.add_argument("--seed", type=int, default=0, help="of the first one (default: 0)")
    parser.add_argument("--no-detection", dest="detection", action="store_false")
    parser.add_argument("--out", default="fidelity", help="folder of what is written")
    options = parser.parse_args(arguments)
    if not options.real and not options.synthetic:
        parser.error("nothing to report: give --real or --synthetic")
    return options


def _databases(place: Path) -> list[Path]:
    if (place / "manifest.yaml").exists():
        return [place]
    found = sorted(path.parent for path in place.glob("*/manifest.yaml"))
    if not found:
        raise SystemExit(f"{place} is no RelBench folder (manifest.yaml) and holds none")
    return found


def _kept(file: Path, make: Callable[[], Any]) -> Any:
    """What a file holds, or what is made and kept in it."""
    if not file.exists():
        before = _cpu_seconds()
        made = make()
        print(f"{file.stem}: {_cpu_seconds() - before:.1f} CPU-s", flush=True)
        file.parent.mkdir(exist_ok=True)
        aside = file.with_suffix(".part")
        aside.write_text(json.dumps(made, indent=1))
        aside.rename(file)
    return json.loads(file.read_text())


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _real(folder: Path) -> Report:
    database = real_database(folder)
    tasks = list(shipped_tasks(folder, database))
    return fidelity_report(database.name, database.schema, database.tables, tasks)


def _synthetic(generator: Generator, seed: int, count: int) -> Report:
    made = generate(generator, seed)
    # The real folders' label tables are those of forecasts.
    tasks = [
        (declared_task(made.blueprint, one.task), one.labels)
        for one in sample_tasks(made, Streams(seed).child("tasks"), count).tasks
        if one.task.kind == TaskKind.FORECAST
    ]
    with tempfile.TemporaryDirectory() as folder:
        database = synthetic_database(made, Path(folder))
        return fidelity_report(database.name, database.schema, database.tables, tasks)


def _told(folder: Path, generator: Generator, seed: int) -> list[dict[str, Any]] | str:
    """What detection finds, or why the database cannot be imitated."""
    real = real_database(folder)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            other = twin(real, generator, seed, Path(scratch))
        except SchemaError as error:
            return str(error)
        return [asdict(one) for one in detection(real, other, seed)]


def _write(
    out: Path,
    name: str,
    real: list[Report],
    synthetic: list[Report],
    detected: dict[str, list[dict[str, Any]] | str],
) -> None:
    shown = list(real)
    if len(real) > 1:
        shown.append(pool(real, "real: median"))
    if synthetic:
        shown += [pool(synthetic, f"{name}: {words}", at) for words, at in QUANTILES.items()]
    notes = [f"{len(real)} real databases, {len(synthetic)} of preset {name}. {machine()}."]
    covered = None
    ours, theirs = _signals(synthetic), _signals(real)
    if ours and theirs:
        covered = coverage(theirs, ours)
        shares = [share for task in theirs if (share := share_inside(task, ours)) is not None]
        enough = sum(share >= ENOUGH for share in shares)
        notes.append(
            f"{enough} of {len(shares)} real tasks have at least {ENOUGH:.0%} of their signals "
            f"inside the range of {len(ours)} synthetic ones."
        )
    told = {}
    for database, found in detected.items():
        if isinstance(found, str):
            notes.append(f"{database} was not imitated: {found}")
        elif found:
            told[database] = [Detection(**one) for one in found]
            values, ranks = (mean(one[kind] for one in found) for kind in ("values", "ranks"))
            notes.append(
                f"{database} and its imitation: mean AUROC {values:.2f} by value, {ranks:.2f} by rank."
            )
    drawn = [*real, *([pool(synthetic, name)] if synthetic else [])]
    (out / "fidelity.png").write_bytes(fidelity_figure(drawn))
    page = fidelity_page(compare(shown), covered, told, "fidelity.png", " ".join(notes))
    (out / "fidelity.md").write_text(page)
    everything = {"real": real, "synthetic": synthetic, "detection": detected}
    (out / "fidelity.json").write_text(json.dumps(everything, indent=1))
    print(page)


def _signals(reports: Iterable[Report]) -> list[Signals]:
    return [
        {name: value for name, value in task.items() if name != "task"}
        for report in reports
        for task in report["signals"]
    ]


if __name__ == "__main__":
    sys.exit(main())
