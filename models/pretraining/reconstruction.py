"""Masked autoencoding: every sampled row's columns, told from its embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn.module_dict import ModuleDict

from models.pretraining.losses import Sums
from models.rdl.row_encoder import features_of
from models.rdl.rows import RowInputs
from models.rdl.statistics import TableStatistics

PARTS = ("categories", "numbers", "texts")


class Reconstruction(nn.Module):
    """The columns of rows from the embeddings of their nodes, by linear heads, and the loss.

    The loss of a column is the mean, over nodes where its value is known, of the cross-entropy of a
    category (unknown ones are one class), the squared error of a scaled number, or the mean squared
    error of a text's embedding. Columns are averaged within these three parts, parts are added
    (Truong et al.'s published experiments). All cells count, altered or not. Times and the flags of
    missing values are not reconstructed, nor are columns that do not vary.

    Args:
        statistics: Of all tables.
        channels: Width of the embeddings.
    """

    def __init__(self, statistics: Mapping[str, TableStatistics], channels: int) -> None:
        super().__init__()
        self.statistics = dict(statistics)
        widths = {table: _widths(known) for table, known in statistics.items()}
        self.heads = ModuleDict(
            {t: nn.Linear(channels, sum(each)) for t, each in widths.items() if sum(each)}
        )
        self.widths = widths

    def forward(
        self,
        nodes: Mapping[str, Tensor],
        rows: Mapping[str, Tensor],
        inputs: Mapping[str, RowInputs],
    ) -> dict[str, Sums]:
        """The sums of each part, by column.

        Args:
            nodes: Embeddings [nodes, channels] by table.
            rows: The row of each node, int64 [nodes], by table.
            inputs: The unaltered rows of all tables.
        """
        found: dict[str, list[Sums]] = {part: [] for part in PARTS}
        some = next(iter(nodes.values()))
        for table, known in self.statistics.items():
            if table not in self.heads:
                continue
            taken = rows.get(table, torch.zeros(0, dtype=torch.int64, device=some.device))
            embedded = nodes.get(table, some[:0])
            head = cast(nn.Linear, self.heads[table])
            raw = torch.split(head(embedded).float(), self.widths[table], dim=1)
            for part, sums in _table_sums(raw, known, inputs[table], taken).items():
                found[part].append(sums)
        empty = torch.zeros(0, device=some.device)
        return {
            part: Sums(
                torch.cat([empty, *(one.total for one in sums)]),
                torch.cat([empty, *(one.weight for one in sums)]),
            )
            for part, sums in found.items()
        }


def _widths(known: TableStatistics) -> list[int]:
    """Outputs of a table's head: all numbers, then each category, then each text."""
    categories = [len(values) + 1 for values in known.categories.values()]
    return [len(known.numbers), *categories, *known.text.values()]


def _table_sums(
    raw: tuple[Tensor, ...], known: TableStatistics, inputs: RowInputs, rows: Tensor
) -> dict[str, Sums]:
    numbers, codes, texts = features_of(inputs, rows)
    count, categories = len(known.numbers), len(known.categories)
    is_known = torch.ones(len(rows), count, device=numbers.device)
    gaps = [i for i, number in enumerate(known.numbers) if number.has_gaps]
    # Flags of missing values stand after the numbers.
    is_known[:, gaps] = 1 - numbers[:, count : count + len(gaps)]
    squares = (raw[0] - numbers[:, :count]).square() * is_known
    entropies = [
        functional.cross_entropy(logits, codes[:, i].clamp(min=0), reduction="none")
        for i, logits in enumerate(raw[1 : 1 + categories])
    ]
    distances = [
        (reconstructed - text).square().mean(dim=1)
        for reconstructed, text in zip(raw[1 + categories :], texts, strict=True)
    ]
    return {
        "numbers": Sums(squares.sum(0), is_known.sum(0)),
        "categories": _masked_sums(entropies, codes >= 0),
        "texts": _masked_sums(distances, inputs.text_codes[rows] >= 0),
    }


def _masked_sums(columns: list[Tensor], is_known: Tensor) -> Sums:
    mask = is_known.float()
    if not columns:
        return Sums(mask.sum(0), mask.sum(0))
    return Sums((torch.stack(columns, dim=1) * mask).sum(0), mask.sum(0))
