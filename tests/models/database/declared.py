"""Declarations to be read back: random sound databases, and one with every fault."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from models.database.dbt_folder import write_database_folder
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

METRICS = {
    TaskType.BINARY_CLASSIFICATION: [Metric.ROC_AUC, Metric.AVERAGE_PRECISION],
    TaskType.MULTICLASS_CLASSIFICATION: [Metric.ACCURACY, Metric.MACRO_F1],
    TaskType.REGRESSION: [Metric.MAE, Metric.RMSE, Metric.R2],
}
COLUMN_NAMES = [
    "id",
    "Owner Id",
    "order",
    "täg",
    'say "so"',
    "a.b",
    "x__y",
    "camelCase",
    "1st",
    "%",
]
TYPES = ["BIGINT", "VARCHAR", "TIMESTAMP", "DOUBLE", "BOOLEAN", "DECIMAL(9,2)"]
TASK_SQL = """
{% call training_table(reads=[MODELS]) %}
select t.timestamp, 1 as entity, 0 as label from timestamps t
{% endcall %}
"""


def random_schema(number: int) -> RelationalSchema:
    """A sound schema with awkward names; every seed has its own mix of keys, times and tasks."""
    draw = random.Random(number)
    database = f"db_{number}"
    tables = tuple(_table(draw, f"table_{i}") for i in range(draw.randint(1, 5)))
    keys = tuple(_keys(draw, tables))
    single = [table for table in tables if len(table.primary_key) == 1]
    tasks = [
        _task(draw, i, tables, draw.choice(single)) for i in range(draw.randint(0, 2)) if single
    ]
    default = datetime(2020, 1, 1) + timedelta(hours=draw.randint(0, 9999))
    default_as_of = draw.choice([None, default])
    return RelationalSchema(
        database,
        tables,
        keys,
        tuple(tasks),
        SourceDeclaration(
            draw.choice(["demo", "relbench", "attached"]),
            draw.choice(["", "/some where/it's", "postgresql://me@host/db"]),
            draw.choice([(), (("seed", "7"), ("views", "true"))]),
            tuple(SourceTable(table.name, tuple(table.column_names)) for table in tables),
        ),
        title=draw.choice(["A title: with colon", "rel-db"]),
        description=draw.choice(["", "What {% it's about.\nTwo {{ lines."]),
        default_as_of=default_as_of,
        first_as_of=draw.choice([None, datetime(2019, 5, 6)]),
        as_of_time=(default_as_of or datetime(2000, 1, 1)).time(),
    )


def write(project: Path, schema: RelationalSchema) -> None:
    """Writes a schema's folder, with SQL for its tasks that reads every table."""
    models = ", ".join(f"'{schema.database}__{name}'" for name in schema.table_names)
    sql = TASK_SQL.replace("MODELS", models)
    write_database_folder(project, schema, {task.name: sql for task in schema.tasks})


def _table(draw: random.Random, name: str) -> Table:
    names = draw.sample(COLUMN_NAMES, draw.randint(3, len(COLUMN_NAMES)))
    columns = []
    for column in names:
        kind = draw.choice([None, *SemanticType])
        description = draw.choice(["", "what: 'it' \"means\" {{ x }}"])
        columns.append(Column(column, draw.choice(TYPES), kind, kind is not None, description))
    key = tuple(names[: draw.choice([0, 1, 1, 1, 2, 3])])
    time = draw.choice([None, names[-1]])
    return Table(name, tuple(columns), key, time, draw.choice(["", "A {# table."]))


def _keys(draw: random.Random, tables: tuple[Table, ...]) -> Iterator[ForeignKey]:
    for table in tables:
        free = [name for name in table.column_names if name not in table.primary_key]
        # Its own key too may refer to a parent, and a table to itself.
        free += list(table.primary_key) if draw.random() < 0.3 else []
        for _ in range(draw.randint(0, 3)):
            parent = draw.choice(tables)
            width = len(parent.primary_key)
            if not width or width > len(free):
                continue
            columns = tuple(free[:width])
            free = free[width:]
            if parent.name == table.name and columns == parent.primary_key:
                continue
            yield ForeignKey(
                table.name,
                columns,
                parent.name,
                parent.primary_key,
                draw.choice([0.0, 0.25]),
                draw.random() < 0.5,
            )


