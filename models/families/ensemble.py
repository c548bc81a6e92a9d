"""Bundles of several bundles: an ensemble whose prediction is the weighted mean of its members'.

Each member is a bundle of any kind in a sub-folder. The ensemble's n-th network or forest is made of
the n-th of every member, counted round where a member has fewer.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from models.aggregation.features import Feature
from models.database.schema import Protocol, TaskType
from models.families.bundle import Bundle, load_bundle
from models.learning.bundle import BundleBase, BundleHead, read_bundle, write_bundle
from models.learning.rows import RowsToPredict

KIND = "ensemble"
QUANTILES = 257
Weight = float | Mapping[Protocol, float]
"""Of a member: one for both protocols, or one each."""


class Combination(StrEnum):
    """What is averaged.

    MEAN: probabilities or values. RANKS: each member's rank of a prediction among its validation
    predictions, from 0 to 1; for binary tasks judged by order alone, as the result is no probability.
    """

    MEAN = "mean"
    RANKS = "ranks"


@dataclass(frozen=True)
class EnsembleBundle(BundleBase):
    """Members with their weights by protocol, of sum 1 under each.

    `quantiles` is empty for means; for ranks it has each member's, by protocol.
    """

    members: tuple[Bundle, ...]
    weights: tuple[Mapping[str, float], ...]
    quantiles: tuple[Mapping[str, Sequence[float]], ...] = ()

    @property
    def text_encoder(self) -> str | None:
        """The name of the text encoder of the graph that members read; None where none does."""
        return next((name for one in self.members if (name := _text_encoder(one))), None)

    def predict(self, rows: RowsToPredict, protocol: Protocol) -> np.ndarray:
        """The weighted means, by seed: shape (seeds, rows) or (seeds, rows, classes)."""
        total: list[np.ndarray] = []
        for place, member in enumerate(self.members):
            weight = self.weights[place][protocol]
            if weight == 0:
                continue
            found = member.predict(rows, protocol)
            if self.quantiles:
                found = ranks_of(found, np.asarray(self.quantiles[place][protocol]))
            parts = [weight * found[seed % len(found)] for seed in range(len(self.seeds))]
            total = [a + b for a, b in zip(total, parts, strict=True)] if total else parts
        return np.stack(total)


def quantiles_of(predictions: np.ndarray) -> np.ndarray:
    """Evenly spaced quantiles of all of a member's predictions, float64 [257], ascending."""
    return np.quantile(predictions, np.linspace(0, 1, QUANTILES))


