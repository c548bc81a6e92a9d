"""Task vectors hold the labels of real tasks: any = 0 is inactivity, a sum is a task's amount."""

from datetime import datetime

import polars as pl
import pytest
import yaml

from models.database.durations import parse_duration
from models.database.schema import Column, ForeignKey, RelationalSchema, Table, Task, TaskType
from models.tve.task_vectors import TaskVectorBuilder, TaskVectorConfig
from tests.fixtures import real_databases
from tests.models.tve.building import raw

# (database, task, raw aggregate, the label that it tells).
CASES = {
    "a plane that is away": (
        "flights_pnw", "plane-away", "COUNT(flights, next 7 days)", lambda rows: rows == 0
    ),
    "a team that is inactive": (
        "football", "team-inactive", "COUNT(match_teams, next 182 days)", lambda rows: rows == 0
    ),
    "what a customer spends": (
        "retail_uk", "customer-spend", "SUM(invoice_lines.amount, next 30 days)", lambda sum: sum
    ),
}  # fmt: skip


def declared(folder, task):
    """The schema and one task of a RelBench folder, and its date."""
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text())
    tables, keys = [], []
    for name, entry in manifest["tables"].items():
        columns = pl.read_parquet_schema(folder / "db" / f"{name}.parquet")
        key = (entry["pkey"],) if entry["pkey"] else ()
        tables.append(Table(name, tuple(map(Column, columns)), key, entry["time_col"]))
        for column, parent in entry["fkeys"].items():
            keys.append(ForeignKey(name, (column,), parent, (manifest["tables"][parent]["pkey"],)))
    val, test = (datetime.fromisoformat(manifest[f"{k}_timestamp"]) for k in ("val", "test"))
    found = yaml.safe_load((folder / "tasks" / task / "manifest.yaml").read_text())
    window = parse_duration(found["timedelta"])
    about = Task(
        name=task,
        entity_table=found["entity_table"],
        entity_column=found["entity_col"],
        time_column=found["time_col"],
        label_column=found["target_col"],
        task_type=TaskType(found["task_type"]),
        window=window,
        stride=window,
        validation_span=test - val,
    )
    return RelationalSchema(manifest["name"], tuple(tables), tuple(keys), (about,)), about, test


@pytest.mark.parametrize("case", CASES)
def test_labels_can_be_read_off_task_vectors(tmp_path, case):
    database, name, aggregate, label_of = CASES[case]
    found = {path.name: path for path in real_databases()}
    if database not in found:
        pytest.skip(f"RELFORGE_DATABASES names no folder with {database}")
    folder = found[database]
    schema, task, as_of = declared(folder, name)
    tables = {table: folder / "db" / f"{table}.parquet" for table in schema.table_names}
    config = TaskVectorConfig(depth=1, horizons=(1,), top_k=2, dormant_per_active=None)
    metadata = TaskVectorBuilder(schema, task.entity_table, tables, config).build(as_of, tmp_path)
    assert metadata["tile_days"] == task.window.days
    labels = pl.concat(
        pl.read_parquet(folder / "tasks" / name / f"{split}.parquet").select(
            pl.col(task.time_column).cast(pl.Datetime("us")).alias("cutoff_time"),
            pl.col(task.entity_column).alias("entity"),
            pl.col(task.label_column).cast(pl.Float64).alias("label"),
            pl.lit(split).alias("split"),
        )
        for split in ("train", "val")
    )
    both = labels.join(raw(tmp_path), on=["cutoff_time", "entity", "split"])
    assert both.filter(pl.col("split") == "train").height == (
        labels.filter(pl.col("split") == "train").height
    ), "every training row of the task is one of the universe"
    assert set(both["split"]) == {"train", "val"}
    wanted = label_of(both[aggregate]).cast(pl.Float64)
    assert (wanted - both["label"]).abs().max() < 1e-6 * max(both["label"].abs().max(), 1.0)
    assert both["label"].n_unique() > 1
