"""Rows and their ages as embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_frame.nn.models.resnet import FCResidualBlock

from models.rdl.graph import MISSING_TIME
from models.rdl.rows import MICROSECONDS_A_DAY, RowInputs, number_names
from models.rdl.statistics import TableStatistics

DECAY_DAYS = (1 / 24, 0.25, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)


class RowEncoder(nn.Module):
    """A table's rows as embeddings: the columns' contributions added up, then residual blocks.

    Numbers and text embeddings contribute linearly, every value of a category (and a missing one)
    has an embedding. So do pytorch-frame's encoders, column by column in a narrow space; what
    follows them is linear again, and taken together it is one map per kind of column, which is what
    is computed here at a fraction of the cost. The blocks are those of the ResNet of Gorishniy et
    al., "Revisiting deep learning models for tabular data", NeurIPS 2021. A table without a usable
    column has one learned embedding.

    Args:
        statistics: What is known of the table.
        channels: Width of the result.
        layers: Residual blocks.
        dropout: Probability of dropout inside the blocks.
    """

    first_code: Tensor

    def __init__(
        self, statistics: TableStatistics, channels: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(channels) * 0.1)
        numbers, widths = len(number_names(statistics)), sum(statistics.text.values())
        # Besides the known values: missing, and any other.
        sizes = [len(values) + 2 for values in statistics.categories.values()]
        self.numbers = nn.Linear(numbers, channels, bias=False) if numbers else None
        self.text = nn.Linear(widths, channels, bias=False) if widths else None
        self.categories = nn.EmbeddingBag(sum(sizes), channels, mode="sum") if sizes else None
        if self.categories is not None:
            nn.init.normal_(self.categories.weight, std=1 / len(sizes) ** 0.5)
        first = torch.tensor([0, *sizes[:-1]]).cumsum(0)
        self.register_buffer("first_code", first, persistent=False)
        blocks = [FCResidualBlock(channels, channels, "layer_norm") for _ in range(layers)]
        for block in blocks:
            block.dropout = Dropout(dropout)
        self.blocks = nn.Sequential(nn.LayerNorm(channels), *blocks, nn.LayerNorm(channels))

    def forward(self, inputs: RowInputs, rows: Tensor) -> Tensor:
        """Embeddings of some rows, float32 [rows, channels]."""
        return self.encode(*features_of(inputs, rows))

    def encode(self, numbers: Tensor, codes: Tensor, text: tuple[Tensor, ...]) -> Tensor:
        """Embeddings of rows given by their features (`features_of`), perhaps altered."""
        encoded = self.constant.expand(len(numbers), -1)
        if self.numbers is not None:
            encoded = encoded + self.numbers(numbers)
        if self.categories is not None:
            encoded = encoded + self.categories(codes + 1 + self.first_code)
        if self.text is not None:
            encoded = encoded + self.text(torch.cat(text, dim=1))
        return self.blocks(encoded)


class Dropout(nn.Module):
    """Dropout that draws a byte for each number instead of a float: a third of the time on a CPU.

    The probability is rounded to 256ths; what is kept is scaled so that the mean stays.

    Args:
        probability: Of a number to become 0.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.dropped = round(256 * probability)

    def forward(self, values: Tensor) -> Tensor:
        """The values, some of them 0 in training."""
        if not self.training or self.dropped == 0:
            return values
        drawn = torch.empty(values.shape, dtype=torch.uint8, device=values.device).random_()
        return values * (drawn >= self.dropped) * (256 / (256 - self.dropped))


def features_of(inputs: RowInputs, rows: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """The numbers, codes and text embeddings of rows; a missing text is all zeros."""
    codes = inputs.text_codes[rows]
    text = tuple(
        values[codes[:, i].clamp(min=0)] * (codes[:, i] >= 0)[:, None]
        if len(values)
        else values.new_zeros((len(rows), values.shape[1]))
        for i, values in enumerate(inputs.text_values)
    )
    return inputs.numbers[rows], inputs.codes[rows], text


class AgeEncoder(nn.Module):
    """How long before the cutoff a row's times lie, as an addition to its embedding.

    An age goes in as its logarithm and as exponential decays of several rates, all bounded, so that
    ages beyond those of training do not lead astray. A time after the cutoff (a date of birth is not,
    a due date may be) has a negative age: its sign goes in too.

    Args:
        times: How many times a row has.
        channels: Width of the result.
    """

    decay: Tensor

    def __init__(self, times: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(times * (3 + len(DECAY_DAYS)), channels)
        self.register_buffer("decay", torch.tensor(DECAY_DAYS), persistent=False)

    def forward(self, times: Tensor, cutoff_time: Tensor) -> Tensor:
        """The encoded ages.

        Args:
            times: int64 [nodes, times] microseconds.
            cutoff_time: int64 [nodes] microseconds, each node's seed's.
        """
        is_known = times != MISSING_TIME
        # The difference in integers: float32 does not hold microseconds.
        days = ((cutoff_time[:, None] - times) * is_known).float() / MICROSECONDS_A_DAY
        size = days.abs()
        parts = [
            is_known.float()[..., None],
            (torch.sign(days) * is_known)[..., None],
            (torch.log1p(size) / 8)[..., None],
            torch.exp(-size[..., None] / self.decay),
        ]
        encoded = torch.cat(parts, dim=-1) * is_known[..., None]
        return self.linear(encoded.flatten(1))
