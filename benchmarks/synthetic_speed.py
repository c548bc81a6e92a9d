"""Speed and shape of synthetic databases against the `plurel` package: one command.

    python -m benchmarks.synthetic_speed --databases 12 --out out/benchmarks

Every engine makes as many databases at its default size, one after the other in a process of its
own with one thread. `plurel` is the package with its defaults, installed in an environment of its own
on the first run (its requirement of a newer Python is ignored); `preset plurel` is this project's
version of its choices, `preset relforge` the default generator. The second table has averages over
the databases, with standard errors.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.databases import Unavailable
from benchmarks.environments import Engine, python_of
from benchmarks.made_databases import Made, Spent, Wanted, read, read_spent
from benchmarks.processes import run_limited
from benchmarks.synthetic_shape import Figures, own_row, shape
from benchmarks.tables import machine, markdown

PACKAGE = Engine(
    "plurel_package",
    # It was written against RelBench 1; pooch is RelBench's only requirement that is not here.
    ("--ignore-requires-python", "plurel==1.1.0", "relbench==1.1.0", "pooch", "platformdirs"),
    on_top=True,
)
OURS = Engine("synthetic")
# The first is what the others are compared with.
ENGINES = {
    "plurel": (PACKAGE, ""),
    "preset plurel": (OURS, "plurel"),
    "preset plurel_paper": (OURS, "plurel_paper"),
    "preset relforge": (OURS, "relforge"),
}
DEFAULTS = ["plurel", "preset plurel", "preset relforge"]
FIRST_SEED = 100
HEADER = (
    "engine", "databases", "cells", "CPU s a database", "± s.e.", "CPU s a million cells",
    "times faster a database", "times faster a cell", "peak MB", "MB above the start", "note",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an engine needed and made; a reason instead where it could not run."""

    engine: str
    spent: Spent | None = None
    figures: tuple[Figures, ...] = ()
    skipped: str = ""


def outcome(name: str, seeds: Sequence[int], cpu_limit_s: int, folder: Path) -> Outcome:
    """Let an engine make its databases and look at them."""
    engine, preset = ENGINES[name]
    asked, answered = folder / f"{name}.json", folder / name
    answered.mkdir()
    Wanted(preset, tuple(seeds)).write(asked)
    try:
        python = python_of(engine)
    except Unavailable as reason:
        return Outcome(name, skipped=str(reason))
    failure = run_limited([str(python), "-m", engine.module, asked, answered], cpu_limit_s)
    if failure:
        return Outcome(name, skipped=failure)
    figures = tuple(_figures(read(answered / str(seed)), seed) for seed in seeds)
    return Outcome(name, read_spent(answered), figures)


def _figures(made: Made, seed: int) -> Figures:
    told = np.array(own_row(made, seed))
    return {
        **shape(made),
        "own row, median R²": float(np.nanmedian(told)),
        "own row, R² above 0.9": float(np.nanmean(told > 0.9)),
    }


def _cells(found: Outcome) -> float:
    return float(np.sum([figures["cells"] for figures in found.figures]))


def _line(found: Outcome, first: Outcome) -> tuple[object, ...]:
    if found.spent is None:
        return (found.engine, *[""] * (len(HEADER) - 2), f"skipped: {found.skipped}")
    seconds = np.array(found.spent.cpu_s)
    by_cell = seconds.sum() / _cells(found)
    faster = ("", "")
    if first.spent is not None:
        peer = np.array(first.spent.cpu_s)
        faster = (
            f"{peer.mean() / seconds.mean():.1f}",
            f"{peer.sum() / _cells(first) / by_cell:.1f}",
        )
    return (
        found.engine,
        len(seconds),
        f"{_cells(found) / len(seconds):,.0f}",
        f"{seconds.mean():.3f}",
        f"{_error(seconds):.3f}",
        f"{by_cell * 1e6:.2f}",
        *faster,
        f"{found.spent.peak_mb:,.0f}",
        f"{found.spent.peak_mb - found.spent.before_mb:,.0f}",
        "",
    )


def _error(values: np.ndarray) -> float:
    return float(np.nanstd(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _comparison(outcomes: Sequence[Outcome]) -> str:
    made = [found for found in outcomes if found.figures]
    lines = []
    for name in made[0].figures[0] if made else ():
        cells = []
        for found in made:
            values = np.array([figures[name] for figures in found.figures], dtype=float)
            cells.append(f"{np.nanmean(values):,.3g} ± {_error(values):,.2g}")
        lines.append((name, *cells))
    return markdown(("figure", *(found.engine for found in made)), lines)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--databases", type=int, default=12)
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=DEFAULTS)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument(
        "--cpu-limit", type=int, default=1_200, help="CPU seconds an engine may take"
    )
    parser.add_argument("--out", type=Path, help="folder for the tables")
    given = parser.parse_args()
    print(f"{machine()}\n", flush=True)
    seeds = range(given.first_seed, given.first_seed + given.databases)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        for engine in given.engines:
            outcomes.append(outcome(engine, seeds, given.cpu_limit, Path(name)))
            print(*_line(outcomes[-1], outcomes[0]), sep="  ", flush=True)
    peer = next((found for found in outcomes if found.engine == "plurel"), Outcome("plurel"))
    speed = markdown(HEADER, [_line(found, peer) for found in outcomes])
    text = f"{speed}\n\n{_comparison(outcomes)}"
    print(f"\n{text}")
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "synthetic_speed.md").write_text(f"{text}\n")


if __name__ == "__main__":
    main()
