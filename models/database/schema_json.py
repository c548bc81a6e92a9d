"""Reads a `RelationalSchema` back from its plain form (`schema.to_plain`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any

from models.database.schema import (
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


def schema_from_plain(plain: Mapping[str, Any]) -> RelationalSchema:
    """The schema whose `to_plain` this is."""
    source = plain["source"]
    return RelationalSchema(
        database=plain["database"],
        tables=tuple(_table(table) for table in plain["tables"]),
        foreign_keys=tuple(_foreign_key(key) for key in plain["foreign_keys"]),
        tasks=tuple(_task(task) for task in plain["tasks"]),
        source=SourceDeclaration(
            source["kind"],
            source["location"],
            tuple((name, value) for name, value in source["options"]),
            tuple(SourceTable(t["name"], tuple(t["columns"])) for t in source["tables"]),
        ),
        title=plain["title"],
        description=plain["description"],
        default_as_of=_moment(plain["default_as_of"]),
        first_as_of=_moment(plain["first_as_of"]),
        as_of_time=time.fromisoformat(plain["as_of_time"]),
    )


def _table(plain: Mapping[str, Any]) -> Table:
    columns = tuple(
        Column(
            name=column["name"],
            sql_type=column["sql_type"],
            semantic_type=SemanticType(column["semantic_type"])
            if column["semantic_type"]
            else None,
            declared=column["declared"],
            description=column["description"],
        )
        for column in plain["columns"]
    )
    return Table(
        name=plain["name"],
        columns=columns,
        primary_key=tuple(plain["primary_key"]),
        time_column=plain["time_column"],
        description=plain["description"],
    )


def _foreign_key(plain: Mapping[str, Any]) -> ForeignKey:
    return ForeignKey(
        table=plain["table"],
        columns=tuple(plain["columns"]),
        parent=plain["parent"],
        parent_columns=tuple(plain["parent_columns"]),
        tolerance=plain["tolerance"],
        proposed=plain["proposed"],
    )


def _task(plain: Mapping[str, Any]) -> Task:
    values = dict(plain)
    for name in ("window", "stride", "validation_span"):
        values[name] = timedelta(seconds=float(values[name].removesuffix("s")))
    values["task_type"] = TaskType(values["task_type"])
    values["metric"] = Metric(values["metric"])
    values["protocol"] = Protocol(values["protocol"])
    values["hidden_columns"] = tuple((table, column) for table, column in values["hidden_columns"])
    values["candidates"] = tuple(values.get("candidates", ()))
    return Task(**values)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
