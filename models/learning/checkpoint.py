"""Checkpoints: the state of a training run after an epoch, written aside and renamed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.artifacts.recipe import canonical_json
from models.learning.config import LoopConfig

FILE = "checkpoint.pt"
State = dict[str, Tensor]


def identity(config: LoopConfig, state: Mapping[str, Tensor], watched: Mapping[str, bool]) -> str:
    """A digest of what a run starts from: settings, initial state, watched metrics.

    A checkpoint continues only the run that it was made by; a run from other initial weights (a
    pretrained encoder, say) is another run, though every shape is the same.
    """
    found = hashlib.sha256(canonical_json([config, dict(watched)]).encode())
    for name, tensor in state.items():
        found.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous().flatten()
        found.update(values.view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:24]


def save_checkpoint(folder: Path, content: Mapping[str, Any]) -> None:
    """Replaces the folder's checkpoint; a kill leaves the old one or the new one, never a part."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{FILE}.{os.getpid()}"
    torch.save(dict(content), aside)
    os.replace(aside, folder / FILE)


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The folder's checkpoint with its tensors on the CPU, or None where there is none."""
    path = folder / FILE
    if not path.exists():
        return None
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def copy_state(module: torch.nn.Module) -> State:
    """A copy of a module's parameters and buffers, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
