"""Things that several tests build on: dbt projects, a small RelBench folder, a child process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 600.0
"""Seconds after which something hangs; what runs on a slow or busy machine does not."""
START = datetime(2020, 1, 1)
# The club's benchmark: windows of 10 days, validation from day 90, test from day 120.
VAL, TEST, END = 90, 120, 160


def day(number: float) -> datetime:
    """That many days after the club opened."""
    return START + timedelta(days=number)


def empty_project(folder: Path) -> Path:
    """A copy of the dbt project that declares no database."""
    shutil.copytree(ROOT / "dbt_project", folder, ignore=shutil.ignore_patterns("shop", "target"))
    (folder / "models").mkdir(exist_ok=True)
    return folder


def real_databases() -> list[Path]:
    """The RelBench folders below RELFORGE_DATABASES."""
    root = os.environ.get("RELFORGE_DATABASES")
    if not root:
        return []
    return sorted(path.parent for path in Path(root).glob("*/manifest.yaml"))


def each_real_database() -> list[Any]:
    """One parameter a real database; a single skipped one where there is none."""
    if found := real_databases():
        return [pytest.param(path, id=path.name) for path in found]
    reason = "RELFORGE_DATABASES names no folder of RelBench databases"
    return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id="none")]


def wait_for(condition: Callable[[], object]) -> None:
    """Returns once the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def run_python(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter with the project on its path."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        **options,
    )


def club_tables() -> dict[str, pl.DataFrame]:
    """People who join a club and visit it; names in the way that tools dislike.

    Person 5 joins after the test timestamp. Person 0 visits exactly at the cutoffs 100 and 120.
    """
    random = np.random.default_rng(11)
    people = pl.DataFrame(
        {
            "PersonId": range(6),
            "JoinedAt": [day(0), day(0), day(1), day(2), day(60), day(130)],
            "Tier": ["gold", "silver", "gold", None, "silver", "gold"],
        }
    )
    rows = [(0, day(100), 1.0), (0, day(TEST), 2.0), (1, day(END), 5.0)]
    for person, joined in enumerate([0, 0, 1, 2, 60, 130]):
        half_days = random.choice(np.arange(2 * joined + 1, 2 * END), 25, replace=False)
        rows += [(person, day(half / 2), float(random.integers(1, 20))) for half in half_days]
    rows.sort(key=lambda row: (row[1], row[0]))
    visits = pl.DataFrame(
        {
            "VisitId": range(len(rows)),
            "PersonId": [row[0] for row in rows],
            "at": [row[1] for row in rows],
            "Amount Paid": [row[2] if number % 9 else None for number, row in enumerate(rows)],
        }
    )
    return {"People": people, "Club Visits": visits}


VISIT_COUNT = """
WITH members AS (
  SELECT t.timestamp, p.PersonId
  FROM timestamps t JOIN People p ON p.JoinedAt <= t.timestamp
)
SELECT m.timestamp, m.PersonId, count(v.VisitId) AS visits
FROM members m LEFT JOIN "Club Visits" v
  ON v.PersonId = m.PersonId AND v.at > m.timestamp AND v.at <= m.timestamp + INTERVAL '{timedelta}'
GROUP BY ALL; -- one row a member
"""
SPENDS_MUCH = """
SELECT t.timestamp AS seen_at, v.PersonId,
       (sum(v."Amount Paid") > 10)::BIGINT AS much
FROM timestamps t, "Club Visits" v
WHERE v.at > t.timestamp AND v.at <= t.timestamp + INTERVAL '{timedelta}'
  AND '{{ not jinja }}' <> '{% nor this %}' AND '{#' <> '#}'
GROUP BY ALL
"""
HABIT = """
SELECT t.timestamp, p.PersonId,
       CASE count(v.VisitId) WHEN 0 THEN 'none' WHEN 1 THEN 'one' ELSE 'more' END AS habit
FROM timestamps t JOIN People p ON p.JoinedAt <= t.timestamp
LEFT JOIN "Club Visits" v
  ON v.PersonId = p.PersonId AND v.at > t.timestamp AND v.at <= t.timestamp + INTERVAL '{timedelta}'
GROUP BY ALL
"""


def _forecast(name: str, task_type: str, sql: str, target: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "forecast",
        "task_type": task_type,
        "entity_table": "People",
        "entity_col": "PersonId",
        "target_col": target,
        "time_col": "timestamp",
        "timedelta": "10 days",
        "num_eval_timestamps": 3,
        "sql": sql,
    } | more


CLUB_TASKS: dict[str, dict[str, Any]] = {
    "visit-count": _forecast("visit-count", "regression", VISIT_COUNT, "visits"),
    "spends-much": _forecast(
        "spends-much",
        "binary_classification",
        SPENDS_MUCH,
        "much",
        time_col="seen_at",
        remove_columns=[["Club Visits", "Amount Paid"]],
    ),
    "habit": _forecast("habit", "multiclass_classification", HABIT, "habit"),
    "rating": {
        "name": "rating",
        "kind": "external",
        "task_type": "regression",
        "entity_table": "People",
        "entity_col": "PersonId",
        "target_col": "stars",
        "time_col": "asked_at",
        "timedelta": "10 days",
        "num_eval_timestamps": 3,
    },
    "guess-tier": {
        "name": "guess-tier",
        "kind": "autocomplete",
        "task_type": "multiclass_classification",
        "entity_table": "People",
        "entity_col": "PersonId",
        "target_col": "Tier",
    },
    "friends": {
        "name": "friends",
        "kind": "forecast",
        "task_type": "recommendation",
        "src_entity_table": "People",
        "src_entity_col": "PersonId",
        "dst_entity_table": "People",
        "dst_entity_col": "PersonId",
        "time_col": "timestamp",
        "timedelta": "10 days",
        "eval_k": 2,
        "sql": "SELECT 1",
    },
}


def club_manifest() -> dict[str, Any]:
    """The dataset manifest of the club."""
    return {
        "name": "The-Club",
        "val_timestamp": str(day(VAL)),
        "test_timestamp": str(day(TEST)),
        "tables": {
            "People": {"pkey": "PersonId", "time_col": "JoinedAt", "fkeys": {}},
            "Club Visits": {
                "pkey": "VisitId",
                "time_col": "at",
                "fkeys": {"PersonId": "People"},
            },
        },
    }


def ratings() -> dict[str, pl.DataFrame]:
    """Labels that are shipped as files: everyone at every tenth day."""
    cutoffs = {"train": range(10, 90, 10), "val": (90, 100, 110), "test": (120, 130, 140)}
    return {
        split: pl.DataFrame(
            [
                {"asked_at": day(at), "PersonId": person, "stars": float((at + person) % 7)}
                for at in days
                for person in range(4)
            ]
        )
        for split, days in cutoffs.items()
    }


def write_relbench_folder(
    folder: Path,
    tables: dict[str, pl.DataFrame] | None = None,
    manifest: dict[str, Any] | None = None,
    tasks: dict[str, dict[str, Any]] | None = None,
) -> Path:
    """Writes a RelBench v3 folder; the club's parts where None."""
    (folder / "db").mkdir(parents=True)
    for name, table in (tables if tables is not None else club_tables()).items():
        table.write_parquet(folder / "db" / f"{name}.parquet")
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest or club_manifest()))
    for name, task in (CLUB_TASKS if tasks is None else tasks).items():
        place = folder / "tasks" / name
        place.mkdir(parents=True)
        (place / "manifest.yaml").write_text(yaml.safe_dump(task))
        if task.get("kind") == "external":
            for split, labels in ratings().items():
                labels.write_parquet(place / f"{split}.parquet")
    return folder
