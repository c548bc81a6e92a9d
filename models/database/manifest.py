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
from models.database.nodes import (
    Node,
    relforge_block,
    relforge_meta,
    table_name,
    unquoted,
    without_prefix,
)
from models.database.schema import (
    Column,
    ForeignKey,
    RelationalSchema,
    SemanticType,
    SourceDeclaration,
    SourceTable,
    Table,
)
from models.database.task_declaration import TaskReader


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
            (node for node in nodes if relforge_block(node).get("task")),
            key=lambda node: node["name"],
        )
        self.table_nodes = [
            node
            for node in nodes
            if not relforge_block(node).get("task")
            and node["config"]["materialized"] != "ephemeral"
            and not relforge_block(node).get("exclude")
        ]
        self.table_nodes.sort(key=lambda node: self._source_order(node))
        self.by_id = {node["unique_id"]: node for node in self.table_nodes}

    def read(self) -> Declaration:
        tables = tuple(self._table(node) for node in self.table_nodes)
        keys = tuple(self._foreign_keys(tables))
        schema = RelationalSchema(self.database, tables, keys, **self._database_meta())
        reader = TaskReader(self.faults)
        tasks = tuple(task for node in self.task_nodes if (task := reader.read(node, schema)))
        schema = RelationalSchema(self.database, tables, keys, tasks, **self._database_meta())
        reader.check_hidden_columns(schema)
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
            meta = relforge_meta(source.get("source_meta")) or relforge_block(source)
            if meta.get("database"):
                break
        declared = dict(meta.get("database", {}))
        default_as_of = self._moment(declared.get("default_as_of"), "default_as_of")
        source = declared.get("source", {})
        if not source.get("kind"):
            self._fault(
                "sources: no source is declared; add config.meta.relforge.database.source with kind "
                "(demo, synthetic, relbench or attached) and location to _sources.yml"
            )
        return {
            "source": SourceDeclaration(
                str(source.get("kind", "attached")),
                str(source.get("location", "")),
                tuple(sorted((str(k), str(v)) for k, v in source.get("options", {}).items())),
                tuple(
                    SourceTable(node["identifier"], tuple(unquoted(c) for c in node["columns"]))
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
        key = tuple(unquoted(column) for column in node.get("primary_key") or ())
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
        declared = relforge_block(column).get("semantic_type")
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
            meta = relforge_block(test)
            others = [node for node in test["depends_on"]["nodes"] if node != child["unique_id"]]
            parent = self.by_id.get(others[0]) if others else child
            columns = (unquoted(test["column_name"]),)
            yield ForeignKey(
                table=table_name(child),
                columns=columns,
                parent=table_name(parent) if parent else others[0].split(".")[-1],
                parent_columns=(unquoted(arguments["field"]),),
                tolerance=self._tolerance(table_name(child), columns, meta),
                proposed=bool(meta.get("proposed", False)),
            )

    def _composite_keys(self) -> Iterator[ForeignKey]:
        """Keys of several columns, from the meta block (see `dbt_folder`)."""
        for node in self.table_nodes:
            for entry in relforge_block(node).get("foreign_keys", []):
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
                    parent=without_prefix(str(entry["parent"])),
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
