"""Losses of task vectors, as weighted sums that add up over batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.tve.targets import Kind

BITS = frozenset({Kind.ANY, Kind.SHARE})
TINY, SMALLEST_SHARE, LEAST_UNIT, LEAST_LOSS = 1e-12, 1e-3, 0.05, 0.01


@dataclass(frozen=True, slots=True)
class Sums:
    """Weighted sums of k losses and the sums of the weights, both float32 [k]."""

    total: Tensor
    weight: Tensor

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.total + other.total, self.weight + other.weight)

    def detach(self) -> Sums:
        """The same without gradient."""
        return Sums(self.total.detach(), self.weight.detach())

    def means(self) -> Tensor:
        """Each loss's weighted mean, 0 where nothing counted."""
        is_there = self.weight > 0
        return torch.where(is_there, self.total / torch.where(is_there, self.weight, 1.0), 0.0)

    def geometric_mean(self) -> Tensor:
        """The geometric mean over the losses of which anything counted, none taken as below 0.01."""
        logs = self.means().clamp(min=LEAST_LOSS).log() * (self.weight > 0)
        return (logs.sum() / (self.weight > 0).sum().clamp(min=1)).exp()

    def mean(self) -> Tensor:
        """The mean over the losses of which anything counted; 0 where there is none."""
        return self.means().sum() / (self.weight > 0).sum().clamp(min=1)


