"""The Dagster instance of an installation: one home for the command line, the UI and schedules."""

from __future__ import annotations

import os
from pathlib import Path

from filelock import FileLock

from models.settings import Settings

DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
run_monitoring:
  enabled: true
concurrency:
  runs:
    max_concurrent_runs: 2
"""


def prepare_environment(settings: Settings) -> dict[str, str]:
    """The environment of a Dagster process, with its home created and configured."""
    home = settings.home / "dagster"
    _create_instance(home)
    root = Path(__file__).resolve().parents[1]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
    return os.environ | {
        "DAGSTER_HOME": os.environ.get("DAGSTER_HOME", str(home)),
        "RELFORGE_HOME": str(settings.home),
        "RELFORGE_DBT_PROJECT": str(settings.dbt_project),
        "PYTHONPATH": path,
        # Threads that wait for each other sleep instead of burning the core the other one needs.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        # Supersession notices of `dagster job execute` are no news to the reader of a run.
        "PYTHONWARNINGS": "ignore",
    }


def _create_instance(home: Path) -> None:
    """Creates the instance once: two runs that do so at the same time would fail each other."""
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / "create.lock"):
        created = home / "created"
        if created.exists():
            return
        configuration = home / "dagster.yaml"
        if not configuration.exists():
            configuration.write_text(DAGSTER_YAML)
        import dagster as dg

        # Opening it creates the tables of its storage.
        with dg.DagsterInstance.from_config(str(home)):
            created.touch()
