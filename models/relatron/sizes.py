"""How large a task and its database are."""

from __future__ import annotations

import numpy as np
import torch

from models.rdl.graph import microseconds
from models.relatron.inputs import NAN, LabelledRows, Signal, SignalInputs

GROUP = "size"
QUANTILES = (0.1, 0.5, 0.9)


def size_signals(inputs: SignalInputs, rows: LabelledRows) -> list[Signal]:
    """Counts of what is visible at `as_of`; logarithms are natural.

    `log_training_rows`, `log_entities` (with labels), `rows_per_entity` (labelled training rows);
    `log_database_rows`; `tables`, `foreign_keys`; `numerical_columns`, `categorical_columns`,
    `text_columns`, without keys, times and what the task hides; `children_10`, `_50` and `_90`:
    quantiles over the labelled entities of how many rows refer to them.
    """
    graph, task = inputs.graph, inputs.task
    training = rows.entity[torch.from_numpy(rows.is_training)]
    entities = torch.unique(training)
    limit = int(graph.visible_rank(torch.tensor([microseconds(inputs.as_of)])))
    visible = sum(int((table.time_rank <= limit).sum()) for table in graph.tables.values())
    hidden = set(task.hidden_columns)

    def columns(kind: str) -> float:
        return float(
            sum(
                (table.name, column) not in hidden
                for table in graph.tables.values()
                for column in getattr(table, kind)
            )
        )

    values = {
        "log_training_rows": float(np.log(len(training))),
        "log_entities": float(np.log(len(entities))),
        "rows_per_entity": len(training) / len(entities),
        "log_database_rows": float(np.log(max(visible, 1))),
        "tables": float(len(inputs.schema.tables)),
        "foreign_keys": float(len(inputs.schema.foreign_keys)),
        "numerical_columns": columns("numerical_columns"),
        "categorical_columns": columns("categorical"),
        "text_columns": columns("text"),
        **_children(inputs, entities, limit),
    }
    return [Signal(name, GROUP, value) for name, value in values.items()]


def _children(inputs: SignalInputs, entities: torch.Tensor, limit: int) -> dict[str, float]:
    graph = inputs.graph
    counts = torch.zeros(len(entities), dtype=torch.int64)
    for key, adjacency in zip(graph.foreign_keys, graph.adjacency, strict=True):
        if key.parent == inputs.task.entity_table:
            asked = entities * graph.ranks + limit
            end = torch.searchsorted(adjacency.order, asked, right=True)
            counts += end - adjacency.first[entities]
    found = np.quantile(counts.numpy(), QUANTILES) if len(counts) else [NAN] * len(QUANTILES)
    return {f"children_{round(100 * q)}": float(v) for q, v in zip(QUANTILES, found, strict=True)}
