"""Pretrained backbones in files, whether they fit a network, and how one starts from them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.rdl.config import Convolution, NetworkShape
from models.rdl.graph import EdgeType
from models.rdl.network import Backbone
from models.rdl.statistics import TableStatistics, statistics_from_plain

FILE = "checkpoint.pt"
FORMAT = 1
STACKED = ("k_rel.weight", "v_rel.weight")
"""HGT's weights of all edge types in one tensor [heads * edge types, ...]."""


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A pretrained backbone.

    Args:
        pretext: What it was trained on.
        shape: Its architecture.
        statistics: What it reads of each table, fitted on rows up to `limit`.
        edge_types: The graph's.
        limit: Nothing later entered training: the first validation cutoff of the database's tasks.
        hidden: (table, column) pairs that it does not read.
        state: The backbone's parameters and buffers, on the CPU.
    """

    pretext: str
    shape: NetworkShape
    statistics: Mapping[str, TableStatistics]
    edge_types: tuple[EdgeType, ...]
    limit: datetime
    hidden: frozenset[tuple[str, str]]
    state: Mapping[str, Tensor]

    def statistics_for(
        self, statistics: Mapping[str, TableStatistics]
    ) -> dict[str, TableStatistics]:
        """The statistics of a network that starts from here: these, and a new table's own.

        Args:
            statistics: Of all tables of the network's graph, such as one of past labels besides.
        """
        return {table: self.statistics.get(table, own) for table, own in statistics.items()}

    def random_backbone(self) -> Backbone:
        """A backbone of the same architecture and inputs with weights from torch's random state."""
        edge_types = list(self.edge_types)
        # Only their size matters to PNA: its mean degrees are part of the state.
        degrees = {edge: torch.tensor([1, 1]) for edge in edge_types}
        return Backbone(self.statistics, edge_types, self.shape, degrees)

    def backbone(self) -> Backbone:
        """The pretrained backbone; torch's random state stays as it was."""
        with torch.random.fork_rng(devices=[]):
            found = self.random_backbone()
        found.load_state_dict(dict(self.state))
        return found


class TakenOver(NamedTuple):
    """Parameters that a network took from a pretrained one, and those that stay as they were."""

    taken: int
    new: int


def save_pretrained(pretrained: Pretrained, folder: Path) -> None:
    """Writes `checkpoint.pt`, aside and renamed."""
    content = {
        "format": FORMAT,
        "pretext": str(pretrained.pretext),
        "shape": asdict(pretrained.shape) | {"convolution": str(pretrained.shape.convolution)},
        "statistics": [known.to_plain() for known in pretrained.statistics.values()],
        "edge_types": [list(edge) for edge in pretrained.edge_types],
        "limit": pretrained.limit.isoformat(),
        "hidden": sorted(list(pair) for pair in pretrained.hidden),
        "state": dict(pretrained.state),
    }
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{FILE}.{os.getpid()}"
    torch.save(content, aside)
    os.replace(aside, folder / FILE)


def load_pretrained(folder: Path) -> Pretrained:
    """The pretrained backbone in a folder, on the CPU.

    Raises:
        FileNotFoundError: The folder holds none.
    """
    if not (folder / FILE).exists():
        raise FileNotFoundError(f"{folder} holds no pretrained backbone (no {FILE})")
    content: dict[str, Any] = torch.load(folder / FILE, map_location="cpu", weights_only=True)
    shape = content["shape"]
    statistics = [statistics_from_plain(plain) for plain in content["statistics"]]
    return Pretrained(
        pretext=content["pretext"],
        shape=NetworkShape(**{**shape, "convolution": Convolution(shape["convolution"])}),
        statistics={known.table: known for known in statistics},
        edge_types=tuple(EdgeType(*names) for names in content["edge_types"]),
        limit=datetime.fromisoformat(content["limit"]),
        hidden=frozenset((table, column) for table, column in content["hidden"]),
        state=content["state"],
    )


