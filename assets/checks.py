"""Quality gates: Great Expectations on raw, staged and training tables, as asset checks.

What the gates found is an artifact like any other: the same tables are not judged twice.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import training_tables
from assets.source import database_key, raw_tables
from assets.staging import staged_key, staged_tables
from assets.workplace import Workplace, as_of_date, latest, now, task_key, upstream
from models.artifacts import Artifact, Recipe, code_version
from models.database.nodes import table_name
from models.database.schema import Column, RelationalSchema, Table, Task
from models.quality.results import (
    CheckDefinition,
    QualityReport,
    Severity,
    raw_check_names,
    staged_check_names,
    training_table_check_names,
)

if TYPE_CHECKING:
    from models.reporting.report import CheckRow

CODE = ("models/quality",)
RESULTS = "results.json"
DOCS = "data_docs"
Judge = Callable[[Path], QualityReport]


def raw_checks(schema: RelationalSchema) -> dg.AssetChecksDefinition:
    """Gates on the raw tables; one check covers every table of the database."""
    key = database_key(schema)

    @dg.multi_asset_check(
        name=f"{schema.database}_raw_checks", specs=_specs(key, raw_check_names())
    )
    def check(
        context: dg.AssetCheckExecutionContext, workplace: Workplace
    ) -> Iterator[dg.AssetCheckResult]:
        raw = latest(workplace, "database", schema.database, f"database {schema.database}")

        def judge(folder: Path) -> QualityReport:
            from models.quality.raw import check_raw_tables

            return check_raw_tables(_raw_schema(schema), raw_tables(raw, schema), folder / DOCS)

        recipe = Recipe(
            stage="checks",
            subject=f"{schema.database}/raw",
            code=code_version(*CODE),
            config={"source": schema.source},
            inputs={"database": raw.fingerprint},
        )
        artifact = _judge(context, workplace, recipe, judge)
        for definition in raw_check_names():
            found = [row for row in results(artifact) if row["name"] == definition.name]
            yield _combined(key, definition, found, artifact)

    return check


def staged_checks(schema: RelationalSchema) -> dg.AssetChecksDefinition:
    """Gates on the staged tables: one set of checks per table, judged together."""
    specs = [
        spec
        for table in schema.table_names
        for spec in _specs(staged_key(schema, table), staged_check_names())
    ]

    @dg.multi_asset_check(name=f"{schema.database}_staged_checks", specs=specs)
    def check(
        context: dg.AssetCheckExecutionContext, workplace: Workplace
    ) -> Iterator[dg.AssetCheckResult]:
        staging = latest(workplace, "staging", schema.database, f"{schema.database}'s staging")
        wanted = _expectations(workplace, schema, schema.table_names)
        present = now()

        def judge(folder: Path) -> QualityReport:
            from models.quality.staged import check_staged_tables

            return check_staged_tables(
                schema,
                staged_tables(staging, schema),
                now=present,
                user_expectations=wanted,
                docs_dir=folder / DOCS,
            )

        # Only rows dated in the future make the verdict depend on the clock.
        newest = staging.metadata["last_event"]
        in_future = bool(newest) and datetime.fromisoformat(newest) > present
        recipe = Recipe(
            stage="checks",
            subject=f"{schema.database}/staged",
            code=code_version(*CODE),
            config={
                "tables": schema.tables,
                "foreign_keys": schema.foreign_keys,
                "expectations": wanted,
                "judged at": present if in_future else None,
            },
            inputs={"staging": staging.fingerprint},
        )
        artifact = _judge(context, workplace, recipe, judge)
        for row in results(artifact):
            yield _check_result(staged_key(schema, row["table"]), row, artifact)

    return check


def training_table_checks(schema: RelationalSchema, task: Task) -> dg.AssetChecksDefinition:
    """Gates on a task's training table."""
    key = task_key(schema, task, "training_table")

    @dg.multi_asset_check(
        name=f"{schema.database}_{task.name}_training_table_checks",
        specs=_specs(key, training_table_check_names()),
    )
    def check(
        context: dg.AssetCheckExecutionContext, workplace: Workplace
    ) -> Iterator[dg.AssetCheckResult]:
        as_of = as_of_date(context, schema)
        subject = training_tables.subject(schema, task, as_of)
        table = latest(workplace, "training_table", subject, f"the training table {subject}")
        staging = upstream(workplace, "staging", table)
        wanted = _expectations(workplace, schema, [task.name])

        def judge(folder: Path) -> QualityReport:
            from models.quality.training import check_training_table

            return check_training_table(
                task,
                table.path / training_tables.FILE,
                as_of=as_of,
                last_event=datetime.fromisoformat(staging.metadata["last_event"]),
                user_expectations=wanted,
                docs_dir=folder / DOCS,
            )

        recipe = Recipe(
            stage="checks",
            subject=subject,
            code=code_version(*CODE),
            config={"task": task, "as_of": as_of, "expectations": wanted},
            inputs={"training_table": table.fingerprint},
        )
        artifact = _judge(context, workplace, recipe, judge)
        for row in results(artifact):
            yield _check_result(key, row, artifact)

    return check