class TypedLoss(nn.Module):
    """The loss of typed task vectors: per group a masked weighted mean, groups averaged equally.

    With predictions p, targets y, mask m and row weights w, the loss of group g over its rows i and
    components j is sum_ij(w_i m_ij l(p_ij, y_ij)) / sum_ij(w_i m_ij), in units of `fit_units`. l is

    - for `any` and `share` the binary cross-entropy of the logit p;
    - for `category` the cross-entropy of the distribution over the group's categories and one for
      all that is not among them, whose logit is 0 and whose share is what the targets leave;
    - for all others Huber's loss with a bend at 1, on scaled targets.

    Masked components have no influence and no gradient. The units make groups comparable: the
    entropy of a distribution over thirty categories would outweigh everything else, and what hardly
    ever happens would count for nothing. A loss of 1 knows no more than the training means.

    Args:
        targets: The definitions of the vector's components, with `kind` and `group`.
    """

    membership: Tensor
    is_bit: Tensor
    places: Tensor
    is_place: Tensor
    category_groups: Tensor
    units: Tensor

    def __init__(self, targets: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        groups = list(dict.fromkeys(target["group"] for target in targets))
        number = {group: i for i, group in enumerate(groups)}
        kinds = [Kind(target["kind"]) for target in targets]
        self.groups = groups
        self.kind_of_group = [kinds[_first(targets, group)] for group in groups]
        columns: list[list[int]] = [[] for _ in groups]
        membership = torch.zeros(len(targets), len(groups))
        for i, (target, kind) in enumerate(zip(targets, kinds, strict=True)):
            if kind is Kind.CATEGORY:
                columns[number[target["group"]]].append(i)
            else:
                membership[i, number[target["group"]]] = 1.0
        distributions = [i for i, found in enumerate(columns) if found]
        widest = max((len(columns[i]) for i in distributions), default=0)
        places = torch.zeros(len(distributions), widest, dtype=torch.int64)
        is_place = torch.zeros(len(distributions), widest, dtype=torch.bool)
        for row, i in enumerate(distributions):
            places[row, : len(columns[i])] = torch.tensor(columns[i])
            is_place[row, : len(columns[i])] = True
        self._keep("membership", membership)
        self._keep("is_bit", torch.tensor([kind in BITS for kind in kinds]))
        self._keep("places", places)
        self._keep("is_place", is_place)
        self._keep("category_groups", torch.tensor(distributions, dtype=torch.int64))
        self._keep("units", torch.ones(len(groups)))

    def forward(self, raw: Tensor, values: Tensor, mask: Tensor, weight: Tensor) -> Sums:
        """The sums by group.

        Args:
            raw: [rows, targets], a linear head's output.
            values: float32 [rows, targets].
            mask: bool [rows, targets].
            weight: float32 [rows].
        """
        raw = raw.float()
        counted = mask * weight[:, None]
        bits = functional.binary_cross_entropy_with_logits(
            raw, torch.where(self.is_bit, values, 0.0), reduction="none"
        )
        each = torch.where(self.is_bit, bits, functional.huber_loss(raw, values, reduction="none"))
        # A product with the membership, unlike a scatter, sums in the same order on every device.
        total = (each * counted).sum(0) @ self.membership
        seen = counted.sum(0) @ self.membership
        if len(self.category_groups):
            totals, weights = self._distributions(raw, values, mask, weight)
            total = total.index_copy(0, self.category_groups, totals)
            seen = seen.index_copy(0, self.category_groups, weights)
        return Sums(total / self.units, seen)

    @torch.no_grad()
    def fit_units(self, values: Tensor, mask: Tensor, weight: Tensor) -> None:
        """Sets each group's unit: its loss if every row is foretold the weighted mean of all rows.

        No unit is below 0.05: what never varies is not worth a closer look.

        Args:
            values: float32 [rows, targets], of training rows.
            mask: bool [rows, targets].
            weight: float32 [rows].
        """
        sizes = weight @ mask.float()
        means = (weight @ (values * mask)) / sizes.clamp(min=TINY)
        shares = means.clamp(SMALLEST_SHARE, 1 - SMALLEST_SHARE)
        raw = torch.where(self.is_bit, torch.logit(shares), means)
        if len(self.category_groups):
            chosen = means[self.places].clamp(min=0) * self.is_place
            rest = (1 - chosen.sum(-1, keepdim=True)).clamp(min=SMALLEST_SHARE)
            logits = (chosen.clamp(min=SMALLEST_SHARE) / rest).log()
            raw[self.places[self.is_place]] = logits[self.is_place]
        self.units.fill_(1.0)
        found = self(raw.expand_as(values), values, mask, weight)
        self.units.copy_(torch.where(found.weight > 0, found.means().clamp(min=LEAST_UNIT), 1.0))

    def by_kind(self, sums: Sums) -> dict[str, Tensor]:
        """The mean loss of the groups of each kind, of the kinds that counted."""
        found = {}
        for kind in dict.fromkeys(self.kind_of_group):
            of_kind = [i for i, other in enumerate(self.kind_of_group) if other is kind]
            if bool((sums.weight[of_kind] > 0).any()):
                found[str(kind)] = Sums(sums.total[of_kind], sums.weight[of_kind]).mean()
        return found

    def _distributions(
        self, raw: Tensor, values: Tensor, mask: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        shares = values[:, self.places] * self.is_place
        rest = (1 - shares.sum(-1, keepdim=True)).clamp(min=0)
        # Large, not infinite: the share 0 of a place that is none is multiplied by its logarithm.
        logits = raw[:, self.places].masked_fill(~self.is_place, -1e9)
        logs = torch.log_softmax(torch.cat([logits, torch.zeros_like(rest)], dim=-1), dim=-1)
        each = -(torch.cat([shares, rest], dim=-1) * logs).sum(-1)
        # A window without a row masks the whole distribution.
        counted = mask[:, self.places[:, 0]] * weight[:, None]
        return (each * counted).sum(0), counted.sum(0)

    def _keep(self, name: str, tensor: Tensor) -> None:
        self.register_buffer(name, tensor, persistent=False)


def _first(targets: Sequence[Mapping[str, Any]], group: str) -> int:
    return next(i for i, target in enumerate(targets) if target["group"] == group)


def scaled_cosine(
    raw: Tensor, values: Tensor, weight: Tensor, inactive_weight: float, alpha: float
) -> Sums:
    """The paper's scaled cosine error, the sum over rows as the one loss.

    With predictions p and targets y, row i costs (1 - cos(p_i, y_i))^alpha, times `inactive_weight`
    where nothing happened and 1 - `inactive_weight` elsewhere (Truong et al., arXiv 2507.09837,
    after the scaled cosine error of Hou et al., "GraphMAE", KDD 2022, Eq. 2).

    Args:
        raw: [rows, targets], a linear head's output.
        values: float32 [rows, targets] of reference vectors, whose last component is 1 for inactive
            rows and 0 for others.
        weight: float32 [rows].
        inactive_weight: From 0 to 1.
        alpha: The power.
    """
    error = (1 - functional.cosine_similarity(raw.float(), values, dim=-1)).clamp(min=0)
    of_class = torch.where(values[:, -1] > 0.5, inactive_weight, 1 - inactive_weight)
    counted = of_class * weight
    return Sums((error**alpha * counted).sum()[None], counted.sum()[None])
