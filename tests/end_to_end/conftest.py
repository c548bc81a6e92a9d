"""The tiny databases that the end-to-end tests share, each run once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.club import write_club
from tests.end_to_end.installation import Installation, another_home, new_installation


@pytest.fixture(scope="module", autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test may see the developer's own home or Dagster instance."""
    folder = tmp_path_factory.mktemp("default")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("RELFORGE_", "DAGSTER_"))]:
            if name != "RELFORGE_DATABASES":
                patch.delenv(name)
        default = new_installation(folder)
        patch.setenv("RELFORGE_HOME", str(default.home))
        patch.setenv("RELFORGE_DBT_PROJECT", str(default.project))
        # On busy cores two threads take far longer than one over so few rows.
        patch.setenv("RELFORGE_THREADS", "1")
        patch.setenv("RELFORGE_FAMILIES", "lightgbm")
        patch.setenv("RELFORGE_TRIALS", "2")
        yield


@dataclass(frozen=True)
class Tiny:
    """The hand-made club after one run of the command line at its benchmark's date."""

    installation: Installation
    folder: Path
    output: Path
    first: subprocess.CompletedProcess[str]
    assets: dict[str, dict[str, Any]]

    def exported(self, task: str) -> Path:
        return self.output / "tiny-club" / task


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    root = tmp_path_factory.mktemp("club")
    folder = write_club(root / "source")
    installation = new_installation(root)
    first = installation.run("--source", folder, "--output", root / "out")
    assert first.returncode == 0, first.stdout
    return Tiny(installation, folder, root / "out", first, installation.last_run())


@pytest.fixture
def elsewhere(tiny: Tiny, tmp_path: Path) -> Installation:
    """An empty home over the club's dbt project."""
    return another_home(tmp_path, tiny.installation)
