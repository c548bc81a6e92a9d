"""Where relforge keeps its state and its dbt project; overridable by environment variables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RDL = "rdl"
EMBEDDINGS = "lightgbm_on_embeddings"
FAMILIES = ("lightgbm", "linear", "resnet", RDL)
TRIALS = 9
ON_GRAPHS = {RDL, EMBEDDINGS}
"""Families that read the temporal graph."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Folders of one installation.

    RELFORGE_HOME: artifacts, warehouses and the Dagster instance (default `.relforge`).
    RELFORGE_DBT_PROJECT: the dbt project that declares the databases (default `dbt_project`).
    RELFORGE_FAMILIES: the model families that pipelines train by default, comma-separated.
    RELFORGE_TRIALS: the trials of a task's search (default 9).
    """

    home: Path
    dbt_project: Path
    families: tuple[str, ...] = FAMILIES
    trials: int = TRIALS

    @classmethod
    def from_environment(cls) -> Settings:
        """The settings of this process."""
        home = Path(os.environ.get("RELFORGE_HOME", ROOT / ".relforge")).expanduser().resolve()
        project = os.environ.get("RELFORGE_DBT_PROJECT", ROOT / "dbt_project")
        families = os.environ.get("RELFORGE_FAMILIES", ",".join(FAMILIES))
        named = tuple(name.strip() for name in families.split(",") if name.strip())
        trials = int(os.environ.get("RELFORGE_TRIALS", TRIALS))
        return cls(home, Path(project).expanduser().resolve(), named or FAMILIES, trials)

    @property
    def store(self) -> Path:
        """The artifact store."""
        return self.home / "store"

    @property
    def manifest_cache(self) -> Path:
        """Where dbt's manifest is kept until the project changes."""
        return self.home / "dbt"

    def warehouse(self, database: str) -> Path:
        """The DuckDB file of a database. Its stem is the catalogue's name in dbt's manifest."""
        return self.home / "warehouse" / database / "warehouse.duckdb"
