"""Labels equal RelBench's own, row for row: hosted and regenerated, on real databases and small."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import relbench
from relbench.load import RelBenchDataset

from models.database.importer import import_database
from models.database.schema import RelationalSchema, SourceTable
from models.database.source import RelBenchSource, write_raw_tables
from models.database.staging import raise_failures
from models.database.training_table import build_training_tables
from models.database.warehouse import Warehouse
from tests.fixtures import each_real_database, empty_project, real_databases

SPLITS = ("train", "val", "test")


def ours(labels: Path, split: str) -> pd.DataFrame:
    table = pl.read_parquet(labels).filter(pl.col("split") == split)
    return canonical(table.select("cutoff_time", "entity", "label").to_pandas())


def theirs(dataset, task, split: str, *, regenerate: bool, db=None) -> pd.DataFrame:
    loaded = dataset.load_task(task.title, regenerate=regenerate)
    table = loaded.get_table(split, mask_input_cols=False, db=db)
    return canonical(table.df[[task.time_column, task.entity_column, task.label_column]])


def canonical(table: pd.DataFrame) -> pd.DataFrame:
    table = table.set_axis(["cutoff_time", "entity", "label"], axis=1)
    table["cutoff_time"] = table["cutoff_time"].astype("datetime64[us]")
    return table.sort_values(["cutoff_time", "entity"], ignore_index=True)


def assert_same_rows(mine: pd.DataFrame, other: pd.DataFrame, what: str) -> None:
    assert len(mine) == len(other) > 0, what
    assert mine["cutoff_time"].equals(other["cutoff_time"]), what
    assert (mine["entity"].to_numpy() == other["entity"].to_numpy()).all(), what
    if pd.api.types.is_numeric_dtype(other["label"]):
        values = [frame["label"].astype(float) for frame in (mine, other)]
        np.testing.assert_allclose(*values, rtol=1e-12, atol=0, err_msg=what)
    else:
        assert mine["label"].tolist() == other["label"].tolist(), what


@dataclass(frozen=True)
class Real:
    """A real database, imported and staged, in a dbt project of its own."""

    dataset: RelBenchDataset
    schema: RelationalSchema
    root: Path
    raw: dict[str, Path]
    staged: dict[str, Path]

    def build_labels(self) -> dict[str, str]:
        """Builds the training tables below `root`; the errors by task."""
        folder = self.root / "labels"
        folder.mkdir()
        return build_training_tables(
            self.schema,
            self.schema.tasks,
            self.schema.default_as_of,
            self.staged,
            self.raw,
            self.root / "project",
            Warehouse(self.root / "warehouse.duckdb"),
            folder,
        )


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Iterator[dict[Path, tuple[Real, Future[dict[str, str]]]]]:
    """Every real database; one run of dbt stages them all, to save its start.

    The training tables are built one after the other, beside the comparisons.
    """
    root = tmp_path_factory.mktemp("real")
    together = empty_project(root / "together")
    warehouse = Warehouse(root / "warehouse.duckdb")
    found = {}
    for location in real_databases():
        imported = import_database(str(location), together)
        dataset = relbench.load_dataset(str(location))
        tables = tuple(SourceTable(name) for name in dataset.manifest.tables)
        schema = replace(imported.schema, source=replace(imported.schema.source, tables=tables))
        own = root / schema.database
        project = empty_project(own / "project")
        shutil.copytree(imported.folder, project / "models" / schema.database)
        folders = [own / name for name in ("raw", "staged")]
        for folder in folders:
            folder.mkdir()
        write_raw_tables(schema, RelBenchSource(schema), folders[0])
        raw = {table.name: folders[0] / f"{table.name}.parquet" for table in tables}
        staged = {name: folders[1] / f"{name}.parquet" for name in schema.table_names}
        found[location] = Real(dataset, schema, own, raw, staged)
    with warehouse.turn() as turn:
        for database in found.values():
            turn.point_views(f"{database.schema.database}_raw", database.raw)
        names = [database.schema.database for database in found.values()]
        results = turn.build(together, [f"path:models/{name}/staging" for name in names], {})
        raise_failures("all", results)
        for database in found.values():
            for table in database.schema.tables:
                path = database.staged[table.name]
                turn.export(database.schema.database, table.name, table.primary_key, path)
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield {
            location: (database, pool.submit(database.build_labels))
            for location, database in found.items()
        }


@pytest.mark.parametrize("location", each_real_database())
def test_labels_of_a_real_database_equal_relbenchs_row_for_row(location, real):
    built, errors = real[location]
    dataset, schema = built.dataset, built.schema
    assert errors.result() == {}
    forecasts = [
        name
        for name in dataset.get_task_names()
        if (task := dataset.load_task(name)).kind == "forecast"
        and task.task_type.value != "recommendation"
    ]
    assert sorted(task.title for task in schema.tasks) == sorted(forecasts)
    db = dataset.get_db(upto_test_timestamp=False)
    for task in schema.tasks:
        for split in SPLITS:
            mine = ours(built.root / "labels" / f"{task.name}.parquet", split)
            hosted = theirs(dataset, task, split, regenerate=False, db=db)
            assert_same_rows(mine, hosted, f"{task.title}, {split}, hosted")
            if split != "test":
                again = theirs(dataset, task, split, regenerate=True, db=db)
                assert_same_rows(mine, again, f"{task.title}, {split}, regenerated")


@pytest.mark.parametrize("task", ["visit_count", "habit"])
@pytest.mark.parametrize("split", SPLITS)
def test_labels_of_a_small_database_equal_relbenchs(club, benchmark_labels, tmp_path, task, split):
    dataset = relbench.load_dataset(str(club.location))
    path = tmp_path / "labels.parquet"
    benchmark_labels.tables[task].write_parquet(path)
    declared = club.schema.task(task)
    assert_same_rows(ours(path, split), theirs(dataset, declared, split, regenerate=True), task)
