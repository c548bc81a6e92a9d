"""Model bundles: everything that scores a new cutoff in a fresh process, in one folder.

`bundle.json` holds what every bundle has (kind, task, schema, features, classes, seeds, record) and
what its kind adds; beside it lie the files of the models. A bundle needs nothing but itself and the
database's staged tables.
"""

from __future__ import annotations

import abc
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.aggregation.features import Feature, feature_from_plain
from models.database.schema import Protocol, RelationalSchema, Task, to_plain
from models.database.schema_json import schema_from_plain
from models.learning.labels import LabelEncoder
from models.learning.rows import RowsToPredict, protocol_at, seeds_at

FILE = "bundle.json"
FIRST_KIND = "lightgbm"


@dataclass(frozen=True)
class BundleHead:
    """What every bundle has.

    Attributes:
        schema: The database as it was known at `as_of`.
        task: The task.
        as_of: The date of the run that trained it.
        features: The DFS features that it reads; empty where none.
        labels: The meaning of the encoded labels.
        seeds: One model each.
        record: What training left to be reported: `family`, `candidate`, `rows` (by split),
            `validation_scores` and `best_rounds` (per seed, by protocol), `curves` (per seed: the
            metric by round of `train` and of each protocol's validation rows), `parameters`,
            `baseline`, `train_label_std`, `importances` (empty where there are none).
    """

    schema: RelationalSchema
    task: Task
    as_of: datetime
    features: tuple[Feature, ...]
    labels: LabelEncoder
    seeds: tuple[int, ...]
    record: Mapping[str, Any]


@dataclass(frozen=True)
class BundleBase(BundleHead, abc.ABC):
    """A trained model with all that it needs to score; a kind of bundle adds its models."""

    @abc.abstractmethod
    def predict(self, rows: RowsToPredict, protocol: Protocol) -> np.ndarray:
        """Predictions of every seed's model, in the order of the seeds of `rows`, float64.

        Shape (seeds, rows): probabilities of the positive class or values; (seeds, rows, classes)
        for multiclass. The protocol says which of a seed's states is used.
        """

    def score(
        self,
        tables: Mapping[str, Path],
        entities: pl.Series,
        cutoff_time: datetime,
        visible_until: datetime | None = None,
        threads: int = 2,
    ) -> pl.DataFrame:
        """Predictions for entities at one cutoff, from the database's tables.

        Args:
            tables: Parquet of each staged table, by table name.
            entities: Primary keys of the entity table.
            cutoff_time: The cutoff; rows after it are not looked at.
            visible_until: An earlier limit for what may be seen (the frozen protocol).
            threads: Worker threads.

        Returns:
            entity, cutoff_time, prediction (and one column per class for multiclass).
        """
        seeds = seeds_at(entities, cutoff_time, visible_until)
        rows = RowsToPredict(seeds, tables, threads=threads)
        raw = self.predict(rows, protocol_at(cutoff_time, visible_until))
        return attach_predictions(seeds.select("entity", "cutoff_time"), raw, self.labels)


def attach_predictions(
    keys: pl.DataFrame, predictions: np.ndarray, labels: LabelEncoder
) -> pl.DataFrame:
    """The keys with the mean of the seeds' predictions.

    `prediction` is the probability of the positive class or the value; for multiclass it is the
    most probable class, beside one `probability_<class>` column each.
    """
    mean = predictions.mean(axis=0)
    if mean.ndim == 1:
        return keys.with_columns(pl.Series("prediction", mean, dtype=pl.Float64))
    likeliest = pl.Series("prediction", [labels.classes[i] for i in mean.argmax(axis=1)])
    probabilities = [
        pl.Series(f"probability_{name}", mean[:, i]) for i, name in enumerate(labels.classes)
    ]
    return keys.with_columns(likeliest, *probabilities)


def write_bundle(folder: Path, kind: str, head: BundleHead, content: Mapping[str, Any]) -> None:
    """Writes a folder's `bundle.json`.

    Args:
        folder: Made if it is not there.
        kind: Says which class reads it.
        head: What every bundle has.
        content: JSON-ready data of the kind; its names differ from those of the common part.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain = {
        "format": 1,
        "kind": kind,
        "schema": to_plain(head.schema),
        "task": head.task.name,
        "as_of": head.as_of.isoformat(),
        "features": [feature.to_plain() for feature in head.features],
        "classes": list(head.labels.classes),
        "seeds": list(head.seeds),
    }
    everything = plain | dict(content) | {"record": dict(head.record)}
    (folder / FILE).write_text(json.dumps(everything, indent=1))


def read_bundle(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A folder's `bundle.json`: the fields of its `BundleHead`, and all of its content.

    Raises:
        FileNotFoundError: the folder holds no bundle.
    """
    if not (folder / FILE).exists():
        raise FileNotFoundError(f"{folder} holds no model bundle (no {FILE})")
    content = json.loads((folder / FILE).read_text())
    schema = schema_from_plain(content["schema"])
    kind = kind_of(content)
    record = {"family": kind, "candidate": kind, "importances": {}} | content["record"]
    if "best_rounds" in content:
        record.setdefault("best_rounds", content["best_rounds"])
    common = {
        "schema": schema,
        "task": schema.task(content["task"]),
        "as_of": datetime.fromisoformat(content["as_of"]),
        "features": tuple(feature_from_plain(feature) for feature in content["features"]),
        "labels": LabelEncoder(tuple(content["classes"])),
        "seeds": tuple(content["seeds"]),
        "record": record,
    }
    return common, content


def kind_of(content: Mapping[str, Any]) -> str:
    """The kind of a bundle; bundles that do not name theirs are of the first kind there was."""
    return str(content.get("kind", FIRST_KIND))


def amend_record(folder: Path, entries: Mapping[str, Any]) -> None:
    """Adds entries to the record of a saved bundle."""
    content = json.loads((folder / FILE).read_text())
    content["record"] |= dict(entries)
    (folder / FILE).write_text(json.dumps(content, indent=1))
