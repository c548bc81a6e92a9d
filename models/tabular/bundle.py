"""Model bundles: everything that scores a new cutoff in a fresh process, in one folder.

    bundle.json       task, schema, feature definitions, encoders, settings, validation scores
    seed_<n>.txt      LightGBM's text form of each seed's model

A bundle needs nothing but itself and the database's staged tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl

from models.aggregation.engine import compute_features
from models.aggregation.features import Feature, feature_from_plain
from models.database.schema import Protocol, RelationalSchema, Task, to_plain
from models.database.schema_json import schema_from_plain
from models.tabular.encoding import FeatureEncoder, LabelEncoder
from models.tabular.lightgbm_learner import TrainedModel, predict_one

FILE = "bundle.json"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A trained model with all that it needs to score."""

    schema: RelationalSchema
    task: Task
    as_of: datetime
    features: tuple[Feature, ...]
    encoder: FeatureEncoder
    labels: LabelEncoder
    models: tuple[lightgbm.Booster, ...]
    best_rounds: tuple[Mapping[Protocol, int], ...]
    record: Mapping[str, Any]

    def predict_features(self, features: pl.DataFrame, protocol: Protocol) -> np.ndarray:
        """Predictions of every seed's model: shape (seeds, rows) or (seeds, rows, classes).

        The protocol is the one that the features were computed under.
        """
        matrix = self.encoder.transform(features)
        chosen = zip(self.models, self.best_rounds, strict=True)
        return np.stack([predict_one(model, matrix, best[protocol]) for model, best in chosen])

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
        until = min(visible_until or cutoff_time, cutoff_time)
        seeds = pl.DataFrame({"entity": entities}).with_row_index("row_id")
        seeds = seeds.with_columns(
            pl.col("row_id").cast(pl.Int64),
            pl.lit(cutoff_time).cast(pl.Datetime("us")).alias("cutoff_time"),
            pl.lit(until).cast(pl.Datetime("us")).alias("visible_until"),
        )
        features = compute_features(
            self.schema,
            self.features,
            tables,
            seeds,
            entity_table=self.task.entity_table,
            threads=threads,
        )
        keys = seeds.select("entity", "cutoff_time")
        protocol = Protocol.FROZEN if until < cutoff_time else Protocol.ROLLING
        return attach_predictions(keys, self.predict_features(features, protocol), self.labels)


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


def save_bundle(
    folder: Path,
    schema: RelationalSchema,
    task: Task,
    as_of: datetime,
    features: Sequence[Feature],
    encoder: FeatureEncoder,
    labels: LabelEncoder,
    models: Sequence[TrainedModel],
    record: Mapping[str, Any],
) -> None:
    """Writes a bundle; of the features only those that the encoder kept."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = set(encoder.columns)
    content = {
        "format": 1,
        "schema": to_plain(schema),
        "task": task.name,
        "as_of": as_of.isoformat(),
        "features": [feature.to_plain() for feature in features if feature.name in kept],
        "encoder": encoder.to_plain(),
        "classes": list(labels.classes),
        "seeds": [model.seed for model in models],
        "best_rounds": [model.best_rounds for model in models],
        "record": dict(record),
    }
    (folder / FILE).write_text(json.dumps(content, indent=1))
    for model in models:
        (folder / f"seed_{model.seed}.txt").write_text(model.text)


def load_bundle(folder: Path) -> Bundle:
    """The bundle in a folder.

    Raises:
        FileNotFoundError: the folder holds no bundle.
    """
    if not (folder / FILE).exists():
        raise FileNotFoundError(f"{folder} holds no model bundle (no {FILE})")
    content = json.loads((folder / FILE).read_text())
    schema = schema_from_plain(content["schema"])
    models = tuple(
        lightgbm.Booster(model_str=(folder / f"seed_{seed}.txt").read_text())
        for seed in content["seeds"]
    )
    return Bundle(
        schema=schema,
        task=schema.task(content["task"]),
        as_of=datetime.fromisoformat(content["as_of"]),
        features=tuple(feature_from_plain(feature) for feature in content["features"]),
        encoder=FeatureEncoder.from_plain(content["encoder"]),
        labels=LabelEncoder(tuple(content["classes"])),
        models=models,
        best_rounds=tuple(
            {Protocol(name): rounds for name, rounds in best.items()}
            for best in content["best_rounds"]
        ),
        record=content["record"],
    )
