"""Stage 9, the performance bank: what every trial, on any task, has scored and cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from assets.workplace import StageConfig, Workplace, materialization, table_metadata
from models.artifacts import Artifact, ArtifactStore, Outcome, Recipe, code_version
from models.artifacts.recipe import file_digest
from models.bank.store import SHIPPED, append_to_bank, bank_files, read_bank, write_bank
from models.settings import Settings

BANK = dg.AssetKey(["performance_bank"])
STAGE = "performance_bank"
FILE = "bank.parquet"
CODE = ("models/bank/store.py",)


def trials_folder(settings: Settings) -> Path:
    """Where the trials of this installation are noted, for the next edition of the bank."""
    return settings.home / "bank"


@dg.asset(
    key=BANK,
    group_name="performance_bank",
    kinds={"parquet"},
    description=(
        "A new edition of the bank: the trials that relforge ships with, and all that were run here. "
        "Routing reads the edition that was made last, so trials of a run do not change what the "
        "next one decides until this is materialised."
    ),
)
def performance_bank(
    context: dg.AssetExecutionContext, config: StageConfig, workplace: Workplace
) -> dg.MaterializeResult[Any]:
    """Merges what is there by now."""
    folders = [SHIPPED, trials_folder(workplace.settings)]
    outcome = _edition(workplace.store, folders, context.run.run_id, config.force)
    return materialization(outcome, metadata=_metadata(outcome.artifact))


def newest_edition(workplace: Workplace) -> Artifact:
    """The edition that routing reads: the one made last, else that which relforge ships with."""
    found = workplace.store.latest(STAGE, STAGE)
    return found or _edition(workplace.store, [SHIPPED], "", False).artifact


def note_trials(settings: Settings, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds trials to what the next edition is made from."""
    if rows:
        append_to_bank(trials_folder(settings), rows)


def _edition(store: ArtifactStore, folders: list[Path], run_id: str, force: bool) -> Outcome:
    files = bank_files(folders)
    recipe = Recipe(
        stage=STAGE,
        subject=STAGE,
        code=code_version(*CODE),
        config={},
        inputs={path.stem: file_digest(path) for path in files},
    )

    def produce(folder: Path) -> Mapping[str, Any]:
        bank = read_bank(folders)
        write_bank(bank, folder / FILE)
        counted = bank.group_by("origin", "database").len("rows").sort("origin", "database")
        return {"rows": bank.height, "databases": counted.to_dicts()}

    return store.build(recipe, produce, run_id, force=force)


def _metadata(bank: Artifact) -> dict[str, Any]:
    found = bank.metadata
    real = [row for row in found["databases"] if row["origin"] == "real"]
    others = sum(row["rows"] for row in found["databases"] if row["origin"] != "real")
    return {
        "dagster/row_count": found["rows"],
        "real databases": table_metadata({k: row[k] for k in ("database", "rows")} for row in real),
        "rows of synthetic databases": others,
    }