def check_compatible(
    pretrained: Pretrained,
    shape: NetworkShape,
    edge_types: Iterable[EdgeType],
    tables: Iterable[str],
    hidden: Collection[tuple[str, str]] = (),
    first_validation: datetime | None = None,
) -> None:
    """Checks that a network may start from a pretrained backbone.

    Args:
        pretrained: The backbone.
        shape: The network's architecture; only its dropout may differ.
        edge_types: Of the network's graph; there may be more than the backbone knows.
        tables: Of the network's graph; likewise.
        hidden: (table, column) pairs that the task hides.
        first_validation: The task's first validation cutoff.

    Raises:
        ValueError: The architecture differs, the graph lacks a table or an edge type, the backbone
            reads a column that the task hides, or it was trained on rows after the task's first
            validation cutoff.
    """
    what = f"the backbone pretrained on {pretrained.pretext!r}"
    own, other = asdict(pretrained.shape), asdict(shape)
    different = [
        f"{name} {own[name]!r} (here {other[name]!r})"
        for name in own
        if name != "dropout" and own[name] != other[name]
    ]
    if different:
        raise ValueError(
            f"{what} has {', '.join(different)}; pretrain with the architecture of the network, or "
            "train with that of the backbone"
        )
    lacking = sorted(set(pretrained.statistics) - set(tables))
    lacking += sorted(edge.name for edge in set(pretrained.edge_types) - set(edge_types))
    if lacking:
        raise ValueError(
            f"{what} knows {len(lacking)} tables or foreign keys that the graph lacks "
            f"({', '.join(lacking)}); pretrain again on this schema"
        )
    seen = sorted(f"{table}.{column}" for table, column in set(hidden) - pretrained.hidden)
    if seen:
        raise ValueError(
            f"{what} may read {', '.join(seen)}, which the task hides; pretrain again with these "
            "columns hidden"
        )
    if first_validation is not None and pretrained.limit > first_validation:
        raise ValueError(
            f"{what} was trained on rows up to {pretrained.limit}, after the task's first "
            f"validation cutoff, {first_validation}; pretrain as of an earlier date"
        )


def take_over(backbone: Backbone, edge_types: list[EdgeType], pretrained: Pretrained) -> TakenOver:
    """Gives a backbone the pretrained state, by name; what is not in there stays as it is.

    Args:
        backbone: Of the same architecture, with the statistics of `Pretrained.statistics_for`; it
            may have more tables and foreign keys.
        edge_types: The backbone's.
        pretrained: The state.

    Raises:
        ValueError: The backbone lacks something of the state, or it has another size there.
    """
    state = backbone.state_dict()
    unknown = sorted(pretrained.state.keys() - state.keys())
    if unknown:
        raise ValueError(
            f"the network lacks {len(unknown)} of {len(pretrained.state)} pretrained tensors, such "
            f"as {unknown[0]!r}; build it with the statistics of the pretrained backbone"
        )
    new = {name: value.clone() for name, value in state.items()}
    taken = {name: torch.zeros(value.shape, dtype=torch.bool) for name, value in state.items()}
    for name, value in pretrained.state.items():
        view, mark = new[name], taken[name]
        if name.endswith(STACKED) and view.shape != value.shape:
            view, mark, value = _by_edge_type(view, mark, value, edge_types, pretrained)
        elif view.shape != value.shape:
            raise ValueError(
                f"{name!r} has the shape {tuple(view.shape)}, pretrained it has "
                f"{tuple(value.shape)}; build the network with the statistics of the pretrained "
                "backbone"
            )
        view[...] = value
        mark[...] = True
    for name, value in new.items():
        state[name].copy_(value)
    parameters = {name for name, _ in backbone.named_parameters()}
    counts = [(int(taken[name].sum()), taken[name].numel()) for name in parameters]
    found = sum(count for count, _ in counts)
    return TakenOver(found, sum(size for _, size in counts) - found)


def _by_edge_type(
    view: Tensor,
    mark: Tensor,
    value: Tensor,
    edge_types: list[EdgeType],
    pretrained: Pretrained,
) -> tuple[Tensor, Tensor, Tensor]:
    """The parts of a stacked weight that belong to the pretrained edge types, as views."""
    heads = pretrained.shape.heads
    known = len(pretrained.edge_types)
    if edge_types[:known] != list(pretrained.edge_types):
        raise ValueError(
            "the network's edge types do not start with the pretrained ones, in their order, so "
            "its HGT weights cannot be matched; build the graph from the same schema"
        )
    rest = view.shape[1:]
    return (
        view.view(heads, len(edge_types), *rest)[:, :known],
        mark.view(heads, len(edge_types), *rest)[:, :known],
        value.view(heads, known, *rest),
    )
