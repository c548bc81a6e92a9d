"""Opens Dagster's UI, scheduler included, on the instance that the command line uses."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from models.settings import Settings
from orchestration.instance import prepare_environment


def main() -> None:
    """Replaces this process by `dagster dev`; further arguments (such as --port) are passed on."""
    environment = prepare_environment(Settings.from_environment())
    workspace = Path(__file__).resolve().parents[1] / "workspace.yaml"
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(workspace), *sys.argv[1:]]
    os.chdir(workspace.parent)
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    main()
