"""How the signal of a task is spread over its DFS features."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.aggregation.paths import Path as SchemaPath
from models.database.schema import Task, TaskType
from models.dfs.config import FeatureConfig
from models.dfs.feature_table import build_feature_table, read_feature_table
from models.fidelity.databases import Database
from models.fidelity.estimator import CLIPPED, FEWEST_ROWS, fit
from models.synthetic.streams import Streams

KINDS = ("own", "parent", "child", "child's parent", "sibling", "grandchild")
TOPS = (1, 3, 10)
TREES = 60
FEATURES = FeatureConfig(depth=2, max_features=300)


@dataclass(frozen=True, slots=True)
class Spectrum:
    """How the gain of boosted trees is spread over the DFS features of a task.

    Attributes:
        task: The task.
        features: Features that were offered.
        top: The share of the gain in the best 1, 3 and 10 features.
        effective: The effective number of features: e to the entropy of the shares of the gain.
        kinds: The share of the gain by kind of feature, in the order of `KINDS`: the entity's own
            columns and the cutoff's date, columns of its parents, aggregates of its children, of
            its children's other parents, of rows that share a parent with it, of its children's
            children. Of longer paths the first two steps decide.
    """

    task: str
    features: int
    top: tuple[float, ...]
    effective: float
    kinds: tuple[float, ...]


def gain_spectrum(
    database: Database,
    task: Task,
    training_table: pl.DataFrame,
    as_of: datetime,
    seed: int = 0,
    rows: int = 2000,
) -> Spectrum | None:
    """The spectrum of a task over features of depth 2, at most 300 of them, shallow ones first.

    Args:
        database: The database.
        task: The task.
        training_table: row_id, entity, cutoff_time, label, split; training rows alone are used.
        as_of: The date of the run: semantic types that are not declared are inferred up to it.
        seed: Draws the rows.
        rows: At most so many training rows.

    Returns:
        The spectrum; None for too few labels or labels of one value, or where no feature gains.
    """
    training = training_table.filter(pl.col("split") == "train").drop_nulls("label")
    if training.height < FEWEST_ROWS:
        return None
    generator = Streams(seed).generator("spectrum", task.name)
    training = training[np.sort(generator.permutation(training.height)[:rows])]
    labels = _numbers(training["label"], task.task_type)
    if labels.max() == labels.min():
        return None
    with tempfile.TemporaryDirectory() as folder:
        build_feature_table(
            database.schema,
            task,
            training,
            as_of,
            database.tables,
            FEATURES,
            Path(folder),
            threads=1,
        )
        table = read_feature_table(Path(folder))
    # Features come in the order of row_id.
    labels = labels[training["row_id"].arg_sort().to_numpy()]
    fitted = fit(
        table.features.drop("row_id"), labels, task.task_type != TaskType.REGRESSION, TREES
    )
    if fitted is None:
        return None
    encoder, booster = fitted
    gains = booster.feature_importance("gain").astype(np.float64)
    if not gains.sum():
        return None
    paths = {feature.name: feature.path for feature in table.definitions}
    kinds = [kind_of(paths[name]) for name in encoder.columns]
    return spectrum_of(task.name, gains, kinds, len(table.definitions))


def spectrum_of(
    task: str, gains: NDArray[np.float64], kinds: Sequence[str], features: int
) -> Spectrum:
    """The spectrum of some gains, one a feature, not all 0, with the features' kinds."""
    shares = gains / gains.sum()
    ordered = np.sort(shares)[::-1]
    positive = ordered[ordered > 0]
    return Spectrum(
        task,
        features,
        tuple(float(ordered[:top].sum()) for top in TOPS),
        float(np.exp(-(positive * np.log(positive)).sum())),
        tuple(float(shares[np.array(kinds) == kind].sum()) for kind in KINDS),
    )


def kind_of(path: SchemaPath) -> str:
    """The kind of a feature along a path."""
    if not path:
        return "own"
    turns = [hop.forward for hop in path[:2]]
    if turns[0]:
        return "parent" if all(turns) else "sibling"
    if len(turns) == 1:
        return "child"
    return "child's parent" if turns[1] else "grandchild"


def _numbers(labels: pl.Series, task_type: TaskType) -> NDArray[np.float64]:
    """Labels as numbers, clipped; classes as 0 and 1, the most frequent against the rest."""
    if task_type == TaskType.REGRESSION:
        values = labels.cast(pl.Float64).to_numpy()
        return np.clip(values, *np.quantile(values, [CLIPPED, 1 - CLIPPED]))
    most = labels.mode().sort().head(1)
    return labels.is_in(most.implode()).cast(pl.Float64).to_numpy()