def published(
    workplace: Workplace, schema: RelationalSchema, staging: Artifact, table: Artifact
) -> dict[str, Artifact]:
    """The verdicts on exactly these staged tables and this training table, where there are any."""
    gates = {
        "staged tables": ("staging", f"{schema.database}/staged", staging),
        "training table": ("training_table", str(table.record["subject"]), table),
    }
    found = {}
    for name, (stage, subject, judged) in gates.items():
        verdict = workplace.store.latest("checks", subject)
        if verdict and verdict.inputs.get(stage) == judged.fingerprint:
            found[name] = verdict
    return found


def results(artifact: Artifact) -> list[dict[str, Any]]:
    """The check results of a verdict, as plain data."""
    return list(json.loads((artifact.path / RESULTS).read_text()))


def rows(artifacts: Iterable[Artifact]) -> "tuple[CheckRow, ...]":
    """The check results of verdicts, for a report."""
    from models.reporting.report import CheckRow

    names = ("name", "table", "severity", "passed", "message")
    return tuple(
        CheckRow(**{name: row[name] for name in names})
        for artifact in artifacts
        for row in results(artifact)
    )


def _specs(key: dg.AssetKey, definitions: list[CheckDefinition]) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            definition.name,
            asset=key,
            description=definition.description,
            blocking=definition.severity == Severity.CRITICAL,
        )
        for definition in definitions
    ]


def _judge(
    context: dg.AssetCheckExecutionContext, workplace: Workplace, recipe: Recipe, judge: Judge
) -> Artifact:
    def produce(folder: Path) -> Mapping[str, Any]:
        report = judge(folder)
        found = [asdict(result) for result in report.results]
        (folder / RESULTS).write_text(json.dumps(found, default=str, indent=1))
        return {"checks": len(found), "failures": len(report.failures)}

    artifact = workplace.build(context, recipe, produce).artifact
    for row in results(artifact):
        if not row["passed"]:
            say = context.log.error if row["severity"] == "critical" else context.log.warning
            say(f"{row['table']}: {row['name']}: {row['message']}")
    return artifact


def _check_result(
    key: dg.AssetKey, row: Mapping[str, Any], artifact: Artifact
) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {"message": row["message"], "Data Docs": _docs(artifact)}
    if row["observed"]:
        metadata["observed"] = dg.MetadataValue.json(row["observed"])
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=row["name"],
        passed=row["passed"],
        severity=_severity(row["severity"]),
        description=row["message"],
        metadata=metadata,
    )


def _combined(
    key: dg.AssetKey, definition: CheckDefinition, found: list[dict[str, Any]], artifact: Artifact
) -> dg.AssetCheckResult:
    failed = [row["message"] for row in found if not row["passed"]]
    message = "; ".join(failed) or f"{len(found)} tables: {definition.description}"
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=definition.name,
        passed=not failed,
        severity=_severity(definition.severity),
        description=message,
        metadata={"message": message, "Data Docs": _docs(artifact)},
    )


def _severity(severity: str) -> dg.AssetCheckSeverity:
    critical = severity == Severity.CRITICAL
    return dg.AssetCheckSeverity.ERROR if critical else dg.AssetCheckSeverity.WARN


def _docs(artifact: Artifact) -> dg.UrlMetadataValue:
    return dg.MetadataValue.url((artifact.path / DOCS / "index.html").as_uri())


def _raw_schema(schema: RelationalSchema) -> RelationalSchema:
    """The raw tables as a schema of their own: what dbt's sources declare, without keys.

    A staged table of the same name lends its event time, where the raw table has such a column.
    """
    times = {table.name: table.time_column for table in schema.tables}
    tables = tuple(
        Table(
            source.name,
            tuple(Column(name) for name in source.columns),
            time_column=times.get(source.name)
            if times.get(source.name) in source.columns
            else None,
        )
        for source in schema.source.tables
    )
    return RelationalSchema(schema.database, tables)


def _expectations(
    workplace: Workplace, schema: RelationalSchema, tables: list[str]
) -> dict[str, list[Any]]:
    """Expectations that the owner added in the meta of these staging models or tasks, by table."""
    found: dict[str, list[Any]] = {}
    for node in workplace.manifest()["nodes"].values():
        meta = (node["config"].get("meta") or {}).get("relforge", {})
        if node["fqn"][1] == schema.database and meta.get("expectations"):
            found[table_name(node)] = list(meta["expectations"])
    return {name: wanted for name, wanted in found.items() if name in tables}
