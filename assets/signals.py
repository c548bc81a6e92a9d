"""Stage 8, signals: what is measured of a task before any training, for the router."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from assets import training_tables
from assets.temporal_graph import graph_key, graph_subject
from assets.workplace import (
    StageConfig,
    Workplace,
    as_of_date,
    as_of_partitions,
    group,
    latest,
    materialization,
    table_metadata,
    task_key,
    upstream,
)
from models.artifacts import Artifact, Recipe, code_version
from models.database.schema import RelationalSchema, Task
from models.database.training_table import read_training_table

STAGE = "signals"
FILE = "signals.json"
CODE = ("models/relatron", "models/rdl", "models/tabular", "models/dfs/feature_table.py")


class SignalStageConfig(StageConfig):
    """How much is looked at."""

    rows: int = Field(
        5_000, description="Rows that homophily and context agreement start from.", ge=100
    )
    probe_rows: int = Field(
        5_000, description="Rows that probes are fitted to, and scored on.", ge=100
    )
    reference: bool = Field(
        False, description="Also compute the signals as Relatron published them."
    )
    seed: int = Field(0, description="Of everything random.")


def signals_asset(schema: RelationalSchema, task: Task) -> dg.AssetsDefinition:
    """The signals of a task."""

    @dg.asset(
        key=task_key(schema, task, STAGE),
        deps=[
            task_key(schema, task, "features"),
            task_key(schema, task, "training_table"),
            graph_key(schema),
        ],
        group_name=group(schema, STAGE),
        kinds={"pytorch", "lightgbm"},
        partitions_def=as_of_partitions(schema),
        description=(
            "Homophily along meta-paths, autocorrelation and drift of labels, agreement of related "
            "rows, sizes, and probes: untrained networks and small LightGBM models. Each with its "
            "standard error and what it cost."
        ),
        op_tags={"stage": STAGE},
    )
    def signals(
        context: dg.AssetExecutionContext, config: SignalStageConfig, workplace: Workplace
    ) -> dg.MaterializeResult[Any]:
        as_of = as_of_date(context, schema)
        subject = training_tables.subject(schema, task, as_of)
        features = latest(workplace, "features", subject, f"the feature table {subject}")
        table = upstream(workplace, "training_table", features)
        what = f"the temporal graph of {schema.database}"
        graph = latest(workplace, "temporal_graph", graph_subject(schema, as_of), what)
        recipe = Recipe(
            stage=STAGE,
            subject=subject,
            code=code_version(*CODE),
            config={
                "as_of": as_of,
                "rows": config.rows,
                "probe_rows": config.probe_rows,
                "reference": config.reference,
                "seed": config.seed,
            },
            inputs={
                "training_table": table.fingerprint,
                "features": features.fingerprint,
                "temporal_graph": graph.fingerprint,
            },
        )

        def produce(folder: Path) -> Mapping[str, Any]:
            from models.dfs.feature_table import read_feature_table
            from models.rdl.graph_files import read_graph
            from models.relatron.signals import (
                SignalConfig,
                SignalInputs,
                signals_as_data,
                task_signals,
            )

            feature_table = read_feature_table(features.path)
            found = task_signals(
                SignalInputs(
                    feature_table.schema,
                    task,
                    as_of,
                    read_training_table(table.path / training_tables.FILE),
                    feature_table,
                    read_graph(graph.path),
                ),
                SignalConfig(
                    seed=config.seed,
                    rows=config.rows,
                    probe_training_rows=config.probe_rows,
                    probe_validation_rows=config.probe_rows,
                    reference=config.reference,
                ),
                context.log.info,
            )
            data = signals_as_data(found)
            # Without the seconds: the same inputs give the same file.
            seconds = data.pop("seconds")
            (folder / FILE).write_text(json.dumps(data, indent=1))
            listed = [
                {
                    "signal": one.name,
                    "group": one.group,
                    "value": _known(one.value),
                    "standard error": _known(one.error),
                }
                for one in found
            ]
            return {"signals": listed, "seconds": seconds}

        outcome = workplace.build(context, recipe, produce, force=config.force)
        return materialization(outcome, metadata=_metadata(outcome.artifact))

    return signals


def read_signals(artifact: Artifact) -> dict[str, float | None]:
    """The signals of an artifact by name."""
    return dict(json.loads((artifact.path / FILE).read_text()))


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _metadata(signals: Artifact) -> dict[str, Any]:
    found = signals.metadata
    return {
        "signals": table_metadata(found["signals"]),
        "number of signals": len(found["signals"]),
        "measured in seconds": found["seconds"],
    }
