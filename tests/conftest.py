"""Fixtures that are built once: a club with awkward names, imported, staged, with its labels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
import yaml

from models.database.dbt import load_manifest
from models.database.dbt_folder import identifier
from models.database.importer import Import, import_database
from models.database.manifest import Declaration, read_databases
from models.database.schema import RelationalSchema
from models.database.source import RelBenchSource, write_raw_tables
from models.database.staging import build_staging
from models.database.training_table import build_training_tables
from models.database.warehouse import Warehouse
from tests.fixtures import club_tables, day, empty_project, write_relbench_folder

# Added by hand to the imported folder, as an owner would: (SQL, settings of the meta block).
HAND_WRITTEN = {
    "declared_population": (
        """
{% set population %}
select t.timestamp, p."PersonId" as member
from timestamps t join people p on p."JoinedAt" <= t.timestamp and p."Tier" = 'gold'
{% endset %}
{% call training_table(
    reads=['the_club__people', 'the_club__club_visits'], population=population
) %}
select p.timestamp, p.member, exists(
    select 1 from club_visits v where v."PersonId" = p.member
    and v.at > p.timestamp and v.at <= p.timestamp + interval '{{ window() }}'
) as label
from population p
{% endcall %}
""",
        {},
    ),
    "strides": (
        """
{% call training_table(reads=['the_club__people', 'the_club__club_visits']) %}
select t.timestamp, p."PersonId" as member, true as label
from timestamps t, people p where p."JoinedAt" <= t.timestamp
{% endcall %}
""",
        {"stride": "3 days", "evaluation_cutoffs": 9},
    ),
    # Its SQL forgets to close the window: only what the split may see keeps it honest.
    "peeks": (
        """
{% call training_table(reads=['the_club__people', 'the_club__club_visits']) %}
select t.timestamp, p."PersonId" as member, count(v."VisitId") as label
from timestamps t join people p on p."JoinedAt" <= t.timestamp
left join club_visits v on v."PersonId" = p."PersonId" and v.at > t.timestamp
group by all
{% endcall %}
""",
        {"type": "regression"},
    ),
    "wrong_columns": (
        """
{% call training_table(reads=['the_club__people', 'the_club__club_visits']) %}
select t.timestamp, p."PersonId" as who from timestamps t, people p
{% endcall %}
""",
        {},
    ),
    "too_long": (
        """
{% call training_table(reads=['the_club__people', 'the_club__club_visits']) %}
select t.timestamp, p."PersonId" as member, 1 as label from timestamps t, people p
{% endcall %}
""",
        {"window": "100 days", "validation_span": "100 days"},
    ),
    "forgotten_entity": (
        """
{% call training_table(reads=['the_club__club_visits']) %}
select t.timestamp, v."PersonId" as member, 1 as label from timestamps t, club_visits v
{% endcall %}
""",
        {},
    ),
    "timeless": (
        """
{% call training_table(
    reads=['the_club__people', 'the_club__club_visits'], history=['the_club__no_times']
) %}
select t.timestamp, p."PersonId" as member, 1 as label from timestamps t, people p
{% endcall %}
""",
        {},
    ),
}
BROKEN = ("wrong_columns", "too_long", "forgotten_entity", "timeless")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs come first: at the end, one of their files would keep a single worker busy."""
    items.sort(key=lambda item: "end_to_end" not in item.path.parts)


@dataclass(frozen=True)
class Club:
    """The imported club: its folder, its dbt project and what is built from it."""

    location: Path
    project: Path
    imported: Import
    schema: RelationalSchema
    warehouse: Warehouse
    raw: dict[str, Path]
    staged: dict[str, Path]

    def build(self, as_of: datetime, folder: Path, staged: dict[str, Path] | None = None) -> Labels:
        """The training tables as of a date."""
        folder.mkdir(parents=True, exist_ok=True)
        errors = build_training_tables(
            self.schema,
            self.schema.tasks,
            as_of,
            staged or self.staged,
            self.raw,
            self.project,
            self.warehouse,
            folder,
        )
        tables = {path.stem: pl.read_parquet(path) for path in folder.glob("*.parquet")}
        return Labels(as_of, tables, errors)


