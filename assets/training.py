"""Stage 8, training: candidates of every family, each a trial; the best on validation is the model."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets import training_tables
from assets.pretraining import encoder_key, encoder_subject
from assets.staging import staged_tables
from assets.task_vectors import entity_tables
from assets.temporal_graph import graph_key, graph_subject, text_encoder_of
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
from models.database.schema import RelationalSchema, Task, to_plain
from models.database.training_table import read_training_table
from models.settings import EMBEDDINGS, ON_GRAPHS, RDL

if TYPE_CHECKING:
    from models.families.candidate import Candidate
    from models.families.trial import TrialInputs

STAGE = "model"
TRIAL = "trial"
BUNDLE = "bundle"
LEADERBOARD = "leaderboard.json"
CODE = ("models/families", "models/learning", "models/reporting/scores.py")
FAMILY_CODE = {
    RDL: ("models/rdl", "models/tabular"),
    EMBEDDINGS: ("models/rdl", "models/pretraining/config.py", "models/tabular"),
}
# What the pipelines train of each family, unless the run's configuration says otherwise.
DEFAULT_OBJECTIVE = "tve"


class CandidateConfig(dg.Config):
    """A point of the design space."""

    name: str = Field("", description="Empty: the family's name.")
    family: str = Field(
        description="lightgbm, resnet, ft_transformer, tabpfn, rdl or lightgbm_on_embeddings."
    )
    settings: dict[str, Any] = Field(
        {}, description="Settings of the family; docs/families.md lists them."
    )


class TrainingStageConfig(StageConfig):
    """Which candidates to train."""

    candidates: list[CandidateConfig] = Field(
        [],
        description=(
            "Each is trained with several seeds; the best mean validation score under the task's "
            "protocol wins. Empty: those that the task declares, else one of each family with "
            "default settings; of families in RELFORGE_FAMILIES only."
        ),
    )


def training_asset(
    schema: RelationalSchema, task: Task, families: Sequence[str]
) -> dg.AssetsDefinition:
    """The model bundle of a task."""
    deps = [task_key(schema, task, "features"), task_key(schema, task, "training_table")]
    if not ON_GRAPHS.isdisjoint(families):
        deps.append(graph_key(schema))
        if entity_tables(schema):
            deps.append(encoder_key(schema, DEFAULT_OBJECTIVE))

    @dg.asset(
        key=task_key(schema, task, "model"),
        deps=deps,
        group_name=group(schema, "training"),
        kinds={"lightgbm", "pytorch"},
        partitions_def=as_of_partitions(schema),
        description=(
            f"Candidates of the families {', '.join(families)}, a model per seed, stopped early on "
            f"the validation split by `{task.metric}`; the best candidate's bundle scores a new "
            "cutoff in a fresh process."
        ),
        op_tags={"stage": "training"},
    )
    def model(
        context: dg.AssetExecutionContext, config: TrainingStageConfig, workplace: Workplace
    ) -> dg.MaterializeResult[Any]:
        as_of = as_of_date(context, schema)
        subject = training_tables.subject(schema, task, as_of)
        features = latest(workplace, "features", subject, f"the feature table {subject}")
        candidates = chosen_candidates(config, task, families)
        outcomes = [
            _trial(context, workplace, schema, task, as_of, one, features, config.force)
            for one in candidates
        ]
        trials = [outcome.artifact for outcome in outcomes]
        recipe = Recipe(
            stage=STAGE,
            subject=subject,
            code=code_version("models/families/leaderboard.py"),
            config={"protocol": task.protocol, "metric": task.metric},
            inputs={f"trial {trial.metadata['candidate']}": trial.fingerprint for trial in trials},
        )

        def produce(folder: Path) -> Mapping[str, Any]:
            return _choose(task, trials, folder)

        outcome = workplace.build(context, recipe, produce, force=config.force)
        return materialization(outcome, metadata=_metadata(task, outcome.artifact, outcomes))

    return model


def chosen_candidates(
    config: TrainingStageConfig, task: Task, families: Sequence[str]
) -> "tuple[Candidate, ...]":
    """The candidates of a run.

    Raises:
        Failure: One of them is not valid.
    """
    from models.families.candidate import candidates_from_plain

    given = [candidate.model_dump() for candidate in config.candidates]
    declared = [one for one in task.candidates if one["family"] in families]
    try:
        return candidates_from_plain(
            given or declared or [{"family": family} for family in families]
        )
    except ValueError as fault:
        raise dg.Failure(f"the training's configuration: {fault}") from fault


def _trial(
    context: dg.AssetExecutionContext,
    workplace: Workplace,
    schema: RelationalSchema,
    task: Task,
    as_of: datetime,
    candidate: "Candidate",
    features: Artifact,
    force: bool,
) -> Outcome:
    """A candidate's trial, built or reused: a killed run loses at most the epoch in flight."""
    settings = asdict(candidate.config())
    table = upstream(workplace, "training_table", features)
    inputs = {"training_table": table.fingerprint, "features": features.fingerprint}
    graph, encoder = None, None
    if candidate.family in ON_GRAPHS:
        if not settings["features"]:
            # Only the types of the columns come from there, and the graph has them.
            del inputs["features"]
        what = f"the temporal graph of {schema.database}"
        graph = latest(workplace, "temporal_graph", graph_subject(schema, as_of), what)
        inputs["temporal_graph"] = graph.fingerprint
        objective = settings["initialisation" if candidate.family == RDL else "encoder"]
        if objective != "scratch":
            what = f"the encoder {objective!r}, which candidate {candidate.name!r} builds upon,"
            subject = encoder_subject(schema, objective, as_of)
            encoder = latest(workplace, "pretraining", subject, what)
            inputs["pretrained encoder"] = encoder.fingerprint
    subject = training_tables.subject(schema, task, as_of)
    recipe = Recipe(
        stage=TRIAL,
        subject=f"{subject}/{candidate.name}",
        code=code_version(*CODE, *FAMILY_CODE.get(candidate.family, ("models/tabular",))),
        config={
            "candidate": {"name": candidate.name, "family": candidate.family, "settings": settings},
            "task": to_plain(replace(task, candidates=())),
            "as_of": as_of,
        },
        inputs=inputs,
    )

    def produce(folder: Path) -> Mapping[str, Any]:
        from models.families.trial import train_candidate

        made = _trial_inputs(workplace, task, as_of, features, table, graph, encoder, recipe)
        return train_candidate(
            candidate, made, folder / BUNDLE, workplace.threads, context.log.info
        )

    return workplace.build(context, recipe, produce, force=force)


