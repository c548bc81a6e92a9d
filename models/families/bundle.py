"""The common surface of all model bundles, and how to load one."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.aggregation.features import Feature
from models.database.schema import Protocol, RelationalSchema, Task
from models.learning.bundle import FILE, attach_predictions, kind_of
from models.learning.labels import LabelEncoder
from models.learning.rows import RowsToPredict

__all__ = ["Bundle", "RowsToPredict", "attach_predictions", "load_bundle"]


class Bundle(typing.Protocol):
    """A trained model with all that it needs to score: `models.learning.bundle.BundleBase`."""

    @property
    def schema(self) -> RelationalSchema:
        """The database as it was known at `as_of`."""

    @property
    def task(self) -> Task:
        """The task."""

    @property
    def as_of(self) -> datetime:
        """The date of the run that trained it."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """The DFS features that it reads; empty where none."""

    @property
    def labels(self) -> LabelEncoder:
        """The meaning of the encoded labels."""

    @property
    def seeds(self) -> Sequence[int]:
        """One model each."""

    @property
    def record(self) -> Mapping[str, Any]:
        """What training left to be reported."""

    def predict(self, rows: RowsToPredict, protocol: Protocol) -> np.ndarray:
        """Predictions of every seed's model: (seeds, rows) or (seeds, rows, classes)."""

    def score(
        self,
        tables: Mapping[str, Path],
        entities: pl.Series,
        cutoff_time: datetime,
        visible_until: datetime | None = None,
        threads: int = 2,
    ) -> pl.DataFrame:
        """Predictions for entities at one cutoff, from the database's tables alone."""


def load_bundle(folder: Path) -> Bundle:
    """The bundle in a folder, whatever its kind.

    Raises:
        FileNotFoundError: the folder holds no bundle.
        ValueError: its kind is not known here.
    """
    if not (folder / FILE).exists():
        raise FileNotFoundError(f"{folder} holds no model bundle (no {FILE})")
    kind = kind_of(json.loads((folder / FILE).read_text()))
    # A kind's libraries are imported when a bundle of the kind is loaded, not before.
    if kind == "lightgbm":
        from models.tabular.lightgbm_bundle import load_lightgbm_bundle

        return load_lightgbm_bundle(folder)
    if kind == "network":
        from models.tabular.network_bundle import load_network_bundle

        return load_network_bundle(folder)
    if kind == "in_context":
        from models.tabular.in_context import load_in_context_bundle

        return load_in_context_bundle(folder)
    if kind == "rdl":
        from models.rdl.bundle import load_rdl_bundle

        return load_rdl_bundle(folder)
    if kind == "lightgbm_on_embeddings":
        from models.families.embedding_features import load_embedding_features_bundle

        return load_embedding_features_bundle(folder)
    if kind == "ensemble":
        from models.families.ensemble import load_ensemble_bundle

        return load_ensemble_bundle(folder)
    raise ValueError(
        f"{folder} holds a bundle of the kind {kind!r}, which this version does not know; "
        "score it with the version that wrote it, or train anew"
    )
