"""Networks over feature tables, from pytorch-frame's layers."""

from __future__ import annotations

from typing import Any

import torch
import torch_frame
from torch import Tensor
from torch_frame import TensorFrame
from torch_frame.data.stats import StatType
from torch_frame.nn import FTTransformer, ResNet
from torch_frame.nn.conv import FTTransformerConvs

from models.tabular.network_config import NetworkConfig
from models.tabular.network_encoding import NetworkEncoder


class LinearMap(torch.nn.Module):
    """A weight for each number and each value of a category: a generalised linear model.

    It starts from zero, so that early stopping is shrinkage. `dropout` leaves out inputs.
    """

    def __init__(self, encoder: NetworkEncoder, outputs: int, dropout: float) -> None:
        super().__init__()
        self.numbers = torch.nn.Linear(encoder.numbers, outputs)
        # The first code is of gaps, -1 in the inputs.
        sizes = [size + 1 for size in encoder.sizes]
        self.categories = torch.nn.Embedding(sum(sizes), outputs)
        self.first: Tensor
        self.register_buffer("first", torch.tensor([0, *sizes]).cumsum(0)[:-1], persistent=False)
        self.dropout = torch.nn.Dropout(dropout)
        for parameter in self.parameters():
            torch.nn.init.zeros_(parameter)

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Raw outputs, shape (rows, outputs), of numbers (rows, numbers) and codes (rows, columns)."""
        named = self.dropout(torch.ones_like(codes, dtype=numbers.dtype))
        parts = self.categories(codes + 1 + self.first) * named[..., None]
        raw: Tensor = self.numbers(self.dropout(numbers)) + parts.sum(1)
        return raw


class TabularNetwork(torch.nn.Module):
    """A ResNet or an FT-Transformer over the inputs of a `NetworkEncoder`.

    Gorishniy et al., "Revisiting deep learning models for tabular data", NeurIPS 2021.
    """

    def __init__(self, config: NetworkConfig, encoder: NetworkEncoder, outputs: int) -> None:
        super().__init__()
        self.columns = _column_names(encoder)
        shared: dict[str, Any] = {
            "channels": config.channels,
            "out_channels": outputs,
            "num_layers": config.layers,
            "col_stats": _statistics(encoder),
            "col_names_dict": self.columns,
        }
        self.network: torch.nn.Module
        if config.architecture == "resnet":
            self.network = ResNet(**shared, dropout_prob=config.dropout)
        else:
            transformer = FTTransformer(**shared)
            # Its own backbone, but with heads and a dropout that can be chosen.
            transformer.backbone = FTTransformerConvs(
                config.channels,
                num_layers=config.layers,
                nhead=config.heads,
                dropout=config.dropout,
            )
            transformer.reset_parameters()
            for part in transformer.modules():
                if isinstance(part, torch.nn.MultiheadAttention):
                    part.dropout = 0.0
            self.network = transformer

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Raw outputs, shape (rows, outputs), of numbers (rows, numbers) and codes (rows, columns)."""
        features = {torch_frame.numerical: numbers, torch_frame.categorical: codes}
        found = {stype: features[stype] for stype in self.columns}
        raw: Tensor = self.network(TensorFrame(found, self.columns))
        return raw


def make_network(config: NetworkConfig, encoder: NetworkEncoder, outputs: int) -> torch.nn.Module:
    """The architecture that the settings name, with new weights from torch's random state.

    It takes numbers (rows, numbers) and codes (rows, columns), and gives raw outputs (rows, outputs).
    """
    if config.architecture == "linear":
        return LinearMap(encoder, outputs, config.dropout)
    return TabularNetwork(config, encoder, outputs)


def _column_names(encoder: NetworkEncoder) -> dict[torch_frame.stype, list[str]]:
    """Names of the inputs by semantic type; a type without inputs is left out."""
    names = {
        torch_frame.numerical: [f"number {i}" for i in range(encoder.numbers)],
        torch_frame.categorical: [f"category {i}" for i in range(len(encoder.sizes))],
    }
    return {stype: found for stype, found in names.items() if found}


def _statistics(encoder: NetworkEncoder) -> dict[str, dict[StatType, Any]]:
    """What pytorch-frame's column encoders want to know: numbers are on one scale already."""
    names = _column_names(encoder)
    numbers = {
        name: {StatType.MEAN: 0.0, StatType.STD: 1.0}
        for name in names.get(torch_frame.numerical, [])
    }
    categories = {
        name: {StatType.COUNT: (list(range(size)), [1] * size)}
        for name, size in zip(names.get(torch_frame.categorical, []), encoder.sizes, strict=True)
    }
    return numbers | categories
