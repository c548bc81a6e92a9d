"""Bundles of LightGBM models: `seed_<n>_<protocol>.txt` is LightGBM's text form of each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl

from models.database.schema import Protocol
from models.learning.bundle import BundleBase, BundleHead, read_bundle, write_bundle
from models.learning.rows import RowsToPredict
from models.tabular.encoding import FeatureEncoder
from models.tabular.lightgbm_learner import TrainedModel, predict_one
from models.tabular.preparation import features_of

KIND = "lightgbm"


@dataclass(frozen=True)
class LightGBMBundle(BundleBase):
    """LightGBM models over DFS features, by seed and protocol.

    `best_rounds` is each seed's number of trees; `models` are the boosters.
    """

    encoder: FeatureEncoder
    models: tuple[Mapping[Protocol, lightgbm.Booster], ...]
    best_rounds: tuple[Mapping[Protocol, int], ...]

    def predict(self, rows: RowsToPredict, protocol: Protocol) -> np.ndarray:
        """Predictions of every seed's model: shape (seeds, rows) or (seeds, rows, classes)."""
        return self.predict_features(features_of(self, rows), protocol)

    def predict_features(self, features: pl.DataFrame, protocol: Protocol) -> np.ndarray:
        """Predictions of every seed's model: shape (seeds, rows) or (seeds, rows, classes).

        The protocol is the one that the features were computed under.
        """
        matrix = self.encoder.transform(features)
        chosen = zip(self.models, self.best_rounds, strict=True)
        return np.stack([predict_one(m[protocol], matrix, best[protocol]) for m, best in chosen])


def save_lightgbm_bundle(
    folder: Path, head: BundleHead, encoder: FeatureEncoder, models: Sequence[TrainedModel]
) -> None:
    """Writes a bundle; `head` is what every bundle has."""
    content = {
        "encoder": encoder.to_plain(),
        "best_rounds": [model.best_rounds for model in models],
    }
    write_bundle(folder, KIND, head, content)
    for model in models:
        for protocol, text in model.texts.items():
            _file(folder, model.seed, protocol).write_text(text)


def load_lightgbm_bundle(folder: Path) -> LightGBMBundle:
    """The LightGBM bundle in a folder.

    Raises:
        FileNotFoundError: the folder holds no bundle.
    """
    common, content = read_bundle(folder)
    return LightGBMBundle(
        **common,
        encoder=FeatureEncoder.from_plain(content["encoder"]),
        models=tuple(
            {p: lightgbm.Booster(model_str=_file(folder, seed, p).read_text()) for p in Protocol}
            for seed in common["seeds"]
        ),
        best_rounds=tuple(
            {Protocol(name): rounds for name, rounds in best.items()}
            for best in content["best_rounds"]
        ),
    )


def _file(folder: Path, seed: int, protocol: Protocol) -> Path:
    return folder / f"seed_{seed}_{protocol}.txt"
