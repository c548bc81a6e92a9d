"""A tiny RelBench v3 folder, written by hand: a club's members, visits and the desks they use.

Times are whole hours, so that a row exactly at a cutoff occurs. `rows` may be changed before
`write_club`, which is how tests make faults or move the future.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

START = datetime(2020, 1, 1)
VAL = datetime(2021, 1, 1)
TEST = datetime(2021, 3, 2)
DAYS = 520
MEMBERS, DESKS, VISITS = 60, 6, 2600

VISITS_AGAIN = """\
SELECT t.timestamp AS timestamp, m.memberId AS memberId,
  CAST(COUNT(v.visitId) > 3 AS INTEGER) AS comes
FROM timestamps t
CROSS JOIN members m
LEFT JOIN visits v ON v.memberId = m.memberId
  AND v.date > t.timestamp AND v.date <= t.timestamp + INTERVAL '{timedelta}'
WHERE m.memberId IN (SELECT memberId FROM visits WHERE date <= t.timestamp)
GROUP BY t.timestamp, m.memberId
"""
SPEND = """\
SELECT t.timestamp AS timestamp, v.memberId AS memberId, SUM(v.paid) AS spend
FROM timestamps t
JOIN visits v ON v.date > t.timestamp AND v.date <= t.timestamp + INTERVAL '{timedelta}'
GROUP BY t.timestamp, v.memberId
"""

Tables = dict[str, pl.DataFrame]


def club_tables(seed: int = 3) -> Tables:
    """The club's three tables; members differ in how often they come and what they pay."""
    rng = np.random.default_rng(seed)
    keenness = rng.gamma(1.2, 1.0, MEMBERS)
    hours = np.sort(rng.integers(0, DAYS * 24, VISITS))
    member = rng.choice(MEMBERS, VISITS, p=keenness / keenness.sum())
    first = {int(m): int(h) for m, h in zip(member[::-1], hours[::-1], strict=True)}
    joined = [START + timedelta(hours=max(first.get(m, 0) - 1, 0)) for m in range(MEMBERS)]
    return {
        "members": pl.DataFrame(
            {
                "memberId": np.arange(MEMBERS),
                "town": rng.choice(["north", "south", "hill"], MEMBERS),
                "age": rng.integers(18, 80, MEMBERS),
                "joined": joined,
            }
        ).with_columns(pl.col("joined").cast(pl.Datetime("ns"))),
        "desks": pl.DataFrame(
            {"deskId": np.arange(DESKS), "floor": rng.integers(0, 3, DESKS).astype(float)}
        ),
        "visits": pl.DataFrame(
            {
                "visitId": np.arange(VISITS),
                "memberId": member,
                "deskId": rng.integers(0, DESKS, VISITS),
                "date": [START + timedelta(hours=int(hour)) for hour in hours],
                "paid": np.round(rng.gamma(2.0, 3.0 + keenness[member]), 2),
                "kind": rng.choice(["day", "evening"], VISITS),
            }
        ).with_columns(pl.col("date").cast(pl.Datetime("ns"))),
    }


def database_manifest(name: str = "tiny-club") -> dict[str, Any]:
    return {
        "name": name,
        "manifest_version": 1,
        "description": "a club, by hand",
        "val_timestamp": f"{VAL:%Y-%m-%d}",
        "test_timestamp": f"{TEST:%Y-%m-%d}",
        "tables": {
            "members": {"pkey": "memberId", "time_col": "joined", "fkeys": {}},
            "desks": {"pkey": "deskId", "time_col": None, "fkeys": {}},
            "visits": {
                "pkey": "visitId",
                "time_col": "date",
                "fkeys": {"memberId": "members", "deskId": "desks"},
            },
        },
    }


def task_manifest(name: str, task_type: str, label: str, sql: str) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "forecast",
        "task_type": task_type,
        "description": f"{name} of the club",
        "entity_table": "members",
        "entity_col": "memberId",
        "target_col": label,
        "time_col": "timestamp",
        "timedelta": "20 days",
        "num_eval_timestamps": 3,
        "sql": sql,
        "manifest_version": 1,
    }


def club_tasks() -> dict[str, dict[str, Any]]:
    return {
        "member-comes": task_manifest(
            "member-comes", "binary_classification", "comes", VISITS_AGAIN
        ),
        "member-spend": task_manifest("member-spend", "regression", "spend", SPEND),
    }


def write_club(
    folder: Path,
    tables: Tables | None = None,
    tasks: dict[str, dict[str, Any]] | None = None,
    name: str = "tiny-club",
) -> Path:
    """Writes the RelBench folder and returns it."""
    (folder / "db").mkdir(parents=True, exist_ok=True)
    write_tables(folder, club_tables() if tables is None else tables)
    (folder / "manifest.yaml").write_text(yaml.safe_dump(database_manifest(name), sort_keys=False))
    for task, manifest in (club_tasks() if tasks is None else tasks).items():
        (folder / "tasks" / task).mkdir(parents=True, exist_ok=True)
        path = folder / "tasks" / task / "manifest.yaml"
        path.write_text(yaml.safe_dump(manifest, sort_keys=False))
    return folder


def write_tables(folder: Path, tables: Tables) -> None:
    for table, frame in tables.items():
        frame.write_parquet(folder / "db" / f"{table}.parquet")