def _task(draw: random.Random, number: int, tables: tuple[Table, ...], entity: Table) -> Task:
    window = timedelta(hours=draw.randint(1, 1000))
    task_type = draw.choice(list(TaskType))
    return Task(
        name=f"task_{number}",
        title=f"Task-{number}",
        description=draw.choice(["", "Who: {{ when?"]),
        entity_table=entity.name,
        entity_column="Entity Id",
        time_column="at",
        label_column="what",
        task_type=task_type,
        window=window,
        stride=draw.choice([window, timedelta(days=2, seconds=1)]),
        validation_span=window * draw.randint(1, 3),
        evaluation_cutoffs=draw.randint(1, 9),
        metric=draw.choice(METRICS[task_type]),
        hidden_columns=tuple(
            (table.name, table.column_names[0]) for table in tables if draw.random() < 0.5
        ),
        protocol=draw.choice(list(Protocol)),
    )


def faulty_task(**changes: Any) -> dict[str, Any]:
    """A task's meta block with something wrong."""
    return {
        "entity_table": "faulty__people",
        "entity_column": "id",
        "type": "binary_classification",
        "window": "10 days",
        "validation_span": "30 days",
    } | changes


FAULTY_TASKS: dict[str, dict[str, Any]] = {
    "unknown_entity": faulty_task(entity_table="faulty__nobody"),
    "keyless_entity": faulty_task(entity_table="faulty__keyless"),
    "composite_entity": faulty_task(entity_table="faulty__lines"),
    "unknown_metric": faulty_task(metric="luck"),
    "foreign_metric": faulty_task(metric="rmse"),
    "unknown_type": faulty_task(type="guessing"),
    "unknown_protocol": faulty_task(protocol="thawed"),
    "bad_window": faulty_task(window="2 months"),
    "bare_window": faulty_task(window=30),
    "bad_stride": faulty_task(stride="often"),
    "long_window": faulty_task(window="60 days"),
    "unknown_setting": faulty_task(horizon="10 days"),
    "missing_settings": {"entity_table": "faulty__people"},
    "bad_count": faulty_task(evaluation_cutoffs="many"),
    "bad_hidden": faulty_task(hidden_columns=["people.id"]),
    "hidden_table": faulty_task(hidden_columns=[["faulty__nobody", "id"]]),
    "hidden_column": faulty_task(hidden_columns=[["faulty__people", "shoe"]]),
}


def write_faulty(project: Path) -> None:
    """Writes a database in which every declaration is wrong that can be."""
    folder = project / "models" / "faulty"
    folder.mkdir(parents=True)
    key = {"name": "id", "data_tests": ["unique", "not_null"]}
    models = [
        {"name": "faulty__people", "columns": [key, {"name": "name"}]},
        {
            "name": "faulty__lines",
            "columns": [{"name": "a"}, {"name": "b"}],
            "constraints": [{"type": "primary_key", "columns": ["a", "b"]}],
        },
        {"name": "faulty__keyless", "columns": [{"name": "id"}]},
        {
            "name": "faulty__visits",
            "columns": [
                key | {"config": {"meta": {"relforge": {"semantic_type": "vibes"}}}},
                _reference("person", "faulty__people", "name"),
                _reference("keyless", "faulty__keyless", "id"),
                _reference("abroad", "db_1__table_0", "id"),
                _reference("dangling", "faulty__people", "id", tolerance="5%"),
            ],
            "config": {
                "meta": {
                    "relforge": {
                        "foreign_keys": [
                            {"columns": ["x", "y"], "parent": "faulty__gone"},
                            {
                                "columns": ["x", "y"],
                                "parent": "faulty__gone",
                                "parent_columns": ["a", "b"],
                            },
                        ]
                    }
                }
            },
        },
    ]
    for model in models:
        (folder / f"{model['name']}.sql").write_text("select 1 as id\n")
    for name, meta in FAULTY_TASKS.items():
        (folder / f"faulty__{name}.sql").write_text("select 1 as id\n")
        config = {"meta": {"relforge": {"task": meta}}}
        models.append({"name": f"faulty__{name}", "config": config})
    (folder / "_models.yml").write_text(yaml.safe_dump({"version": 2, "models": models}))


def _reference(column: str, to: str, field: str, **meta: Any) -> dict[str, Any]:
    test: dict[str, Any] = {"arguments": {"to": f"ref('{to}')", "field": field}}
    if meta:
        test["config"] = {"meta": {"relforge": meta}}
    return {"name": column, "data_tests": [{"relationships": test}]}
