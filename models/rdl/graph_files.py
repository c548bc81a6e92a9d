"""Temporal graphs in files: NumPy arrays that are mapped into memory, and Parquet for values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from models.database.schema import ForeignKey, to_plain
from models.rdl.graph import Adjacency, NodeTable, TemporalGraph, Values

MANIFEST = "graph.json"


def write_graph(graph: TemporalGraph, folder: Path) -> dict[str, Any]:
    """Writes a graph into a folder and returns its figures: rows and edges, columns, bytes."""
    content: dict[str, Any] = {
        "format": 1,
        "foreign_keys": [to_plain(key) for key in graph.foreign_keys],
        "tables": [_write_table(table, folder, i) for i, table in enumerate(graph.tables.values())],
    }
    _save(folder, "times", graph.times)
    for i, adjacency in enumerate(graph.adjacency):
        for part in ("parent", "children", "first", "order"):
            _save(folder, f"key{i}_{part}", getattr(adjacency, part))
    (folder / MANIFEST).write_text(json.dumps(content, indent=1))
    return {
        "rows": {name: table.rows for name, table in graph.tables.items()},
        "edges": {
            str(key): len(one.children)
            for key, one in zip(graph.foreign_keys, graph.adjacency, strict=True)
        },
        "event_times": len(graph.times),
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }


def read_graph(folder: Path) -> TemporalGraph:
    """The graph in a folder, its tensors mapped from the files (pages are read when touched).

    Raises:
        FileNotFoundError: The folder holds no graph.
    """
    if not (folder / MANIFEST).exists():
        raise FileNotFoundError(f"{folder} holds no temporal graph (no {MANIFEST})")
    content = json.loads((folder / MANIFEST).read_text())
    tables = [_read_table(entry, folder, i) for i, entry in enumerate(content["tables"])]
    keys = tuple(_foreign_key(entry) for entry in content["foreign_keys"])
    adjacency = tuple(
        Adjacency(
            _load(folder, f"key{i}_parent"),
            _load(folder, f"key{i}_children"),
            _load(folder, f"key{i}_first"),
            _load(folder, f"key{i}_order"),
        )
        for i in range(len(keys))
    )
    return TemporalGraph(
        {table.name: table for table in tables}, keys, adjacency, _load(folder, "times")
    )


def _write_table(table: NodeTable, folder: Path, number: int) -> dict[str, Any]:
    name = f"table{number}"
    if table.time is not None:
        _save(folder, f"{name}_time", table.time)
    _save(folder, f"{name}_time_rank", table.time_rank)
    _save(folder, f"{name}_numerical", table.numerical)
    _save(folder, f"{name}_timestamps", table.timestamps)
    table.keys.write_parquet(folder / f"{name}_keys.parquet")
    for kind, columns in (("categorical", table.categorical), ("text", table.text)):
        for i, values in enumerate(columns.values()):
            _save(folder, f"{name}_{kind}{i}", values.codes)
            values.values.to_frame().write_parquet(folder / f"{name}_{kind}{i}_values.parquet")
            if values.embeddings is not None:
                _save(folder, f"{name}_{kind}{i}_embeddings", values.embeddings)
    return {
        "name": table.name,
        "rows": table.rows,
        "timed": table.time is not None,
        "numerical": list(table.numerical_columns),
        "timestamps": list(table.timestamp_columns),
        "categorical": list(table.categorical),
        "text": list(table.text),
    }


def _read_table(entry: dict[str, Any], folder: Path, number: int) -> NodeTable:
    name = f"table{number}"

    def values(kind: str, i: int) -> Values:
        file = f"{name}_{kind}{i}"
        distinct = pl.read_parquet(folder / f"{file}_values.parquet")["value"]
        embeddings = _load(folder, f"{file}_embeddings") if kind == "text" else None
        return Values(_load(folder, file), distinct, embeddings)

    return NodeTable(
        name=entry["name"],
        rows=entry["rows"],
        time=_load(folder, f"{name}_time") if entry["timed"] else None,
        time_rank=_load(folder, f"{name}_time_rank"),
        numerical_columns=tuple(entry["numerical"]),
        numerical=_load(folder, f"{name}_numerical"),
        timestamp_columns=tuple(entry["timestamps"]),
        timestamps=_load(folder, f"{name}_timestamps"),
        categorical={
            column: values("categorical", i) for i, column in enumerate(entry["categorical"])
        },
        text={column: values("text", i) for i, column in enumerate(entry["text"])},
        keys=pl.read_parquet(folder / f"{name}_keys.parquet"),
    )


def _foreign_key(plain: dict[str, Any]) -> ForeignKey:
    return ForeignKey(
        plain["table"],
        tuple(plain["columns"]),
        plain["parent"],
        tuple(plain["parent_columns"]),
        plain["tolerance"],
        plain["proposed"],
    )


def _save(folder: Path, name: str, tensor: Tensor) -> None:
    np.save(folder / f"{name}.npy", tensor.cpu().numpy())


def _load(folder: Path, name: str) -> Tensor:
    # Copy-on-write: torch refuses read-only memory, and nothing is ever written to the file.
    array = np.load(folder / f"{name}.npy", mmap_mode="c" if _not_empty(folder, name) else None)
    return torch.from_numpy(array)


def _not_empty(folder: Path, name: str) -> bool:
    # An empty array cannot be mapped; its file holds the header alone.
    return (
        bool(np.prod(np.load(folder / f"{name}.npy", mmap_mode=None).shape))
        if (folder / f"{name}.npy").stat().st_size <= 128
        else True
    )
