"""Earlier labels as a table of the graph: known from the moment their window has closed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import torch

from models.database.schema import ForeignKey, Task
from models.rdl.graph import (
    NodeTable,
    TemporalGraph,
    Values,
    adjacency_of,
    as_microseconds,
    time_ranks,
)

TABLE = "past labels"


def with_past_labels(graph: TemporalGraph, task: Task, labelled: pl.DataFrame) -> TemporalGraph:
    """The graph with one more table: the task's labelled rows, children of the entity table.

    A row's event time is the end of its label's window, so whoever may see rows up to a time sees
    the labels that were known then and no others: an example never sees its own label, nor one
    whose window reaches past its limit.

    Args:
        graph: The graph, on the CPU.
        task: The task.
        labelled: entity, cutoff_time, label; rows without a label or of unknown entities are left
            out.
    """
    entities = graph.tables[task.entity_table].keys
    known = entities[entities.columns[0]]
    rows = labelled.filter(
        pl.col("label").is_not_null() & pl.col("entity").cast(known.dtype).is_in(known.implode())
    ).sort("cutoff_time", "entity")
    closed = as_microseconds(rows["cutoff_time"].cast(pl.Datetime("us")) + task.window)
    is_class = rows["label"].dtype == pl.String
    numbers = rows["label"].cast(pl.Float32, strict=False) if not is_class else None
    table = NodeTable(
        name=TABLE,
        rows=rows.height,
        time=closed,
        time_rank=torch.zeros(0, dtype=torch.int64),
        numerical_columns=() if numbers is None else ("label",),
        numerical=torch.from_numpy(
            np.zeros((rows.height, 0), dtype=np.float32)
            if numbers is None
            else numbers.to_numpy().copy()[:, None]
        ),
        timestamp_columns=(),
        timestamps=torch.zeros((rows.height, 0), dtype=torch.int64),
        categorical={"label": _classes(rows["label"])} if is_class else {},
        text={},
        keys=rows.select(pl.col("entity"), pl.col("cutoff_time")),
    )
    parent = graph.rows_of(task.entity_table, rows["entity"])
    key = ForeignKey(TABLE, ("entity",), task.entity_table, tuple(entities.columns))
    return _with_table(graph, table, key, parent)


def _classes(labels: pl.Series) -> Values:
    values = labels.unique().sort()
    codes = labels.cast(pl.Enum(values)).to_physical().cast(pl.Int32)
    return Values(torch.from_numpy(codes.to_numpy().copy()), values.alias("value"))


def _with_table(
    graph: TemporalGraph, table: NodeTable, key: ForeignKey, parent: torch.Tensor
) -> TemporalGraph:
    """The graph with one more table and key; ranks are counted anew, as there are more times."""
    tables = [*graph.tables.values(), table]
    times, ranks = time_ranks([one.time for one in tables], [one.rows for one in tables])
    nodes = {
        one.name: replace(one, time_rank=rank) for one, rank in zip(tables, ranks, strict=True)
    }
    keys = (*graph.foreign_keys, key)
    parents = [*(one.parent for one in graph.adjacency), parent]
    adjacency = tuple(
        adjacency_of(rows, nodes[key.table].time_rank, nodes[key.parent].rows, len(times) + 2)
        for key, rows in zip(keys, parents, strict=True)
    )
    return TemporalGraph(nodes, keys, adjacency, times)
