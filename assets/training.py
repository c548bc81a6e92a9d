"""Stage 5, training: the learner, stopped early on validation, saved as a bundle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from assets import training_tables
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
from models.artifacts import Recipe, code_version
from models.database.schema import RelationalSchema, Task, to_plain
from models.database.training_table import read_training_table

CODE = ("models/tabular", "models/reporting/scores.py")
BUNDLE = "bundle"


class TrainingStageConfig(StageConfig):
    """Settings of the LightGBM learner that people change; the others are the library's."""

    seeds: int = Field(5, description="Models trained, one per seed; predictions average them.")
    learning_rate: float = Field(0.03, description="LightGBM's learning_rate.")
    num_leaves: int = Field(15, description="LightGBM's num_leaves.")
    min_data_in_leaf: int = Field(100, description="LightGBM's min_data_in_leaf.")
    rounds: int = Field(1500, description="Most trees a model may have.")
    early_stopping: int = Field(100, description="Rounds without a better validation score.")


def training_asset(schema: RelationalSchema, task: Task) -> dg.AssetsDefinition:
    """The model bundle of a task."""

    @dg.asset(
        key=task_key(schema, task, "model"),
        deps=[task_key(schema, task, "features"), task_key(schema, task, "training_table")],
        group_name=group(schema, "training"),
        kinds={"lightgbm"},
        partitions_def=as_of_partitions(schema),
        description=(
            f"LightGBM, one model per seed, stopped early on the validation split by "
            f"`{task.metric}`. The bundle scores a new cutoff in a fresh process."
        ),
        op_tags={"stage": "training"},
    )
    def model(
        context: dg.AssetExecutionContext, config: TrainingStageConfig, workplace: Workplace
    ) -> dg.MaterializeResult[Any]:
        as_of = as_of_date(context, schema)
        subject = training_tables.subject(schema, task, as_of)
        features = latest(workplace, "features", subject, f"the feature table {subject}")
        table = upstream(workplace, "training_table", features)
        settings = config.model_dump(exclude={"force"})
        recipe = Recipe(
            stage="model",
            subject=subject,
            code=code_version(*CODE),
            config={"learner": settings, "task": to_plain(task)},
            inputs={"features": features.fingerprint, "training_table": table.fingerprint},
        )

        def produce(folder: Path) -> Mapping[str, Any]:
            from models.dfs.feature_table import read_feature_table
            from models.reporting.plots import SeedCurve, feature_importance, learning_curve
            from models.tabular.bundle import load_bundle
            from models.tabular.lightgbm_learner import LightGBMConfig
            from models.tabular.training import train_bundle

            learner = LightGBMConfig(**settings)
            record = train_bundle(
                task,
                read_training_table(table.path / training_tables.FILE),
                read_feature_table(features.path),
                as_of,
                learner,
                folder / BUNDLE,
                workplace.threads,
                context.log.info,
            )
            bundle = load_bundle(folder / BUNDLE)
            names, gains = zip(*record["importances"].items(), strict=True)
            (folder / "feature_importance.png").write_bytes(feature_importance(names, gains))
            curves = [
                SeedCurve(seed, curve["train"], curve[task.protocol], best[task.protocol] - 1)
                for seed, (curve, best) in enumerate(
                    zip(bundle.record["curves"], bundle.best_rounds, strict=True)
                )
            ]
            (folder / "learning_curve.png").write_bytes(learning_curve(curves, str(task.metric)))
            return record

        outcome = workplace.build(context, recipe, produce, force=config.force)
        found, folder = outcome.artifact.metadata, outcome.artifact.path
        seeds = [
            {"seed": seed, "protocol": protocol, "trees": best[protocol], "validation": found_score}
            for seed, (best, scored) in enumerate(
                zip(found["best_rounds"], found["validation_scores"], strict=True)
            )
            for protocol, found_score in scored.items()
        ]
        own = [row["validation"] for row in seeds if row["protocol"] == task.protocol]
        return materialization(
            outcome,
            metadata={
                f"validation {task.metric}, {task.protocol}": sum(own) / len(own),
                "features used": found["features"],
                "training rows": found["rows"]["train"],
                "seeds": table_metadata(seeds),
                "feature importance": image(folder / "feature_importance.png"),
                "learning curve": image(folder / "learning_curve.png"),
            },
        )

    return model
