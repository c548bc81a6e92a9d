"""A small shop and a training table that pass every check, to be broken one fault at a time."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from models.database.schema import Column, ForeignKey, RelationalSchema, Table, Task, TaskType
from models.quality.results import CheckResult, QualityReport

NOW = datetime(2025, 1, 1)
TICK = timedelta(microseconds=1)
DAY = timedelta(days=1)

SCHEMA = RelationalSchema(
    "shop",
    tables=(
        Table("customers", (Column("customer_id"), Column("country")), ("customer_id",)),
        Table("orders", (Column("status"),), ("order_id",), "ordered_at"),
        Table("lines", (), ("order_id", "line")),
    ),
    foreign_keys=(
        ForeignKey("orders", ("customer_id",), "customers", ("customer_id",), tolerance=0.07),
        ForeignKey("lines", ("order_id",), "orders", ("order_id",)),
    ),
)


def shop_frames() -> dict[str, pl.DataFrame]:
    """10 customers, 100 orders (the last one at NOW), 200 lines of the first 50."""
    orders = range(100)
    return {
        "customers": pl.DataFrame({"customer_id": list(range(10)), "country": ["NL", "DE"] * 5}),
        "orders": pl.DataFrame(
            {
                "order_id": list(orders),
                "customer_id": [i % 10 for i in orders],
                "ordered_at": [NOW - (99 - i) * DAY for i in orders],
                "status": ["open", "paid"] * 50,
                "amount": [float(i) for i in orders],
            }
        ),
        "lines": pl.DataFrame(
            {
                "order_id": [i // 4 for i in range(200)],
                "line": [i % 4 for i in range(200)],
                "quantity": [i % 5 for i in range(200)],
            }
        ),
    }


# Windows of 10 days: train cutoffs up to December 12, val on December 22, prediction at NOW.
TASK = Task(
    name="churn",
    entity_table="customers",
    entity_column="customer_id",
    time_column="timestamp",
    label_column="churned",
    task_type=TaskType.BINARY_CLASSIFICATION,
    window=10 * DAY,
    stride=10 * DAY,
    validation_span=10 * DAY,
)
LAST_TRAIN = NOW - 20 * DAY
VAL = NOW - 10 * DAY


def training_rows(split: str, cutoff: datetime, labels: list) -> pl.DataFrame:
    """One row an entity, numbered from 0."""
    return pl.DataFrame(
        {
            "entity": list(range(len(labels))),
            "cutoff_time": [cutoff] * len(labels),
            "label": labels,
            "split": [split] * len(labels),
        },
        schema={
            "entity": pl.Int64,
            "cutoff_time": pl.Datetime("us"),
            "label": pl.Int64,
            "split": pl.String,
        },
    )


def training_frame(**splits: pl.DataFrame) -> pl.DataFrame:
    """40 train rows at two cutoffs, 40 val rows and 20 to predict; `splits` replaces some."""
    parts = {
        "train": pl.concat(
            [
                training_rows("train", LAST_TRAIN - 10 * DAY, [0, 1] * 20),
                training_rows("train", LAST_TRAIN, [0, 1] * 20),
            ]
        ),
        "val": training_rows("val", VAL, [1, 0] * 20),
        "predict": training_rows("predict", NOW, [None] * 20),
    }
    return pl.concat({**parts, **splits}.values())


def write(folder: Path, frames: dict[str, pl.DataFrame]) -> dict[str, Path]:
    """The frames as Parquet files, by table name."""
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
    return {name: folder / f"{name}.parquet" for name in frames}


def failed(report: QualityReport) -> list[tuple[str, str]]:
    """(table, check) of every failure."""
    return [(result.table, result.name) for result in report.failures]


def only_failure(report: QualityReport, table: str, check: str) -> CheckResult:
    """The one failure of a report; its message names the table."""
    assert failed(report) == [(table, check)], [r.message for r in report.failures]
    (result,) = report.failures
    assert table in result.message
    assert "\n" not in result.message
    return result
