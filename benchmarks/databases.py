"""The databases that are measured: prepared once as Parquet files that every engine reads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
import yaml

from benchmarks.case import Case, CaseTable, Step
from benchmarks.shop import ShopSize, make_shop
from models.aggregation.paths import enumerate_paths
from models.database.schema import Column, ForeignKey, RelationalSchema, SemanticType, Table

# Integers of rel-f1 that name something.
CODES = {"results": ("statusId",)}
# Of rel-f1's columns these are no feature inputs of any engine: times of a row that is no event.
UNUSED = {"drivers": ("dob",)}

SHOP_ITEMS = 5_000
ROLES = {
    "users": CaseTable("users", "", "user_id", None, (), ("age",), ("country",)),
    "items": CaseTable("items", "", "item_id", None, (), ("price",), ("category",)),
    "events": CaseTable(
        "events",
        "",
        "event_id",
        "at",
        (("user_id", "users"), ("item_id", "items")),
        ("amount", "duration"),
        ("kind", "channel"),
    ),
    "ratings": CaseTable(
        "ratings", "", "rating_id", "at", (("event_id", "events"),), ("stars",), ("aspect",)
    ),
}


class Unavailable(Exception):
    """A case or an engine cannot be measured here; the message says why."""


def prepare(name: str, folder: Path) -> Case:
    """The case of that name, its files below `folder` written if they aren't there yet.

    Raises:
        Unavailable: Its data aren't on this machine.
    """
    described = folder / name / "case.json"
    if not described.exists():
        described.parent.mkdir(parents=True, exist_ok=True)
        case = CASES[name](name, described.parent)
        described.write_text(json.dumps(case.to_plain()))
    return Case.from_plain(json.loads(described.read_text()))


def write_shop(name: str, folder: Path, size: ShopSize) -> Case:
    """A shop of that size, as files."""
    return write_case(name, folder, "users", make_shop(size), ROLES)


def write_case(
    name: str,
    folder: Path,
    entity_table: str,
    frames: Mapping[str, pl.DataFrame],
    roles: Mapping[str, CaseTable],
) -> Case:
    """A case of the frames that have roles, and of the one named `seeds`, as files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {table: folder / f"{table}.parquet" for table in frames}
    for table, frame in frames.items():
        frame.write_parquet(files[table])
    tables = tuple(
        replace(roles[table], file=str(file)) for table, file in files.items() if table in roles
    )
    return Case(name, entity_table, tables, str(files["seeds"]))


def write_rel_f1(name: str, folder: Path) -> Case:
    """RelBench's Formula 1 database with the training rows of its task driver-dnf."""
    root = Path(os.environ.get("RELFORGE_DATABASES") or "/nowhere") / "rel-f1"
    if not (root / "manifest.yaml").exists():
        raise Unavailable("RELFORGE_DATABASES names no folder with rel-f1")
    manifest = yaml.safe_load((root / "manifest.yaml").read_text())
    tables = tuple(
        _write_table(root, folder, table, roles) for table, roles in manifest["tables"].items()
    )
    seeds = pl.scan_parquet(root / "tasks" / "driver-dnf" / "train.parquet").select(
        entity="driverId", cutoff_time=pl.col("date").cast(pl.Datetime("us"))
    )
    seeds.collect().with_row_index("row_id").write_parquet(folder / "seeds.parquet")
    return Case(name, "drivers", tables, str(folder / "seeds.parquet"))


def _write_table(root: Path, folder: Path, name: str, declared: dict[str, object]) -> CaseTable:
    keys: dict[str, str] = declared["fkeys"]  # type: ignore[assignment]
    primary, time = str(declared["pkey"]), declared["time_col"]
    frame = pl.read_parquet(root / "db" / f"{name}.parquet")
    if name == "races":
        start = pl.col("time").str.to_time("%H:%M:%S", strict=False)
        frame = frame.with_columns(time=start.cast(pl.Duration).dt.total_seconds())
    given = {primary, time, *keys, *UNUSED.get(name, ())}
    codes = CODES.get(name, ())
    columns = [column for column in frame.columns if column not in given]
    numerical = tuple(c for c in columns if frame[c].dtype.is_numeric() and c not in codes)
    categorical = tuple(column for column in columns if column not in numerical)
    frame = frame.select(
        pl.col(primary, *keys).cast(pl.Int64),
        *([pl.col(str(time)).cast(pl.Datetime("us"))] if time else []),
        *(pl.col(column).cast(pl.Float64) for column in numerical),
        *(pl.col(column).cast(pl.String) for column in categorical),
    )
    file = folder / f"{name}.parquet"
    frame.write_parquet(file)
    return CaseTable(
        name,
        str(file),
        primary,
        str(time) if time else None,
        tuple(keys.items()),
        numerical,
        categorical,
    )


def _shop(events: int) -> Callable[[str, Path], Case]:
    # One seed less than a round number: of a multiple of 5,000 rows getML 1.5.0 leaves the last
    # 5,000 out.
    size = ShopSize(events, events // 50, SHOP_ITEMS, events // 20 - 1)
    return lambda name, folder: write_shop(name, folder, size)


CASES: dict[str, Callable[[str, Path], Case]] = {
    "f1": write_rel_f1,
    "shop-1m": _shop(1_000_000),
    "shop-10m": _shop(10_000_000),
}


def schema_of(case: Case) -> RelationalSchema:
    """The case as this project's schema."""
    keys = tuple(
        ForeignKey(table.name, (column,), parent, (case.table(parent).primary_key,))
        for table in case.tables
        for column, parent in table.foreign_keys
    )
    return RelationalSchema(case.name, tuple(map(_schema_table, case.tables)), keys)


def _schema_table(table: CaseTable) -> Table:
    columns = [Column(table.primary_key, "BIGINT", SemanticType.IDENTIFIER)]
    columns += [Column(key, "BIGINT", SemanticType.IDENTIFIER) for key, _ in table.foreign_keys]
    if table.time_column is not None:
        columns.append(Column(table.time_column, "TIMESTAMP", SemanticType.TIMESTAMP))
    columns += [Column(name, "DOUBLE", SemanticType.NUMERICAL) for name in table.numerical]
    columns += [Column(name, "VARCHAR", SemanticType.CATEGORICAL) for name in table.categorical]
    return Table(table.name, tuple(columns), (table.primary_key,), table.time_column)


def paths_of(case: Case, depth: int) -> tuple[tuple[Step, ...], ...]:
    """The schema paths from the case's entity table, shallow first, without the empty one."""
    return tuple(
        tuple(
            Step(key.table, key.columns[0], key.parent, hop.forward)
            for hop in path
            for key in [hop.foreign_key]
        )
        for path in enumerate_paths(schema_of(case), case.entity_table, depth)
        if path
    )
