"""How well branches are chosen for tasks of unseen databases: the selector next to its baselines.

Each database is left out in turn, and a chooser is made of the tasks of the others alone: whatever
it fits, selects or tunes, it does on those. Counted are only real databases; synthetic tasks may
serve to fit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from models.relatron.decision import Decision
from models.relatron.selector import fit_selector
from models.relatron.task_rows import OTHERS, features_of
from models.search.space import Branch

Chooser = Callable[[pl.DataFrame, pl.DataFrame], np.ndarray]
"""From the known tasks and those to choose for: Float64 (tasks, branches), the probabilities."""
BRANCHES = tuple(Branch)
NEAR_TIE = 2.0
"""Gaps below so many standard errors are near-ties: nobody is right or wrong on them."""
_BOOTSTRAPS = 2000


def evaluate(
    rows: pl.DataFrame, protocol: str, choosers: Mapping[str, Chooser] | None = None
) -> pl.DataFrame:
    """Regret and accuracy of choosers, one database left out at a time.

    Args:
        rows: As of `models.relatron.task_rows.task_rows`.
        protocol: The protocol whose scores count.
        choosers: By name; the selector and all baselines that the rows allow where None.

    Returns:
        One row a chooser: chooser, protocol, tasks, databases; regret (mean over tasks, relative,
        against the best branch of each) and accuracy (without near-ties; counted, the tasks that
        are left), each with _low and _high: the 95 % interval by bootstrap over databases; worst,
        the largest mean regret on one database. A task without a score of one of two branches
        counts with the branches that it has.

    Raises:
        ValueError: There are not two real databases with gaps.
    """
    own = rows.filter(pl.col("protocol") == protocol)
    gaps, errors = gaps_of(own), _errors_of(own)
    counted = (own["origin"] == "real").to_numpy() & (np.isfinite(gaps).sum(axis=1) > 1)
    databases = own["database"].to_numpy()
    names = np.unique(databases[counted])
    if len(names) < 2:
        raise ValueError(
            f"to leave a database out takes two with gaps (the bank has {len(names)} under the "
            f"{protocol} protocol); add trials of dfs and another branch on more databases"
        )
    found = []
    for name, chooser in (choosers or default_choosers(own, protocol)).items():
        chances = np.full(gaps.shape, math.nan)
        for left_out in names:
            held = counted & (databases == left_out)
            chances[held] = chooser(own.filter(databases != left_out), own.filter(held))
        regrets = _regrets(gaps[counted], chances[counted])
        right, clear = _right(gaps[counted], errors[counted], chances[counted])
        own_databases = databases[counted]
        worst = max(regrets[own_databases == one].mean() for one in names)
        found.append(
            {"chooser": name, "protocol": protocol, "tasks": len(regrets), "databases": len(names)}
            | _interval("regret", regrets, own_databases, np.ones(len(regrets), dtype=bool))
            | _interval("accuracy", right, own_databases, clear)
            | {"counted": int(clear.sum()), "worst": float(worst)}
        )
    return pl.DataFrame(found)


def default_choosers(rows: pl.DataFrame, protocol: str) -> dict[str, Chooser]:
    """The selector (naming one branch, and racing those that it leaves), and the baselines.

    Those that need validation scores of finished trials are there where the rows have them.
    """
    present = [branch for branch in BRANCHES if np.isfinite(gaps_of(rows)[:, _at(branch)]).any()]
    found: dict[str, Chooser] = {
        "selector": lambda known, asked: _routed(known, asked, protocol),
        "majority": _majority,
        **{f"always {branch}": _always(branch) for branch in present},
        "size stump": _stump,
        "decision tree": _tree,
    }
    if "validation_gap_rdl" in rows.columns:
        found["selector, races what it leaves"] = lambda known, asked: _raced(
            known, asked, protocol
        )
        found["race"] = _race
        found["validation, all searched"] = _validation
    return found


def gaps_of(rows: pl.DataFrame, prefix: str = "gap") -> np.ndarray:
    """Float64 (tasks, branches): gaps to dfs; 0 for dfs itself, NaN where there is none."""
    return np.column_stack(
        [np.zeros(rows.height)]
        + [rows[f"{prefix}_{branch}"].fill_null(math.nan).to_numpy() for branch in OTHERS]
    )


def left_by_selector(rows: pl.DataFrame, protocol: str) -> dict[str, int]:
    """What the selector leaves of the branches, each real task's database left out.

    Returns:
        The number of tasks by the branches that it names: `dfs`, `race of dfs and hybrid`.
    """
    own = rows.filter((pl.col("protocol") == protocol) & (pl.col("origin") == "real"))
    words = [
        decision.words
        for (name,), held in own.group_by("database", maintain_order=True)
        for decision in _decisions(rows.filter(pl.col("database") != name), held, protocol)
    ]
    return dict(Counter(words).most_common())


def _routed(known: pl.DataFrame, asked: pl.DataFrame, protocol: str) -> np.ndarray:
    means, _ = fit_selector(known, protocol).predict_rows(asked)
    return _one_hot(np.where(np.isfinite(gaps_of(asked)), means, -np.inf).argmax(axis=1))


def _raced(known: pl.DataFrame, asked: pl.DataFrame, protocol: str) -> np.ndarray:
    """The branch that the selector leaves, or the winner of a race of those that it does."""
    chances = _race(known, asked)
    for place, decision in enumerate(_decisions(known, asked, protocol)):
        left = sorted(map(_at, decision.branches))
        if len(left) == 1:
            chances[place] = _one_hot(np.array(left))
        elif len(left) == 2:
            first, second = (BRANCHES[one] for one in left)
            won = asked[f"duel_{first}_{second}"][place]
            chances[place] = 0.0
            chances[place, left] = won, 1 - won
    return chances


def _decisions(known: pl.DataFrame, asked: pl.DataFrame, protocol: str) -> list[Decision]:
    """For each task, among the branches that it has a score of."""
    selector = fit_selector(known, protocol)
    present = np.isfinite(gaps_of(asked))
    return [
        selector.decide(asked[place], [b for b in BRANCHES if present[place, _at(b)]])
        for place in range(asked.height)
    ]


def _winners(rows: pl.DataFrame) -> np.ndarray:
    """The best branch of each task, Int64 (tasks,)."""
    return np.asarray(np.nan_to_num(gaps_of(rows), nan=-np.inf).argmax(axis=1))


def _measured(known: pl.DataFrame) -> pl.DataFrame:
    """Real tasks with gaps; the others where there are none."""
    own = known.filter(np.isfinite(gaps_of(known)).sum(axis=1) > 1)
    real = own.filter(pl.col("origin") == "real")
    return own if real.is_empty() else real


def _majority(known: pl.DataFrame, asked: pl.DataFrame) -> np.ndarray:
    counts = np.bincount(_winners(_measured(known)), minlength=len(BRANCHES))
    return _one_hot(np.full(asked.height, counts.argmax()))


def _always(branch: Branch) -> Chooser:
    return lambda known, asked: _one_hot(np.full(asked.height, _at(branch)))


def _stump(known: pl.DataFrame, asked: pl.DataFrame) -> np.ndarray:
    """One threshold on the log number of rows."""
    return _classified(known, asked, ["log_rows"], depth=1)


def _tree(known: pl.DataFrame, asked: pl.DataFrame) -> np.ndarray:
    """As published: a decision tree of depth 3 that names the winner, on all signals."""
    names = [name for name in features_of(known).columns if name != "regression"]
    return _classified(known, asked, names, depth=3)


def _classified(
    known: pl.DataFrame, asked: pl.DataFrame, names: Sequence[str], depth: int
) -> np.ndarray:
    own = _measured(known)
    model = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        DecisionTreeClassifier(max_depth=depth, random_state=42),
    )
    model.fit(features_of(own).select(names).to_numpy(), _winners(own))
    return _one_hot(model.predict(features_of(asked).select(names).to_numpy()))


def _race(known: pl.DataFrame, asked: pl.DataFrame) -> np.ndarray:
    """The branch with the best validation score of a few trials of each."""
    return np.column_stack(
        [asked[f"race_{branch}"].fill_null(0.0).to_numpy() for branch in BRANCHES]
    )


def _validation(known: pl.DataFrame, asked: pl.DataFrame) -> np.ndarray:
    """The branch with the best validation score after a full search of all."""
    return _one_hot(np.nan_to_num(gaps_of(asked, "validation_gap"), nan=-np.inf).argmax(axis=1))


def _at(branch: Branch) -> int:
    return BRANCHES.index(branch)


def _one_hot(places: np.ndarray) -> np.ndarray:
    return np.eye(len(BRANCHES))[places]


def _regrets(gaps: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Expected regret of each task; a branch that it has no score of is as good as dfs."""
    best = np.nanmax(gaps, axis=1)
    return np.asarray(best - (chances * np.nan_to_num(gaps)).sum(axis=1))


