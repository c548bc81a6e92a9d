"""Bundles of networks over feature tables.

`encoder.pt` holds the encoder's arrays, `seed_<n>.pt` each seed's state for each protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from models.database.schema import Protocol
from models.learning.bundle import BundleBase, BundleHead, read_bundle, write_bundle
from models.learning.checkpoint import State
from models.learning.config import known_settings
from models.learning.device import one_thread
from models.learning.outcome import TargetScale, outputs_of, to_predictions
from models.learning.rows import RowsToPredict
from models.tabular.encoding import FeatureEncoder
from models.tabular.network import make_network
from models.tabular.network_config import NetworkConfig
from models.tabular.network_encoding import NetworkEncoder
from models.tabular.network_learner import TrainedNetwork, raw_outputs
from models.tabular.preparation import features_of

KIND = "network"
ENCODER = "encoder.pt"


@dataclass(frozen=True)
class NetworkBundle(BundleBase):
    """Networks over DFS features; `states` are each seed's, by protocol."""

    encoder: FeatureEncoder
    inputs: NetworkEncoder
    config: NetworkConfig
    scale: TargetScale
    states: tuple[Mapping[str, State], ...]

    def predict(self, rows: RowsToPredict, protocol: Protocol) -> np.ndarray:
        """Predictions of every seed's model: shape (seeds, rows) or (seeds, rows, classes).

        On the CPU and in one thread, so that the same rows get the same predictions everywhere.
        """
        numbers, codes = self.inputs.transform(self.encoder.transform(features_of(self, rows)))
        outputs = outputs_of(self.task.task_type, len(self.labels.classes))
        with torch.random.fork_rng(devices=[]):
            module = make_network(self.config, self.inputs, outputs).eval()
        found = []
        with one_thread():
            for states in self.states:
                module.load_state_dict(states[str(protocol)])
                raw = raw_outputs(module, numbers, codes)
                found.append(to_predictions(raw, self.task.task_type, self.scale))
        return np.stack(found)


def save_network_bundle(
    folder: Path,
    head: BundleHead,
    encoder: FeatureEncoder,
    inputs: NetworkEncoder,
    config: NetworkConfig,
    scale: TargetScale,
    models: Sequence[TrainedNetwork],
) -> None:
    """Writes a bundle; `head` is what every bundle has."""
    content = {
        "encoder": encoder.to_plain(),
        "network": asdict(config),
        "scale": scale.to_plain(),
    }
    write_bundle(folder, KIND, head, content)
    torch.save(inputs.to_plain(), folder / ENCODER)
    for model in models:
        torch.save(model.states, folder / f"seed_{model.seed}.pt")


def load_network_bundle(folder: Path) -> NetworkBundle:
    """The network bundle in a folder.

    Raises:
        FileNotFoundError: the folder holds no bundle.
    """
    head, content = read_bundle(folder)
    inputs = torch.load(folder / ENCODER, weights_only=True)
    return NetworkBundle(
        **head,
        encoder=FeatureEncoder.from_plain(content["encoder"]),
        inputs=NetworkEncoder.from_plain(inputs),
        config=NetworkConfig(**known_settings(NetworkConfig, content["network"])),
        scale=TargetScale.from_plain(content["scale"]),
        states=tuple(
            torch.load(folder / f"seed_{seed}.pt", map_location="cpu", weights_only=True)
            for seed in head["seeds"]
        ),
    )
