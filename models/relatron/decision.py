"""What was decided for a task: the branches, with the evidence, in words and in a plot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from models.reporting.figure import (
    INK,
    MUTED,
    PALETTE,
    dress,
    footnote,
    legend,
    new_figure,
    placeholder,
    to_png,
)
from models.search.space import Branch


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A task of the bank, its distance in spreads of the signals, and the gaps measured there."""

    database: str
    task: str
    as_of: str
    distance: float
    gaps: Mapping[Branch, float]


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Which branches to search for a task.

    Attributes:
        branches: The branches to search; where they are several, they race.
        favourite: The branch with the least expected regret, alone or not.
        protocol: The protocol that everything here is about.
        gaps, errors: Predicted relative gap of each branch to dfs, and its standard error.
        probabilities: That a branch is the best.
        expected_regret: What choosing a branch is expected to lose against the best, relative.
        confidence: The probability that the best branch is among `branches`.
        nearest: The most alike tasks of the bank, the nearest first.
        reasons: Sentences.
        signal, value: The most informative signal, and its value for this task.
        evidence: The bank's tasks: database, task, origin, value (of `signal`), gap_* and error_*.
    """

    branches: tuple[Branch, ...]
    favourite: Branch
    protocol: str
    gaps: Mapping[Branch, float]
    errors: Mapping[Branch, float]
    probabilities: Mapping[Branch, float]
    expected_regret: Mapping[Branch, float]
    confidence: float
    nearest: tuple[Neighbour, ...]
    reasons: tuple[str, ...]
    signal: str
    value: float
    evidence: pl.DataFrame

    @property
    def words(self) -> str:
        """The decision in a few words: `dfs`, `race of dfs and hybrid`."""
        return ("race of " if len(self.branches) > 1 else "") + " and ".join(self.branches)

    def as_data(self) -> dict[str, Any]:
        """Plain data, without the evidence's rows."""
        numbers = ("gaps", "errors", "probabilities", "expected_regret")
        return {
            "decision": self.words,
            "branches": [str(branch) for branch in self.branches],
            "favourite": str(self.favourite),
            "protocol": self.protocol,
            "confidence": self.confidence,
            **{name: _by_name(getattr(self, name)) for name in numbers},
            "nearest": [
                {
                    "database": one.database,
                    "task": one.task,
                    "as_of": one.as_of,
                    "distance": one.distance,
                    "gaps": _by_name(one.gaps),
                }
                for one in self.nearest
            ],
            "reasons": list(self.reasons),
        }


def percent(share: float) -> str:
    """A share as a percentage with a sign."""
    return f"{100 * share:+.1f} %"


def draw_decision(decision: Decision) -> bytes:
    """A PNG: the predicted gaps with their errors among the bank's tasks, by their main signal."""
    branches = [branch for branch in decision.gaps if branch != Branch.DFS]
    if not branches:
        return placeholder("Routing", "Only dfs may be searched: there is no gap to show.")
    figure = new_figure(3.6 * len(branches) + 1.2, 3.6)
    panels = figure.subplots(1, len(branches), sharey=True, squeeze=False)[0]
    for ax, branch in zip(panels, branches, strict=True):
        _draw_branch(ax, decision, branch)
    for ax in panels[1:]:
        ax.set_ylabel("")
    footnote(
        figure,
        f"Decision: {decision.words} ({decision.protocol}). Bars: one standard error.",
        "" if math.isfinite(decision.value) else f"{decision.signal} is unknown for this task.",
    )
    return to_png(figure)


def _draw_branch(ax: Any, decision: Decision, branch: Branch) -> None:
    known = decision.evidence.filter(
        pl.col(f"gap_{branch}").is_not_null() & pl.col("value").is_finite()
    )
    handles, names = [], []
    groups: Sequence[tuple[str, pl.Expr]] = (
        ("real databases", pl.col("origin") == "real"),
        ("synthetic databases", pl.col("origin") != "real"),
    )
    for place, (name, condition) in enumerate(groups):
        rows = known.filter(condition)
        if rows.is_empty():
            continue
        handles.append(
            ax.errorbar(
                rows["value"],
                100 * rows[f"gap_{branch}"],
                yerr=100 * rows[f"error_{branch}"].fill_null(0.0),
                fmt="os"[place],
                color=PALETTE[place],
                markersize=4 - place,
                elinewidth=0.6,
                alpha=0.9 - 0.4 * place,
            )
        )
        names.append(name)
    middle = np.asarray(known["value"].median() or 0.0)
    handles.append(
        ax.errorbar(
            decision.value if math.isfinite(decision.value) else middle,
            100 * decision.gaps[branch],
            yerr=100 * decision.errors[branch],
            fmt="*",
            color=INK,
            markersize=13,
            capsize=4,
        )
    )
    names.append("this task, predicted")
    ax.axhline(0, color=MUTED, linewidth=0.8)
    dress(ax, f"{branch} against dfs", decision.signal, "relative gap, %")
    legend(ax, handles, names)


def _by_name(values: Mapping[Branch, float]) -> dict[str, float]:
    return {str(branch): float(value) for branch, value in values.items()}
