"""The study published with Relatron (ICLR 2026), rebuilt from its released table of 24 tasks.

The table (`results/task_feature_summary.csv` of the paper's repository) has per task the test score
of the relational network and of DFS with a tabular learner, each selected by validation and by
test, and the signals. The paper reports (Section 4, Tables 4 and 5) how often a classifier, left
one task out, names the winner; here that is measured left one database out too, with the baselines
that it has to beat, and in lost score instead of lost tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy import stats
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

SelectedBy = Literal["val", "test"]
SIZE = "log_size"
MODEL_FREE = (
    "h_adjs_corr_mean",
    "h_adjs_corr_max",
    "h_adjs_corr_min",
    "h_adjs_corr_mode",
    "h_adjs_corr_weighted_mean",
    "lag1_autocorr_corr",
    "lag2_autocorr_corr",
    SIZE,
    "variance_same_class_ratio",
    "mean_same_class_ratio_ignore",
    "adjusted_mean_same_class_ratio",
    "sparsity_ratio",
    "mean_past_task_nodes",
)
"""The published set of signals that need no model: homophily, autocorrelation, size, context."""
SEED = 42
CLASSIFIERS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "random forest": (
        lambda: RandomForestClassifier(100, max_depth=5, random_state=SEED),
        MODEL_FREE,
    ),
    "decision tree": (
        lambda: DecisionTreeClassifier(max_depth=3, random_state=SEED),
        MODEL_FREE,
    ),
    "gradient boosting": (
        lambda: GradientBoostingClassifier(n_estimators=50, max_depth=3, random_state=SEED),
        MODEL_FREE,
    ),
    "size stump": (lambda: DecisionTreeClassifier(max_depth=1, random_state=SEED), (SIZE,)),
}


@dataclass(frozen=True, slots=True)
class Correlation:
    """Of a signal with the gap, over a number of tasks."""

    spearman: float
    spearman_p: float
    pearson: float
    pearson_p: float
    tasks: int


def read_published(path: Path) -> pl.DataFrame:
    """The released table with log_size = log(1 + training and validation rows).

    Raises:
        ValueError: It lacks a column that the study reads.
    """
    table = pl.read_csv(path).with_columns(
        (pl.col("train_rows") + pl.col("val_rows") + 1).log().alias(SIZE)
    )
    if lacking := sorted(set(MODEL_FREE) - set(table.columns)):
        raise ValueError(f"{path} lacks the columns {', '.join(lacking)} of the released table")
    return table


def winners(table: pl.DataFrame, selected_by: SelectedBy) -> np.ndarray:
    """1 where the relational network's test score is better than DFS's, Int64 (tasks,)."""
    return (raw_gaps(table, selected_by) > 0).astype(np.int64)


def raw_gaps(table: pl.DataFrame, selected_by: SelectedBy) -> np.ndarray:
    """Network minus DFS as published: AUC in points of 100, MAE (sign turned) in target units."""
    rdl, dfs = _scores(table, selected_by)
    return np.where(_is_classification(table), rdl - dfs, dfs - rdl)


def relative_gaps(table: pl.DataFrame, selected_by: SelectedBy) -> np.ndarray:
    """The gaps as a share of the larger of both scores: without a unit."""
    return raw_gaps(table, selected_by) / np.maximum(*_scores(table, selected_by))


def predictions(
    table: pl.DataFrame,
    selected_by: SelectedBy,
    classifier: str,
    left_out: Literal["task", "database"],
) -> np.ndarray:
    """The winner of each task by a classifier (see `CLASSIFIERS`) fitted without it, Int64 (tasks,).

    As published, gaps are filled with the median and features standardised over all tasks, those
    left out too; `left_out` is what is kept from the fit besides the task: nothing, or its database.
    """
    make, names = CLASSIFIERS[classifier]
    features = table.select(names).fill_null(math.nan).to_numpy()
    features = StandardScaler().fit_transform(
        SimpleImputer(strategy="median").fit_transform(features)
    )
    labels = winners(table, selected_by)
    groups = np.arange(len(labels)) if left_out == "task" else table["dataset_name"].to_numpy()
    found = np.zeros_like(labels)
    for group in np.unique(groups):
        own = groups == group
        found[own] = make().fit(features[~own], labels[~own]).predict(features[own])
    return found


def regret(table: pl.DataFrame, selected_by: SelectedBy, chosen: np.ndarray) -> float:
    """The mean over all tasks of the relative gap where the choice (1 network, 0 DFS) is wrong."""
    wrong = chosen != winners(table, selected_by)
    return float((np.abs(relative_gaps(table, selected_by)) * wrong).mean())


def homophily_correlation(
    table: pl.DataFrame, selected_by: SelectedBy, relative: bool
) -> Correlation:
    """Of the mean adjusted homophily with the gap, on the tasks that fill in no column."""
    own = table.filter(~pl.col("task_type").str.starts_with("auto"))
    gaps = relative_gaps(own, selected_by) if relative else raw_gaps(own, selected_by)
    return _correlation(own["h_adjs_corr_mean"].to_numpy(), gaps)


def size_correlation(table: pl.DataFrame, selected_by: SelectedBy) -> Correlation:
    """Of the log size with the relative gap, on all tasks."""
    return _correlation(table[SIZE].to_numpy(), relative_gaps(table, selected_by))


def study(table: pl.DataFrame) -> pl.DataFrame:
    """Right choices and mean relative regret of all classifiers and of always one branch.

    Returns:
        selected_by (`val`, `test`), left_out (`task`, `database`), chooser, right, tasks, regret.
    """
    selections: Sequence[SelectedBy] = ("val", "test")
    rows = []
    for selected_by in selections:
        labels = winners(table, selected_by)
        for left_out in ("task", "database"):
            choices = {"always rdl": np.ones_like(labels), "always dfs": np.zeros_like(labels)}
            for name in CLASSIFIERS:
                choices[name] = predictions(table, selected_by, name, left_out)  # type: ignore[arg-type]
            rows += [
                {
                    "selected_by": selected_by,
                    "left_out": left_out,
                    "chooser": name,
                    "right": int((chosen == labels).sum()),
                    "tasks": len(labels),
                    "regret": regret(table, selected_by, chosen),
                }
                for name, chosen in choices.items()
            ]
    return pl.DataFrame(rows)


def published_rows(table: pl.DataFrame, selected_by: SelectedBy = "val") -> pl.DataFrame:
    """The published tasks as rows for `models.relatron.selector.fit_selector`.

    The signals are the model-free ones. No standard errors were published, so there are none here;
    nor validation scores. The protocol is called `published`: the network and DFS were scored under
    different ones.
    """
    return table.select(
        pl.col("dataset_name").alias("database"),
        pl.col("task_name").alias("task"),
        pl.lit(None, dtype=pl.Datetime("us")).alias("as_of"),
        pl.lit("published").alias("protocol"),
        pl.lit("real").alias("origin"),
        pl.col("task_type").str.strip_prefix("auto_"),
        "train_rows",
        pl.col("val_rows").alias("validation_rows"),
        pl.Series("gap_rdl", relative_gaps(table, selected_by)),
        pl.lit(None, dtype=pl.Float64).alias("error_rdl"),
        pl.lit(None, dtype=pl.Float64).alias("gap_hybrid"),
        pl.lit(None, dtype=pl.Float64).alias("error_hybrid"),
        *[name for name in MODEL_FREE if name != SIZE],
    )


def _correlation(signal: np.ndarray, gaps: np.ndarray) -> Correlation:
    spearman, pearson = stats.spearmanr(signal, gaps), stats.pearsonr(signal, gaps)
    return Correlation(
        float(spearman.statistic),
        float(spearman.pvalue),
        float(pearson.statistic),
        float(pearson.pvalue),
        len(gaps),
    )


def _scores(table: pl.DataFrame, selected_by: SelectedBy) -> tuple[np.ndarray, np.ndarray]:
    return (
        table[f"rdl_test_metric_selected_by_{selected_by}"].to_numpy(),
        table[f"dfs_test_metric_selected_by_{selected_by}"].to_numpy(),
    )


def _is_classification(table: pl.DataFrame) -> np.ndarray:
    return table["task_type"].str.contains("classification").to_numpy()