def ranks_of(predictions: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """The share of what the quantiles are of that lies below each prediction, ties counting half."""
    below = np.interp(predictions, quantiles, np.linspace(0, 1, len(quantiles)))
    # `interp` jumps to the end of a run of equal quantiles; from the other side, to its beginning.
    above = np.interp(-predictions, -quantiles[::-1], np.linspace(0, 1, len(quantiles)))
    return np.asarray((below + 1 - above) / 2)


def save_ensemble(
    folder: Path,
    members: Sequence[tuple[Path, Weight]],
    quantiles: Sequence[Mapping[str, Sequence[float]]] = (),
    record: Mapping[str, Any] | None = None,
) -> None:
    """Writes the bundle of an ensemble, with copies of its members.

    Args:
        folder: Receives the bundle.
        members: Folder and weight of each member; weights are divided by their sum under each
            protocol, members that count under none are left out.
        quantiles: By member and protocol, `quantiles_of` its validation predictions, to average
            ranks; empty to average predictions.
        record: Further entries of the record, such as `validation_scores` by seed and protocol.

    Raises:
        ValueError: Under a protocol no weight is above 0, one is negative or not a number, the
            members differ in task, date, classes, text encoder or in a feature of the same name, or
            ranks are asked for in a task that is not binary.
    """
    weights = _shares([weight for _, weight in members])
    kept = [place for place, own in enumerate(weights) if any(own.values())]
    bundles = [load_bundle(members[place][0]) for place in kept]
    shares = [weights[place] for place in kept]
    head = _head(bundles, shares, record or {})
    if quantiles and head.task.task_type != TaskType.BINARY_CLASSIFICATION:
        raise ValueError(
            f"task {head.task.name} is a {head.task.task_type}: ranks can be averaged in binary "
            "classification only; average the predictions"
        )
    plain = [
        {"folder": f"member_{number}", "weight": share}
        | ({"quantiles": _plain(quantiles[place])} if quantiles else {})
        for number, (place, share) in enumerate(zip(kept, shares, strict=True))
    ]
    for place, member in zip(kept, plain, strict=True):
        shutil.copytree(members[place][0], folder / str(member["folder"]))
    write_bundle(folder, KIND, head, {"members": plain})


def load_ensemble_bundle(folder: Path) -> EnsembleBundle:
    """The bundle in a folder.

    Raises:
        FileNotFoundError: the folder or one of its members' holds no bundle.
    """
    common, content = read_bundle(folder)
    members = content["members"]
    return EnsembleBundle(
        **common,
        members=tuple(load_bundle(folder / member["folder"]) for member in members),
        weights=tuple(member["weight"] for member in members),
        quantiles=tuple(member["quantiles"] for member in members if "quantiles" in member),
    )


def _shares(weights: Sequence[Weight]) -> list[dict[str, float]]:
    """The weights by member and protocol, divided by their sum under the protocol."""
    found: list[dict[str, float]] = [{} for _ in weights]
    for protocol in Protocol:
        own = [float(w[protocol] if isinstance(w, Mapping) else w) for w in weights]
        if not all(math.isfinite(weight) and weight >= 0 for weight in own) or sum(own) <= 0:
            raise ValueError(
                "the weights of an ensemble must not be negative or all 0 "
                f"(got {own} under the {protocol} protocol)"
            )
        for shares, weight in zip(found, own, strict=True):
            shares[str(protocol)] = weight / sum(own)
    return found


def _head(
    bundles: Sequence[Bundle], weights: Sequence[Mapping[str, float]], record: Mapping[str, Any]
) -> BundleHead:
    first = bundles[0]
    for other in bundles[1:]:
        _check_same("task", first, first.task.name, other, other.task.name)
        _check_same("date", first, first.as_of, other, other.as_of)
        _check_same("classes", first, first.labels.classes, other, other.labels.classes)
    encoders = sorted({name for one in bundles if (name := _text_encoder(one))})
    if len(encoders) > 1:
        raise ValueError(
            f"the members of an ensemble read graphs of different text encoders: "
            f"{', '.join(encoders)}; a run has one graph, train them on the same"
        )
    features = _union(bundles)
    seeds = tuple(range(max(len(one.seeds) for one in bundles)))
    return BundleHead(
        first.schema,
        first.task,
        first.as_of,
        features,
        first.labels,
        seeds,
        _record(bundles, weights, len(features), len(seeds)) | dict(record),
    )


def _record(
    bundles: Sequence[Bundle], weights: Sequence[Mapping[str, float]], features: int, seeds: int
) -> dict[str, Any]:
    """What reports ask of every model; an ensemble as such has no rounds and no learning curve."""
    first = bundles[0].record
    parameters = {
        f"member {number}": f"{_in_words(own)} {one.record['candidate']} ({one.record['family']})"
        for number, (one, own) in enumerate(zip(bundles, weights, strict=True), start=1)
    }
    descriptions: dict[str, str] = {}
    for one in bundles:
        descriptions |= one.record.get("descriptions", {})
    return {
        "family": KIND,
        "candidate": KIND,
        "rows": first["rows"],
        "features": features,
        "baseline": first["baseline"],
        "train_label_std": first["train_label_std"],
        "best_rounds": [{str(protocol): 0 for protocol in Protocol} for _ in range(seeds)],
        "curves": [{} for _ in range(seeds)],
        "parameters": parameters,
        "importances": _importances(bundles, [w[bundles[0].task.protocol] for w in weights]),
        "descriptions": descriptions,
    }


def _importances(bundles: Sequence[Bundle], weights: Sequence[float]) -> dict[str, float]:
    """The weighted mean of those members that have any, largest first; of the task's protocol."""
    having = [(one.record["importances"], w) for one, w in zip(bundles, weights, strict=True)]
    having = [(shares, weight) for shares, weight in having if shares and weight]
    total = sum(weight for _, weight in having)
    found: dict[str, float] = {}
    for shares, weight in having:
        for name, share in shares.items():
            found[name] = found.get(name, 0.0) + share * weight / total
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _in_words(weights: Mapping[str, float]) -> str:
    if len(set(weights.values())) == 1:
        return f"{next(iter(weights.values())):.1%}"
    return ", ".join(f"{weight:.1%} {protocol}" for protocol, weight in weights.items())


def _union(bundles: Sequence[Bundle]) -> tuple[Feature, ...]:
    found: dict[str, Feature] = {}
    for bundle in bundles:
        for feature in bundle.features:
            if found.setdefault(feature.name, feature) != feature:
                raise ValueError(
                    f"two members of the ensemble mean different things by {feature.name!r}; train "
                    "them on the same feature table"
                )
    return tuple(found.values())


def _check_same(what: str, first: Bundle, its: Any, other: Bundle, others: Any) -> None:
    if its != others:
        names = first.record["candidate"], other.record["candidate"]
        raise ValueError(
            f"the members {names[0]!r} and {names[1]!r} of an ensemble differ in their {what}: "
            f"{its} and {others}; combine models of one task and date"
        )


def _text_encoder(bundle: Bundle) -> str | None:
    return getattr(bundle, "text_encoder", None)


def _plain(quantiles: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    return {str(protocol): [float(q) for q in own] for protocol, own in quantiles.items()}