@dataclass(frozen=True)
class Labels:
    """Training tables of one date and the errors of the tasks that have none."""

    as_of: datetime
    tables: dict[str, pl.DataFrame]
    errors: dict[str, str]


@pytest.fixture(scope="session")
def club(tmp_path_factory: pytest.TempPathFactory) -> Club:
    """The club, imported from a RelBench folder, extended by hand and staged."""
    root = tmp_path_factory.mktemp("club")
    location = write_relbench_folder(root / "source")
    project = empty_project(root / "project")
    imported = import_database(str(location), project)
    _write_tasks(imported.folder)
    schema = read_databases(load_manifest(project, root / "cache"))["the_club"].checked()
    raw = _raw_tables(schema, root / "raw")
    warehouse = Warehouse(root / "warehouse" / "warehouse.duckdb")
    (root / "staged").mkdir()
    build_staging(schema, raw, project, warehouse, root / "staged")
    staged = {name: root / "staged" / f"{name}.parquet" for name in schema.table_names}
    return Club(location, project, imported, schema, warehouse, raw, staged)


@pytest.fixture(scope="session")
def benchmark_labels(club: Club, tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """Training tables at the club's test timestamp, whose future is known."""
    assert club.schema.default_as_of is not None
    return club.build(club.schema.default_as_of, tmp_path_factory.mktemp("benchmark"))


@pytest.fixture(scope="session")
def open_labels(club: Club, tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """Training tables at a date whose first window reaches past the data."""
    return club.build(day(155), tmp_path_factory.mktemp("open"))


@pytest.fixture(scope="session")
def rewritten_labels(club: Club, tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """Training tables at the test timestamp after all that happens later has been rewritten."""
    tables = club_tables()
    visits, people = tables["Club Visits"], tables["People"]
    later = visits.filter(pl.col("at") > day(120))
    rewritten = later.gather_every(2).with_columns(
        pl.col("Amount Paid") * 1000, PersonId=pl.lit(2, pl.Int64)
    )
    added = later.with_columns(pl.col("VisitId") + 1000, at=pl.col("at") + pl.duration(days=90))
    newcomer = {"PersonId": 6, "JoinedAt": day(121), "Tier": "gold"}
    folder = tmp_path_factory.mktemp("rewritten")
    changed = {
        "People": pl.concat([people, pl.DataFrame([newcomer], schema=people.schema)]),
        "Club Visits": pl.concat([visits.filter(pl.col("at") <= day(120)), rewritten, added]),
    }
    staged = {identifier(name): folder / f"{identifier(name)}.parquet" for name in changed}
    for name, table in changed.items():
        table.write_parquet(staged[identifier(name)])
    staged["no_times"] = club.staged["no_times"]
    return club.build(day(120), folder / "labels", staged)


def _raw_tables(schema: RelationalSchema, folder: Path) -> dict[str, Path]:
    folder.mkdir()
    write_raw_tables(schema, RelBenchSource(schema), folder)
    return {name: folder / f"{name}.parquet" for name in schema.source.table_names}


def _write_tasks(folder: Path) -> None:
    (folder / "staging" / "the_club__no_times.sql").write_text("select 1 as id\n")
    for name, (sql, settings) in HAND_WRITTEN.items():
        meta = {
            "entity_table": "the_club__people",
            "entity_column": "member",
            "type": "binary_classification",
            "window": "10 days",
            "validation_span": "30 days",
            "evaluation_cutoffs": 3,
        } | settings
        model = {"name": f"the_club__{name}", "config": {"meta": {"relforge": {"task": meta}}}}
        declaration = yaml.safe_dump({"version": 2, "models": [model]})
        (folder / "tasks" / f"the_club__{name}.yml").write_text(declaration)
        (folder / "tasks" / f"the_club__{name}.sql").write_text(sql)


@pytest.fixture(scope="session")
def declarations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Declaration]:
    """Many databases of one dbt project, sound and faulty, read back after one `dbt parse`."""
    from tests.models.database.declared import random_schema, write, write_faulty

    root = tmp_path_factory.mktemp("declared")
    project = empty_project(root / "project")
    for number in range(30):
        write(project, random_schema(number))
    write_faulty(project)
    return read_databases(load_manifest(project, root / "cache"))
