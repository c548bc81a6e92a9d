"""Reads dbt's manifest into one `RelationalSchema` per database folder.

What is read where (dbt 1.11, manifest v12): primary keys from a node's `primary_key`, foreign keys
from `relationships` tests and `foreign_key` constraints, event times from `config.event_time`,
tasks, semantic types and keys of several columns from `meta.relforge`. Every fault is collected and
raised at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from models.database.dbt_folder import DeclarationError
from models.database.durations import check_interval
from models.database.schema import (
    DEFAULT_METRIC,
    Column,
    ForeignKey,
    Metric,
    Protocol,
    RelationalSchema,
    SemanticType,
    SourceDeclaration,
    SourceTable,
    Table,
    Task,
    TaskType,
)

Node = Mapping[str, Any]
METRICS = {
    TaskType.BINARY_CLASSIFICATION: (Metric.ROC_AUC, Metric.AVERAGE_PRECISION, Metric.ACCURACY),
    TaskType.MULTICLASS_CLASSIFICATION: (Metric.ACCURACY, Metric.MACRO_F1),
    TaskType.REGRESSION: (Metric.MAE, Metric.RMSE, Metric.R2),
}
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
}


@dataclass(frozen=True, slots=True)
class Declaration:
    """A database as declared in dbt: its schema and the faults found while reading it."""

    schema: RelationalSchema
    faults: tuple[str, ...]

    def checked(self) -> RelationalSchema:
        """The schema, if it has no fault.

        Raises:
            DeclarationError: lists every fault with table, column and mend.
        """
        if self.faults:
            lines = "\n".join(f"  - {fault}" for fault in self.faults)
            raise DeclarationError(
                f"database {self.schema.database!r} is declared with {len(self.faults)} fault(s):"
                f"\n{lines}"
            )
        return self.schema


def read_databases(manifest: Mapping[str, Any]) -> dict[str, Declaration]:
    """Every database declared in the dbt project, by name: one per folder of `models/`."""
    folders: dict[str, list[Node]] = {}
    for node in manifest["nodes"].values():
        if node["resource_type"] == "model" and len(node["fqn"]) > 2:
            folders.setdefault(node["fqn"][1], []).append(node)
    return {
        database: _Reader(database, nodes, manifest).read()
        for database, nodes in sorted(folders.items())
    }


class _Reader:
    """Reads one database folder; collects faults instead of stopping at the first."""

    def __init__(self, database: str, nodes: list[Node], manifest: Mapping[str, Any]) -> None:
        self.database = database
        self.manifest = manifest
        self.faults: list[str] = []
        self.task_nodes = sorted(
            (node for node in nodes if _meta(node).get("task")), key=lambda node: node["name"]
        )
        self.table_nodes = [
            node
            for node in nodes
            if not _meta(node).get("task")
            and node["config"]["materialized"] != "ephemeral"
            and not _meta(node).get("exclude")
        ]
        self.table_nodes.sort(key=lambda node: self._source_order(node))
        self.by_id = {node["unique_id"]: node for node in self.table_nodes}

    def read(self) -> Declaration:
        tables = tuple(self._table(node) for node in self.table_nodes)
        keys = tuple(self._foreign_keys(tables))
        schema = RelationalSchema(self.database, tables, keys, **self._database_meta())
        tasks = tuple(task for node in self.task_nodes if (task := self._task(node, schema)))
        schema = RelationalSchema(self.database, tables, keys, tasks, **self._database_meta())
        self._check_hidden_columns(schema)
        return Declaration(schema, tuple(dict.fromkeys(self.faults)))

    def _source_order(self, node: Node) -> tuple[int, str]:
        # Tables keep the order in which the sources were declared, which the owner chose.
        order = list(self.manifest["sources"])
        parents = [order.index(p) for p in node["depends_on"]["nodes"] if p in order]
        return (min(parents) if parents else len(order), node["name"])

    def _sources(self) -> list[Node]:
        return [
            source
            for source in self.manifest["sources"].values()
            if len(source["fqn"]) > 2 and source["fqn"][1] == self.database
        ]

    def _database_meta(self) -> dict[str, Any]:
        sources = self._sources()
        meta: dict[str, Any] = {}
        for source in sources:
            meta = _relforge_meta(source.get("source_meta")) or _meta(source)
            if meta.get("database"):
                break
        declared = dict(meta.get("database", {}))
        default_as_of = self._moment(declared.get("default_as_of"), "default_as_of")
        source = declared.get("source", {})
        if not source.get("kind"):
            self._fault(
                "sources: no source is declared; add config.meta.relforge.database.source with kind "
                "(demo, relbench or attached) and location to _sources.yml"
            )
        return {
            "source": SourceDeclaration(
                str(source.get("kind", "attached")),
                str(source.get("location", "")),
                tuple(sorted((str(k), str(v)) for k, v in source.get("options", {}).items())),
                tuple(
                    SourceTable(node["identifier"], tuple(_unquoted(c) for c in node["columns"]))
                    for node in sources
                ),
            ),
            "title": str(declared.get("title", self.database)),
            "description": sources[0].get("source_description", "") if sources else "",
            "default_as_of": default_as_of,
            "first_as_of": self._moment(declared.get("first_as_of"), "first_as_of"),
            "as_of_time": default_as_of.time() if default_as_of else time(0, 0),
        }

    def _moment(self, value: object, name: str) -> datetime | None:
        if value is None:
            return None
        try:
            return datetime.fromisoformat(str(value))
        except ValueError:
            self._fault(f"sources: {name} is not a date: {value!r}; write it as 2024-01-31")
            return None

    def _fault(self, text: str) -> None:
        self.faults.append(text)

    def _table(self, node: Node) -> Table:
        name = table_name(node)
        key = tuple(_unquoted(column) for column in node.get("primary_key") or ())
        for constraint in node.get("constraints", []):
            # dbt sorts the columns of its primary_key; here they keep their owner's order.
            if constraint["type"] == "primary_key" and set(constraint["columns"]) == set(key):
                key = tuple(constraint["columns"])
        time_column = node["config"].get("event_time")
        return Table(
            name=name,
            columns=tuple(self._column(name, column) for column in node["columns"].values()),
            primary_key=key,
            time_column=time_column,
            description=node.get("description", ""),
        )

    def _column(self, table: str, column: Mapping[str, Any]) -> Column:
        declared = _meta(column).get("semantic_type")
        semantic_type = None
        if declared is not None:
            try:
                semantic_type = SemanticType(declared)
            except ValueError:
                self._fault(
                    f"table {table}, column {column['name']}: unknown semantic_type {declared!r}; "
                    f"one of {', '.join(SemanticType)}"
                )
        return Column(
            name=column["name"],
            sql_type=str(column.get("data_type") or ""),
            semantic_type=semantic_type,
            declared=semantic_type is not None,
            description=column.get("description", ""),
        )

    def _foreign_keys(self, tables: tuple[Table, ...]) -> Iterator[ForeignKey]:
        order = {table.name: position for position, table in enumerate(tables)}
        keys = [*self._tested_keys(), *self._composite_keys(), *self._constrained_keys()]
        seen: set[tuple[str, tuple[str, ...]]] = set()
        columns = {
            table.name: {column: position for position, column in enumerate(table.column_names)}
            for table in tables
        }
        for key in sorted(
            keys,
            key=lambda k: (
                order.get(k.table, 0),
                columns[k.table].get(k.columns[0], 999),
                k.parent,
            ),
        ):
            parent = next((table for table in tables if table.name == key.parent), None)
            if parent is None:
                self._fault(
                    f"table {key.table}, column {', '.join(key.columns)}: its foreign key points at "
                    f"{key.parent!r}, which is no table of database {self.database!r}"
                )
            elif not parent.primary_key:
                self._fault(
                    f"table {parent.name}: no primary key, but {key} points at it; add the tests "
                    "unique and not_null to its key column, or a primary_key constraint"
                )
            elif set(key.parent_columns) != set(parent.primary_key):
                self._fault(
                    f"table {key.table}, column {', '.join(key.columns)}: its foreign key points at "
                    f"{key.parent}({', '.join(key.parent_columns)}), which is not the primary key "
                    f"({', '.join(parent.primary_key)}); point it at the primary key"
                )
            elif (key.table, key.columns) in seen:
                continue
            else:
                seen.add((key.table, key.columns))
                yield key

    def _tested_keys(self) -> Iterator[ForeignKey]:
        for test in self.manifest["nodes"].values():
            metadata = test.get("test_metadata") or {}
            child = self.by_id.get(test.get("attached_node") or "")
            if test["resource_type"] != "test" or metadata.get("name") != "relationships":
                continue
            if child is None:
                continue
            arguments = metadata["kwargs"]
            meta = _meta(test)
            others = [node for node in test["depends_on"]["nodes"] if node != child["unique_id"]]
            parent = self.by_id.get(others[0]) if others else child
            columns = (_unquoted(test["column_name"]),)
            yield ForeignKey(
                table=table_name(child),
                columns=columns,
                parent=table_name(parent) if parent else others[0].split(".")[-1],
                parent_columns=(_unquoted(arguments["field"]),),
                tolerance=self._tolerance(table_name(child), columns, meta),
                proposed=bool(meta.get("proposed", False)),
            )

    def _composite_keys(self) -> Iterator[ForeignKey]:
        """Keys of several columns, from the meta block (see `dbt_folder`)."""
        for node in self.table_nodes:
            for entry in _meta(node).get("foreign_keys", []):
                if not {"columns", "parent", "parent_columns"} <= set(entry):
                    self._fault(
                        f"table {table_name(node)}: a foreign key in its meta block needs columns, "
                        f"parent and parent_columns (got {', '.join(entry)})"
                    )
                    continue
                columns = tuple(map(str, entry["columns"]))
                yield ForeignKey(
                    table=table_name(node),
                    columns=columns,
                    parent=_without_prefix(str(entry["parent"])),
                    parent_columns=tuple(map(str, entry["parent_columns"])),
                    tolerance=self._tolerance(table_name(node), columns, entry),
                    proposed=bool(entry.get("proposed", False)),
                )

    def _tolerance(
        self, table: str, columns: tuple[str, ...], settings: Mapping[str, Any]
    ) -> float:
        value = settings.get("tolerance", 0.0)
        if isinstance(value, (int, float)) and 0 <= value <= 1:
            return float(value)
        self._fault(
            f"table {table}, column {', '.join(columns)}: tolerance must be a share between 0 and 1 "
            f"(got {value!r})"
        )
        return 0.0

    def _constrained_keys(self) -> Iterator[ForeignKey]:
        for node in self.table_nodes:
            declared = [(c, tuple(c.get("columns") or ())) for c in node.get("constraints", [])]
            for column in node["columns"].values():
                declared += [(c, (column["name"],)) for c in column.get("constraints", [])]
            for constraint, columns in declared:
                if constraint["type"] != "foreign_key" or not constraint.get("to"):
                    continue
                parent = self._referenced(str(constraint["to"]))
                to_columns = tuple(constraint.get("to_columns") or ())
                yield ForeignKey(
                    table=table_name(node),
                    columns=columns,
                    parent=table_name(parent) if parent else str(constraint["to"]),
                    parent_columns=to_columns
                    or (tuple(parent.get("primary_key") or columns) if parent else columns),
                )

    def _referenced(self, to: str) -> Node | None:
        # After `dbt parse` it reads ref('name'), after a build the relation's name in the database.
        reference = re.search(r"ref\(\s*['\"]([^'\"]+)['\"]\s*\)", to)
        for node in self.table_nodes:
            if reference and node["name"] == reference.group(1):
                return node
            if not reference and node.get("relation_name") == to:
                return node
        return None

    def _task(self, node: Node, schema: RelationalSchema) -> Task | None:
        meta = _meta(node)["task"]
        label = f"task {node['name']}"
        before = len(self.faults)
        for key in sorted(set(meta) - TASK_KEYS):
            known = ", ".join(sorted(TASK_KEYS))
            self._fault(f"{label}: unknown setting {key!r} in its meta block; known are {known}")
        for key in ("entity_table", "entity_column", "type", "window", "validation_span"):
            if not meta.get(key):
                self._fault(f"{label}: {key} is missing from its meta block")
        task_type = self._choice(label, "type", meta.get("type"), TaskType)
        metric = self._choice(label, "metric", meta.get("metric"), Metric)
        protocol = self._choice(label, "protocol", meta.get("protocol"), Protocol)
        entity_table = _without_prefix(str(meta.get("entity_table", "")))
        self._check_entity(label, entity_table, schema)
        window = self._duration(label, "window", meta.get("window"))
        stride = self._duration(label, "stride", meta.get("stride")) if "stride" in meta else window
        span = self._duration(label, "validation_span", meta.get("validation_span"))
        if window and span and span < window:
            self._fault(
                f"{label}: its validation_span ({meta['validation_span']}) is shorter than its "
                f"window ({meta['window']}), so no validation window can close; lengthen the span"
            )
        if task_type and metric and metric not in METRICS[task_type]:
            self._fault(
                f"{label}: metric {metric.value!r} does not measure a {task_type.value}; one of "
                f"{', '.join(METRICS[task_type])}"
            )
        cutoffs = meta.get("evaluation_cutoffs", 1)
        if not isinstance(cutoffs, int) or cutoffs < 1:
            self._fault(
                f"{label}: evaluation_cutoffs must be a whole number from 1 (got {cutoffs!r})"
            )
        hidden = meta.get("hidden_columns", [])
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in hidden):
            self._fault(f"{label}: hidden_columns must be [table, column] pairs (got {hidden!r})")
        if len(self.faults) > before or not (task_type and window and stride and span):
            return None
        return Task(
            name=_without_prefix(node["name"]),
            title=str(meta.get("title", _without_prefix(node["name"]))),
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
                (_without_prefix(str(table)), str(column)) for table, column in hidden
            ),
        )

    def _choice(self, label: str, name: str, value: object, kind: Any) -> Any:
        if value is None:
            return None
        try:
            return kind(value)
        except ValueError:
            self._fault(f"{label}: unknown {name} {value!r}; one of {', '.join(kind)}")
            return None

    def _duration(self, label: str, name: str, value: object) -> Any:
        if value is None:
            return None
        try:
            return check_interval(str(value))
        except ValueError as error:
            self._fault(f"{label}: {name} is {error}")
            return None

    def _check_entity(self, label: str, entity_table: str, schema: RelationalSchema) -> None:
        if not entity_table:
            return
        if entity_table not in schema.table_names:
            self._fault(
                f"{label}: unknown entity table {entity_table!r}; one of "
                f"{', '.join(schema.table_names)}"
            )
        elif not schema.table(entity_table).primary_key:
            self._fault(
                f"{label}: entity table {entity_table!r} has no primary key; add the tests unique "
                "and not_null to its key column"
            )
        elif len(schema.table(entity_table).primary_key) > 1:
            self._fault(
                f"{label}: entity table {entity_table!r} has a composite primary key; give it a "
                "single-column key in its staging model, for instance a hash of the columns"
            )

    def _check_hidden_columns(self, schema: RelationalSchema) -> None:
        for task in schema.tasks:
            for table, column in task.hidden_columns:
                if table not in schema.table_names:
                    self._fault(f"task {task.name}: hidden column of an unknown table {table!r}")
                elif schema.table(table).columns and column not in schema.table(table).column_names:
                    self._fault(f"task {task.name}: table {table} has no column {column!r} to hide")


def table_name(node: Node) -> str:
    """The table or task name of a dbt model: its name without the database's prefix."""
    return _without_prefix(str(node["name"]))


def _without_prefix(name: str) -> str:
    return name.split("__", 1)[1] if "__" in name else name


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') and name.endswith('"') else name


def _meta(node: Node) -> dict[str, Any]:
    """The `relforge` block of a node's, column's or test's meta, wherever dbt put it."""
    return _relforge_meta((node.get("config") or {}).get("meta")) or _relforge_meta(
        node.get("meta")
    )


def _relforge_meta(meta: Any) -> dict[str, Any]:
    return dict((meta or {}).get("relforge", {}))
