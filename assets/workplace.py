"""What every asset shares: the workplace resource, names, and the report of an outcome."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from models.artifacts import Artifact, ArtifactStore, Outcome, Recipe
from models.database.dbt import load_manifest
from models.database.schema import RelationalSchema, Task
from models.database.warehouse import Warehouse
from models.settings import Settings

STAGES = (
    "source",
    "staging",
    "training_tables",
    "features",
    "task_vectors",
    "temporal_graph",
    "pretraining",
    "signals",
    "routing",
    "training",
    "predictions",
)
FIRST_AS_OF = "2000-01-01"


class Workplace(dg.ConfigurableResource[Any]):
    """The folders and limits that stages work with."""

    home: str
    dbt_project: str
    threads: int = 2
    memory_limit: str = "8GB"

    @property
    def settings(self) -> Settings:
        """The same folders, as the library knows them."""
        return Settings(Path(self.home), Path(self.dbt_project))

    @property
    def store(self) -> ArtifactStore:
        """The artifact store."""
        return ArtifactStore(self.settings.store)

    @property
    def project(self) -> Path:
        """The dbt project."""
        return self.settings.dbt_project

    def warehouse(self, database: str) -> Warehouse:
        """The warehouse of a database."""
        return Warehouse(self.settings.warehouse(database), self.settings.manifest_cache)

    def manifest(self) -> dict[str, Any]:
        """Dbt's manifest of the project as it is now."""
        return load_manifest(self.project, self.settings.manifest_cache)

    def has(self, recipe: Recipe) -> bool:
        """Whether the recipe's artifact exists."""
        return self.store.find(recipe.stage, recipe.fingerprint) is not None

    def build(
        self,
        context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
        recipe: Recipe,
        produce: Callable[[Path], Mapping[str, Any]],
        *,
        force: bool = False,
    ) -> Outcome:
        """Builds or reuses an artifact and says in the log which of the two it was, and why."""
        outcome = self.store.build(recipe, produce, context.run.run_id, force=force)
        if outcome.reused:
            verb = f"reused from run {outcome.made_by[:8]}"
        else:
            verb = f"computed in {outcome.seconds:.1f} s ({'; '.join(outcome.changed) or 'forced'})"
        context.log.info(f"{recipe.stage} {recipe.subject}: {verb}")
        return outcome


class StageConfig(dg.Config):
    """Settings that every stage has."""

    force: bool = False
    """Compute anew even if the artifact exists."""


def group(schema: RelationalSchema, stage: str) -> str:
    """The asset group of a stage: groups sort by database, then in pipeline order."""
    return f"{schema.database}_{STAGES.index(stage) + 1:02}_{stage}"


def task_key(schema: RelationalSchema, task: Task, name: str) -> dg.AssetKey:
    """The key of a task's asset."""
    return dg.AssetKey([schema.database, task.name, name])


def as_of_partitions(schema: RelationalSchema) -> dg.DailyPartitionsDefinition:
    """The `as_of` dates of a database: every day from its first event to today.

    Computed from the declaration and the clock, so nothing has to be registered before a run.
    """
    start = f"{schema.first_as_of:%Y-%m-%d}" if schema.first_as_of else FIRST_AS_OF
    return dg.DailyPartitionsDefinition(start_date=start, end_offset=1)


def as_of_fault(schema: RelationalSchema, key: str) -> str:
    """Why a run of this database cannot have that `as_of`, or nothing."""
    partitions = as_of_partitions(schema)
    if partitions.has_partition_key(key):
        return ""
    first, last = partitions.get_first_partition_key(), partitions.get_last_partition_key()
    return (
        f"as_of {key!r} is no date of database {schema.database!r}: give one from {first}, its "
        f"first event, to {last}, written as YYYY-MM-DD"
    )


def as_of_date(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, schema: RelationalSchema
) -> datetime:
    """The date of this run, at the time of day that the database's benchmark uses.

    Raises:
        Failure: the run has no partition, or one that does not exist.
    """
    key = context.run.tags.get("dagster/partition")
    if not key:
        raise dg.Failure(
            f"database {schema.database!r}: this run has no as_of; give one with "
            '--tags \'{"dagster/partition": "2024-01-31"}\' or choose a partition in the UI'
        )
    fault = as_of_fault(schema, key)
    if fault:
        raise dg.Failure(fault)
    return datetime.combine(datetime.fromisoformat(key).date(), schema.as_of_time)


def now() -> datetime:
    """The present as a naive UTC time, the form of every time in the pipeline."""
    return datetime.now(UTC).replace(tzinfo=None)


def latest(workplace: Workplace, stage: str, subject: str, what: str) -> Artifact:
    """The artifact that a stage last made for a subject.

    Raises:
        Failure: there is none yet; the message says what to materialise.
    """
    artifact = workplace.store.latest(stage, subject)
    if artifact is None:
        raise dg.Failure(f"{what} is not there yet; materialise it first")
    return artifact


def upstream(workplace: Workplace, stage: str, artifact: Artifact) -> Artifact:
    """The upstream artifact that this one was made from, of whatever age."""
    return workplace.store.get(stage, artifact.inputs[stage])


def materialization(
    outcome: Outcome,
    key: dg.AssetKey | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dg.MaterializeResult[Any]:
    """The event of a stage: its figures, whether it was reused, and what had changed if not."""
    state: dict[str, Any] = {
        "reused": outcome.reused,
        "made by run": outcome.made_by,
        "changed": ", ".join(outcome.changed) or "nothing",
        "fingerprint": outcome.artifact.fingerprint,
        "content": outcome.artifact.content,
        "seconds": round(outcome.seconds, 2),
        "folder": dg.MetadataValue.path(outcome.artifact.path),
    }
    return dg.MaterializeResult(
        asset_key=key,
        metadata={**(metadata or {}), **state},
        data_version=dg.DataVersion(outcome.artifact.fingerprint),
    )


def table_metadata(rows: Iterable[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Rows as a table in the asset's page."""
    records = [dg.TableRecord(_cells(row)) for row in rows]
    # Dagster takes the columns from the first record and refuses a table without any.
    schema = None if records else dg.TableSchema([dg.TableColumn("empty")])
    return dg.MetadataValue.table(records, schema=schema)


def image(path: Path) -> dg.MarkdownMetadataValue:
    """A PNG file, shown in the asset's page."""
    from models.reporting.metadata import metadata_markdown

    return dg.MetadataValue.md(metadata_markdown(path.read_bytes()))


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _cell(value) for name, value in row.items()}


def _cell(value: Any) -> str | int | float | bool | None:
    if isinstance(value, float):
        return round(value, 4)
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)
