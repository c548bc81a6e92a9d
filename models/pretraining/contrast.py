"""Contrast: the clean and the altered view of a node are alike, those of other rows are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn.module_dict import ModuleDict

from models.pretraining.losses import Sums


class Contrast(nn.Module):
    """InfoNCE between two views of the nodes of each table, tables averaged equally.

    Van den Oord et al., "Representation learning with contrastive predictive coding", 2018, Eq. 4,
    symmetric as in Chen et al., "A simple framework for contrastive learning", ICML 2020.

    Args:
        tables: All tables.
        channels: Width of the embeddings; views are compared in half of it.
        temperature: Divides the cosines.
    """

    def __init__(self, tables: list[str], channels: int, temperature: float) -> None:
        super().__init__()
        self.tables, self.temperature = tables, temperature
        width = max(channels // 2, 1)
        self.heads = ModuleDict({table: nn.Linear(channels, width) for table in tables})

    def forward(
        self,
        altered: Mapping[str, Tensor],
        clean: Mapping[str, Tensor],
        rows: Mapping[str, Tensor],
    ) -> Sums:
        """The sums by table; a table of fewer than two different rows does not count.

        Args:
            altered: Embeddings [nodes, channels] of one view, by table.
            clean: Of the other.
            rows: The row of each node, int64 [nodes], by table.
        """
        some = next(iter(altered.values()))
        totals = [some.new_zeros((), dtype=torch.float32)] * len(self.tables)
        weights = list(totals)
        for i, table in enumerate(self.tables):
            taken = rows.get(table)
            if taken is None or len(taken) == 0 or bool((taken == taken[0]).all()):
                continue
            head = cast(nn.Linear, self.heads[table])
            views = head(altered[table]), head(clean[table])
            totals[i] = info_nce(*views, taken, self.temperature).sum()
            weights[i] = torch.full_like(weights[i], len(taken))
        return Sums(torch.stack(totals), torch.stack(weights))


def info_nce(first: Tensor, second: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """Each node's loss, float32 [nodes]: how badly its other view is found among all nodes.

    Nodes of the same row (seen by different seeds) are left out of each other's negatives.

    Args:
        first: [nodes, width], one view.
        second: [nodes, width], the other.
        rows: int64 [nodes].
        temperature: Divides the cosines.
    """
    one = functional.normalize(first.float(), dim=1)
    other = functional.normalize(second.float(), dim=1)
    similarity = one @ other.T / temperature
    is_same = rows[:, None] == rows
    is_same.fill_diagonal_(False)
    similarity = similarity.masked_fill(is_same, -torch.inf)
    own = torch.arange(len(rows), device=rows.device)
    return 0.5 * (
        functional.cross_entropy(similarity, own, reduction="none")
        + functional.cross_entropy(similarity.T, own, reduction="none")
    )
