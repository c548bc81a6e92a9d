"""Time of task vectors over sibling rows against the SQL of the paper's experiments: one command.

    python -m benchmarks.task_vector_speed --out out/benchmarks

For every (customer, weekly cutoff), over the transactions of the next week: aggregates of the
transactions of the week before each of these that share its customer, or its item. The reference
joins all pairs of siblings; the compiler aggregates each key's transactions once.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.case import Case, Measurement, Request, Step
from benchmarks.databases import write_case
from benchmarks.environments import Engine
from benchmarks.equality import agreement
from benchmarks.processes import measure
from benchmarks.tables import machine, markdown
from benchmarks.transactions import ROLES, RetailSize, make_transactions

PRIMITIVES = ("sum", "mean", "min", "max", "std", "count")
DAYS = 7.0
EVENTS = "transactions"
SIBLINGS = {"customer": ("customer_id", "customers"), "item": ("item_id", "items")}
OURS, REFERENCE = Engine("task_vectors"), Engine("reference_sql")
HEADER = (
    "siblings share", "engine", "rows", "cutoffs", "aggregates", "wall s", "CPU s", "ratio to ours",
    "peak MB", "against ours",
)  # fmt: skip


def sibling_path(shared: str) -> tuple[Step, ...]:
    """From customers to their transactions, up to what these share, and down to the siblings."""
    column, parent = SIBLINGS[shared]
    return (
        Step(EVENTS, "customer_id", "customers", forward=False),
        Step(EVENTS, column, parent, forward=True),
        Step(EVENTS, column, parent, forward=False),
    )


def lines_of(
    case: Case, shared: str, folder: Path, cpu_limit_s: int
) -> list[tuple[Measurement, tuple[object, ...]]]:
    """Both engines' lines of the table for one kind of sibling."""
    found: list[tuple[Measurement, tuple[object, ...]]] = []
    results = {engine: folder / f"{shared}-{engine.name}.parquet" for engine in (OURS, REFERENCE)}
    for engine, result in results.items():
        request = Request(
            case,
            0,
            PRIMITIVES,
            (sibling_path(shared),),
            str(result),
            window_days=DAYS,
            lookback_days=DAYS,
        )
        (got,) = measure(engine, request, cpu_limit_s)
        ours = found[0][0] if found else got
        same = ""
        if engine is REFERENCE and all(file.exists() for file in results.values()):
            same = str(agreement(*results.values()))
        found.append((got, _line(shared, got, ours, same)))
    return found


def _line(shared: str, got: Measurement, ours: Measurement, same: str) -> tuple[object, ...]:
    if got.skipped:
        return (shared, got.engine, *[""] * 7, f"skipped: {got.skipped}")
    return (
        shared,
        got.engine,
        f"{got.rows:,}",
        got.cutoffs,
        got.features,
        f"{got.wall_s:.2f}",
        f"{got.cpu_s:.2f}",
        "" if ours.skipped else f"{got.cpu_s / ours.cpu_s:.2f}",
        f"{got.peak_mb:,.0f}",
        same,
    )


def main() -> None:
    """Print the table."""
    standard = RetailSize()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--transactions", type=int, default=standard.transactions)
    parser.add_argument("--customers", type=int, default=standard.customers)
    parser.add_argument("--items", type=int, default=standard.items)
    parser.add_argument("--weeks", type=int, default=standard.weeks)
    parser.add_argument("--siblings", nargs="+", choices=list(SIBLINGS), default=list(SIBLINGS))
    parser.add_argument("--cpu-limit", type=int, default=1_200, help="CPU seconds a run may take")
    parser.add_argument("--out", type=Path, help="folder for the table")
    given = parser.parse_args()
    print(f"{machine()}\n", flush=True)
    size = RetailSize(given.transactions, given.customers, given.items, given.weeks)
    lines: list[tuple[object, ...]] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        case = write_case("retail", folder, "customers", make_transactions(size), ROLES)
        for shared in given.siblings:
            for _, line in lines_of(case, shared, folder, given.cpu_limit):
                lines.append(line)
                print(*line, sep="  ", flush=True)
    text = markdown(HEADER, lines)
    print(f"\n{text}")
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "task_vector_speed.md").write_text(f"{text}\n")


if __name__ == "__main__":
    main()
