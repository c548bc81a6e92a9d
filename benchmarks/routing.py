"""How well branches are chosen: the published study, rebuilt, and the bank, in tables.

    python -m benchmarks.routing --reference <task_feature_summary.csv> --bank <folder>

The first prints how often, and at what loss, the published choosers and their baselines name the
better family, with the correlations that the paper reports and their scale-free form. Both end in
the same table: our selector next to all baselines, one database left out at a time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl

from benchmarks.tables import machine, markdown
from models.bank.store import read_bank
from models.relatron.evaluation import evaluate, left_by_selector
from models.relatron.published import (
    SelectedBy,
    homophily_correlation,
    published_rows,
    read_published,
    size_correlation,
    study,
)
from models.relatron.task_rows import task_rows

SELECTIONS: tuple[SelectedBy, ...] = ("val", "test")


def main() -> None:
    """Prints the tables of what is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, help="the released table of 24 tasks")
    parser.add_argument("--bank", type=Path, nargs="+", help="folders of a bank")
    arguments = parser.parse_args()
    if not arguments.reference and not arguments.bank:
        parser.error("give --reference, --bank or both")
    print(machine())
    if arguments.reference:
        reference(read_published(arguments.reference))
    if arguments.bank:
        bank(read_bank(arguments.bank))


def reference(table: pl.DataFrame) -> None:
    """The published study, its corrections, and our selector on its tasks."""
    print("\n## The published study: right choices, and mean relative regret\n")
    rows = [
        (
            row["chooser"],
            row["selected_by"],
            row["left_out"],
            f"{row['right']}/{row['tasks']}",
            f"{100 * row['regret']:.2f} %",
        )
        for row in study(table).to_dicts()
    ]
    print(markdown(("chooser", "selected by", "left out", "right", "regret"), rows))

    print("\n## Correlations with the gap\n")
    found = [
        (
            "homophily",
            selected_by,
            "relative" if relative else "as published",
            homophily_correlation(table, selected_by, relative),
        )
        for selected_by in SELECTIONS
        for relative in (False, True)
    ]
    found += [("log size", one, "relative", size_correlation(table, one)) for one in SELECTIONS]
    correlations = [
        (
            signal,
            selected_by,
            gap,
            one.tasks,
            f"{one.spearman:.3f} (p = {one.spearman_p:.3f})",
            f"{one.pearson:.3f} (p = {one.pearson_p:.3f})",
        )
        for signal, selected_by, gap, one in found
    ]
    print(markdown(("signal", "selected by", "gap", "tasks", "Spearman", "Pearson"), correlations))
    for selected_by in SELECTIONS:
        print(f"\n## The selector on the published tasks, scores selected by {selected_by}\n")
        choosers(published_rows(table, selected_by), "published")


def bank(trials: pl.DataFrame) -> None:
    """The selector on the bank, by protocol."""
    rows = task_rows(trials)
    for protocol in rows["protocol"].unique().sort():
        print(f"\n## The bank, {protocol}\n")
        try:
            choosers(rows, protocol)
        except ValueError as error:
            print(error)


def choosers(rows: pl.DataFrame, protocol: str) -> None:
    """The table of all choosers, and what the selector leaves of the branches."""
    table = [
        (
            row["chooser"],
            _interval(row, "regret"),
            f"{100 * row['worst']:.2f} %",
            _interval(row, "accuracy"),
            f"{row['counted']} of {row['tasks']}",
            row["databases"],
        )
        for row in evaluate(rows, protocol).to_dicts()
    ]
    header = (
        "chooser",
        "mean relative regret (95 %)",
        "worst database",
        "accuracy without near-ties (95 %)",
        "tasks without near-ties",
        "databases",
    )
    print(markdown(header, table))
    left = ", ".join(
        f"{words} {tasks}" for words, tasks in left_by_selector(rows, protocol).items()
    )
    print(f"\nThe selector leaves, by number of tasks: {left}.")


def _interval(row: dict[str, float], name: str) -> str:
    middle, low, high = (100 * row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{middle:.2f} % ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
