"""Reads the tasks of a database from the meta blocks of their dbt models."""

from __future__ import annotations

from typing import Any

from models.database.durations import check_interval
from models.database.nodes import Node, relforge_block, without_prefix
from models.database.schema import (
    DEFAULT_METRIC,
    Metric,
    Protocol,
    RelationalSchema,
    Task,
    TaskType,
)

TASK_KEYS = {
    "title",
    "entity_table",
    "entity_column",
    "time_column",
    "label_column",
    "type",
    "window",
    "stride",
    "evaluation_cutoffs",
    "validation_span",
    "metric",
    "protocol",
    "hidden_columns",
    "candidates",
}

METRICS = {
    TaskType.BINARY_CLASSIFICATION: (Metric.ROC_AUC, Metric.AVERAGE_PRECISION, Metric.ACCURACY),
    TaskType.MULTICLASS_CLASSIFICATION: (Metric.ACCURACY, Metric.MACRO_F1),
    TaskType.REGRESSION: (Metric.MAE, Metric.RMSE, Metric.R2),
}


class TaskReader:
    """Reads one task at a time; collects faults instead of stopping at the first."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults

    def read(self, node: Node, schema: RelationalSchema) -> Task | None:
        """The task of a model; None, and its faults noted, if its meta block is faulty."""
        meta = relforge_block(node)["task"]
        label = f"task {node['name']}"
        before = len(self.faults)
        for key in sorted(set(meta) - TASK_KEYS):
            known = ", ".join(sorted(TASK_KEYS))
            self.faults.append(
                f"{label}: unknown setting {key!r} in its meta block; known are {known}"
            )
        for key in ("entity_table", "entity_column", "type", "window", "validation_span"):
            if not meta.get(key):
                self.faults.append(f"{label}: {key} is missing from its meta block")
        task_type = self._choice(label, "type", meta.get("type"), TaskType)
        metric = self._choice(label, "metric", meta.get("metric"), Metric)
        protocol = self._choice(label, "protocol", meta.get("protocol"), Protocol)
        entity_table = without_prefix(str(meta.get("entity_table", "")))
        self._check_entity(label, entity_table, schema)
        window = self._duration(label, "window", meta.get("window"))
        stride = self._duration(label, "stride", meta.get("stride")) if "stride" in meta else window
        span = self._duration(label, "validation_span", meta.get("validation_span"))
        if window and span and span < window:
            self.faults.append(
                f"{label}: its validation_span ({meta['validation_span']}) is shorter than its "
                f"window ({meta['window']}), so no validation window can close; lengthen the span"
            )
        if task_type and metric and metric not in METRICS[task_type]:
            self.faults.append(
                f"{label}: metric {metric.value!r} does not measure a {task_type.value}; one of "
                f"{', '.join(METRICS[task_type])}"
            )
        cutoffs = meta.get("evaluation_cutoffs", 1)
        if not isinstance(cutoffs, int) or cutoffs < 1:
            self.faults.append(
                f"{label}: evaluation_cutoffs must be a whole number from 1 (got {cutoffs!r})"
            )
        hidden = meta.get("hidden_columns", [])
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in hidden):
            self.faults.append(
                f"{label}: hidden_columns must be [table, column] pairs (got {hidden!r})"
            )
        candidates = meta.get("candidates", [])
        if not isinstance(candidates, list) or not all(
            isinstance(one, dict) and "family" in one for one in candidates
        ):
            self.faults.append(
                f"{label}: candidates must be a list of {{family: ..., settings: ...}} "
                f"(got {candidates!r})"
            )
        if len(self.faults) > before or not (task_type and window and stride and span):
            return None
        return Task(
            name=without_prefix(node["name"]),
            title=str(meta.get("title", without_prefix(node["name"]))),
            description=node.get("description", ""),
            entity_table=entity_table,
            entity_column=str(meta["entity_column"]),
            time_column=str(meta.get("time_column", "timestamp")),
            label_column=str(meta.get("label_column", "label")),
            task_type=task_type,
            window=window,
            stride=stride,
            validation_span=span,
            evaluation_cutoffs=cutoffs,
            metric=metric or DEFAULT_METRIC[task_type],
            protocol=protocol or Protocol.ROLLING,
            hidden_columns=tuple(
                (without_prefix(str(table)), str(column)) for table, column in hidden
            ),
            candidates=tuple(candidates),
        )

    def _choice(self, label: str, name: str, value: object, kind: Any) -> Any:
        if value is None:
            return None
        try:
            return kind(value)
        except ValueError:
            self.faults.append(f"{label}: unknown {name} {value!r}; one of {', '.join(kind)}")
            return None

    def _duration(self, label: str, name: str, value: object) -> Any:
        if value is None:
            return None
        try:
            return check_interval(str(value))
        except ValueError as error:
            self.faults.append(f"{label}: {name} is {error}")
            return None

    def _check_entity(self, label: str, entity_table: str, schema: RelationalSchema) -> None:
        if not entity_table:
            return
        if entity_table not in schema.table_names:
            self.faults.append(
                f"{label}: unknown entity table {entity_table!r}; one of "
                f"{', '.join(schema.table_names)}"
            )
        elif not schema.table(entity_table).primary_key:
            self.faults.append(
                f"{label}: entity table {entity_table!r} has no primary key; add the tests unique "
                "and not_null to its key column"
            )
        elif len(schema.table(entity_table).primary_key) > 1:
            self.faults.append(
                f"{label}: entity table {entity_table!r} has a composite primary key; give it a "
                "single-column key in its staging model, for instance a hash of the columns"
            )

    def check_hidden_columns(self, schema: RelationalSchema) -> None:
        """Notes hidden columns that do not exist."""
        for task in schema.tasks:
            for table, column in task.hidden_columns:
                if table not in schema.table_names:
                    self.faults.append(
                        f"task {task.name}: hidden column of an unknown table {table!r}"
                    )
                elif schema.table(table).columns and column not in schema.table(table).column_names:
                    self.faults.append(
                        f"task {task.name}: table {table} has no column {column!r} to hide"
                    )