def _right(
    gaps: np.ndarray, errors: np.ndarray, chances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The probability of the best branch, and whether it is ahead of the next beyond chance."""
    filled = np.where(np.isfinite(gaps), gaps, -np.inf)
    order = np.argsort(-filled, axis=1, kind="stable")
    tasks = np.arange(len(gaps))
    ahead = filled[tasks, order[:, 0]] - filled[tasks, order[:, 1]]
    variances = errors[tasks, order[:, 0]] ** 2 + errors[tasks, order[:, 1]] ** 2
    return chances[tasks, order[:, 0]], ahead > NEAR_TIE * np.sqrt(variances)


def _errors_of(rows: pl.DataFrame) -> np.ndarray:
    """Standard errors of the gaps, Float64 (tasks, branches); 0 where they are unknown."""
    return np.nan_to_num(gaps_of(rows, "error"))


def _interval(
    name: str, values: np.ndarray, databases: np.ndarray, used: np.ndarray
) -> dict[str, float]:
    """A mean over the used tasks, with its bootstrap interval over databases."""
    _, codes = np.unique(databases, return_inverse=True)
    sums = np.bincount(codes, np.where(used, values, 0.0))
    counts = np.bincount(codes, used.astype(float))
    if not counts.sum():
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), math.nan)
    drawn = np.random.default_rng(0).integers(len(sums), size=(_BOOTSTRAPS, len(sums)))
    drawn_counts = counts[drawn].sum(axis=1)
    means = sums[drawn].sum(axis=1)[drawn_counts > 0] / drawn_counts[drawn_counts > 0]
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        name: float(sums.sum() / counts.sum()),
        f"{name}_low": float(low),
        f"{name}_high": float(high),
    }
