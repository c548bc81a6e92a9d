"""Stage 9, predictions: both protocols, scores where the future is known, report, write-back."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets import checks, training_tables
from assets.staging import staged_tables
from assets.temporal_graph import graph_subject, text_encoder_of
from assets.training import BUNDLE, VALIDATED
from assets.workplace import (
    StageConfig,
    Workplace,
    as_of_date,
    as_of_partitions,
    group,
    image,
    latest,
    materialization,
    table_metadata,
    task_key,
    upstream,
)
from models.artifacts import Artifact, Outcome, Recipe, code_version
from models.database.schema import Protocol, RelationalSchema, Task
from models.database.training_table import read_training_table

if TYPE_CHECKING:
    import polars as pl

    from models.families.bundle import Bundle

CODE = (
    "models/families",
    "models/tabular",
    "models/learning",
    "models/rdl",
    "models/reporting",
    "models/dfs",
    "models/aggregation",
)
REPORT = "report.html"
# Tags of a run whose predictions are made by the newest model there is.
NEWEST_MODEL = {"relforge/model": "newest"}


class PredictionStageConfig(StageConfig):
    """Which model predicts."""

    newest_model: bool = Field(
        False,
        description=(
            "Score with the newest model trained at or before this as_of instead of this as_of's "
            "own: what production does between retrainings."
        ),
    )


def prediction_asset(schema: RelationalSchema, task: Task) -> dg.AssetsDefinition:
    """The predictions, scores and report of a task."""

    @dg.asset(
        key=task_key(schema, task, "predictions"),
        deps=[task_key(schema, task, "model"), task_key(schema, task, "features")],
        group_name=group(schema, "predictions"),
        kinds={"parquet", "duckdb"},
        partitions_def=as_of_partitions(schema),
        description=(
            "Predictions from as_of on, written back to the warehouse as "
            f"`{schema.database}_predictions.{task.name}`; scores where the future is known; "
            "the report."
        ),
        op_tags={"stage": "predictions"},
    )
    def predictions(
        context: dg.AssetExecutionContext, config: PredictionStageConfig, workplace: Workplace
    ) -> dg.MaterializeResult[Any]:
        as_of = as_of_date(context, schema)
        subject = training_tables.subject(schema, task, as_of)
        features = latest(workplace, "features", subject, f"the feature table {subject}")
        newest = config.newest_model or NEWEST_MODEL.items() <= context.run.tags.items()
        model = _model(workplace, schema, task, as_of, newest)
        table = upstream(workplace, "training_table", features)
        staging = upstream(workplace, "staging", features)
        gates = checks.published(workplace, schema, staging, table)
        recipe = Recipe(
            stage="predictions",
            subject=subject,
            code=code_version(*CODE),
            config={"as_of": as_of, "protocol": task.protocol},
            inputs={
                "model": model.fingerprint,
                "features": features.fingerprint,
                "training_table": table.fingerprint,
                "staging": staging.fingerprint,
                **{f"checks of {name}": gate.fingerprint for name, gate in gates.items()},
            },
        )

        def produce(folder: Path) -> Mapping[str, Any]:
            return _predict(
                workplace, schema, task, as_of, model, features, table, staging, gates, folder
            )

        outcome = workplace.build(context, recipe, produce, force=config.force)
        _write_back(workplace, schema, task, as_of, outcome)
        return materialization(outcome, metadata=_metadata(task, outcome))

    return predictions


def _model(
    workplace: Workplace, schema: RelationalSchema, task: Task, as_of: datetime, newest: bool
) -> Artifact:
    subject = training_tables.subject(schema, task, as_of)
    if newest:
        prefix = f"{schema.database}/{task.name}/"
        trained = [s for s in workplace.store.subjects("model", prefix) if s <= subject]
        if not trained:
            raise dg.Failure(
                f"task {task.name}: no model has been trained at or before {as_of:%Y-%m-%d}; "
                f"run the job {schema.database}__retrain first"
            )
        subject = trained[-1]
    return latest(workplace, "model", subject, f"the model {subject}")


def _predict(
    workplace: Workplace,
    schema: RelationalSchema,
    task: Task,
    as_of: datetime,
    model: Artifact,
    features: Artifact,
    table: Artifact,
    staging: Artifact,
    gates: Mapping[str, Artifact],
    folder: Path,
) -> Mapping[str, Any]:
    from models.families.bundle import load_bundle
    from models.families.prediction import RunData, build_predictions, write_submission
    from models.families.report import gather_report
    from models.reporting.html_report import render_report

    threads = workplace.threads
    bundle = load_bundle(model.path / BUNDLE)
    rows = read_training_table(table.path / training_tables.FILE)
    by_protocol = _features(workplace, schema, task, bundle, as_of, features, staging, rows)
    data = RunData(
        as_of, staged_tables(staging, schema), _graph(workplace, schema, as_of, bundle), threads
    )
    validated = None
    if (model.path / VALIDATED).exists():
        validated = load_bundle(model.path / VALIDATED)
    metadata = build_predictions(task, bundle, rows, by_protocol, folder, data, validated)
    database = upstream(workplace, "database", staging)
    fingerprints = {"database": database, "staging": staging, "training table": table}
    fingerprints |= {"features": features, "model": model}
    report = gather_report(
        schema,
        task,
        as_of,
        rows,
        bundle,
        folder,
        checks.rows(gates.values()),
        (database.path / "schema.svg").read_bytes(),
        {name: artifact.fingerprint for name, artifact in fingerprints.items()},
    )
    (folder / REPORT).write_text(render_report(report))
    plots = folder / "plots"
    plots.mkdir()
    for title, (png, _) in report.plots.items():
        (plots / f"{title}.png").write_bytes(png)
    if schema.source.kind == "relbench" and as_of == schema.default_as_of:
        write_submission(schema, task, folder)
    return metadata


def _features(
    workplace: Workplace,
    schema: RelationalSchema,
    task: Task,
    bundle: "Bundle",
    as_of: datetime,
    features: Artifact,
    staging: Artifact,
    rows: "pl.DataFrame",
) -> dict[Protocol, "pl.DataFrame"] | None:
    from models.aggregation.engine import compute_features
    from models.dfs.feature_table import read_feature_table, seeds_of

    if bundle.as_of == as_of:
        table = read_feature_table(features.path)
        return {protocol: table.under(protocol) for protocol in Protocol}
    if not bundle.features:
        return None
    # Another date's model has its own definitions: compute those for the rows at hand.
    needed = rows.filter(rows["split"] != "train")
    return {
        protocol: compute_features(
            bundle.schema,
            bundle.features,
            staged_tables(staging, schema),
            seeds_of(needed, task, as_of, protocol),
            entity_table=task.entity_table,
            threads=workplace.threads,
            memory_limit=workplace.memory_limit,
        )
        for protocol in Protocol
    }


def _graph(
    workplace: Workplace, schema: RelationalSchema, as_of: datetime, bundle: "Bundle"
) -> Any:
    """The date's temporal graph for a bundle that reads one; it makes its own if none fits."""
    encoder = getattr(bundle, "text_encoder", None)
    found = workplace.store.latest("temporal_graph", graph_subject(schema, as_of))
    if encoder is None or found is None or text_encoder_of(found) != encoder:
        return None
    from models.rdl.graph_files import read_graph

    return read_graph(found.path)


def _write_back(
    workplace: Workplace, schema: RelationalSchema, task: Task, as_of: datetime, outcome: Outcome
) -> None:
    from models.families.prediction import PREDICTIONS, write_to_warehouse

    warehouse = workplace.warehouse(schema.database)
    path = outcome.artifact.path / PREDICTIONS
    write_to_warehouse(warehouse, schema, task, as_of, path, outcome.artifact.fingerprint)


def _metadata(task: Task, outcome: Outcome) -> dict[str, Any]:
    found, folder = outcome.artifact.metadata, outcome.artifact.path
    report = folder / REPORT
    metadata: dict[str, Any] = {
        "dagster/row_count": found["rows"],
        "cutoffs": found["cutoffs"],
        "scores": table_metadata(_rounded(row) for row in found["scores"]),
        "report": dg.MetadataValue.url(report.as_uri()),
    }
    for row in found["scores"]:
        if row["metric"] == str(task.metric):
            name = f"{row['split']} {row['metric']}, {row['protocol']}"
            metadata[name] = round(row["ensemble"], 4)
    for plot in sorted((folder / "plots").glob("*.png")):
        metadata[plot.stem] = image(plot)
    return metadata


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(v, 4) if isinstance(v, float) else v for name, v in row.items()}