def _trial_inputs(
    workplace: Workplace,
    task: Task,
    as_of: datetime,
    features: Artifact,
    table: Artifact,
    graph: Artifact | None,
    encoder: Artifact | None,
    recipe: Recipe,
) -> "TrialInputs":
    from models.dfs.feature_table import read_feature_table
    from models.families.trial import TrialInputs

    staging = upstream(workplace, "staging", features)
    feature_table = read_feature_table(features.path)
    pretrained = {str(encoder.metadata["pretext"]): encoder.path} if encoder else {}
    return TrialInputs(
        schema=feature_table.schema,
        task=task,
        as_of=as_of,
        training_table=read_training_table(table.path / training_tables.FILE),
        features=feature_table,
        tables=staged_tables(staging, feature_table.schema),
        graph=graph.path if graph else None,
        text_encoder=text_encoder_of(graph) if graph else "",
        pretrained=pretrained,
        checkpoints=workplace.store.work(recipe),
    )


def _choose(task: Task, trials: Sequence[Artifact], folder: Path) -> Mapping[str, Any]:
    """Copies the best trial's bundle and writes the leaderboard and the plots."""
    from models.families.bundle import load_bundle
    from models.families.leaderboard import best_candidate, leaderboard

    rows = leaderboard([trial.metadata for trial in trials])
    best = best_candidate(rows, task.protocol, task.metric)
    chosen = next(trial for trial in trials if trial.metadata["candidate"] == best)
    shutil.copytree(chosen.path / BUNDLE, folder / BUNDLE)
    # Without the seconds: the same inputs give the same files.
    scores = [{k: v for k, v in asdict(row).items() if k != "seconds"} for row in rows]
    (folder / LEADERBOARD).write_text(json.dumps(scores, indent=1))
    _plot(task, load_bundle(folder / BUNDLE).record, folder)
    return {**chosen.metadata, "leaderboard": [asdict(row) for row in rows]}


def _plot(task: Task, record: Mapping[str, Any], folder: Path) -> None:
    from models.reporting.plots import SeedCurve, feature_importance, learning_curve

    if record["importances"]:
        names, gains = zip(*record["importances"].items(), strict=True)
        (folder / "feature_importance.png").write_bytes(feature_importance(names, gains))
    protocol = str(task.protocol)
    curves = [
        SeedCurve(seed, curve.get("train", []), curve[protocol], best[protocol] - 1)
        for seed, (curve, best) in enumerate(
            zip(record["curves"], record["best_rounds"], strict=True)
        )
        if curve
    ]
    (folder / "learning_curve.png").write_bytes(learning_curve(curves, str(task.metric)))


def _metadata(task: Task, model: Artifact, trials: Sequence[Outcome]) -> dict[str, Any]:
    found = model.metadata
    own = [scores[str(task.protocol)] for scores in found["validation_scores"]]
    seeds = [
        {"seed": seed, "protocol": protocol, "rounds": best[protocol], "validation": scored}
        for seed, (best, scores) in enumerate(
            zip(found["best_rounds"], found["validation_scores"], strict=True)
        )
        for protocol, scored in scores.items()
    ]
    return {
        "candidate": found["candidate"],
        "family": found["family"],
        f"validation {task.metric}, {task.protocol}": sum(own) / len(own),
        "leaderboard": table_metadata(_rounded(row) for row in found["leaderboard"]),
        "trials": table_metadata(
            {
                "candidate": trial.artifact.metadata["candidate"],
                "reused": trial.reused,
                "changed": ", ".join(trial.changed) or "nothing",
                "seconds": trial.artifact.metadata["seconds"],
            }
            for trial in trials
        ),
        "features used": found["features"],
        "training rows": found["rows"]["train"],
        "seeds": table_metadata(seeds),
        **{path.stem.replace("_", " "): image(path) for path in sorted(model.path.glob("*.png"))},
    }


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(v, 4) if isinstance(v, float) else v for name, v in row.items()}
