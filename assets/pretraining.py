"""Stage 7, pretraining: an encoder per database and objective, with loss curves and probes."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets import training_tables
from assets.task_vectors import (
    TaskVectorStageConfig,
    entity_tables,
    task_vector_key,
    task_vectors_of,
)
from assets.temporal_graph import graph_key, graph_subject
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
)
from models.artifacts import Artifact, Recipe, code_version
from models.database.schema import Protocol, RelationalSchema, Task, to_plain

if TYPE_CHECKING:
    from models.pretraining.config import PretrainingConfig

STAGE = "pretraining"
PROBE = "probe"
CODE = ("models/learning", "models/rdl", "models/pretraining")
PLOT = "losses.png"
REFERENCE = "tve_reference"
# The objectives by the name of their asset; `models.pretraining.config.Pretext` describes them.
OBJECTIVES = {
    "tve": "task vectors: what happens around each entity in the next windows",
    REFERENCE: "task vectors as published, under the cosine error",
    "masked": "altered columns of every sampled row are restored",
    "contrastive": "two altered views of a node are told from those of other nodes",
    "tve_with_masked": "task vectors, with a share of restored columns",
    "tve_with_contrastive": "task vectors, with a share of contrast",
    "contrastive_then_tve": "contrast first, then task vectors",
}


class PretrainingStageConfig(StageConfig):
    """How to pretrain; a network that starts from the encoder takes over its architecture."""

    epochs: int = Field(10, description="Epochs at most; the one with the least loss is kept.")
    steps: int = Field(30, description="Batches an epoch.", ge=1)
    batch_size: int = Field(256, description="Rows of task vectors a batch.", ge=1)
    learning_rate: float = Field(2e-3, description="AdamW's learning rate.")
    convolution: str = Field("sage", description="sage, pna, hgt or relgnn.")
    layers: int = Field(2, description="Layers of message passing.", ge=1)
    channels: int = Field(64, description="Width of the network.", ge=1)
    fan_out: int = Field(32, description="Children per row in the first hop; half in the next.")
    corruption: float | None = Field(
        None, description="Share of altered cells; None: the objective's own."
    )
    seed: int = Field(0, description="Of weights, order and samples.")
    max_seconds: float | None = Field(
        None, description="Budget; a run that it cuts short cannot be repeated to the bit."
    )
    max_gigabytes: float | None = Field(None, description="Budget of memory while training.")
    device: str = Field("auto", description="auto, cpu or cuda.")


def encoder_key(schema: RelationalSchema, objective: str) -> dg.AssetKey:
    """The key of the encoder that an objective trains."""
    return dg.AssetKey([schema.database, "pretrained_encoder", objective])


def encoder_subject(schema: RelationalSchema, objective: str, as_of: datetime) -> str:
    """The name of an encoder at a date."""
    return f"{schema.database}/{objective}/{as_of:%Y-%m-%d}"


def pretraining_config(objective: str, config: PretrainingStageConfig) -> "PretrainingConfig":
    """The library's configuration.

    Raises:
        Failure: A setting has a value that it cannot have.
    """
    from models.pretraining.config import Pretext, PretrainingConfig
    from models.rdl.config import Convolution, NetworkShape

    try:
        return PretrainingConfig(
            pretext=Pretext(objective),
            shape=NetworkShape(
                convolution=Convolution(config.convolution),
                layers=config.layers,
                channels=config.channels,
            ),
            fan_out=config.fan_out,
            corruption=config.corruption,
            epochs=config.epochs,
            steps=config.steps,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            max_seconds=config.max_seconds,
            max_gigabytes=config.max_gigabytes,
            seed=config.seed,
        )
    except ValueError as fault:
        raise dg.Failure(f"the pretraining's configuration: {fault}") from fault


def pretrained_encoder_asset(schema: RelationalSchema, objective: str) -> dg.AssetsDefinition:
    """The encoder that an objective trains, shared by all entity tables of the database."""
    tables = entity_tables(schema)

    @dg.asset(
        key=encoder_key(schema, objective),
        deps=[
            graph_key(schema),
            *(task_vector_key(schema, table) for table in tables),
            *(task_key(schema, task, "training_table") for task in schema.tasks),
        ],
        group_name=group(schema, STAGE),
        kinds={"pytorch"},
        partitions_def=as_of_partitions(schema),
        description=(
            f"Pretraining objective: {OBJECTIVES[objective]}. Sees nothing after the first "
            "validation cutoff. The probe fits a linear model of each task to the frozen embeddings, "
            "beside one over an untrained encoder; editing a task renews its probe alone."
        ),
        op_tags={"stage": STAGE},
    )
    def pretrained_encoder(
        context: dg.AssetExecutionContext, config: PretrainingStageConfig, workplace: Workplace
    ) -> dg.MaterializeResult[Any]:
        as_of = as_of_date(context, schema)
        graph = latest(
            workplace, "temporal_graph", graph_subject(schema, as_of), f"{schema.database}'s graph"
        )
        vectors = _vectors(context, workplace, schema, objective, as_of)
        settings = pretraining_config(objective, config)
        recipe = Recipe(
            stage=STAGE,
            subject=encoder_subject(schema, objective, as_of),
            code=code_version(*CODE),
            config={
                "settings": to_plain(settings),
                "as_of": as_of,
                "hidden_columns": sorted({p for t in schema.tasks for p in t.hidden_columns}),
                "validation_spans": sorted({task.validation_span for task in schema.tasks}),
            },
            inputs={
                "temporal_graph": graph.fingerprint,
                **{f"task vectors of {table}": a.fingerprint for table, a in vectors.items()},
            },
        )

        def produce(folder: Path) -> Mapping[str, Any]:
            from models.pretraining.pretraining import pretrain

            found = pretrain(
                schema,
                graph.path,
                {table: artifact.path for table, artifact in vectors.items()},
                as_of,
                settings,
                folder,
                device=config.device,
                work=workplace.store.work(recipe),
                progress=context.log.info,
            )
            _plot(folder)
            return found

        outcome = workplace.build(context, recipe, produce, force=config.force)
        probes = [
            _probe(context, workplace, schema, task, as_of, graph, outcome.artifact, table)
            for task in schema.tasks
            # A job of one task makes that task's training table alone.
            if task.entity_table in tables
            and (table := _training_table(workplace, schema, task, as_of)) is not None
        ]
        return materialization(outcome, metadata=_metadata(outcome.artifact, probes))

    return pretrained_encoder


def _vectors(
    context: dg.AssetExecutionContext,
    workplace: Workplace,
    schema: RelationalSchema,
    objective: str,
    as_of: datetime,
) -> dict[str, Artifact]:
    """The task vectors of every entity table; the published construction is made on demand."""
    found = {}
    for table in entity_tables(schema):
        if objective == REFERENCE:
            config = TaskVectorStageConfig.model_validate({"mode": "reference"})
            found[table] = task_vectors_of(context, workplace, schema, table, config).artifact
        else:
            subject = f"{schema.database}/{table}/{as_of:%Y-%m-%d}"
            found[table] = latest(
                workplace, "task_vectors", subject, f"the task vectors of {schema.database}.{table}"
            )
    return found


def _training_table(
    workplace: Workplace, schema: RelationalSchema, task: Task, as_of: datetime
) -> Artifact | None:
    return workplace.store.latest("training_table", training_tables.subject(schema, task, as_of))


def _probe(
    context: dg.AssetExecutionContext,
    workplace: Workplace,
    schema: RelationalSchema,
    task: Task,
    as_of: datetime,
    graph: Artifact,
    encoder: Artifact,
    table: Artifact,
) -> Artifact | None:
    """The probe of a task: an artifact of its own, so that a task's SQL leaves the encoder alone.

    None where the task has no examples at this date, for which other tasks' jobs must not fail.
    """
    from models.database.training_table import NoExamplesError

    subject = training_tables.subject(schema, task, as_of)
    recipe = Recipe(
        stage=PROBE,
        subject=f"{subject}/{encoder.metadata['pretext']}",
        code=code_version(*CODE),
        config={"as_of": as_of, "task": to_plain(task)},
        inputs={
            "encoder": encoder.fingerprint,
            "training_table": table.fingerprint,
            "temporal_graph": graph.fingerprint,
        },
    )

    def produce(folder: Path) -> Mapping[str, Any]:
        from models.database.training_table import read_training_table
        from models.pretraining.probing import probe
        from models.rdl.graph_files import read_graph
        from models.rdl.initialisation import load_pretrained

        return probe(
            load_pretrained(encoder.path),
            read_graph(graph.path),
            task,
            read_training_table(table.path / training_tables.FILE),
            as_of,
            progress=context.log.info,
        )

    try:
        return workplace.build(context, recipe, produce).artifact
    except NoExamplesError as fault:
        context.log.warning(f"not probed: {fault}")
        return None


def _plot(folder: Path) -> None:
    import json

    from models.pretraining.pretraining import CURVES
    from models.reporting.plots import SeedCurve, learning_curve

    for number, stage in enumerate(json.loads((folder / CURVES).read_text())):
        curve = SeedCurve(
            number,
            [entry["loss"] for entry in stage["history"]],
            [entry["validation_loss"] for entry in stage["history"]],
            stage["best_epoch"],
        )
        name = PLOT if number == 0 else f"losses_{number}.png"
        (folder / name).write_bytes(learning_curve([curve], "loss", subject=stage["stage"]))


def _metadata(encoder: Artifact, probes: list[Artifact | None]) -> dict[str, Any]:
    found = encoder.metadata
    rows = [
        {
            "task": probe.metadata["task"],
            "metric": probe.metadata["metric"],
            "protocol": str(protocol),
            "pretrained": round(probe.metadata["pretrained"][protocol]["score"], 4),
            "untrained": round(probe.metadata["random"][protocol]["score"], 4),
        }
        for probe in probes
        if probe is not None
        for protocol in Protocol
    ]
    return {
        "training rows": sum(found["rows"].values()),
        "parameters": found["parameters"],
        "sees nothing after": found["limit"],
        "linear probes, validation": table_metadata(rows),
        "stages": table_metadata(found["stages"]),
        **{
            path.stem.replace("_", " "): image(path)
            for path in sorted(encoder.path.glob("losses*.png"))
        },
    }
